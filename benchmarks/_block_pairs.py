"""What a statistic of the package says of single pairs of blocks: tested one by one, and kept as they come.

`provenance.compare` tests a whole row of blocks, or all. Here the pairs are chosen freely, so that a
measurement of thousands of them can be thinned, stopped, and gone on with.
"""

from __future__ import annotations

import time
from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING, Any, Literal

from benchmarks._rows import Rows
from provenance import InputsSpec, ModelSpec
from provenance._quiet import quiet
from provenance.capture.run import CAPTURE_VERSION
from provenance.comparison.components import Components
from provenance.comparison.plan import Comparison, pair_seed
from provenance.comparison.sides import Component, Sides, tests_of
from provenance.statistics import REGISTRY
from provenance.statistics.match_tokens import Probed
from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from provenance import Executor
    from provenance.statistics import Basis
    from provenance.statistics._directions import Directions
    from provenance.store.store import Entry
    from provenance.vocabulary import Role, StatisticName

KEPT_BYTES = 2 << 30
"""How much memory prepared blocks may take."""

Place = tuple[int, int]
"""A block of the candidate, and a block of the reference."""

Kind = Literal["random", "text"]
"""What models are run on."""


@dataclass(frozen=True)
class Question:
    """A statistic of the package, and what models are run on where it runs them."""

    statistic: StatisticName
    inputs: Kind = "text"
    tokens: int = InputsSpec().tokens
    seed: int = InputsSpec().seed

    def __str__(self) -> str:
        if not any(part.runs_models for part in REGISTRY[self.statistic].components()):
            return self.statistic
        return f"{self.statistic}, {'text' if self.inputs == 'text' else 'random ids'}"

    def spec(self) -> InputsSpec:
        """Return the inputs, as a suite names them."""
        return InputsSpec(kind=self.inputs, tokens=self.tokens, seed=self.seed)


@dataclass(frozen=True)
class Cell:
    """What a pair of blocks showed.

    Attributes
    ----------
    candidate, reference
        Block indices.
    log10_p, nearness
        As `provenance.evidence.blocks.PartEvidence` has them; None where none is defined.
    agreeing
        Units that gate and up match alike.
    seconds
        Processor time, with the preparation of blocks that were met for the first time.
    reason
        Why there is no p-value.
    """

    candidate: int
    reference: int
    log10_p: float | None
    nearness: float | None
    agreeing: int
    seconds: float
    reason: str | None = None

    @property
    def place(self) -> Place:
        """The two blocks."""
        return self.candidate, self.reference


class Blocks:
    """The blocks of two checkpoints, as one statistic takes them.

    The store of the executor keeps what was run.
    """

    def __init__(
        self, candidate: Path, reference: Path, question: Question, executor: Executor
    ) -> None:
        specs = ModelSpec(path=str(candidate)), ModelSpec(path=str(reference))
        spec = question.spec()
        comparison = Comparison.of(*specs, spec, question.statistic)
        with quiet():
            component = _component(comparison, executor)
        models = [executor.checkpoint(model) for model in specs]
        self.seed = pair_seed(spec.seed, models[0], models[1])
        self._sides = Sides(component, self.seed, KEPT_BYTES)
        self.rows, self.columns = (sorted(shape.mlps) for shape in component.shapes)

    def prepared(self, place: Place) -> tuple[Directions, Directions]:
        """Return the units of two blocks, as the test takes them."""
        ours, theirs = (
            self._sides.get(role, (block, 0)) for role, block in zip(ROLES, place, strict=True)
        )
        return (ours.whole, theirs.whole) if isinstance(ours, Probed) else (ours, theirs)

    def test(self, place: Place) -> Cell:
        """Test one pair of blocks, each of one MLP."""
        begun = time.process_time()
        (tested,) = tests_of(self._sides, *place, lambda _tested: False).values()
        seconds = time.process_time() - begun
        found = tested.evidence
        return Cell(
            *place,
            _rounded(found.log10_p, 6),
            _rounded(found.nearness, 4),
            found.agreeing,
            round(seconds, 2),
            found.reason,
        )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _component(comparison: Comparison, executor: Executor) -> Component[Any]:
    models = executor.checkpoint(comparison.candidate), executor.checkpoint(comparison.reference)
    statistic = REGISTRY[comparison.statistic]
    made = Components(*models, comparison, executor.work)
    if statistic.reads_files:
        return made.of_files(statistic, "cpu")
    if statistic.basis != "activations":
        raise ValueError(f"{statistic.name} is not computed on files or activations of blocks")
    inputs = executor.work.encoded.choose(comparison.inputs, *models)
    entries: dict[tuple[Basis, Role], Entry] = {
        ("activations", role): executor.work.activations(model, fed, gated=statistic.gated)
        for role, model, fed in zip(
            ROLES, models, (inputs.candidate, inputs.reference), strict=True
        )
    }
    return made.of_captures(statistic, entries, inputs, "cpu")


@dataclass(frozen=True)
class Table:
    """The cells of two models that were measured, of all that there are.

    ``made`` says by what, see `made_by`.
    """

    candidate: str
    reference: str
    question: Question
    depths: tuple[int, int]
    made: dict[str, Any]
    cells: tuple[Cell, ...]

    @property
    def possible(self) -> int:
        """Pairs of blocks of the two models."""
        return self.depths[0] * self.depths[1]

    def seconds(self) -> float:
        """Return the processor time of a pair of blocks on the average."""
        return sum(cell.seconds for cell in self.cells) / max(1, len(self.cells))

    def version(self) -> int:
        """Return the version of the statistic that measured it."""
        version: int = self.made["statistics"][self.question.statistic]
        return version


def made_by(models: tuple[Path, Path], question: Question, executor: Executor) -> dict[str, Any]:
    """Return all that numbers depend on: numbers that were made by something else are measured again."""
    checkpoints = [executor.checkpoint(ModelSpec(path=str(model))) for model in models]
    return {
        "statistics": REGISTRY[question.statistic].versions(),
        "capture": CAPTURE_VERSION,
        "weights": [checkpoint.weights_digest for checkpoint in checkpoints],
        "tokenizers": [checkpoint.tokenizer_digest for checkpoint in checkpoints],
    }


class Kept:
    """A file with the cells of two models."""

    def __init__(self, file: Path) -> None:
        self._rows = Rows(file)

    def read(self) -> Table | None:
        """Return what was measured so far; None where nothing was begun."""
        found = self._rows.read()
        if found is None:
            return None
        head = found.head
        question, depths = Question(**head["question"]), tuple(head["depths"])
        return Table(
            head["candidate"],
            head["reference"],
            question,
            (depths[0], depths[1]),
            head["made"],
            tuple(Cell(*row) for row in found.rows),
        )

    def write(self, table: Table) -> None:
        """Write the cells of a table by their places, and nothing else."""
        head = {
            "candidate": table.candidate,
            "reference": table.reference,
            "question": asdict(table.question),
            "depths": table.depths,
            "made": table.made,
        }
        cells = sorted(table.cells, key=lambda cell: cell.place)
        self._rows.write(head, map(_row, cells))

    def add(self, cell: Cell) -> None:
        """Write one more cell."""
        self._rows.add(_row(cell))


def _row(cell: Cell) -> list[Any]:
    row = list(astuple(cell))
    return row if cell.reason is not None else row[:-1]


def measure(
    models: tuple[Path, Path],
    question: Question,
    wanted: Callable[[tuple[int, int]], set[Place]],
    executor: Executor,
    file: Path,
) -> None:
    """Test the pairs of blocks that are wanted and not in the file yet; they are kept in it.

    What was made by other versions, or of other models, is forgotten. ``wanted`` says which, given the two
    models' numbers of blocks.
    """
    kept, made = Kept(file), made_by(models, question, executor)
    known = kept.read()
    if known is not None and known.made != made:
        known = None
    if known is not None and not _missing(known, wanted):
        return
    blocks = Blocks(*models, question, executor)
    depths = len(blocks.rows), len(blocks.columns)
    names = models[0].name, models[1].name
    known = known or Table(*names, question, depths, made, ())
    kept.write(known)
    for place in _in_turn(blocks.rows, blocks.columns, _missing(known, wanted)):
        kept.add(blocks.test(place))
    whole = kept.read()
    assert whole is not None
    kept.write(whole)


def measure_rows(
    file: Path,
    made: dict[str, Any],
    wanted: Callable[[tuple[int, int]], set[Place]],
    opened: Callable[[], Blocks],
    rows_of: Callable[[Blocks, Place], list[list[Any]]],
) -> None:
    """Keep rows of the pairs of blocks that are wanted; a row begins with its two blocks.

    What is in the file already is not measured again, but for what was not ``made`` so.
    """
    kept = Rows(file)
    known = kept.read()
    if known is None or known.head["made"] != made:
        blocks = opened()
        kept.write({"made": made, "depths": [len(blocks.rows), len(blocks.columns)]}, [])
        known = kept.read()
    else:
        blocks = None
    assert known is not None
    have = {(row[0], row[1]) for row in known.rows}
    rows, columns = known.head["depths"]
    for place in sorted(wanted((rows, columns)) - have):
        blocks = blocks or opened()
        kept.add(*rows_of(blocks, place))
    whole = kept.read()
    assert whole is not None
    kept.write(whole.head, sorted(whole.rows, key=lambda row: (*row[:2], -row[2])))


def _missing(table: Table, wanted: Callable[[tuple[int, int]], set[Place]]) -> set[Place]:
    return wanted(table.depths) - {cell.place for cell in table.cells}


def _in_turn(rows: Sequence[int], columns: Sequence[int], chosen: set[Place]) -> list[Place]:
    """The chosen pairs by the candidate's blocks, there and back: blocks in memory are met first."""
    return [
        (i, j)
        for i in rows
        for j in (columns if i % 2 == 0 else list(reversed(columns)))
        if (i, j) in chosen
    ]
