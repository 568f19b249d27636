"""Annotations on a line of YAML, as a step of GitHub Actions prints them.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.evidence.failures import failure_of, reasons
from provenance.evidence.outcomes import urgent_first
from provenance.evidence.wording import describe

if TYPE_CHECKING:
    from provenance.evidence.results import ClaimResult, Results
    from provenance.gate.links import Links

MOST = 10
"""GitHub shows ten errors and ten warnings of a step, and no more."""


def commands(results: Results, links: Links) -> tuple[str, ...]:
    """Workflow commands, a line each: an error for each claim that fails, a warning for each that warns.

    At most `MOST` of a kind; one line more says how many there are besides.
    """
    lines: list[str] = []
    for command, state in (("error", "fail"), ("warning", "warn")):
        chosen = [result for result in urgent_first(results) if result.state == state]
        lines += [_annotation(command, result, links) for result in chosen[:MOST]]
        if len(chosen) > MOST:
            more = f"{len(chosen) - MOST} more {command}s are in the job's summary"
            lines.append(f"::notice title=provenance::{more}")
    return tuple(lines)


def _annotation(command: str, result: ClaimResult, links: Links) -> str:
    mark = result.claim.mark
    kind = failure_of(result)
    where = {"file": links.path(result.suite), "line": mark.line}
    if mark.end_line == mark.line:  # a mark's end is exclusive, GitHub's is not
        where |= {"col": mark.column, "endColumn": max(mark.column, mark.end_column - 1)}
    title = {"title": f"provenance: {kind.id if kind else result.state}"}
    properties = ",".join(
        f"{key}={_property(str(value))}" for key, value in (where | title).items()
    )
    message = "\n".join([f"claimed: {describe(result.claim)}", *reasons(result)])
    return f"::{command} {properties}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
