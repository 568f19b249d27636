"""What a person sees of an audit where they work with it: in a notebook, at a prompt.

What draws is found by its name when it is needed, since it stands above the records of an audit.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from provenance.evidence.shown import frame


def _plain(shown: ShownAudit) -> Any:
    """What inherits it, whose fields are not known here."""
    return shown


class ShownAudit:
    """Tabulates and draws the audit that inherits it."""

    def __repr__(self) -> str:
        audit = _plain(self)
        said = import_module("provenance.audit.finding").finding(audit)
        return f"<Audit of {audit.name}, run {audit.run}: {said}>"

    def to_frame(self) -> Any:
        """A row for each pair, as a pandas ``DataFrame``, with the models of the family that it is in.

        Raises
        ------
        ProvenanceError
            If pandas is not installed.
        """
        audit = _plain(self)
        family_of = {name: family for family in audit.families for name in family}
        return frame(
            [
                {
                    "candidate": pair.candidate,
                    "reference": pair.reference,
                    "verdict": pair.verdict,
                    "log10_p": pair.log10_p,
                    "family": _shared(family_of.get(pair.candidate), family_of.get(pair.reference)),
                    "known": pair.known,
                    "screened": bool(pair.screened),
                    "error": pair.error,
                }
                for pair in audit.pairs
            ]
        )

    def _repr_html_(self) -> str | None:
        """The report, which leads with what the audit found; None of an audit without its registry."""
        audit = _plain(self)
        if audit.registry is None:
            return None
        results = import_module("provenance.audit.report").audit_results(audit, audit.registry)
        html: str = import_module("provenance.report.notebook").results_html(results)
        return html


def _shared(ours: tuple[str, ...] | None, theirs: tuple[str, ...] | None) -> str | None:
    """The models of the family that two models are both in; None where there is none."""
    return ", ".join(ours) if ours is not None and ours == theirs else None
