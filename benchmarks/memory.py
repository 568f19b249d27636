"""Measure the memory of a comparison by blocks and tokens, with models loaded and run from disk.

``python -m benchmarks.memory`` measures each case in a process of its own. It prints the growth of the peak
over that of a tiny pair, beside the weights of one model. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import provenance
from benchmarks import _pair
from benchmarks._process import peak_bytes
from provenance.vocabulary import Memory

if TYPE_CHECKING:
    from collections.abc import Sequence

WORKING = 256 << 20
CASES = (  # statistic, blocks, tokens, the share of the weights that may be resident
    ("match", 8, 4096, None),
    ("match", 32, 4096, None),
    ("match", 32, 16_384, None),
    ("match", 8, 4096, 0.25),
    ("match", 32, 4096, 0.25),
    ("csu", 8, 4096, None),
    ("csu", 32, 4096, None),
    ("l2", 8, 4096, None),
    ("l2", 32, 4096, None),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, or one measurement of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(_measure(*options.measure)))
        return
    print(f"working memory {WORKING >> 20} MiB; MiB over the start:")
    print(f"{'statistic':10}{'blocks':>7}{'tokens':>8}{'weights':>9}{'resident':>9}{'peak':>7}")
    with tempfile.TemporaryDirectory() as scratch:
        for statistic, blocks, tokens, share in CASES:
            folder = Path(scratch) / str(blocks)
            models = _pair.make(_pair.Shape(blocks=blocks, vocabulary=8000), folder)
            tiny = _pair.make(_pair.Shape(2, 64, 128, 4, 512), Path(scratch) / "tiny")
            weights = (models.base / "model.safetensors").stat().st_size
            limit = 1 << 50 if share is None else int(share * weights)
            paths = (tiny.base, tiny.dependent, models.base, models.dependent)
            peak = _in_a_process(statistic, tokens, limit, *paths)
            shown = "-" if share is None else f"{limit >> 20}"
            print(
                f"{statistic:10}{blocks:7}{tokens:8}{weights >> 20:9}{shown:>9}{peak >> 20:7}",
                flush=True,
            )


def _in_a_process(*what: object) -> int:
    command = [sys.executable, "-m", "benchmarks.memory", "--measure", *map(str, what)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    return int(json.loads(out))


def _measure(statistic: str, tokens: str, resident: str, *models: str) -> int:
    """Growth of this process's peak resident memory, in bytes."""
    torch.set_num_threads(1)
    _compare(statistic, int(tokens), int(resident), *models[:2])
    before = peak_bytes()
    _compare(statistic, int(tokens), int(resident), *models[2:])
    return peak_bytes() - before


def _compare(statistic: str, tokens: int, resident: int, reference: str, candidate: str) -> None:
    with tempfile.TemporaryDirectory() as store:
        provenance.compare(
            candidate,
            reference,
            inputs=provenance.InputsSpec(kind="random", tokens=tokens),
            statistic=statistic,  # type: ignore[arg-type] # one of CASES
            permutations=19,
            executor=provenance.Executor(
                provenance.Store(store), "cpu", memory=Memory(WORKING, resident)
            ),
        )


if __name__ == "__main__":
    main()
