"""What two models share beyond a base that both descend from, by the models alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance._threads import in_turn
from provenance.comparison.difference import kin_of
from provenance.comparison.given import shared_beyond

if TYPE_CHECKING:
    from provenance.comparison.executor import Executor
    from provenance.evidence.given import GivenDifference
    from provenance.vocabulary import ModelSpec, StatisticName

__all__ = ["beyond"]


@in_turn
def beyond(
    candidate: ModelSpec,
    reference: ModelSpec,
    base: ModelSpec,
    *,
    statistic: StatisticName | None,
    blocks: int | None,
    seed: int,
    executor: Executor,
) -> GivenDifference:
    """Find what two models share beyond a base that both descend from.

    Both are compared with the candidate first, as by `provenance.difference`, whose parameters these are.

    Raises
    ------
    ProvenanceError
        One line: a model cannot be had, one is not found kin to the candidate, or nothing can be compared.
    """
    models = executor.checkpoint(candidate), executor.checkpoint(reference)
    evidence = kin_of(candidate, reference, statistic, seed, executor)
    found = kin_of(candidate, base, statistic, seed, executor)
    root = executor.checkpoint(base)
    return shared_beyond(models, evidence, (root, found), executor.work, blocks, seed)
