"""Says why evidence in which nothing was found shows no independence.

A copy in a disguise that costs nothing passes some statistics (`Statistic.withstands_disguise`). Where
one of the others was not computed, that nothing was found says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.evidence.blocks import NOT_MEASURED
from provenance.statistics import REGISTRY, WITHSTANDING
from provenance.vocabulary import FEW_EMBEDDED, FEW_SHARED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provenance.evidence.blocks import BlockEvidence, PartEvidence
    from provenance.evidence.records import Evidence


TOLD = 3
"""Of what could not be tested, so many are named."""


def shortfall(evidence: Evidence, blocks: Sequence[BlockEvidence]) -> str | None:
    """Say what is lacking for independence to be shown on these blocks; None where nothing is.

    Of a combination, a part that runs the models must have been computed: it is defined for any two. A
    part that reads files may apply to no block of a pair, where a norm is of another kind, for instance.
    Where it applies, it must have been computed on every block. Each of a block's MLPs must have been
    tested.
    """
    row = REGISTRY.get(evidence.statistic)
    strong = () if row is None else row.withstanding()
    if row is None or not strong:
        return (
            f"Nothing was found, but {evidence.statistic} finds no copy in a disguise that costs nothing: "
            f"that shows no independence. Use {', '.join(WITHSTANDING)}."
        )
    partly = [block for block in blocks if block.untested]
    if partly:
        return _tested_in_part(partly)
    if not row.parts:
        return None
    tested = [block for block in blocks if block.log10_p is not None]
    parts = [{part.statistic: part for part in block.parts} for block in tested]
    for one in strong:
        found = [each.get(one.name) for each in parts]
        lacking = [i for i, part in enumerate(found) if _is_undefined(part)]
        arranged = any(_can_be_arranged(part) for part in found)
        applies = one.runs_models or len(lacking) < len(found) or arranged
        if lacking and applies:
            return _without(one.name, [tested[i] for i in lacking], [found[i] for i in lacking])
    return None


def _can_be_arranged(part: PartEvidence | None) -> bool:
    """Whether a part has too few tokens in common: whoever makes a tokenizer can see to that."""
    reason = "" if part is None else part.reason or ""
    return FEW_SHARED in reason or FEW_EMBEDDED in reason


def _is_undefined(part: PartEvidence | None) -> bool:
    """Whether a part should have been computed and was not."""
    if part is None:
        return True
    return part.log10_p is None and not (part.reason or "").startswith(NOT_MEASURED)


def _tested_in_part(blocks: Sequence[BlockEvidence]) -> str:
    first = blocks[0]
    told = "; ".join(first.untested[:TOLD])
    more = len(first.untested) - TOLD
    return (
        f"{_named(blocks).capitalize()} could be tested in part only, which shows no independence. "
        f"Not tested in block {first.candidate_block}: {told}"
        + (f"; and {more} more." if more > 0 else ".")
    )


def _named(blocks: Sequence[BlockEvidence]) -> str:
    numbers = ", ".join(str(block.candidate_block) for block in blocks)
    return f"block{'s' * (len(blocks) > 1)} {numbers}"


def _without(
    name: str, blocks: Sequence[BlockEvidence], parts: Sequence[PartEvidence | None]
) -> str:
    where = _named(blocks)
    reason = next((part.reason for part in parts if part is not None and part.reason), None)
    why = "" if reason is None else f" ({reason})"
    return (
        f"Nothing was found, but {name} was not computed on {where}{why}: that shows no independence, "
        "since a disguise that costs nothing may hide a copy from the rest."
    )
