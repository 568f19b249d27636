"""Hide many copies and frame many strangers, or repeat one: ``python -m tests.adversary.run --help``.

One line for each seed says what was done and what came out. What should not have come out is made again
with fewer changes, until none can be left out.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path

from tests.adversary import copies, strangers
from tests.adversary.bench import Bench

KINDS = {
    "copies": (copies, copies.drawn_attempt, "independent"),
    "strangers": (strangers, strangers.drawn_pair, "dependent"),
}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_subparsers(dest="what", required=True)
    for name in KINDS:
        many = what.add_parser(name, help=f"many {name}, by their seeds")
        many.add_argument("--first", type=int, default=0, help="first seed")
        many.add_argument("--count", type=int, default=100, help="how many seeds")
    for name in ("copy", "stranger"):
        what.add_parser(name, help=f"one {name}, as it was printed").add_argument("text")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        if arguments.what in KINDS:
            _many(bench, arguments.what, range(arguments.first, arguments.first + arguments.count))
        elif arguments.what == "copy":
            _say(*copies.tried(bench, copies.attempt(arguments.text)))
        else:
            _say(*strangers.tried(bench, strangers.pair(arguments.text)))


def _many(bench: Bench, kind: str, seeds: range) -> None:
    module, draw, wrong = KINDS[kind]
    verdicts, numbers, levels = Counter(), Counter(), Counter()
    for seed in seeds:
        finding, made = module.tried(bench, draw(seed))
        verdicts[finding.verdict.split(":")[0]] += 1
        numbers[finding.numbers] += 1
        levels.update(p for p in (-1, -2, -3, -6) if (finding.log10_p or 0.0) < p)
        _print(f"{seed}: {finding}: {made}")
        if wrong in {finding.verdict, finding.numbers}:
            by = "verdict" if finding.verdict == wrong else "numbers"
            least = module.smallest(
                made,
                lambda one, by=by: getattr(module.tried(bench, one)[0], by) == wrong,
            )
            _print(f"   {wrong} by its {by} already: {least.command}")
    _print(f"{len(seeds)} {kind}: {dict(verdicts)}; by p-values alone {dict(numbers)}")
    _print(f"   log10 p below: {dict(sorted(levels.items(), reverse=True))}")


def _say(finding: object, made: object) -> None:
    _print(f"{finding}: {made}")


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
