"""Time a whole `provenance compare A B` against the least that it could take.

``python -m benchmarks.start`` makes a pair of models, or takes two folders. The least is a process that
imports torch and transformers and reads both models' weight files. Both are run in turn, each comparison
with an empty store. Medians of wall and of processor seconds are printed, and their ratios: on a machine
that has other work, the second says more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import _pair
from benchmarks._arguments import at_least

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEAST = "imports, reading both"
WHOLE, AGAIN, HELP = "compare", "compare again, from the store", "compare --help"

FLOOR = """
import sys, torch, transformers
for name in sys.argv[1:]:
    with open(name, "rb", buffering=0) as file:
        while file.read(1 << 24):
            pass
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark as the options say."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folders = options.models or _made(Path(scratch))
        found = measure(folders, Path(scratch), options)
    print(_table(found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("models", nargs="*", type=Path, help="two folders; none: they are made")
    parser.add_argument("--statistic", default="match_weights")
    parser.add_argument("--repeats", type=at_least(1), default=3)
    parser.add_argument(
        "--threads", type=at_least(1), help="of torch; as many as it takes by itself"
    )
    return parser


def _made(scratch: Path) -> list[Path]:
    models = _pair.make(_pair.Shape(), scratch)
    return [models.dependent, models.base]


def measure(
    folders: Sequence[Path], scratch: Path, options: argparse.Namespace
) -> dict[str, tuple[float, float]]:
    """Median seconds, of the clock and of processors, by what was run."""
    files = [str(file) for folder in folders for file in sorted(folder.glob("*.safetensors"))]
    provenance = [sys.executable, "-m", "provenance"]
    compare = [*provenance, "compare", *map(str, folders), "--statistic", options.statistic, "-q"]
    own = {} if options.threads is None else {"OMP_NUM_THREADS": str(options.threads)}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in (LEAST, WHOLE, AGAIN, HELP)}
    for _ in range(options.repeats):
        spent[LEAST].append(_seconds([sys.executable, "-c", FLOOR, *files], own))
        with tempfile.TemporaryDirectory(dir=scratch) as store:
            for name in (WHOLE, AGAIN):
                spent[name].append(_seconds(compare, {**own, "PROVENANCE_STORE": store}))
        spent[HELP].append(_seconds([*provenance, "compare", "--help"], own))
    return {
        name: (median(one[0] for one in each), median(one[1] for one in each))
        for name, each in spent.items()
    }


def _seconds(command: Sequence[str], variables: Mapping[str, str]) -> tuple[float, float]:
    """How long a process took, and how long it and its children kept processors busy."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **variables})  # noqa: S603 - ours
    wall, after = time.perf_counter() - start, os.times()
    user = after.children_user - before.children_user
    return wall, user + after.children_system - before.children_system


def _table(found: Mapping[str, tuple[float, float]]) -> str:
    lines = [f"{'seconds':32}{'wall':>8}{'CPU':>8}{'ratios':>12}"]
    for name, spent in found.items():
        ratios = (f"{a / b:8.2f}" for a, b in zip(spent, found[LEAST], strict=True))
        lines.append(f"{name:32}{spent[0]:8.2f}{spent[1]:8.2f}    {''.join(ratios)}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
