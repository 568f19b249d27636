"""The difference between two models that are found kin: which blocks are, what became of weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance._threads import in_turn
from provenance.comparison.aligned import aligned, kin_blocks
from provenance.comparison.executor import Executor, as_spec
from provenance.comparison.plan import Comparison, pair_seed
from provenance.errors import BundleError, DegenerateError
from provenance.statistics import default_statistic
from provenance.vocabulary import BLOCKS_OF_DIFFERENCE, InputsSpec

if TYPE_CHECKING:
    from os import PathLike

    from provenance.evidence.difference import DifferenceRecord
    from provenance.evidence.records import Evidence
    from provenance.vocabulary import ModelSpec, StatisticName

__all__ = ["difference", "kin_of"]


@in_turn
def difference(
    candidate: str | PathLike[str] | ModelSpec,
    reference: str | PathLike[str] | ModelSpec,
    *,
    statistic: StatisticName | None = None,
    blocks: int | None = BLOCKS_OF_DIFFERENCE,
    seed: int = 0,
    executor: Executor | None = None,
) -> DifferenceRecord:
    """Map one of two kin onto the other, and measure how their weights differ.

    First the two are compared, as by `compare`: their blocks that are kin are what is mapped.

    Parameters
    ----------
    candidate, reference : str, path or ModelSpec
        As for `compare`; no fingerprints.
    statistic : str, optional
        What finds the blocks that are kin; "kinship" by default, "generalized" for plain MLPs.
    blocks : int, optional
        Blocks that are looked at, evenly spread; None for all.
    seed : int
        Of every random choice.
    executor : Executor, optional
        Where and with which store to run; all defaults otherwise.

    Returns
    -------
    DifferenceRecord
        `provenance.evidence.kinds.found_kind` reads a kind of descent off it.

    Raises
    ------
    ProvenanceError
        One line: a model cannot be had, the two are not found kin, or nothing can be mapped.

    Examples
    --------
    >>> found = difference("quickstart/finetuned", "quickstart/base")  # doctest: +SKIP
    >>> found.residual, found.matrices[0].rank  # doctest: +SKIP
    """
    run = executor or Executor()
    specs = as_spec(candidate), as_spec(reference)
    evidence = kin_of(*specs, statistic, seed, run)
    models = run.checkpoint(specs[0]), run.checkpoint(specs[1])
    return aligned(*models, run.work, evidence, blocks, pair_seed(seed, *models))


def kin_of(
    candidate: ModelSpec,
    reference: ModelSpec,
    statistic: StatisticName | None,
    seed: int,
    run: Executor,
) -> Evidence:
    """The evidence on two models with weights, some of whose blocks are kin.

    Raises
    ------
    ProvenanceError
        As `difference`, but for what cannot be mapped.
    """
    models = run.checkpoint(candidate), run.checkpoint(reference)
    for model in models:
        if model.bundle is not None:
            raise BundleError(
                f"{model.source} is a fingerprint, which holds no weights: give the model itself"
            )
    used = statistic or default_statistic(candidate, reference)
    inputs = InputsSpec(seed=seed)
    evidence = run.evidence(Comparison.of(candidate, reference, inputs, used, control=False))
    if not kin_blocks(evidence):
        raise DegenerateError(
            f"{models[0].source} and {models[1].source} are not found kin, so that nothing maps one onto "
            "the other"
        )
    return evidence
