"""What a test that fails says: its headline, and the message of a claim with a table of its blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance._text import visible
from provenance.evidence.decide import shows
from provenance.evidence.failures import shortfall_of
from provenance.evidence.nearest import HEAD as REFERENCE_HEAD
from provenance.evidence.nearest import cells_of, nearest_in_words
from provenance.evidence.outcomes import OUTCOMES, p_equation, p_value
from provenance.evidence.verdict import judge_block
from provenance.evidence.wording import count, describe
from provenance.statistics import PAIR_STATISTICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provenance.evidence.blocks import BlockEvidence
    from provenance.evidence.relatives import Identification
    from provenance.evidence.results import ClaimResult
    from provenance.evidence.verdict import Judgement
    from provenance.vocabulary import Threshold

REFERENCES = 20
"""References that a message lists, the nearest first; evidence has all."""
HEAD = ("block", "of reference", "correlation", "p", "")


def claim_message(result: ClaimResult, where: str) -> str:
    """What is claimed, what was measured of it and of each block, and what that means."""
    judgement = result.judgement
    assert judgement is not None
    lines = [
        f"claimed   {describe(result.claim)} ({where})",
        f"measured  {judgement.measured}",
        f"meaning   {judgement.meaning}",
    ]
    table = block_table(result) if result.found is None else reference_table(result.found)
    return "\n".join([*lines, *table])


def claim_headline(result: ClaimResult) -> str:
    """What was measured of a claim that does not hold, and its outcome in a word."""
    parts = [p_equation(result.log10_p)]
    if result.found is not None:
        parts = [nearest_in_words(result.found)]
    elif result.blocks:
        parts.append(f"{result.kin} of {len(result.blocks)} kin")
    return ", ".join([*parts, OUTCOMES[shortfall_of(result).outcome].word])


def block_table(result: ClaimResult) -> Iterator[str]:
    """The blocks that a claim is judged by, a line each, behind a head; nothing where there are none."""
    tested = (_row(block, result.claim.thresholds) for block in result.blocks)
    rows = [HEAD, *tested, *_absent(result)]
    if len(rows) > 1:
        yield from _set("blocks", rows)


def reference_table(found: Identification) -> Iterator[str]:
    """What each reference showed, a line each, behind a head."""
    rows = (tuple(map(visible, cells_of(one))) for one in found.references[:REFERENCES])
    yield from _set("found", [REFERENCE_HEAD, *rows])
    if len(found.references) > REFERENCES:
        yield f"{'':8}  and {len(found.references) - REFERENCES} more"


def _set(name: str, rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """The lines of a table, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for i, row in enumerate(rows):
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"{'' if i else name:8}  {cells}".rstrip()


def _absent(result: ClaimResult) -> Iterator[tuple[str, ...]]:
    """The blocks that a claim names and that were not compared, each with the reason."""
    claim, evidence = result.claim, result.evidence
    if evidence is None or evidence.statistic in PAIR_STATISTICS:
        return
    named = {*(claim.blocks.indices or ()), *dict(claim.block_alphas)}
    for index in sorted(named - {block.candidate_block for block in result.blocks}):
        yield str(index), "-", "-", "-", judge_block(claim, evidence, index).measured


def _row(block: BlockEvidence, threshold: Threshold) -> tuple[str, ...]:
    sides = (str(block.candidate_block), str(block.reference_block))
    if block.log10_p is None or block.correlation is None:
        return (*sides, "-", p_value(block.log10_p), block.reason or block.state)
    kin = "shows kinship" if shows(block, threshold) else ""
    return (*sides, f"{block.correlation:+.3f}", p_value(block.log10_p), kin)


def blocks_message(failed: Sequence[Judgement], tested: int, where: str) -> str:
    """What one block, or several of the tested ones, show in place of what is claimed; one line."""
    if tested == 1:
        return f"{failed[0].measured} ({where})"
    return (
        f"{len(failed)} of {count(tested, 'block')} do not show it: {failed[0].measured} ({where})"
    )


def block_headline(result: ClaimResult, index: int | None, failed: Sequence[Judgement]) -> str:
    """What was measured of a block, and its verdict; of several blocks how many fail."""
    block = None
    if index is not None and result.evidence is not None:
        block = result.evidence.block(index)
    if block is not None and block.log10_p is not None:
        return f"{p_equation(block.log10_p)}, {failed[0].verdict}"
    if index is not None:
        return f"not checked: {failed[0].measured}"
    return f"{len(failed)} of {count(len(result.blocks), 'block')}, least {_least(result)}"


def _least(result: ClaimResult) -> str:
    log10_ps = [block.log10_p for block in result.blocks if block.log10_p is not None]
    return p_equation(min(log10_ps, default=None))
