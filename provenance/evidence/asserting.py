"""Assertions for tests in Python: a claim on evidence, judged as a suite's is.

Whoever runs the tests may listen: the plugin keeps each claim for the report and the gate.
"""

from __future__ import annotations

from inspect import currentframe
from typing import TYPE_CHECKING

from provenance.evidence.heard import tell
from provenance.evidence.results import ClaimResult
from provenance.evidence.single_claim import claim_on
from provenance.evidence.verdict import judge_pair
from provenance.evidence.wording import describe
from provenance.vocabulary import AN_ALPHA, DEFAULT_ALPHA, LEAST_ALPHA, MOST_ALPHA

if TYPE_CHECKING:
    from provenance.evidence.records import Evidence
    from provenance.vocabulary import Relationship


def assert_kin(
    evidence: Evidence, expect: Relationship = "derived", *, alpha: float = DEFAULT_ALPHA
) -> None:
    """Fail unless the two models are kin, in the way that is claimed.

    Parameters
    ----------
    evidence : Evidence
        On the pair, as `provenance.compare` returns it.
    expect : str
        What the candidate is to the reference: "derived", which is kinship of any kind, "finetune",
        "pruned" and so on.
    alpha : float
        p-value below which the models are called dependent.

    Raises
    ------
    AssertionError
        In three lines: what was claimed, what was measured, what that means.
    ValueError
        If ``alpha`` or ``expect`` is none that a suite could have.
    """
    __tracebackhide__ = True
    if expect in {"independent", "unknown"}:
        raise ValueError(f"{expect!r} claims no kinship: use assert_independent, or decide")
    _check(evidence, expect, alpha, _line_of_caller())


def assert_independent(evidence: Evidence, *, alpha: float = DEFAULT_ALPHA) -> None:
    """Fail unless the two models show no kinship, and would have shown it.

    Parameters
    ----------
    evidence : Evidence
        On the pair, as `provenance.compare` returns it.
    alpha : float
        p-value below which the models are called dependent.

    Raises
    ------
    AssertionError
        In three lines: what was claimed, what was measured, what that means.
    ValueError
        If ``alpha`` is none that a suite could have.
    """
    __tracebackhide__ = True
    _check(evidence, "independent", alpha, _line_of_caller())


def _line_of_caller() -> int:
    """The line of the test that called one of the functions above."""
    here = currentframe()
    above = here.f_back if here is not None else None
    caller = above.f_back if above is not None else None
    return 1 if caller is None else caller.f_lineno


def _check(evidence: Evidence, expect: Relationship, alpha: float, line: int) -> None:
    __tracebackhide__ = True
    if not LEAST_ALPHA <= alpha <= MOST_ALPHA:
        raise ValueError(f"alpha is {alpha:g}, and not {AN_ALPHA}")
    name = f"{evidence.candidate.source}-vs-{evidence.reference.source}"
    claim = claim_on(evidence, expect, alpha, name, line)
    judgement = judge_pair(claim, evidence)
    tell(ClaimResult("", claim, judgement, evidence))
    if judgement.state == "fails":
        raise AssertionError(
            f"claimed   {describe(claim)}\n"
            f"measured  {judgement.measured}\n"
            f"meaning   {judgement.meaning}"
        )
