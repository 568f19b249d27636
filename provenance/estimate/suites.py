"""From claims to what must be measured for them, each comparison once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.comparison.one_of_many import looks
from provenance.comparison.plan import NULL, POSITIVE, VERDICT, controlled, needs
from provenance.errors import ProvenanceError
from provenance.identification.claimed import references_of_claim
from provenance.statistics import PAIR_STATISTICS
from provenance.vocabulary import DESCENTS, NEAREST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from provenance.comparison.plan import Comparison
    from provenance.suite.claims import Claim, Suite


@dataclass(frozen=True)
class Wanted:
    """What tests need: every comparison once, whether it is of kin, and what stands in the way of some."""

    comparisons: Mapping[Comparison, bool]
    notes: tuple[str, ...] = ()


def together(several: Iterable[Wanted]) -> Wanted:
    """What several suites need: a pair that one takes for strangers counts as strangers."""
    found: dict[Comparison, bool] = {}
    notes: dict[str, None] = {}
    for one in several:
        found |= {pair: kin and found.get(pair, True) for pair, kin in one.comparisons.items()}
        notes |= dict.fromkeys(one.notes)
    return Wanted(found, tuple(notes))


def wanted_of(suite: Suite) -> Wanted:
    """Every comparison of a suite whose claims are all tested, and whether the suite takes it for kin."""
    return wanted_by((suite, claim, part) for claim, part in _tests(suite))


def wanted_by(tests: Iterable[tuple[Suite, Claim, str]]) -> Wanted:
    """The comparisons of tests, in their order: whether each is of kin, as its claim says.

    A positive control is of kin by construction. Where one claim takes a pair for kin and another for
    strangers, it counts as strangers, which cost more. Of a claim of the nearest kin it is the last look at
    each reference; a library's index is read, and its files are not. The shares of a merge's parents cost
    little beside the comparisons with each, which are counted.
    """
    found: dict[Comparison, bool] = {}
    notes: dict[str, None] = {}
    for suite, claim, part in tests:
        needed = needs(suite, claim, part)
        for comparison in (one for one in needed.comparisons() if not one.parents):
            kin = comparison is needed.positive or claim.expect in DESCENTS
            found[comparison] = found.get(comparison, True) and kin
        if claim.expect == NEAREST and claim.skip is None:
            try:
                references = references_of_claim(suite, claim, checked=False)
            except ProvenanceError as error:
                notes[f"claim {claim.id}: {error}"] = None
                continue
            for name, look in looks(suite, claim, references).items():
                found[look] = found.get(look, True) and name == claim.reference
    return Wanted(found, tuple(notes))


def _tests(suite: Suite) -> Iterator[tuple[Claim, str]]:
    """The parts of claims that ask for all that a suite's tests ask for."""
    for claim in suite.claims:
        yield claim, VERDICT
        whole = claim.statistic in PAIR_STATISTICS
        if suite.controls == "all" and claim.expect == "independent" and not whole:
            yield claim, NULL
    if suite.controls == "all":
        yield from ((claim, POSITIVE) for claim in controlled(suite.claims).values())
