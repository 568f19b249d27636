"""Results as Markdown: the summary of a job on GitHub, a comment on GitLab, a wiki page.

What a model is called, and the reasons that a suite gives, are text here: no markup in them is obeyed.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

from provenance.evidence.audits import spoken_stretch, stretches
from provenance.evidence.failures import failure_of, reasons
from provenance.evidence.nearest import HEAD, cells_of
from provenance.evidence.outcomes import (
    headline,
    outcome_of,
    p_value,
    title,
    urgent_first,
    verdict_of,
)
from provenance.evidence.tested_with import tested_with
from provenance.evidence.wording import describe
from provenance.gate.links import Links
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.evidence.relatives import Identification
    from provenance.evidence.results import ClaimResult, Results

LIMIT = 1024 * 1024
"""Bytes of a step's summary: GitHub drops a longer one whole.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""
_BREAKS = "&#8203;"  # a space without width keeps a mention or an address from becoming a link
_COLUMNS = (
    ("", "---"),
    ("claim", "---"),
    ("verdict", "---"),
    ("p", "---:"),
    ("threshold", "---:"),
    ("where", "---"),
)
"""Heads of the table of claims, and how the columns are set."""
_DETAILS = ("fail", "warn")
NOTHING = ("", "-")
"""Cells that say nothing."""
QUALIFIERS = 5
"""Ways of testing that the line on an audit's independent pairs names."""
NIGHTS = 7
"""Lines of an audit's time line."""


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line.

    Punctuation that could be markup is escaped; tags, mentions and addresses are broken; control
    characters and those that turn the direction of writing become U+FFFD.
    """
    line = re.sub(r"([\\`*_{}\[\]()#|~$])", r"\\\1", _clean(text))
    line = re.sub(r"^([-+=])", r"\\\1", line)
    return _inert(re.sub(r"^(\d+)([.)])", r"\1\\\2", line))


def _clean(text: str) -> str:
    line = " ".join(text.split())
    return "".join("\ufffd" if unicodedata.category(c) in {"Cc", "Cf", "Cs"} else c for c in line)


def _inert(line: str) -> str:
    """Text without tags, mentions, addresses and names of icons, also where HTML stands."""
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?i)(@|:(?=//|\w+:)|ww(?=w\.))", rf"\1{_BREAKS}", line)


def summary(results: Results, links: Links | None = None, limit: int = LIMIT) -> str:
    """Write results as Markdown of at most ``limit`` bytes of UTF-8.

    A table of the claims, the most urgent first, then what was found of each that does not hold. What
    is too long is cut between rows, and a last line says how much was left out.

    Returns
    -------
    str
        Empty where not even the heading fits.
    """
    links = links or Links()
    claims = urgent_first(results)
    head = _head(results)
    if results.audit is not None:  # strangers are counted, and not listed
        claims = tuple(
            sorted(
                (result for result in claims if verdict_of(result) != "independent"),
                key=lambda result: (result.log10_p is None, result.log10_p or 0.0),
            )
        )
    bare = results.audit is not None
    every = [_cells(result, tested_with(results, result), links, bare=bare) for result in claims]
    table, rows = _columns(every)
    details = [_details(result, links) for result in claims if result.state in _DETAILS]
    room = limit - _size(head + table) - _size(_left_out(len(rows), len(details), links))
    if room < 0:
        return ""
    kept_rows, room = _fitting(rows, room)
    kept_details, _ = _fitting(details, room - 1 if len(kept_rows) == len(rows) else 0)
    left = len(rows) - len(kept_rows), len(details) - len(kept_details)
    closing = _left_out(*left, links) if any(left) else ""
    return head + table + "".join(kept_rows) + "\n" + "".join(kept_details) + closing


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _fitting(parts: Sequence[str], room: int) -> tuple[list[str], int]:
    """The first of the parts that fit, and the room that is left."""
    kept: list[str] = []
    for part in parts:
        if _size(part) > room:
            break
        room -= _size(part)
        kept.append(part)
    return kept, room


def _left_out(claims: int, details: int, links: Links) -> str:
    whole = f"[this run]({links.run})" if links.run else "`results.json`"
    return (
        f"\n{claims} claims and the details of {details} are left out, for want of room. All of them are "
        f"with {whole}.\n"
    )


def _head(results: Results) -> str:
    """The heading, and of an audit what changed, the families and the nights, before any pair."""
    audit = results.audit
    if audit is None:
        return f"## Lineage: {title(results)}\n\n{escape(headline(results))}\n\n"
    lines = [f"## Audit: {escape(audit.finding)}", ""]
    if audit.since is not None:
        since = escape(audit.since[:16].replace("T", " "))
        none = "" if audit.changes else " none."
        lines.append(f"Changes since {since}:{none}")
        lines += ["", *(f"* {escape(change)}" for change in audit.changes)]
        lines += [""] if audit.changes else []
    if audit.families:
        lines += ["| family of | models |", "| ---: | --- |"]
        lines += [f"| {len(f)} | {', '.join(map(escape, f))} |" for f in audit.families] + [""]
    found = stretches(audit.nights)
    if len(found) > 1:
        lines += ["The last runs, the newest first:", ""]
        lines += [*(f"* {escape(spoken_stretch(stretch))}" for stretch in found[:NIGHTS]), ""]
    lines += [_strangers(results), ""]
    return "\n".join(lines) + "\n"


def _strangers(results: Results) -> str:
    """How many pairs are independent, and what is not usual about the tests that found that."""
    apart = [result for result in results.claims if verdict_of(result) == "independent"]
    said = f"{len(apart)} of {len(results.claims)} pairs are independent"
    how = Counter(one for result in apart for one in tested_with(results, result))
    told = "; ".join(f"{escape(one)} ({number})" for one, number in how.most_common(QUALIFIERS))
    more = f"; and {len(how) - QUALIFIERS} more ways" if len(how) > QUALIFIERS else ""
    return f"{said}, tested {told}{more}." if told else f"{said}."


def _columns(every: Sequence[tuple[str, ...]]) -> tuple[str, list[str]]:
    """The head of the table and its rows, without the columns that say nothing of any claim."""
    kept = [
        i
        for i in range(len(_COLUMNS))
        if not every or any(cells[i] not in NOTHING for cells in every)
    ]
    heads, lines = zip(*(_COLUMNS[i] for i in kept), strict=True)
    head = f"| {' | '.join(heads)} |\n| {' | '.join(lines)} |\n".replace("|  |", "| |")
    return head, [f"| {' | '.join(cells[i] for i in kept)} |\n" for cells in every]


def _cells(result: ClaimResult, how: Sequence[str], links: Links, *, bare: bool) -> tuple[str, ...]:
    """A row of the table; ``bare`` leaves out that a pair was measured, as every pair of an audit is."""
    known = result.claim.xfail if result.state == "xfail" else None
    reason = result.claim.skip if result.state == "skip" else known
    outcome = outcome_of(result)
    nothing = result.claim.expect == "unknown"
    pair = f"{result.claim.candidate} and {result.claim.reference}"
    says = [pair if nothing else describe(result.claim), *how, *_left_open(result)]
    usual = bare and outcome.key == "measured"
    word = "" if usual else f"{outcome.icon} {outcome.word}"
    return (
        word + (f": {escape(reason)}" if reason else ""),
        "<br>".join(map(escape, says)),
        verdict_of(result),
        p_value(result.log10_p),
        f"{result.claim.threshold:.2g}",
        _where(result, links),
    )


def _left_open(result: ClaimResult) -> list[str]:
    """Why nothing was decided of a pair of which nothing is claimed; what is claimed has details."""
    judgement = result.judgement
    if judgement is None or judgement.state != "report" or judgement.verdict != "inconclusive":
        return []
    return [judgement.meaning]


def _where(result: ClaimResult, links: Links) -> str:
    url = links.url(result.suite, result.claim.mark.line)
    shown = escape(result.where)
    return shown if url is None else f"[{shown}]({url})"


def _details(result: ClaimResult, links: Links) -> str:
    kind = failure_of(result)
    lines = [
        f"<details><summary>{outcome_of(result).icon} {_inert(_clean(describe(result.claim)))}</summary>",
        "",
        f"Claimed at {_where(result, links)}.",
        *(f"\n{escape(reason)}" for reason in reasons(result)),
    ]
    if kind is not None:
        lines += ["", f"**{escape(kind.summary)}** {escape(kind.remedy)}"]
    table = _blocks(result) if result.found is None else _references(result.found)
    lines += ["", *_models(result), *table, "", "</details>", "", ""]
    return "\n".join(lines)


def _models(result: ClaimResult) -> list[str]:
    if not result.sides:
        return []
    rows = [
        f"| {role} | {escape(name)} | {escape(model.source)} | {escape(model.digest)} |"
        for role, name, model in result.sides
    ]
    return ["| | model | source | digest |", "| --- | --- | --- | --- |", *rows, ""]


def _references(found: Identification) -> list[str]:
    """What each of many references showed."""
    rows = [f"| {' | '.join(map(escape, cells_of(one)))} |" for one in found.references]
    return [f"| {' | '.join(HEAD)} |", "| --- | --- | ---: | ---: | ---: | --- |", *rows]


def _blocks(result: ClaimResult) -> list[str]:
    if result.evidence is None or not result.evidence.blocks:
        return []
    rows = [
        f"| {block.candidate_block} | {block.reference_block} | {block.correlation:+.3f} | "
        f"{format_p(block.log10_p)} |"
        if block.log10_p is not None and block.correlation is not None
        else f"| {block.candidate_block} | {block.reference_block} | - | {escape(block.reason or '')} |"
        for block in result.evidence.blocks
    ]
    return ["| block | of reference | correlation | p |", "| ---: | ---: | ---: | ---: |", *rows]
