"""The blocks of pretrained strangers, pair by pair: which are measured, and what their p-values say."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

from benchmarks import _alike_units, _block_pairs, _drawn_orders, _real_models
from benchmarks._block_pairs import Blocks, Kept, Question
from benchmarks._null import rate
from provenance.statistics import REGISTRY
from provenance.statistics.pvalues import bonferroni

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from benchmarks._alike_units import Set
    from benchmarks._block_pairs import Cell, Place, Table
    from benchmarks._drawn_orders import Drawn
    from benchmarks._null import Rate, Trial
    from provenance import Executor

BESIDE = {"sets": _alike_units.sets_of, "drawn": _drawn_orders.rows_of}
"""What is measured of a pair of blocks beside its p-value."""
LEVELS = (0.05, 0.01, 0.001, 1e-4, 1e-6)
ENDS = 2
"""So many blocks at either end are looked at by themselves."""

LARGEST = "qwen15"
"""A pair of blocks with this model costs several times what others do."""

TOKENS, TEXT, RANDOM = (
    Question("match_tokens"),
    Question("match", "text"),
    Question("match", "random"),
)
COSINE = Question("match_cosine", "text"), Question("match_cosine", "random")
QUESTIONS = (TOKENS, TEXT, RANDOM, *COSINE)


@dataclass(frozen=True)
class Stage:
    """A part of the work: one question of every so many diagonals of each pair of models.

    The pairs of first and last blocks (`ENDS`) are always among them. ``without`` names a model that is
    left out. With ``sets``, each set of units is tested by itself (`benchmarks._alike_units`); with
    ``drawn``, the order of units is drawn many times (`benchmarks._drawn_orders`). A stage with no question
    compares whole models, as users do.
    """

    question: Question | None
    every: int = 1
    without: str | None = None
    sets: bool = False
    drawn: bool = False

    def wants(self, place: Place, depths: tuple[int, int]) -> bool:
        """Whether a pair of blocks is measured."""
        zones = [zone(block, depth) for block, depth in zip(place, depths, strict=True)]
        return sum(place) % self.every == 0 or "rest" not in zones


ENDS_ALONE = 1000
"""A stage of so few diagonals has the pairs of first and last blocks, and no other."""

PLAN = (
    Stage(TOKENS, ENDS_ALONE),
    Stage(TOKENS, ENDS_ALONE, LARGEST, sets=True),
    Stage(TOKENS, 12, LARGEST),
    Stage(TEXT, ENDS_ALONE, LARGEST),
    Stage(TEXT, ENDS_ALONE, LARGEST, sets=True),
    Stage(TOKENS, 6, LARGEST),
    Stage(TEXT, 12, LARGEST),
    Stage(None, without=LARGEST),
    Stage(TOKENS, 12),
    Stage(TOKENS, ENDS_ALONE, sets=True),
    *(Stage(question, 12, LARGEST, drawn=True) for question in (TEXT, TOKENS, RANDOM)),
    Stage(TEXT, ENDS_ALONE),
    Stage(RANDOM, 12, LARGEST),
    Stage(TOKENS, 3, LARGEST),
    Stage(TEXT, 6, LARGEST),
    *(Stage(question, 12, LARGEST) for question in COSINE),
    Stage(TEXT, 12),
    Stage(TOKENS, 6),
    Stage(None),
    Stage(RANDOM, 12),
    *(Stage(question, 3, LARGEST) for question in (TEXT, RANDOM)),
    Stage(TOKENS, 3),
    *(Stage(question, 6, LARGEST) for question in COSINE),
    *(Stage(question, 1, LARGEST) for question in (TOKENS, TEXT, RANDOM)),
    Stage(TOKENS),
    *(Stage(question, 3) for question in (TEXT, RANDOM)),
)
"""In this order, so that whoever stops early has something of all. What is there is not repeated."""


def zone(block: int, depth: int) -> str:
    """Return whether a block is among a model's first, its last, or the rest."""
    if block < ENDS:
        return "first"
    return "last" if block >= depth - ENDS else "rest"


def wanted(stage: Stage, depths: tuple[int, int]) -> set[Place]:
    """Return the pairs of blocks of two models that a stage asks of."""
    rows, columns = map(range, depths)
    return {(i, j) for i in rows for j in columns if stage.wants((i, j), depths)}


def pairs(folder: Path, without: str | None = None) -> list[tuple[Path, Path]]:
    """Return all pairs of the models in a folder, the later made the candidate: it is the wider one."""
    names = [name for name in _real_models.MODELS if (folder / name).exists()]
    return [(folder / b, folder / a) for b, a in _pairs(names) if without not in {a, b}]


def _pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(b, a) for a, b in itertools.combinations(names, 2)]


def measure(
    folder: Path, kept: Path, stage: Stage, executor: Executor, report: Callable[[str], None]
) -> None:
    """Measure what a stage asks of the blocks of the models in a folder, and is not kept yet."""
    question = stage.question
    if question is None:
        raise ValueError("a stage without a question is of whole models")
    for models in pairs(folder, stage.without):
        file = _file(kept, (models[0].name, models[1].name), question)
        beside = [part for part in BESIDE if getattr(stage, part)]
        report(f"{file.stem}, every {stage.every}{''.join(f', {part}' for part in beside)}")
        if beside:
            made = _block_pairs.made_by(models, question, executor)
            opened = partial(Blocks, *models, question, executor)
            for part in beside:
                _block_pairs.measure_rows(
                    _beside(file, part), made, partial(wanted, stage), opened, BESIDE[part]
                )
        else:
            _block_pairs.measure(models, question, partial(wanted, stage), executor, file)


def tables(kept: Path) -> list[Table]:
    """Return all that is kept, by question and pair of models."""
    files = (_file(kept, pair, question) for question in QUESTIONS for pair in ALL_PAIRS)
    return [table for file in files if (table := Kept(file).read()) is not None]


def sets(kept: Path) -> dict[str, list[Set]]:
    """Return the sets of units that were tested by themselves, by question."""
    found: dict[str, list[Set]] = {}
    for question in QUESTIONS:
        files = (_beside(_file(kept, pair, question), "sets") for pair in ALL_PAIRS)
        of = [one for file in files for one in _alike_units.read(file)]
        if of:
            found[str(question)] = of
    return found


def orders(kept: Path) -> dict[str, list[tuple[Found, Drawn]]]:
    """Return what many orders of units show, by question: with the p-value of the pair of blocks."""
    single: dict[str, dict[tuple[Any, ...], Found]] = defaultdict(dict)
    for one in found_in(tables(kept)):
        single[one.what][*one.models, one.place] = one
    found: dict[str, list[tuple[Found, Drawn]]] = defaultdict(list)
    for question, pair in product(QUESTIONS, ALL_PAIRS):
        for one in _drawn_orders.read(_beside(_file(kept, pair, question), "drawn")):
            of = single[str(question)].get((*pair, one.place))
            if of is not None:
                found[str(question)].append((of, one))
    return dict(found)


def _beside(file: Path, part: str) -> Path:
    return file.with_name(f"{file.stem}-{part}.jsonl")


def _file(kept: Path, pair: tuple[str, str], question: Question) -> Path:
    kind = f"-{question.inputs}" if REGISTRY[question.statistic].runs_models else ""
    return kept / f"{'-'.join(pair)}-{question.statistic}{kind}.jsonl"


ALL_PAIRS = _pairs(_real_models.MODELS)


@dataclass(frozen=True)
class Found:
    """A p-value of a pair of blocks, by what gave it, and where in the two models it is."""

    what: str
    candidate: str
    reference: str
    place: Place
    depths: tuple[int, int]
    log10_p: float
    agreeing: int
    nearness: float | None

    @property
    def zones(self) -> tuple[str, str]:
        """Where the two blocks lie in their models, in alphabetical order: neither model is the first."""
        ours, theirs = (zone(b, d) for b, d in zip(self.place, self.depths, strict=True))
        return min(ours, theirs), max(ours, theirs)

    @property
    def models(self) -> tuple[str, str]:
        """The two models."""
        return self.candidate, self.reference

    def __str__(self) -> str:
        return f"{self.candidate} {self.place[0]}, {self.reference} {self.place[1]}"


def found_in(kept: Iterable[Table]) -> list[Found]:
    """Return the p-values of tables, and those of `kinship` where all its parts were measured."""
    kept = list(kept)
    singles = [
        _found(str(table.question), table, cell)
        for table in kept
        for cell in table.cells
        if cell.log10_p is not None
    ]
    return [*singles, *_kinship(kept)]


def _found(what: str, table: Table, cell: Cell, log10_p: float | None = None) -> Found:
    log10_p = cell.log10_p if log10_p is None else log10_p
    assert log10_p is not None
    return Found(
        what,
        table.candidate,
        table.reference,
        cell.place,
        table.depths,
        log10_p,
        cell.agreeing,
        cell.nearness,
    )


def _kinship(kept: Sequence[Table]) -> Iterator[Found]:
    """`kinship` of pairs of blocks: the better of its parts that are defined, at the price of all three."""
    on_tokens = {
        (table.candidate, table.reference): {cell.place: cell.log10_p for cell in table.cells}
        for table in kept
        if table.question == TOKENS
    }
    for table in kept:
        others = on_tokens.get((table.candidate, table.reference), {})
        for cell in table.cells if table.question in {RANDOM, TEXT} else ():
            defined = [p for p in (cell.log10_p, others.get(cell.place)) if p is not None]
            if cell.place in others and defined:
                log10_p = bonferroni(min(defined), len(REGISTRY["kinship"].parts))
                yield _found(str(Question("kinship", table.question.inputs)), table, cell, log10_p)


def grouped(found: Iterable[Found], key: Callable[[Found], str]) -> dict[str, list[Found]]:
    """Return p-values by what they have in common, in the order in which that comes first."""
    groups: dict[str, list[Found]] = defaultdict(list)
    for one in found:
        groups[key(one)].append(one)
    return dict(groups)


def counted(found: Sequence[Found], level: float) -> Rate:
    """Count the p-values at most at a level; the standard error leaves out one block at a time."""
    return rate(trials(found), level)


def trials(found: Sequence[Found]) -> list[Trial]:
    """Return p-values as trials, in which each block of each model has a number of its own."""
    numbers: dict[tuple[str, int], int] = {}

    def number(model: str, block: int) -> int:
        return numbers.setdefault((model, block), len(numbers))

    return [
        (
            number(one.candidate, one.place[0]),
            number(one.reference, one.place[1]),
            *one.place,
            one.log10_p,
        )
        for one in found
    ]
