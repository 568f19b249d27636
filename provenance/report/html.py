"""The report: one HTML file, complete in itself, which works without the network and without a script."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from provenance._pace import clock_of
from provenance._text import visible
from provenance.evidence.audits import stretches
from provenance.evidence.families import lineage_graph
from provenance.evidence.outcomes import OUTCOMES, counts, headline, shown_counts
from provenance.evidence.tested_with import tested_with
from provenance.evidence.wording import READINGS
from provenance.report import calibration
from provenance.report.cast import cast_of
from provenance.report.charts import POINTS, qq_plot
from provenance.report.difference_map import SIZES
from provenance.report.facts import models_of, own, shared, table_of
from provenance.report.family_tree import ARROWS, view_lineage
from provenance.report.filters import classes_of, filters_of, rules
from provenance.report.heat import SHADES
from provenance.report.overview import overview_of
from provenance.report.record_tables import of_claim, of_model, of_run
from provenance.report.sections import Room, row_of, section_of, weight
from provenance.report.view import AuditView, Figure, ReportView, RunView, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Template

    from provenance.evidence.audits import Night
    from provenance.evidence.results import ClaimResult, Results
    from provenance.report.view import LineageView, Row, Section

SCATTERS = 60
"""Of a whole report: where there are more blocks, each claim draws fewer, from strong to weak."""

FEWEST = 3
NAMED = 5
"""Claims that need a person and are named above all; the others are folded."""
PAGE_BYTES, SHORT_BYTES, LEAST_BYTES = 1_200_000, 2_100, 250_000
"""About how long a page should be, what a claim takes that is drawn short, and the least for figures."""


def render_report(results: Results, *, whole: bool = False) -> str:
    """Write results as one HTML file.

    Parameters
    ----------
    results : Results
        Of a run, or made of evidence (`provenance.evidence.read.read_results`).
    whole : bool
        Draw every claim whole, however many there are. By default those that have no room are drawn
        short: what was measured, what it means and the p-value of every block, without the figures.

    Returns
    -------
    str
        A page that needs nothing else: no font, no network, and no script, though it has a small one
        that searches and sorts. Its own policy (Content-Security-Policy) allows its style sheet and that
        script and nothing more, so that a name or a reason that is markup could do nothing even if it
        were not escaped.
    """
    view = view_report(results, whole=whole)
    style = f"{_file('report.css')}\n{rules(view.filters)}"
    script = _file("report.js")
    page = template("report.html.jinja").render(
        view=view,
        readings=READINGS,
        classes_of=classes_of,
        style=Markup(style),  # noqa: S704 - our own file, and rules on our own ids
        style_hash=hash_of(style),
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=hash_of(script),
    )
    return f"{page}\n"


def view_report(results: Results, *, whole: bool = False) -> ReportView:
    """All that the report shows, most urgent claims first."""
    lineage = lineage_graph(results)
    cast = cast_of(results, lineage)
    claims = {suite.path: len(suite.claims) for suite in results.suites}
    sheets = [of_claim(result, claims.get(result.suite, 1)) for result in results.claims]
    common = shared(sheets)
    order = list(OUTCOMES)
    rows = [
        (row_of(result, f"c{i + 1}", tested_with(results, result), cast.pairs[i]), i)
        for i, result in enumerate(results.claims)
    ]
    rows.sort(key=lambda entry: (order.index(entry[0].outcome.key), _strength(entry[0])))
    rooms = _rooms([results.claims[i] for _, i in rows], whole=whole)
    sections = tuple(
        section_of(results.claims[i], row, room, own(sheets[i], common))
        for (row, i), room in zip(rows, rooms, strict=True)
    )
    shown = tuple(row for row, _ in rows)
    urgent = tuple(row for row in shown if row.urgent)
    claimed = any(result.claim.expect != "unknown" for result in results.claims)
    overview = overview_of(shown, cast, lineage)
    family_view = view_lineage(lineage)
    said = headline(results)
    title = f"{said[0].upper()}{said[1:]}."
    return ReportView(
        title=title,
        outcome=title,
        tone="doubt" if results.audit is not None and results.audit.changes else _tone(shown),
        first=urgent[:NAMED],
        more=urgent[NAMED:],
        run=_run(results),
        suites=tuple(suite.path for suite in results.suites if suite.digest != "none"),
        counts=(shown_counts if claimed else counts)([row.outcome for row in shown]),
        claimed=claimed,
        audit=_audit(results),
        overview=overview,
        filters=filters_of(shown, cast),
        lineage=family_view,
        sections=sections,
        short=sum(section.short for section in sections),
        legend=_legend(sections, family_view),
        calibration=_calibration(results),
        facts=(*of_run(results), *(table_of(*sheet) for sheet in common)),
        models=models_of(
            cast, [None if record is None else of_model(record) for record in cast.records]
        ),
    )


def _strength(row: Row) -> float:
    """What orders claims of one outcome: where nothing is claimed, kin come first."""
    return row.log10_p if row.outcome.key == "measured" else 0.0


def _audit(results: Results) -> AuditView | None:
    audit = results.audit
    if audit is None:
        return None
    since = None if audit.since is None else _spoken_date(audit.since)
    return AuditView(since, audit.changes, audit.families, _nights(audit.nights))


def _nights(nights: tuple[Night, ...]) -> Table | None:
    """The time line; numbers that were zero in every night have no column."""
    found = stretches(nights)
    if len(found) < 2:
        return None
    counts = list(zip(*(stretch.last.counts for stretch in found), strict=True))
    columns = {
        "from": [_spoken_date(stretch.first.created) for stretch in found],
        "to": [_spoken_date(stretch.last.created) for stretch in found],
        "runs": [str(stretch.nights) for stretch in found],
        **{
            name: [str(number) for number in numbers]
            for name, numbers in zip(NIGHTLY, counts, strict=True)
            if any(numbers)
        },
    }
    rows = tuple(zip(*columns.values(), strict=True))
    return Table("Night after night", tuple(columns), rows, frozenset({0, 1}))


NIGHTLY = ("models", "families", "pairs of kin", "undecided", "failed")


def _rooms(results: Sequence[ClaimResult], *, whole: bool) -> list[Room]:
    """The room of each claim, the most urgent first: once one is drawn short, so are all that follow."""
    scatters = max(FEWEST, SCATTERS // max(1, len(results)))
    room = max(LEAST_BYTES, PAGE_BYTES - SHORT_BYTES * len(results))
    rooms: list[Room] = []
    spent = 0
    for result in results:
        spent += weight(result, scatters)
        rooms.append(Room(scatters, short=bool(rooms) and not whole and spent > room))
    return rooms


def _legend(sections: Sequence[Section], lineage: LineageView) -> tuple[tuple[str, str], ...]:
    """What the marks of all figures mean, those alone that the report has."""
    drawn: set[str] = set()
    for section in sections:
        drawn |= set() if section.plot is None else section.plot.marks
        drawn |= {"kin", "free"} if section.bars is not None else set()
        maps = [section.heat, section.difference, *(control.heat for control in section.controls)]
        drawn |= {mark for heat in maps if heat is not None for mark in heat.figure.marks}
    drawn |= {mark for family in lineage.families for mark in family.figure.marks}
    return tuple(entry for entry in (*POINTS, *SHADES, *SIZES, *ARROWS) if entry[0] in drawn)


def _run(results: Results) -> RunView:
    run = results.run
    return RunView(
        when=_spoken_date(results.created),
        took="" if run.seconds is None else clock_of(run.seconds),
        commit=(run.commit or "")[:12],
        branch=run.branch or "",
        url=run.url if run.url and run.url.startswith(("https://", "http://")) else "",
        versions=", ".join(
            f"{name} {version}" for name, version in sorted(results.versions.items())
        ),
    )


def _tone(rows: Sequence[Row]) -> str:
    """What colours the headline: the most urgent outcome."""
    return rows[0].outcome.tone if rows else OUTCOMES["skipped"].tone


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


def template(name: str) -> Template:
    """A template of the report."""
    return _environment().get_template(name)


def framed_style() -> str:
    """The style sheet, for what is shown without the page around it."""
    return _file("report.css")


@cache
def _file(name: str) -> str:
    return resources.files("provenance.report").joinpath(name).read_text("utf-8")


def hash_of(text: str) -> str:
    """What the page's policy names a style sheet or a script by."""
    return b64encode(sha256(text.encode()).digest()).decode()
