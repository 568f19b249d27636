"""The table of exhibits: what people argue with in public, beside what strangers have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.evidence.exhibits import CAPTION, table
from provenance.report.view import Table

if TYPE_CHECKING:
    from provenance.evidence.records import Evidence


def of_evidence(evidence: Evidence) -> Table | None:
    """The exhibits of a pair; None where none were asked for."""
    if not evidence.exhibits:
        return None
    head, rows = table(evidence.exhibits)
    return Table(CAPTION, head, rows, frozenset(range(len(head))))
