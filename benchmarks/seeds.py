"""Count the verdicts on models that differ in the seed of their first weights alone, and on their copies.

``python -m benchmarks.seeds --folder DIR --output docs/calibration-seeds.md``

A run that was stopped goes on where it was; ``--render`` writes the page of what there is.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks._arguments import at_least
from benchmarks._counts import FOLDER, Source, save
from benchmarks._page import reading_of
from benchmarks._seed_counts import counts
from benchmarks._seed_page import page
from benchmarks._seed_runs import Run
from benchmarks._zoo import SMALL, Scale

SEEDS = Scale(hidden=48, units=72, steps=150, vocabulary=512, longest=4096)
"""Small, so that two thousand pairs take an hour."""

MODELS = 64
NAME = "seeds"


def main(arguments: list[str] | None = None) -> None:
    """Measure, write the page, and keep the counts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seeds", description=__doc__)
    parser.add_argument(
        "--models", type=at_least(1), default=MODELS, help="models to train, 6 or more"
    )
    parser.add_argument(
        "--steps", type=at_least(1), default=SEEDS.steps, help="training steps of each"
    )
    parser.add_argument("--folder", type=Path, required=True, help="keeps models and results")
    parser.add_argument("--output", type=Path, default=Path("docs/calibration-seeds.md"))
    parser.add_argument("--counts", type=Path, default=FOLDER, help=argparse.SUPPRESS)
    parser.add_argument("--small", action="store_true", help="tiny models, as in the tests")
    parser.add_argument("--render", action="store_true", help="only write the page of what is kept")
    given = parser.parse_args(arguments)
    scale = SMALL if given.small else replace(SEEDS, steps=given.steps)
    if given.models < 6:
        parser.error("--models must be 6 or more: pairs of each of three shapes")
    given.folder.mkdir(parents=True, exist_ok=True)
    try:
        run = Run(given.folder, given.models, scale)
    except ValueError as error:
        parser.error(str(error))
    if not given.render:
        run.measure(_report)
    asked = [f"--models {given.models}", f"--steps {scale.steps}", *["--small"] * given.small]
    command = (
        f"python -m benchmarks.seeds {' '.join(asked)} --folder models --output {given.output}"
    )
    found = run.found()
    given.output.write_text(page(found, scale, command, reading_of(given.output)), encoding="utf-8")
    about = found.about
    source = Source(command, about["date"], about["machine"], about["versions"], counts(found))
    save(source, NAME, given.counts)


def _report(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
