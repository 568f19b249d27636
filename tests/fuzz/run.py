"""Fuzz one target for long: ``python -m tests.fuzz.run suite --runs 100000``; needs atheris.

What breaks is written to the current folder as ``crash-...``: put it into tests/fuzz/corpus/<target>/.
A case takes at most a second and the process at most two GiB.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["provenance"]):
    from tests.fuzz.targets import SEEDS, TARGETS, attempt


def main() -> None:
    """Run libFuzzer over one target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--runs", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for i, seed in enumerate(SEEDS[arguments.target]):
            (Path(folder) / str(i)).write_bytes(seed)
        limits = ["-timeout=1", "-rss_limit_mb=2048", "-max_len=20000", "-print_final_stats=1"]
        options = [f"-runs={arguments.runs}", "-seed=1", *limits, folder]
        atheris.Setup([sys.argv[0], *options], lambda data: attempt(arguments.target, data))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
