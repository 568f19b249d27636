"""Draw how the power of kinship fades: changes of small models, and of a real one, at rising strengths.

``python -m benchmarks.curves --folder DIR --output docs/power.md``

Models and verdicts are kept in the folder: a run that was stopped goes on, and one that ended is free.
``--real`` takes the folder of SmolLM2-135M, as ``python -m benchmarks.real models`` makes it. Its changed
models are compared by weight files alone, so that no verdict on them is counted.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks import _counts
from benchmarks._arguments import at_least, checkpoint
from benchmarks._curve_changes import LEAST, TRIAL, WHOLE, Stock, curves
from benchmarks._curve_judge import (
    HELD_OUT,
    OTHER_TEXT,
    STATISTIC,
    THRESHOLD,
    Judged,
    Kept,
    compared,
    judged,
    likeness,
    loss,
)
from benchmarks._curve_page import Population, page, pictures
from benchmarks._curve_real import RealModel, real_curves
from benchmarks._page import about_machine, reading_of
from benchmarks._zoo import tokenizer_of
from provenance._quiet import quiet
from provenance.inputs import corpus
from provenance.recipes.steps import load
from provenance.recipes.train import one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transformers import PreTrainedModel

    from benchmarks._curve_changes import Curve, Size

    Texts = dict[str, torch.Tensor]
    Place = tuple[str, str, str, str]

COMMAND = "python -m benchmarks.curves --folder models --output docs/power.md"
BASES = 3
UNSEEN = "code-1"
"""Code that neither a base nor its descendant reads; "held-out" begins with the prose of fine-tunes."""
STRANGERS = "Two small Llamas of one shape, trained apart on one text."


def measure(folder: Path, size: Size, bases: int, *, make: bool = True) -> list[Population]:
    """Make every changed model that the folder lacks, and compare it with its base.

    Parameters
    ----------
    make
        False takes what an earlier run, which may have been stopped, left in the folder.
    """
    stock = Stock(folder, size, bases)
    kept = Kept(folder / "judged.json")
    texts = {HELD_OUT: _beginning(stock, UNSEEN), OTHER_TEXT: _beginning(stock, OTHER_TEXT)}
    known = {base.name: _losses(load(base).eval(), texts) for base in stock.bases}
    found = curves(size)
    if make:
        for number, curve in product(range(bases), found):
            _follow(curve, stock, number, kept, texts)
    chance = math.log(size.scale.vocabulary)
    return [
        Population(
            curve.population,
            curve.strengths,
            known,
            chance,
            kept.of(curve.picture, curve.series, known),
        )
        for curve in found
    ]


def _beginning(stock: Stock, name: str) -> torch.Tensor:
    """Return the first ids of one of the zoo's texts, int64 (tokens,)."""
    scale = stock.size.scale
    text = corpus.text(stock.zoo.text(name).name, scale.characters)
    ids = tokenizer_of(stock.bases[0]).encode(text, add_special_tokens=False)
    return torch.tensor(ids[: scale.tokens])


def _losses(model: PreTrainedModel, texts: Texts) -> dict[str, float]:
    return {name: loss(model, ids) for name, ids in texts.items()}


def _follow(curve: Curve, stock: Stock, number: int, kept: Kept, texts: Texts) -> None:
    """Judge every model of a curve that descends from one base."""
    base = stock.bases[number]

    def judge(place: Place, changed: Path) -> Judged:
        evidence, found = compared(changed, base, stock.size.scale.tokens)
        kin = (curve.picture, place[2]) != ("merging", LEAST)
        models = load(changed).eval(), load(base)
        losses = _losses(models[0], texts)
        return judged(place, evidence, found, losses, likeness(*models), kin=kin)

    for strength, changed in zip(curve.strengths, curve.make(stock, number), strict=False):
        place = curve.picture, curve.series, strength, base.name
        key = "/".join((*place, changed.name))
        _say(kept.once(key, lambda p=place, c=changed: judge(p, c)))


def measure_real(folder: Path, model: Path, size: Size, *, make: bool = True) -> list[Population]:
    """Change a pretrained model, and compare each result with it; ``make`` as for `measure`."""
    kept = Kept(folder / "judged-real.json")
    with quiet():
        real = RealModel(model)
        found = list(real_curves(size, real.name))
        for curve in found if make else ():
            for strength in curve.changes:
                _say(real.judge(curve, strength, kept))
    return [
        Population(
            curve.population,
            tuple(curve.changes),
            {real.name: {HELD_OUT: real.loss}},
            math.log(real.vocabulary),
            kept.of(curve.picture, curve.series, {real.name}),
        )
        for curve in found
    ]


def _say(row: Judged) -> None:
    why = f" ({', '.join(row.why)})" if row.why else ""
    sys.stderr.write(f"{', '.join(row.place)}: {row.verdict}{why}\n")


def counted(populations: Sequence[Population]) -> tuple[_counts.Counted, ...]:
    """Count the verdicts of each series: on kin that predict text, on kin that do not, on strangers."""
    return tuple(
        _counted(sentence, rows)
        for population in populations
        for sentence, rows in _groups(population)
    )


def _groups(population: Population) -> Iterator[tuple[str, list[Judged]]]:
    groups: dict[str, list[Judged]] = defaultdict(list)
    for row in population.rows:
        state = "still predicts text" if population.predicts(row) else "predicts no text any more"
        groups[state if row.kin else ""].append(row)
    for state, rows in groups.items():
        met = {row.strength for row in rows}
        strengths = ", ".join(each for each in population.strengths if each in met)
        told = f"{population.sentence.format(strengths)}; it {state}."
        yield (told if state else STRANGERS), rows


def _counted(sentence: str, rows: Sequence[Judged]) -> _counts.Counted:
    bases = len({row.base for row in rows})
    kin, met = rows[0].kin, rows[0].picture == "merging"
    return _counts.Counted(
        sentence,
        "kin" if kin else "strangers",
        max(1, bases // 2) if met else bases,  # what is met in a merge is the base of another pair
        STATISTIC,
        THRESHOLD,
        {verdict: sum(row.verdict == verdict for row in rows) for verdict in _counts.VERDICTS},
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="where models are kept")
    parser.add_argument("--output", type=Path, required=True, help="pictures are put beside it")
    parser.add_argument("--real", type=checkpoint, help="the folder of a pretrained model")
    parser.add_argument("--bases", type=at_least(1), default=BASES, help="models that are changed")
    parser.add_argument("--counts", type=Path, default=_counts.FOLDER, help="where counts are kept")
    parser.add_argument(
        "--longest", type=at_least(1), help="steps of the longest training; fewer end sooner"
    )
    parser.add_argument(
        "--kept", action="store_true", help="make nothing: tell what the folder has"
    )
    parser.add_argument("--small", action="store_true", help="tiny models, in a minute: a trial")
    given = parser.parse_args(arguments)
    folder, size = given.folder.resolve(), TRIAL if given.small else WHOLE
    if given.longest:
        size = size.up_to(given.longest)
    make = not given.kept
    with one_thread():
        small = measure(folder, size, given.bases, make=make)
        real = measure_real(folder, given.real, size, make=make) if given.real else []
    populations = [population for population in (*small, *real) if population.rows]
    command = COMMAND
    if given.longest:
        command += f" --longest {given.longest}"
    if given.real:
        command += f" --real real/{given.real.name}"
    text = page(populations, size, command, reading_of(given.output))
    given.output.write_text(text, encoding="utf-8")
    for name, drawn in pictures(populations).items():
        given.output.with_name(name).write_text(drawn, encoding="utf-8")
    source = _counts.Source(command, **about_machine(), counted=counted(small))
    _counts.save(source, "curves", given.counts)


if __name__ == "__main__":
    main()
