"""What a person sees of evidence and of results where they work with them: in a notebook, at a prompt.

What judges and draws is found by its name when it is needed, since evidence is data and stands below both.
"""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

from provenance.errors import ProvenanceError, extra
from provenance.statistics.pvalues import format_p
from provenance.vocabulary import DEFAULT_ALPHA

if TYPE_CHECKING:
    from provenance.vocabulary import Verdict

LEAST_FLOAT = 5e-324
_LONG = frozenset({"parts", "experts", "matchings", "untested", "units", "live", "mlps", "fits"})


class PValue(float):
    """A p-value as a number that is never 0, however small: ``log10`` is exact, and so is what is printed.

    Examples
    --------
    >>> PValue(-3295.04)
    9.1e-3296
    >>> PValue(-3295.04) < 1e-6
    True
    """

    log10: float

    def __new__(cls, log10_p: float) -> Self:
        """Make it of its logarithm."""
        value = super().__new__(cls, max(10.0**log10_p, LEAST_FLOAT))
        value.log10 = log10_p
        return value

    def __repr__(self) -> str:
        return format_p(self.log10)

    __str__ = __repr__


def _plain(shown: ShownEvidence | ShownResults) -> Any:
    """What inherits one of these, whose fields are not known here."""
    return shown


class ShownEvidence:
    """Judges, tabulates and draws the evidence that inherits it."""

    def __repr__(self) -> str:
        ours = _plain(self)
        tested = f"{len(ours.tested())} of {len(ours.blocks)} blocks tested" if ours.blocks else ""
        said = (ours.statistic, "no p-value" if ours.log10_p is None else f"p = {self.p!r}", tested)
        pair = f"{ours.candidate.source} and {ours.reference.source}"
        return f"<Evidence on {pair}: {', '.join(filter(None, said))}>"

    @property
    def p(self) -> PValue | None:
        """The p-value of the pair; None where nothing could be tested."""
        log10_p = _plain(self).log10_p
        return None if log10_p is None else PValue(log10_p)

    def verdict(self, alpha: float = DEFAULT_ALPHA) -> Verdict:
        """Judge the pair: dependent below ``alpha``; see `provenance.decide`."""
        found: Verdict = import_module("provenance.evidence.decide").decide(self, alpha)
        return found

    def to_frame(self) -> Any:
        """A row for each block, as a pandas ``DataFrame``.

        Raises
        ------
        ProvenanceError
            If pandas is not installed.
        """
        return frame(
            [
                {
                    **{
                        f.name: getattr(block, f.name) for f in fields(block) if f.name not in _LONG
                    },
                    "candidate_units": block.units[0],
                    "reference_units": block.units[1],
                    "candidate_live": block.live[0],
                    "reference_live": block.live[1],
                }
                for block in _plain(self).blocks
            ]
        )

    def plot(self, alpha: float = DEFAULT_ALPHA) -> Any:
        """Plot the p-value of each block, as a report does.

        Returns
        -------
        Drawing
            A notebook shows it; ``save(path)`` writes SVG.

        Raises
        ------
        ValueError
            The statistic is of whole models, and has no blocks to plot.
        """
        return import_module("provenance.report.notebook").plot(self, alpha)

    def _repr_html_(self) -> str:
        html: str = import_module("provenance.report.notebook").pair_html(self, DEFAULT_ALPHA)
        return html


class ShownResults:
    """Tabulates and draws the results that inherit it."""

    def __repr__(self) -> str:
        headline = import_module("provenance.evidence.outcomes").headline(self)
        return f"<Results: {headline}>"

    def to_frame(self) -> Any:
        """A row for each claim, as a pandas ``DataFrame``.

        Raises
        ------
        ProvenanceError
            If pandas is not installed.
        """
        outcomes = import_module("provenance.evidence.outcomes")
        return frame(
            [
                {
                    "candidate": result.claim.candidate,
                    "reference": result.name_of("reference"),
                    "expect": result.claim.expect,
                    "outcome": outcomes.outcome_of(result).word,
                    "verdict": outcomes.verdict_of(result),
                    "log10_p": result.log10_p,
                    "kin": result.kin,
                    "blocks": len(result.blocks),
                    "where": result.where,
                }
                for result in _plain(self).claims
            ]
        )

    def _repr_html_(self) -> str:
        html: str = import_module("provenance.report.notebook").results_html(self)
        return html


def frame(rows: list[dict[str, Any]]) -> Any:
    """Rows as a pandas ``DataFrame``.

    Raises
    ------
    ProvenanceError
        If pandas is not installed.
    """
    if find_spec("pandas") is None:
        raise ProvenanceError(f"a frame needs pandas: {extra('notebook')}")
    return import_module("pandas").DataFrame(rows)
