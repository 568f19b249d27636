"""What a statistic of the package says of single pairs of blocks: tested one by one, and kept as they come.

`provenance.compare` tests a whole row of blocks, or all. Here the pairs are chosen freely, so that a
measurement of thousands of them can be thinned, stopped, and gone on with.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from provenance import InputsSpec, ModelSpec
from provenance._quiet import quiet
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
        As `provenance.evidence.records.PartEvidence` has them; None where none is defined.
    agreeing
        Units that gate and up match alike.
    reason
        Why there is no p-value.
    seconds
        Processor time, with the preparation of blocks that were met for the first time.
    """

    candidate: int
    reference: int
    log10_p: float | None
    nearness: float | None
    agreeing: int
    reason: str | None
    seconds: float

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
        (tested,) = tests_of(self._sides, *place).values()
        seconds = time.process_time() - begun
        found = tested.evidence
        return Cell(
            *place, found.log10_p, found.nearness, found.agreeing, found.reason, round(seconds, 3)
        )


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
    """The cells of two models that were measured, of all that there are."""

    candidate: str
    reference: str
    question: Question
    depths: tuple[int, int]
    cells: tuple[Cell, ...]

    @property
    def possible(self) -> int:
        """Pairs of blocks of the two models."""
        return self.depths[0] * self.depths[1]

    def seconds(self) -> float:
        """Return the processor time of a pair of blocks on the average."""
        return sum(cell.seconds for cell in self.cells) / max(1, len(self.cells))


class Kept:
    """A file with the cells of two models: a line that names them, and one for each cell.

    A line is written as soon as its cell is measured, so that whoever is stopped loses one cell.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> Table | None:
        """Return what was measured so far; None where nothing was begun."""
        if not self.file.exists():
            return None
        # what stands behind the last end of a line was cut off in writing
        first, *lines = self.file.read_text(encoding="utf-8").split("\n")[:-1] or [""]
        if not first:
            return None
        head = json.loads(first)
        question = Question(**head.pop("question"))
        cells = tuple(Cell(**json.loads(line)) for line in lines)
        return Table(**{**head, "depths": tuple(head["depths"])}, question=question, cells=cells)

    def begin(self, table: Table) -> None:
        """Write the cells of a table, and nothing else."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        head = {**asdict(table)}
        del head["cells"]
        lines = [json.dumps(head), *(json.dumps(asdict(cell)) for cell in table.cells)]
        half = self.file.with_suffix(".half")
        half.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        half.replace(self.file)

    def add(self, cell: Cell) -> None:
        """Write one more cell."""
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(cell)) + "\n")


def measure(
    models: tuple[Path, Path],
    question: Question,
    wanted: Callable[[tuple[int, int]], set[Place]],
    executor: Executor,
    file: Path,
) -> Table:
    """Test the pairs of blocks that are wanted and not in the file yet; they are kept in it.

    ``wanted`` says which, given the two models' numbers of blocks.
    """
    kept = Kept(file)
    known = kept.read()
    if known is not None and not _missing(known, wanted):
        return known
    blocks = Blocks(*models, question, executor)
    depths = len(blocks.rows), len(blocks.columns)
    names = models[0].name, models[1].name
    known = known or Table(*names, question, depths, ())
    kept.begin(known)
    cells = list(known.cells)
    for place in _in_turn(blocks.rows, blocks.columns, _missing(known, wanted)):
        cells.append(blocks.test(place))
        kept.add(cells[-1])
    return Table(*names, question, depths, tuple(cells))


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
