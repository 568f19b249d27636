"""Which blocks of two kin are mapped onto each other, by the evidence, and how their weights differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance._text import without_home
from provenance.errors import ArchitectureError, DegenerateError, SourceError
from provenance.evidence.decide import shows
from provenance.evidence.difference import DifferenceRecord
from provenance.vocabulary import BLOCKS_OF_DIFFERENCE, DEFAULT_ALPHA, Stage

if TYPE_CHECKING:
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.per_model import PerModel
    from provenance.differences.side import Side
    from provenance.evidence.records import Evidence

__all__ = ["aligned", "kin_blocks", "measure_difference", "side_of"]


def measure_difference(
    candidate: Checkpoint, reference: Checkpoint, work: PerModel, evidence: Evidence, seed: int
) -> DifferenceRecord:
    """Measure the difference of two models beside the evidence on them; a reason where that cannot be."""
    try:
        return aligned(candidate, reference, work, evidence, BLOCKS_OF_DIFFERENCE, seed)
    except (ArchitectureError, DegenerateError, SourceError) as error:
        return DifferenceRecord(reason=without_home(str(error)))


def kin_blocks(evidence: Evidence) -> dict[int, int]:
    """The reference's block that each block of the candidate is kin to, at the default alpha.

    A statistic of whole models tells of no block: those of one index stand for each other, at equal depth.
    """
    if evidence.blocks:
        return {
            block.candidate_block: block.reference_block
            for block in evidence.blocks
            if shows(block, DEFAULT_ALPHA)
        }
    depths = evidence.candidate.blocks, evidence.reference.blocks
    return {index: index for index in range(depths[0])} if depths[0] == depths[1] else {}


def aligned(
    candidate: Checkpoint,
    reference: Checkpoint,
    work: PerModel,
    evidence: Evidence,
    most: int | None,
    seed: int,
) -> DifferenceRecord:
    """As `measure_difference`, of as many blocks as are asked for; raises where nothing can be mapped."""
    from provenance.differences.measure import measure

    name = f"{candidate.source} against {reference.source}"
    return measure(
        side_of(candidate, work),
        side_of(reference, work),
        kin_blocks(evidence),
        most=most,
        seed=seed,
        on_block=lambda i, n: work.tell(Stage("map", name, i, n)),
    )


def side_of(model: Checkpoint, work: PerModel) -> Side:
    """A model as what is compared of it."""
    from provenance.differences.side import Side
    from provenance.loading.parameters import ModelTensors

    layout = work.layout(model)
    return Side(model, layout, ModelTensors(model, stored=layout.stored))
