"""How much nearer a model is to one of two of its kin, from the store or measured now."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from provenance._text import without_home
from provenance._threads import in_turn
from provenance.comparison.aligned import kin_blocks, side_of
from provenance.comparison.plan import pair_seed
from provenance.errors import ArchitectureError, DegenerateError, SourceError
from provenance.evidence.leads import Lead, LeadRecord
from provenance.vocabulary import BLOCKS_OF_DIFFERENCE, Stage

if TYPE_CHECKING:
    from pathlib import Path

    from provenance.comparison.executor import Executor
    from provenance.comparison.plan import Comparison
    from provenance.evidence.records import Evidence
    from provenance.store.store import JSON

    Kin = tuple[Comparison, Evidence]

LEAD_VERSION = 2
"""Raised whenever the same three models would give another lead."""

FILE = "lead.json"


def kept_lead(executor: Executor, name: str, first: Kin, second: Kin) -> LeadRecord:
    """The lead of one of two kin of a model over the other; a reason where it cannot be had.

    Parameters
    ----------
    name : str
        What the second is called.
    first, second : (Comparison, Evidence)
        The comparison of the model with each, whole, and evidence that finds them kin, of all blocks or
        of some.

    Raises
    ------
    ProvenanceError
        If the store or the device cannot be used.
    """

    def measure(folder: Path) -> None:
        try:
            made: dict[str, Any] = {"lead": asdict(_measured(executor, first, second))}
        except (ArchitectureError, DegenerateError, SourceError) as error:
            made = {"reason": without_home(str(error))}
        (folder / FILE).write_text(json.dumps(made, allow_nan=False))

    comparisons = first[0], second[0]
    both: list[JSON] = [executor.dependencies(one) for one in comparisons]
    fields: dict[str, JSON] = {
        "lead": [LEAD_VERSION, BLOCKS_OF_DIFFERENCE],
        "of": executor.checkpoint(first[0].candidate).digest,
        "kin": both,
        "references": [executor.checkpoint(one.reference).digest for one in comparisons],
        "maps": [sorted(kin_blocks(evidence).items()) for _, evidence in (first, second)],
    }
    said = json.loads(executor.store.get_or_create("evidence", fields, measure).read_text(FILE))
    if "reason" in said:
        return LeadRecord(name, reason=said["reason"])
    blocks = tuple((index, *both) for index, *both in said["lead"].pop("blocks"))
    return LeadRecord(name, Lead(blocks=blocks, **said["lead"]))


@in_turn
def _measured(executor: Executor, first: Kin, second: Kin) -> Lead:
    model = executor.checkpoint(first[0].candidate)
    references = [executor.checkpoint(comparison.reference) for comparison, _ in (first, second)]
    for one in (model, *references):
        if one.bundle is not None:
            raise DegenerateError(f"{one.source} is a fingerprint, which holds no weights")
    from provenance.differences.lead import lead_of

    work = executor.work
    sides = [
        (side_of(reference, work), _all_blocks(evidence))
        for reference, (_, evidence) in zip(references, (first, second), strict=True)
    ]
    names = " and ".join(one.source for one in references)
    return lead_of(
        side_of(model, work),
        *sides,
        seed=pair_seed(first[0].inputs.seed, model, references[0]),
        on_block=lambda i, n: work.tell(Stage("map", f"{model.source} against {names}", i, n)),
    )


def _all_blocks(evidence: Evidence) -> dict[int, int]:
    """The blocks that are kin; all of them, at their own index, where those that were looked at are so."""
    found = kin_blocks(evidence)
    depth = evidence.candidate.blocks
    if found and depth == evidence.reference.blocks and all(i == j for i, j in found.items()):
        return {index: index for index in range(depth)}
    return found
