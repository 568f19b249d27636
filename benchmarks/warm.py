"""Time the second run of an unchanged suite: all pairs of the quickstart's models.

``python -m benchmarks.warm`` runs the suite twice. It prints the second run's time for each test, less the
time that pytest takes for an empty test.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MODELS = ("base", "finetuned", "rebranded", "other-seed")
STATISTICS = ("match", "match_weights", "kinship", "csh", "match_cosine")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warm", description=__doc__)
    parser.add_argument("--store", help="a store that has the models already")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "pytest.ini").write_text("[pytest]\n")
        (folder / "all.suite.yaml").write_text(_suite())
        store = options.store or str(folder / "store")
        _, first = _run(folder, "all.suite.yaml", store)
        tests, second = _run(folder, "all.suite.yaml", store)
        nothing = "import pytest\n@pytest.mark.parametrize('i', range(%d))\ndef test(i): pass\n"
        (folder / "test_nothing.py").write_text(nothing % tests)
        _, empty = _run(folder, "test_nothing.py", store)
    print(f"{tests} tests of {len(MODELS) * (len(MODELS) - 1) * len(STATISTICS)} pairs")
    print(f"first run {first:.2f} s, second {second:.2f} s, as many tests of nothing {empty:.2f} s")
    print(f"ours: {1000 * (second - empty) / tests:.2f} ms a test")


def _suite() -> str:
    lines = ["version: 1", "models:"]
    lines += [f"  {name}: {{recipe: quickstart/{name}}}" for name in MODELS]
    lines += [f"defaults: {{statistic: [{', '.join(STATISTICS)}]}}", "pairs:"]
    lines += [
        f"  - {{candidate: {a}, reference: {b}, expect: unknown}}"
        for a, b in itertools.permutations(MODELS, 2)
    ]
    return "\n".join(lines) + "\n"


def _run(folder: Path, what: str, store: str) -> tuple[int, float]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", what]
    command += ["--provenance-store", store]
    start = time.perf_counter()
    found = subprocess.run(  # noqa: S603 - ours
        command, cwd=folder, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    seconds = time.perf_counter() - start
    passed = re.search(r"(\d+) passed", found.stdout)
    if found.returncode or passed is None:
        raise RuntimeError(found.stdout[-2000:] + found.stderr[-2000:])
    return int(passed[1]), seconds


if __name__ == "__main__":
    main()
