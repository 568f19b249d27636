"""The difference between two models that are found kin: which blocks are, what became of weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from provenance._threads import in_turn
from provenance.comparison.executor import Executor, as_spec
from provenance.comparison.plan import Comparison, pair_seed
from provenance.errors import ArchitectureError, BundleError, DegenerateError, SourceError
from provenance.evidence.difference import DifferenceRecord
from provenance.statistics import default_statistic
from provenance.vocabulary import BLOCKS_OF_DIFFERENCE, DEFAULT_ALPHA, InputsSpec, Stage

if TYPE_CHECKING:
    from os import PathLike

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.per_model import PerModel
    from provenance.evidence.records import Evidence
    from provenance.vocabulary import ModelSpec, StatisticName

__all__ = ["difference", "kin_blocks", "measure_difference"]


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
    models = run.checkpoint(specs[0]), run.checkpoint(specs[1])
    for model in models:
        if model.bundle is not None:
            raise BundleError(
                f"{model.source} is a fingerprint, which holds no weights: give the model itself"
            )
    inputs = InputsSpec(seed=seed)
    asked = Comparison.of(*specs, inputs, statistic or default_statistic(*specs), control=False)
    evidence = run.evidence(asked)
    if not kin_blocks(evidence):
        raise DegenerateError(
            f"{models[0].source} and {models[1].source} are not found kin, so that nothing maps one onto "
            "the other"
        )
    return _measured(*models, run.work, evidence, blocks, pair_seed(seed, *models))


def measure_difference(
    candidate: Checkpoint, reference: Checkpoint, work: PerModel, evidence: Evidence, seed: int
) -> DifferenceRecord:
    """Measure the difference of two models beside the evidence on them; a reason where that cannot be."""
    try:
        return _measured(candidate, reference, work, evidence, BLOCKS_OF_DIFFERENCE, seed)
    except (ArchitectureError, DegenerateError, SourceError) as error:
        return DifferenceRecord(reason=str(error))


def kin_blocks(evidence: Evidence) -> dict[int, int]:
    """The reference's block that each block of the candidate is kin to, at the default alpha.

    A statistic of whole models tells of no block: those of one index stand for each other, at equal depth.
    """
    level = math.log10(DEFAULT_ALPHA)
    if evidence.blocks:
        return {
            block.candidate_block: block.reference_block
            for block in evidence.blocks
            if block.log10_p is not None and block.log10_p < level
        }
    depths = evidence.candidate.blocks, evidence.reference.blocks
    return {index: index for index in range(depths[0])} if depths[0] == depths[1] else {}


def _measured(
    candidate: Checkpoint,
    reference: Checkpoint,
    work: PerModel,
    evidence: Evidence,
    most: int | None,
    seed: int,
) -> DifferenceRecord:
    from provenance.differences.measure import measure
    from provenance.differences.side import Side
    from provenance.loading.parameters import ModelTensors

    def side(model: Checkpoint) -> Side:
        layout = work.layout(model)
        return Side(model, layout, ModelTensors(model, stored=layout.stored))

    name = f"{candidate.source} against {reference.source}"
    return measure(
        side(candidate),
        side(reference),
        kin_blocks(evidence),
        most=most,
        seed=seed,
        on_block=lambda i, n: work.tell(Stage("map", name, i, n)),
    )
