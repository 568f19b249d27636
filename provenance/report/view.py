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
    """A drawing and its caption; ``legend`` pairs the class of a mark with its meaning."""

    drawing: Markup
    caption: str
    legend: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Panel:
    """One of several figures: the reader chooses which is shown."""

    id: str
    label: str
    figure: Figure
    chosen: bool


@dataclass(frozen=True)
class Heat:
    """Blocks against blocks: the drawing and its numbers."""

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
    """One line of the table of claims."""

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


@dataclass(frozen=True)
class Section:
    """All that the report says of one claim."""

    row: Row
    measured: str
    meaning: str
    notes: tuple[str, ...]
    plot: Figure | None
    blocks: tuple[Table, ...]
    heat: Heat | None
    panels: tuple[Panel, ...]
    matched: int
    controls: tuple[ControlView, ...]
    facts: tuple[Table, ...]


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
class ReportView:
    """The whole report."""

    title: str
    outcome: str
    tone: str
    urgent: tuple[Row, ...]
    created: str
    suites: tuple[str, ...]
    counts: tuple[tuple[Outcome, int], ...]
    rows: tuple[Row, ...]
    claimed: bool
    lineage: LineageView
    sections: tuple[Section, ...]
    calibration: tuple[Figure, ...]
    facts: tuple[Table, ...]
