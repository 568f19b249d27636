"""Hide many copies and frame many strangers, or repeat one: ``python -m tests.adversary.run --help``.

One line for each seed says what was done and what came out. What should not have come out is made again
with fewer changes, until none can be left out.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks._counts import Counted, Source, save
from benchmarks._page import about_machine
from tests.adversary import copies, strangers
from tests.adversary.bench import THRESHOLD, Bench

POPULATIONS = {
    "copies": (
        "small trained Llamas against copies under one to six random changes that keep the function",
        "kin",
    ),
    "strangers": (
        "pairs of small models of other weights under random structures and disguises",
        "strangers",
    ),
}
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
        many.add_argument(
            "--keep", action="store_true", help="keep the verdicts for the error sheet"
        )
    for name in ("copy", "stranger"):
        what.add_parser(name, help=f"one {name}, as it was printed").add_argument("text")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        if arguments.what in KINDS:
            seeds = range(arguments.first, arguments.first + arguments.count)
            verdicts = _many(bench, arguments.what, seeds)
            if arguments.keep:
                _keep(arguments.what, seeds, verdicts)
        elif arguments.what == "copy":
            _say(*copies.tried(bench, copies.attempt(arguments.text)))
        else:
            _say(*strangers.tried(bench, strangers.pair(arguments.text)))


def _keep(kind: str, seeds: range, verdicts: Counter[str]) -> None:
    """Save the verdicts among those that `benchmarks.error_rates` puts together."""
    about = about_machine()
    command = (
        f"python -m tests.adversary.run {kind} --first {seeds.start} --count {len(seeds)} --keep"
    )
    population, truth = POPULATIONS[kind]
    row = Counted(population, truth, _disjoint(kind, seeds), "kinship", THRESHOLD, dict(verdicts))
    save(
        Source(command, about["date"], about["machine"], about["versions"], (row,)),
        f"adversary-{kind}",
    )


def _disjoint(kind: str, seeds: range) -> int:
    """Count the pairs that share no model: references and trained strangers are used again and again."""
    if kind == "copies":
        return len({copies.drawn_attempt(seed).activation for seed in seeds})
    trained = sum(strangers.drawn_pair(seed).begin == "trained" for seed in seeds)
    return len(seeds) - trained + min(trained, strangers.POOL // 2)


def _many(bench: Bench, kind: str, seeds: range) -> Counter[str]:
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
    return verdicts


def _say(finding: object, made: object) -> None:
    _print(f"{finding}: {made}")


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
