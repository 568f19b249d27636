"""Find out whether a long run leaks: test many claims about small models and watch the workers.

``python -m benchmarks.soak`` makes 40 models and runs pytest on 500 pairs of them with two workers of
xdist. It compares each worker's last third of claims with its second third. The run fails where memory,
file descriptors, threads or modules grow, or a forward hook is alive between two tests. It also fails
where a claim does not hold, or a temporary file or a process is left. Linux only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import provenance
from benchmarks._arguments import at_least
from benchmarks._probe import FOLDER
from benchmarks._table import table
from fixtures.transforms import add_noise
from provenance._quiet import quiet
from provenance.recipes.settings import CorpusSettings, TokenizerSettings
from provenance.recipes.tokenizer import train_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import PreTrainedTokenizerFast

FAMILY = 5
"""A base, and four with its weights and noise."""

PER_CLAIM = 64 << 10
"""How much a worker's memory may grow with a claim: a tenth of the size of a model."""

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Size:
    """How much is done."""

    models: int = 40
    pairs: int = 500
    workers: int = 2


@dataclass(frozen=True)
class Worker:
    """What one worker held after each of its claims, in order, and at its end."""

    name: str
    samples: Sequence[Mapping[str, int]]
    end: Mapping[str, int]

    def thirds(self, what: str) -> tuple[list[int], list[int]]:
        """Return a count over the second and over the last third of the claims."""
        third = len(self.samples) // 3
        found = [sample[what] for sample in self.samples]
        return found[third : 2 * third], found[-third:]

    def growth(self, third: int) -> float:
        """Return the bytes that memory grows by with a claim, fitted to the second or last third.

        What leaks grows in both; a heap that settles, or garbage that waits for its collection, in one.
        """
        memory = self.thirds("rss")[third - 2]
        return statistics.linear_regression(range(len(memory)), memory).slope


@dataclass(frozen=True)
class Outcome:
    """What a run showed: its workers, its claims by state, and what it left behind."""

    workers: Sequence[Worker]
    states: Mapping[str, int]
    left: Sequence[str]
    seconds: float
    said: str

    def complaints(self, size: Size) -> list[str]:
        """Return what is not as it must be, a line each."""
        found = [f"{path} is left" for path in self.left]
        tested = sum(self.states.get(state, 0) for state in ("pass", "warn"))
        if tested != size.pairs:
            found.append(f"{tested} of {size.pairs} claims hold: {dict(self.states)}\n{self.said}")
        if len(self.workers) != size.workers:
            found.append(f"{len(self.workers)} of {size.workers} workers left samples")
        return found + [line for worker in self.workers for line in _grown(worker)]


def _grown(worker: Worker) -> list[str]:
    if len(worker.samples) < 6:
        return [f"{worker.name} tested {len(worker.samples)} claims, too few to tell"]
    found = []
    hooks = max(sample["hooks"] for sample in (*worker.samples, worker.end))
    if hooks:
        found.append(f"{worker.name} had {hooks} hooks between two tests")
    first = worker.samples[0]["modules"]  # libraries have a few of their own
    if worker.end["modules"] > first:
        found.append(f"{worker.name} had {first} modules, and {worker.end['modules']} at its end")
    for what in ("descriptors", "threads", "modules"):
        second, last = worker.thirds(what)
        if max(last) > max(second):
            found.append(f"{worker.name} had {max(second)} {what}, and {max(last)} later")
    slowest = min(worker.growth(2), worker.growth(3))
    if slowest > PER_CLAIM:
        found.append(f"{worker.name} grew by {slowest / 1024:.0f} KiB a claim and more")
    return found


def soak(size: Size, folder: Path) -> Outcome:
    """Make the models in a folder, run the suite there, and see what was held and what is left."""
    _write_suite(size, folder)
    temporary, samples = folder / "tmp", folder / "samples"
    temporary.mkdir()
    samples.mkdir()
    command = [sys.executable, "-m", "pytest", "soak.suite.yaml", "-q", "-n", str(size.workers)]
    command += ["-p", "benchmarks._probe", "-p", "no:cacheprovider"]
    command += ["--basetemp", "base"]  # xdist asks pytest for a folder, which pytest keeps
    command += ["--provenance-store", "store", "--provenance-evidence", "kept"]
    environment = os.environ | {
        "PYTEST_ADDOPTS": "",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(temporary),
        FOLDER: str(samples),
    }
    begun = time.monotonic()
    done = subprocess.run(  # noqa: S603 - ours
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - begun
    workers = [_read(path) for path in sorted(samples.iterdir())]
    results = folder / "kept" / "results.json"
    claims = provenance.Results.from_json(results.read_text()).claims if results.exists() else ()
    left = [str(path.relative_to(folder)) for path in _left(temporary, folder / "store")]
    pids = {worker.end["pid"] for worker in workers}
    left += [f"process {pid}" for pid in pids if psutil.pid_exists(pid)]
    states = Counter(claim.state for claim in claims)
    return Outcome(workers, states, left, seconds, (done.stdout + done.stderr)[-2000:])


def _left(temporary: Path, store: Path) -> list[Path]:
    unfinished = store / provenance.Store.version / "tmp"
    return [*temporary.rglob("*"), *unfinished.rglob("*"), *store.rglob("*.tmp")]


def _read(path: Path) -> Worker:
    samples = [json.loads(line) for line in path.read_text().splitlines()]
    return Worker(path.stem, [s for s in samples if not s["end"]], samples[-1])


def _write_suite(size: Size, folder: Path) -> None:
    names = [f"m{index:02}" for index in range(size.models)]
    _make(names, folder / "models")
    pairs = list(itertools.combinations(range(size.models), 2))
    if size.pairs > len(pairs):
        raise ValueError(f"{size.models} models make {len(pairs)} pairs, not {size.pairs}")
    random.Random(0).shuffle(pairs)  # noqa: S311 - every worker meets most models early
    lines = ["version: 1", "inputs: {tokens: 1024, sequence_length: 128}"]
    # by chance one independent pair of a thousand is inconclusive
    lines += ["defaults: {inconclusive: warn}", "models:"]
    lines += [f"  {name}: {{path: models/{name}}}" for name in names]
    lines += ["pairs:"]
    for reference, candidate in pairs[: size.pairs]:
        expect = "finetune" if reference // FAMILY == candidate // FAMILY else "independent"
        claim = f"candidate: {names[candidate]}, reference: {names[reference]}, expect: {expect}"
        lines.append(f"  - {{{claim}}}")
    (folder / "soak.suite.yaml").write_text("\n".join(lines) + "\n")
    (folder / "pytest.ini").write_text("[pytest]\n")


def _make(names: Sequence[str], folder: Path) -> None:
    """Make random Llamas and copies of them with noise; weights suffice, since nothing is generated."""
    tokenizer = train_tokenizer(TokenizerSettings(320, CorpusSettings("topics", 20_000)))
    base = None
    for index, name in enumerate(names):
        if base is None or index % FAMILY == 0:
            base = made = _random(index, tokenizer)
        else:
            made = add_noise(base, seed=index, scale=0.05)
        with quiet():
            made.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def _random(seed: int, tokenizer: PreTrainedTokenizerFast) -> Any:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the soak, print what it showed, and exit with 1 where something grew or is left."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--models", type=at_least(1), default=Size.models)
    parser.add_argument("--pairs", type=at_least(1), default=Size.pairs)
    parser.add_argument("--workers", type=at_least(1), default=Size.workers)
    parser.add_argument("--samples", type=Path, help="an empty folder that keeps all samples")
    options = parser.parse_args(arguments)
    size = Size(options.models, options.pairs, options.workers)
    with tempfile.TemporaryDirectory() as scratch:
        outcome = soak(size, Path(scratch))
        if options.samples is not None:
            for path in (Path(scratch) / "samples").iterdir():
                (options.samples / path.name).write_bytes(path.read_bytes())
    print(f"{size.pairs} pairs of {size.models} models in {outcome.seconds:.0f} s")
    print(f"claims: {dict(outcome.states)}; left behind: {len(outcome.left)}")
    print(_shown(outcome.workers))
    complaints = outcome.complaints(size)
    if complaints:
        sys.exit("\n".join(complaints))
    print("flat")


def _shown(workers: Sequence[Worker]) -> str:
    head = (
        "worker",
        "claims",
        "RSS, second third, MiB",
        "last third",
        "KiB a claim in each",
        "descriptors",
        "threads",
        "modules",
        "at the end",
        "hooks",
    )
    return table(head, (_row(worker) for worker in workers))


def _row(worker: Worker) -> list[str]:
    memory = [f"{statistics.median(third) / 2**20:.1f}" for third in worker.thirds("rss")]
    counts = [
        " → ".join(str(max(third)) for third in worker.thirds(what))
        for what in ("descriptors", "threads", "modules")
    ]
    hooks = str(max(sample["hooks"] for sample in worker.samples))
    growth = ", ".join(f"{worker.growth(third) / 1024:+.1f}" for third in (2, 3))
    end = str(worker.end["modules"])
    return [worker.name, str(len(worker.samples)), *memory, growth, *counts, end, hooks]


if __name__ == "__main__":
    main()
