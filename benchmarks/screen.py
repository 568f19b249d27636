"""Measure what an audit's screen misses, lets through and saves, on small deep models.

``python -m benchmarks.screen --folder DIR`` prints the tables of RESULTS.md. It keeps its models in
DIR and uses those that are there.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import _screened
from benchmarks._arguments import at_least
from benchmarks._pair import Shape, random_model
from benchmarks._units import activations, weight_rows
from benchmarks._zoo import SMALL, Zoo
from provenance.audit.screen import LEVEL, SAMPLE
from provenance.inputs.tokens import random_ids
from provenance.recipes.train import one_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks._screened import Cost, Screened

DEEP = replace(SMALL, blocks=12, units=96, steps=60, tokens=1024)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screen", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="keeps the models")
    parser.add_argument("--screened", type=at_least(1), default=SAMPLE, help="blocks of a screen")
    parser.add_argument(
        "--blocks", type=at_least(6), default=DEEP.blocks, help="of each model, 6 or more"
    )
    parser.add_argument(
        "--models", type=at_least(2), default=12, help="strangers, of which all pairs"
    )
    parser.add_argument("--small", action="store_true", help="little of everything")
    options = parser.parse_args(arguments)
    scale = replace(DEEP, blocks=options.blocks, steps=10 if options.small else DEEP.steps)
    number = options.screened

    def report(what: str) -> None:
        print(what, file=sys.stderr)

    with one_thread():
        zoo = Zoo(options.folder, scale)
        ids = zoo.held_out(scale.tokens)
        kin = _screened.kin(zoo, ids, number, report, small=options.small)
        print(f"{scale.blocks} blocks of {scale.units} units, a screen of {number}, at {LEVEL:g}\n")
        print(_kin_table(kin), flush=True)
        strangers, cost = _screened.null(zoo, ids, options.models, number, report)
        costs = [cost] if options.small else [cost, _wide(number)]
    print(_null_lines(strangers, costs))


def _wide(number: int) -> Cost:
    """Time a pair of random models of 24 blocks that are wide enough for the assignments to count."""
    shape = Shape(24, 128, 512, 4, 512)
    sides = []
    ids = random_ids(1024, shape.vocabulary, seed=7)
    for seed in (0, 1):
        model = random_model(shape, seed)
        sides.append({"match": activations(model, ids), "match_weights": weight_rows(model)})
    return _screened.cost(sides[1], sides[0], number)


def _kin_table(found: list[Screened]) -> str:
    lines = ["| change | strength | all blocks say | kin blocks | the screen misses |"]
    lines.append("| --- | --- | --- | ---: | ---: |")
    for row in found:
        missed = f"{1 - row.passes:.0%}" if row.verdict == "dependent" else "–"
        kin = f"{row.kin} of {row.blocks}"
        lines.append(f"| {row.kind} | {row.strength} | {row.verdict} | {kin} | {missed} |")
    return "\n".join(lines) + "\n"


def _null_lines(found: list[Screened], costs: list[Cost]) -> str:
    lines = ["| strangers | pairs | pass a screen | all blocks say dependent |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for kind, rows in groupby(sorted(found, key=_kind), key=_kind):
        pairs = list(rows)
        false = sum(row.verdict == "dependent" for row in pairs)
        lines.append(f"| {kind} | {len(pairs)} | {_share(pairs):.1%} | {false} |")
    lines += ["", "| blocks | screen, ms | all blocks, ms | ratio | with those that pass |"]
    lines.append("| ---: | ---: | ---: | ---: | ---: |")
    for cost in costs:
        ratio = cost.screen / cost.whole
        times = f"{1000 * cost.screen:.0f} | {1000 * cost.whole:.0f}"
        lines.append(f"| {cost.blocks} | {times} | {ratio:.2f} | {ratio + _share(found):.2f} |")
    return "\n".join(lines)


def _kind(row: Screened) -> str:
    return row.strength


def _share(found: list[Screened]) -> float:
    return sum(row.passes for row in found) / len(found)


if __name__ == "__main__":
    main()
