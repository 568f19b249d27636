"""Parts of the report for a notebook: each in a frame of its own, which no style of the page reaches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from provenance.evidence.families import lineage_graph
from provenance.evidence.read import results_of_evidence
from provenance.evidence.tested_with import tested_with
from provenance.report.cast import cast_of
from provenance.report.facts import own
from provenance.report.html import SCATTERS, framed_style, hash_of, render_report, template
from provenance.report.record_tables import of_claim
from provenance.report.sections import Room, row_of, section_of

if TYPE_CHECKING:
    from os import PathLike

    from provenance.evidence.records import Evidence
    from provenance.evidence.results import Results
    from provenance.report.view import Section

PAIR_HEIGHT, REPORT_HEIGHT, PLOT_HEIGHT = 620, 720, 290
"""Pixels of the frames; what is longer scrolls in them."""


@dataclass(frozen=True)
class Drawing:
    """A figure that a notebook shows and that a file can keep; ``svg`` is complete in itself."""

    svg: str
    caption: str

    def _repr_html_(self) -> str:
        return _frame(self.svg, PLOT_HEIGHT, self.caption)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the figure as SVG."""
        Path(path).write_text(self.svg, encoding="utf-8")


def pair_html(evidence: Evidence, alpha: float) -> str:
    """The pair's part of a report, judged at ``alpha``, as HTML."""
    style = framed_style()
    page = template("pair.html.jinja").render(
        section=_section(evidence, alpha),
        style=Markup(style),  # noqa: S704 - our own file
        style_hash=hash_of(style),
    )
    return _frame(page, PAIR_HEIGHT, "the pair's part of a report")


def results_html(results: Results) -> str:
    """The report on results, as HTML."""
    return _frame(render_report(results), REPORT_HEIGHT, "the report")


def plot(evidence: Evidence, alpha: float) -> Drawing:
    """Plot the p-value of each block against ``alpha``.

    Raises
    ------
    ValueError
        The statistic is of whole models, and has no blocks to plot.
    """
    figure = _section(evidence, alpha).plot
    if figure is None:
        raise ValueError(f"{evidence.statistic} is of whole models: there is no block to plot")
    style = Markup("<style>{}</style>").format(Markup(framed_style()))  # noqa: S704 - our own file
    start, tail = str(figure.drawing).split(">", 1)
    return Drawing(f'{start} xmlns="http://www.w3.org/2000/svg">{style}{tail}', figure.caption)


def _section(evidence: Evidence, alpha: float) -> Section:
    results = results_of_evidence({"evidence": evidence}, alpha)
    (result,) = results.claims
    models = cast_of(results, lineage_graph(results)).pairs[0]
    row = row_of(result, "pair", tested_with(results, result), models)
    return section_of(result, row, Room(SCATTERS, short=False), own(of_claim(result, 1), ()))


def _frame(page: str, height: int, title: str) -> str:
    """A page within the page: its own styles, and neither scripts nor links that lead out of it."""
    return str(
        Markup(
            '<iframe srcdoc="{}" title="{}" sandbox width="100%" height="{}" frameborder="0"></iframe>'
        ).format(page, title, height)
    )
