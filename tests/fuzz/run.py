"""Fuzz one target for long: ``python -m tests.fuzz.run suite --runs 100000``; needs atheris.

libFuzzer chooses, by what the code has not done yet, and `mutate` changes; one mutation in ten is of
bytes. What breaks is written to the current folder as ``crash-...``: put it into
tests/fuzz/corpus/<target>/. A case takes at most a second, or ``--timeout`` on a busy machine, and the
process at most two GiB.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["provenance"]):
    from tests.fuzz.targets import SEEDS, TARGETS, attempt, mutation

    # what is imported when it is first used is to be imported here
    for name in {*sys.argv[1:2]} & TARGETS.keys():
        attempt(name, SEEDS[name][0])

MAX_BYTES = 20_000


class Watch:
    """Counts cases, and finds the slowest."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.cases = self.read = 0
        self.slowest = 0.0

    def __call__(self, data: bytes) -> None:
        begun = time.perf_counter()
        self.read += attempt(self.target, data)
        self.slowest = max(self.slowest, time.perf_counter() - begun)
        self.cases += 1


def changed(target: str, data: bytes, most: int, seed: int) -> bytes:
    """One mutation, within what libFuzzer has room for."""
    if seed % 10:
        made = mutation(target, data, seed)
        if len(made) <= most:
            return made
    return bytes(atheris.Mutate(data, most))


def main() -> None:
    """Run libFuzzer over one target, and say what was run in one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--timeout", type=int, default=1, help="seconds that a case may take")
    arguments = parser.parse_args()
    target, watch = arguments.target, Watch(arguments.target)
    with tempfile.TemporaryDirectory() as folder:
        for i, seed in enumerate(SEEDS[target]):
            (Path(folder) / str(i)).write_bytes(seed)
        limits = [f"-timeout={arguments.timeout}", "-rss_limit_mb=2048"]
        limits += [f"-max_len={MAX_BYTES}", "-len_control=0"]
        options = [f"-runs={arguments.runs}", "-seed=1", *limits, folder]

        def mutator(data: bytes, most: int, seed: int) -> bytes:
            return changed(target, data, most, seed)

        def case(data: bytes) -> None:
            watch(data)
            if watch.cases == arguments.runs:  # libFuzzer leaves without returning
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(  # noqa: T201
                    f"{target}: {watch.cases} cases, {watch.read} read, slowest "
                    f"{watch.slowest:.2f} s, peak {peak:.0f} MB",
                    flush=True,
                )

        atheris.Setup([sys.argv[0], *options], case, custom_mutator=mutator)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
