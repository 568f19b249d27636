"""Sampled comparisons over a line of 1 Gbit/s: bytes moved, seconds, peak memory.

Models of random weights are files with holes: what a comparison will read is written, and nothing else. A
server on this machine counts what it sends. Each comparison is a process of its own, with an empty store::

    python -m benchmarks.ranged --size 7b
    python -m benchmarks.ranged --size 100b --folder /scratch
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._arguments import at_least
from benchmarks._process import peak_bytes, processor_seconds
from benchmarks._range_server import serve
from fixtures.synthetic_weights import Size, Weights, fill, write_checkpoint
from provenance import Executor, Store, compare
from provenance.comparison.plan import Comparison, pair_seed
from provenance.comparison.sample import Sample
from provenance.comparison.sampled import SampledPair
from provenance.evidence.decide import decide
from provenance.vocabulary import DEFAULT_ALPHA, InputsSpec, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = {
    "7b": Size(blocks=32, hidden=4096, units=11008, vocabulary=32000),
    "100b": Size(blocks=46, hidden=4096, units=1408, vocabulary=151552, experts=128),
    "30b": Size(blocks=48, hidden=2048, units=768, vocabulary=151936, experts=128),
    "small": Size(blocks=3, hidden=64, units=96, vocabulary=400),
    "small-mixture": Size(blocks=2, hidden=64, units=72, vocabulary=400, experts=20),
}
"""Shapes of Llama 2 7B, of GLM-4.5-Air and of Qwen 3 30B A3B, and two that tests can wait for."""
REFERENCE = "reference"
GBIT = 1e9 / 8
DISGUISE = 7


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the models, compare a copy and a stranger, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="7b")
    parser.add_argument("--sample", type=at_least(1), default=4)
    parser.add_argument("--gbit", type=float, default=1.0, help="bandwidth in Gbit/s")
    parser.add_argument(
        "--folder", type=Path, help="where the models are made [default: a temporary one]"
    )
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.measure:
        print(json.dumps(_measured(*given.measure, given.sample)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        _compare_all(Path(folder), SIZES[given.size], given.sample, given.gbit)


def _compare_all(folder: Path, size: Size, sample: int, gbit: float) -> None:
    models = {
        "copy": Weights(size, 0, DISGUISE),
        "stranger": Weights(size, 1),
        REFERENCE: Weights(size, 0),
    }
    for name, weights in models.items():
        write_checkpoint(folder / name, weights, _is_small)
    total = (folder / REFERENCE / "model.safetensors").stat().st_size
    print(f"{size}: {total / 2**30:.4g} GiB a model, sample {sample}, {gbit:g} Gbit/s\n")
    print("| pair | verdict | log10 p | moved | requests | seconds | of processors | peak memory |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    with serve(folder, gbit * GBIT) as (address, line):
        for name in ("copy", "stranger"):
            _write_what_is_read(folder, address, models, name, sample)
            line.reset()
            urls = f"{address}/{name}", f"{address}/{REFERENCE}"
            found = _in_a_process(*urls, sample)
            print(
                f"| {name} | {found['verdict']} | {found['log10_p']:.1f} | {line.sent / 2**20:.0f} MiB "
                f"| {line.requests} | {found['seconds']:.1f} | {found['processor']:.0f} "
                f"| {found['peak'] / 2**30:.2f} GiB |",
                flush=True,
            )


def _is_small(name: str) -> bool:
    """Whether a tensor is written of every block: norms, routers, and the table of tokens."""
    return not name.endswith("_proj.weight")


def _write_what_is_read(
    folder: Path, address: str, models: dict[str, Weights], name: str, sample: int
) -> None:
    """Write the MLPs of a sample, those that they were copied from, and those that are chosen."""
    specs = [ModelSpec(url=f"{address}/{one}") for one in (name, REFERENCE)]
    comparison = Comparison.of(*specs, InputsSpec(), "kinship", sample=sample)
    with tempfile.TemporaryDirectory(dir=folder) as store:
        opened = [Executor(Store(store), "cpu").in_part(spec) for spec in specs]
        seed = pair_seed(comparison.inputs.seed, *opened)
        drawn = Sample(opened[0], opened[1], comparison, seed, lambda: None)
        ours, theirs = drawn.parts
        mlps = [ours.record(i, at).path for i, places in drawn.places.items() for at in places]
        _write(folder, name, models, mlps)
        _write(folder, REFERENCE, models, [models["copy"].source_of(mlp) for mlp in mlps])
        pairs = SampledPair(drawn).chosen.pairs
        chosen = {(j, b): None for (_, j), places in pairs.items() for _, b in places}
        _write(folder, REFERENCE, models, [theirs.record(*place).path for place in chosen])


def _write(folder: Path, name: str, models: dict[str, Weights], mlps: Sequence[str]) -> None:
    """Write gate and up of MLPs; what a sample does not read stays a hole."""
    names = [f"{mlp}.{one}_proj.weight" for mlp in mlps for one in ("gate", "up")]
    fill(folder / name, models[name], names)


def _in_a_process(candidate: str, reference: str, sample: int) -> dict[str, float | str]:
    command = [sys.executable, "-m", "benchmarks.ranged", "--sample", str(sample), "--measure"]
    command += [candidate, reference]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    found: dict[str, float | str] = json.loads(done.stdout)
    return found


def _measured(candidate: str, reference: str, sample: int) -> dict[str, float | str | None]:
    """Compare two models in this process."""
    began, before = time.monotonic(), processor_seconds()
    with tempfile.TemporaryDirectory() as store:
        evidence = compare(
            candidate, reference, sample=sample, executor=Executor(Store(store), "cpu")
        )
    return {
        "verdict": decide(evidence, DEFAULT_ALPHA),
        "log10_p": evidence.log10_p,
        "seconds": time.monotonic() - began,
        "processor": processor_seconds() - before,
        "peak": peak_bytes(),
    }


if __name__ == "__main__":
    main()
