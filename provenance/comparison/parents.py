"""The shares of a merge's parents, each of which was compared with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provenance._text import without_home
from provenance.comparison.aligned import kin_blocks, side_of
from provenance.comparison.plan import pair_seed
from provenance.errors import ArchitectureError, DegenerateError, ProvenanceError, SourceError
from provenance.evidence.decide import decide, pair_p
from provenance.evidence.decomposition import MergeRecord, ParentKinship
from provenance.evidence.doubts import doubts
from provenance.evidence.meaning import few_units
from provenance.vocabulary import BLOCKS_OF_DIFFERENCE, DEFAULT_ALPHA, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.per_model import PerModel
    from provenance.evidence.decomposition import Decomposition
    from provenance.evidence.records import Evidence

__all__ = ["decomposed", "kinship_of", "measure_merge"]


def measure_merge(
    model: Checkpoint,
    parents: Sequence[tuple[Checkpoint, Evidence | ProvenanceError]],
    work: PerModel,
    seed: int,
) -> MergeRecord:
    """Measure the shares of parents beside the evidence on each; a reason where that cannot be.

    A parent that could not be compared has the error in the place of evidence. ``seed`` is that of the
    inputs.
    """
    kinships = tuple(kinship_of(parent, found) for parent, found in parents)
    compared: list[tuple[Checkpoint, Evidence]] = []
    for parent, found in parents:
        if isinstance(found, ProvenanceError):
            return MergeRecord(kinships, reason=without_home(str(found)))
        compared.append((parent, found))
    try:
        fitted = decomposed(model, compared, work, BLOCKS_OF_DIFFERENCE, seed)
    except (ArchitectureError, DegenerateError, SourceError) as error:
        return MergeRecord(kinships, reason=without_home(str(error)))
    sources = tuple(without_home(source) for source in fitted.parents)
    return MergeRecord(kinships, replace(fitted, parents=sources))


def kinship_of(parent: Checkpoint, found: Evidence | ProvenanceError) -> ParentKinship:
    """Whether a model is kin to the one that evidence compares it with."""
    source = without_home(parent.source)
    if isinstance(found, ProvenanceError):
        return ParentKinship(source, parent.digest, None)
    return ParentKinship(source, parent.digest, pair_p(found), _doubt(found))


def _doubt(found: Evidence) -> str | None:
    """Why two are not known to be strangers; None where they are, or where they are kin."""
    said = " ".join(doubts(found, threshold=DEFAULT_ALPHA))
    if said or decide(found, DEFAULT_ALPHA) == "dependent":
        return said or None
    return few_units(found.blocks, DEFAULT_ALPHA)


def decomposed(
    model: Checkpoint,
    parents: Sequence[tuple[Checkpoint, Evidence]],
    work: PerModel,
    most: int | None,
    seed: int,
) -> Decomposition:
    """Fit a model by parents, each mapped onto it by the evidence on the two.

    Parameters
    ----------
    most : int, optional
        Blocks that are looked at; None for all.
    seed : int
        That of the inputs.

    Raises
    ------
    DegenerateError
        A parent is not found kin, two are one model, or a side has no weights.
    ArchitectureError, SourceError
        A model cannot be read.
    """
    from provenance.differences.merge import decompose_into

    sides = []
    for parent, found in parents:
        for one in (model, parent):
            if one.bundle is not None:
                raise DegenerateError(f"{one.source} is a fingerprint, which holds no weights")
        blocks = kin_blocks(found)
        if not blocks:
            raise DegenerateError(f"{model.source} and {parent.source} are not found kin")
        sides.append((side_of(parent, work), blocks))
    return decompose_into(
        side_of(model, work),
        sides,
        most=most,
        seed=pair_seed(seed, model, parents[0][0]),
        on_block=lambda i, n: work.tell(Stage("map", f"the parents of {model.source}", i, n)),
    )
