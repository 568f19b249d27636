"""What the report shows, as data: every number is formatted here or in what this module calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

    from provenance.evidence.outcomes import Outcome


@dataclass(frozen=True)
class Table:
    """A table of text; ``words`` holds the columns that are no numbers."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[int] = frozenset({0})


@dataclass(frozen=True)
class Figure:
    """A drawing and its caption; ``marks`` are the classes of its marks that the page's legend explains."""

    drawing: Markup
    caption: str
    marks: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Panel:
    """One of several figures: the reader chooses which is shown."""

    id: str
    label: str
    figure: Figure
    chosen: bool


@dataclass(frozen=True)
class Heat:
    """A map and its numbers: blocks against blocks, or matrices against blocks."""

    figure: Figure
    table: Table


@dataclass(frozen=True)
class ControlView:
    """One control of a claim; ``tone`` and ``mark`` are as of an `Outcome`."""

    tone: str
    mark: str
    title: str
    outcome: str
    heat: Heat | None
    table: Table | None


@dataclass(frozen=True)
class Row:
    """One line of the list of claims; ``models`` are places in the `Cast`, ``log10_p`` is for sorting.

    ``remedy`` says what to do next of a claim that does not hold, ``strip`` draws its blocks.
    """

    anchor: str
    outcome: Outcome
    sentence: str
    how: tuple[str, ...]
    statistic: str
    expect: str
    verdict: str
    p: str
    holm: str
    kin: str
    where: str
    strip: str
    remedy: str
    models: tuple[int, int]
    log10_p: float

    @property
    def urgent(self) -> bool:
        """Whether a person must look at it."""
        return self.outcome.fails or self.outcome.key == "warned"


@dataclass(frozen=True)
class Section:
    """All that the report says of one claim; where it is drawn ``short``, only ``bars`` and words.

    ``exhibited`` has the exhibits on one line.
    """

    row: Row
    measured: str
    meaning: str
    notes: tuple[str, ...]
    short: bool
    bars: Markup | None
    numbers: str
    plot: Figure | None
    blocks: tuple[Table, ...]
    heat: Heat | None
    difference: Heat | None
    panels: tuple[Panel, ...]
    matched: int
    controls: tuple[ControlView, ...]
    facts: tuple[Table, ...]
    tests: Table | None
    tested: str
    exhibits: Table | None
    exhibited: str
    references: Table | None = None


@dataclass(frozen=True)
class Cell:
    """A pair in the overview: its mark, where its link leads, what it says, and its part of a frame."""

    mark: str = ""
    anchor: str = ""
    words: str = ""
    frame: str = ""


@dataclass(frozen=True)
class Line:
    """A model of the overview, against those across."""

    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Overview:
    """Models against models; ``left_out`` is how many have no place in it."""

    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    left_out: int
    legend: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Option:
    """A choice of a filter: the class of the claims that it leaves."""

    value: str
    label: str


@dataclass(frozen=True)
class Filter:
    """What the list of claims can be narrowed by."""

    id: str
    label: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Family:
    """One family of the lineage: its drawing, and whom it holds."""

    figure: Figure
    title: str


@dataclass(frozen=True)
class LineageView:
    """Families, models without kin, and every kinship in a table."""

    families: tuple[Family, ...]
    alone: tuple[str, ...]
    kinships: Table
    disagreements: tuple[str, ...]


@dataclass(frozen=True)
class RunView:
    """Where and with what the run was made, as its head says it; ``url`` is a page, where there is one."""

    when: str
    took: str
    commit: str
    branch: str
    url: str
    versions: str


@dataclass(frozen=True)
class AuditView:
    """What an audit found, before any pair; ``since`` is None at the first run."""

    since: str | None
    changes: tuple[str, ...]
    families: tuple[tuple[str, ...], ...]
    nights: Table | None


@dataclass(frozen=True)
class ReportView:
    """The whole report; ``first`` and ``more`` are the claims that need a person."""

    title: str
    outcome: str
    tone: str
    first: tuple[Row, ...]
    more: tuple[Row, ...]
    run: RunView
    suites: tuple[str, ...]
    counts: tuple[tuple[Outcome, int], ...]
    claimed: bool
    audit: AuditView | None
    overview: Overview | None
    filters: tuple[Filter, ...]
    lineage: LineageView
    sections: tuple[Section, ...]
    short: int
    legend: tuple[tuple[str, str], ...]
    calibration: tuple[Figure, ...]
    facts: tuple[Table, ...]
    models: tuple[Table, ...]
