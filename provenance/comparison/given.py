"""What two models share beyond a base of both, each of which was compared with one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance._text import without_home
from provenance.comparison.aligned import kin_blocks, side_of
from provenance.comparison.parents import kinship_of
from provenance.comparison.plan import pair_seed
from provenance.errors import ArchitectureError, DegenerateError, ProvenanceError, SourceError
from provenance.evidence.given import GivenDifference, GivenRecord
from provenance.vocabulary import BLOCKS_OF_DIFFERENCE, Stage

if TYPE_CHECKING:
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.per_model import PerModel
    from provenance.evidence.records import Evidence

__all__ = ["measure_given", "shared_beyond"]


def measure_given(
    models: tuple[Checkpoint, Checkpoint],
    evidence: Evidence,
    base: tuple[Checkpoint, Evidence | ProvenanceError],
    work: PerModel,
    seed: int,
) -> GivenRecord:
    """Measure what two models share beyond a base, by the evidence on them; a reason where that cannot be.

    Parameters
    ----------
    models : tuple of Checkpoint
        The candidate and the reference, which ``evidence`` is on.
    base : (Checkpoint, Evidence or ProvenanceError)
        The base, and the evidence on the candidate and it, or why they could not be compared.
    seed : int
        That of the inputs.
    """
    root, found = base
    kinship = kinship_of(root, found)
    if isinstance(found, ProvenanceError):
        return GivenRecord(kinship, reason=without_home(str(found)))
    try:
        made = shared_beyond(models, evidence, (root, found), work, BLOCKS_OF_DIFFERENCE, seed)
    except (ArchitectureError, DegenerateError, SourceError) as error:
        return GivenRecord(kinship, reason=without_home(str(error)))
    return GivenRecord(kinship, made)


def shared_beyond(
    models: tuple[Checkpoint, Checkpoint],
    evidence: Evidence,
    base: tuple[Checkpoint, Evidence],
    work: PerModel,
    most: int | None,
    seed: int,
) -> GivenDifference:
    """Compare what two models have beyond a base, each mapped by its evidence.

    Raises
    ------
    DegenerateError
        If one is not found kin, has no weights, or nothing can be compared.
    ArchitectureError, SourceError
        If a model cannot be read.
    """
    from provenance.differences.given import beyond_base

    candidate, reference = models
    root, found = base
    for one in (*models, root):
        if one.bundle is not None:
            raise DegenerateError(f"{one.source} is a fingerprint, which holds no weights")
    ours, roots = kin_blocks(evidence), kin_blocks(found)
    for one, kin in ((reference, ours), (root, roots)):
        if not kin:
            raise DegenerateError(f"{candidate.source} and {one.source} are not found kin")
    return beyond_base(
        side_of(candidate, work),
        (side_of(reference, work), ours),
        (side_of(root, work), roots),
        most=most,
        seed=pair_seed(seed, candidate, reference),
        on_block=lambda i, n: work.tell(Stage("map", f"{candidate.source} beyond its base", i, n)),
    )
