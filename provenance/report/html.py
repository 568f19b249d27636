"""The report: one HTML file, complete in itself, without a script and without the network."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from provenance._text import visible
from provenance.evidence.families import lineage_graph
from provenance.evidence.outcomes import OUTCOMES, headline, shown_counts
from provenance.evidence.tested_with import tested_with
from provenance.evidence.wording import READINGS
from provenance.report import calibration
from provenance.report.charts import qq_plot
from provenance.report.family_tree import view_lineage
from provenance.report.record_tables import of_run
from provenance.report.sections import Room, row_of, section_of
from provenance.report.view import Figure, ReportView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.evidence.results import Results
    from provenance.report.view import Row

SCATTERS = 1400
"""Of a whole report: where there are more blocks, each claim draws fewer, from strong to weak."""

FEWEST = 3
NAMED = 3
"""False claims that are named above the table."""


def render_report(results: Results) -> str:
    """Write results as one HTML file.

    Parameters
    ----------
    results : Results
        Of a run, or made of evidence (`provenance.evidence.read.read_results`).

    Returns
    -------
    str
        A page that needs nothing else: no script, no font, no network. Its own policy
        (Content-Security-Policy) allows its style sheet and nothing more, so that a name or a reason
        that is markup could do nothing even if it were not escaped.
    """
    style = _style()
    page = (
        _environment()
        .get_template("report.html.jinja")
        .render(
            view=view_report(results),
            readings=READINGS,
            style=Markup(style),  # noqa: S704 - our own file
            style_hash=b64encode(sha256(style.encode()).digest()).decode(),
        )
    )
    return f"{page}\n"


def view_report(results: Results) -> ReportView:
    """All that the report shows, most urgent claims first."""
    order = list(OUTCOMES)
    rows = [
        (row_of(result, f"c{i}", tested_with(results, result)), result)
        for i, result in enumerate(results.claims, 1)
    ]
    rows.sort(key=lambda entry: order.index(entry[0].outcome.key))
    claims = {suite.path: len(suite.claims) for suite in results.suites}
    room = max(FEWEST, SCATTERS // max(1, len(results.claims)))
    said = headline(results)
    title = f"{said[0].upper()}{said[1:]}."
    shown = tuple(row for row, _ in rows)
    return ReportView(
        title=title,
        outcome=title,
        tone=_tone(shown),
        urgent=tuple(row for row in shown if _is_urgent(row))[:NAMED],
        created=_spoken_date(results.created),
        suites=tuple(suite.path for suite in results.suites if suite.digest != "none"),
        counts=shown_counts([row.outcome for row in shown]),
        rows=shown,
        claimed=any(result.claim.expect != "unknown" for result in results.claims),
        lineage=view_lineage(lineage_graph(results)),
        sections=tuple(
            section_of(result, row, Room(room, claims.get(result.suite, 1))) for row, result in rows
        ),
        calibration=_calibration(results),
        facts=of_run(results),
    )


def _tone(rows: Sequence[Row]) -> str:
    """What colours the headline: the most urgent outcome."""
    return rows[0].outcome.tone if rows else OUTCOMES["skipped"].tone


def _is_urgent(row: Row) -> bool:
    return row.outcome.fails or row.outcome.key == "warned"


def _calibration(results: Results) -> tuple[Figure, ...]:
    series = (
        ("null controls", calibration.of_controls(results.claims), _OF_CONTROLS),
        ("claims of independence", calibration.of_independence(results.claims), _OF_CLAIMS),
    )
    figures = []
    for i, (what, log10_ps, caption) in enumerate(series):
        points = calibration.quantiles(log10_ps)
        if points is not None:
            text = f"{caption} {points.count} p-values; {points.outside} of {len(points.observed)} "
            text += "points lie outside the pointwise 95% band."
            figures.append(Figure(qq_plot(f"qq-{i}", points, what), text))
    return tuple(figures)


_OF_CONTROLS = "Null controls: blocks that do not correspond, off the best map of blocks."
_OF_CLAIMS = "Blocks of the claims of independence that held; each statistic by itself."


def _spoken_date(created: str) -> str:
    """A date and time in UTC as people write it; what is no date, as it is."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("provenance.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["coded"] = _coded
    return environment


def _shown(value: Any) -> Any:
    """What hides in a string is made visible; markup of ours is left as it is."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value, keep="\n")
    return value


def _coded(text: str) -> Markup:
    """Set what stands between backticks as code."""
    pieces = [escape(visible(piece, keep="\n")) for piece in text.split("`")]
    if len(pieces) % 2 == 0:  # a backtick without its partner is one
        return Markup("`").join(pieces)
    return Markup().join(
        Markup("<code>{}</code>").format(piece) if i % 2 else piece
        for i, piece in enumerate(pieces)
    )


@cache
def _style() -> str:
    return resources.files("provenance.report").joinpath("report.css").read_text("utf-8")
