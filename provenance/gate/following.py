"""Numbers of evidence that follow from other numbers of it, computed again.

What cannot be computed from evidence alone is left: a correlation needs the models, and how many MLPs of
a reference's block took part is not in evidence. Then what is checked is that some number would give it.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from provenance.statistics import DISTANCES, PAIR_STATISTICS, REGISTRY
from provenance.statistics.pvalues import bonferroni, fisher, spearman_log10_p

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provenance.evidence.records import BlockEvidence, Evidence, PartEvidence

TOLERANCE = 1e-6
"""Relative: far above rounding, far below what would move a verdict."""
RANKED = frozenset(row.name for row in REGISTRY.values() if row.null == "spearman")
"""Statistics whose p-value is that of a Spearman correlation of ``min(live)`` units."""
STRONGEST = 3
"""At unequal widths `match` is the best over so many choices of units (`statistics.match.SHARES`)."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def complaints(evidence: Evidence) -> tuple[str, ...]:
    """Say what in evidence does not follow from the rest of it, a line each; nothing where all does."""
    return tuple(
        line
        for check in (_digests, _whole, _blocks, _permutations, _table, _alignment)
        for line in check(evidence)
    )


def same(recorded: float | None, derived: float | None) -> bool:
    """Whether a log10 p-value is what it is computed to be, but for rounding."""
    if recorded is None or derived is None:
        return recorded is derived
    return math.isclose(recorded, derived, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _says(what: str, recorded: object, derived: object) -> str:
    return f"{what} is {recorded}, but {derived} follows"


def _digests(evidence: Evidence) -> Iterator[str]:
    for role, model in (("candidate", evidence.candidate), ("reference", evidence.reference)):
        for name in ("digest", "weights_digest", "claimed"):
            found = getattr(model, name)
            if found is not None and not DIGEST.fullmatch(found):
                yield f"{name} of the {role} is {found!r}, which is no SHA-256"
    found = evidence.inputs.digest
    if not DIGEST.fullmatch(found) and not (evidence.inputs.kind == "hidden" and found == "none"):
        yield f"digest of the inputs is {found!r}, which is no SHA-256"


def _whole(evidence: Evidence) -> Iterator[str]:
    if evidence.statistic in PAIR_STATISTICS:
        return
    log10_ps = [block.log10_p for block in evidence.blocks if block.log10_p is not None]
    derived = fisher(log10_ps) if log10_ps else None
    if not same(evidence.log10_p, derived):
        yield _says("log10_p over all blocks", evidence.log10_p, derived)


def _blocks(evidence: Evidence) -> Iterator[str]:
    for block in evidence.blocks:
        where = f"block {block.candidate_block}"
        if block.agreeing > min(block.live):
            yield f"{where}: {block.agreeing} units agree, of {min(block.live)}"
        if (
            max(
                block.candidate_block - evidence.candidate.blocks,
                block.reference_block - evidence.reference.blocks,
            )
            >= 0
        ):
            yield f"{where}: a model has no such block"
        for part in block.parts:
            follow = _of_correlation(part.statistic, part)
            if follow and not any(same(part.log10_p, derived) for derived in follow):
                yield _says(f"{where}: log10_p of {part.statistic}", part.log10_p, follow[0])
        yield from _block(evidence, block, where)


def _of_correlation(statistic: str, found: BlockEvidence | PartEvidence) -> tuple[float, ...]:
    """P-values of a correlation, before any correction for partners; none of another statistic."""
    if statistic not in RANKED or found.correlation is None or min(found.live) < 3:
        return ()
    plain = spearman_log10_p(found.correlation, min(found.live))
    return (plain, bonferroni(plain, STRONGEST)) if statistic == "match" else (plain,)


def _block(evidence: Evidence, block: BlockEvidence, where: str) -> Iterator[str]:
    """Hold a block's p-value against its correlation, or its parts, and what it was corrected for."""
    if block.log10_p is None:
        return
    follow = _alone(evidence, block)
    least, most = _corrections(evidence, block)
    if follow and not any(_corrected(block.log10_p, alone, least, most) for alone in follow):
        yield _says(f"{where}: log10_p", block.log10_p, bonferroni(follow[0], least)) + (
            f" from its correlation, corrected for {_range(least, most)}"
        )


def _corrected(log10_p: float, alone: float, least: int, most: int) -> bool:
    """Whether a p-value is another one times a number of comparisons from ``least`` to ``most``."""
    if any(same(log10_p, bonferroni(alone, times)) for times in (least, most)):
        return True
    if log10_p == 0 and alone + math.log10(most) >= 0:
        return True
    times = 10 ** min(log10_p - alone, 18)
    return least - 0.5 <= times <= most + 0.5 and math.isclose(times, round(times), rel_tol=1e-4)


def _range(least: int, most: int) -> str:
    number = str(least) if least == most else f"{least} to {most}"
    return f"{number} comparison{'s' * (most > 1)}"


def _alone(evidence: Evidence, block: BlockEvidence) -> tuple[float, ...]:
    if not block.parts:
        return _of_correlation(evidence.statistic, block)
    tested = [part.log10_p for part in block.parts if part.log10_p is not None]
    return (bonferroni(min(tested), len(tested)),) if tested else ()


def _corrections(evidence: Evidence, block: BlockEvidence) -> tuple[int, int]:
    """The least and the greatest number of comparisons that a block was the best of."""
    least = most = 1
    if evidence.cross:
        least = most = sum(cell is not None for cell in _row(evidence, block))
    elif evidence.pairing != "same-index":
        most = max(1, evidence.reference.blocks - len(evidence.reference.skipped))
    if block.mlps is not None:  # of the reference's MLPs, evidence holds no number
        least, most = least * max(1, len(block.experts)), most * max(1, len(block.experts)) * 4096
    return max(1, least), max(1, most)


def _row(evidence: Evidence, block: BlockEvidence) -> Sequence[float | None]:
    place = evidence.blocks.index(block)
    return evidence.cross[place] if place < len(evidence.cross) else ()


def _permutations(evidence: Evidence) -> Iterator[str]:
    drawn, log10_p = evidence.permutations, evidence.log10_p
    if drawn is None or log10_p is None or evidence.statistic not in DISTANCES:
        return
    rank = 10**log10_p * (drawn + 1)
    if not 1 <= round(rank) <= drawn + 1 or not math.isclose(rank, round(rank), rel_tol=TOLERANCE):
        yield f"log10_p is {log10_p}, which no rank among {drawn} permutations gives"


def _columns(evidence: Evidence) -> list[int]:
    skipped = evidence.reference.skipped
    return [index for index in range(evidence.reference.blocks) if str(index) not in skipped]


def _table(evidence: Evidence) -> Iterator[str]:
    """Hold each block against its row of the table of all pairs."""
    if not evidence.cross:
        return
    columns = _columns(evidence)
    shape = {len(row) for row in evidence.cross}
    if len(evidence.cross) != len(evidence.blocks) or shape != {len(columns)}:
        yield f"the table has not {len(evidence.blocks)} rows of {len(columns)} reference blocks"
        return
    for block, row in zip(evidence.blocks, evidence.cross, strict=True):
        found = [cell for cell in row if cell is not None]
        if block.log10_p is None:
            continue
        derived = bonferroni(min(found), len(found)) if found else None
        if not same(block.log10_p, derived):
            what = f"block {block.candidate_block}: log10_p"
            yield _says(what, block.log10_p, derived) + " from its row of the table"


def _alignment(evidence: Evidence) -> Iterator[str]:
    """Hold the map of blocks against the table: its p-values, one to one, the best there is."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    columns, rows = _columns(evidence), [block.candidate_block for block in evidence.blocks]
    if not evidence.alignment or {len(row) for row in evidence.cross} != {len(columns)}:
        return
    if len(evidence.cross) != len(rows):
        return
    pairs = [(pair.candidate_block, pair.reference_block) for pair in evidence.alignment]
    if any(len({pair[side] for pair in pairs}) < len(pairs) for side in (0, 1)):
        yield "the alignment maps a block twice"
    for pair in evidence.alignment:
        i, j = pair.candidate_block, pair.reference_block
        if i not in rows or j not in columns:
            yield f"the alignment has block {i} as block {j}, which is not in the table"
            return
        cell = evidence.cross[rows.index(i)][columns.index(j)]
        if not same(pair.log10_p, cell):
            yield _says(f"log10_p of block {i} as block {j} in the alignment", pair.log10_p, cell)
    strength = np.array([[-(cell or 0.0) for cell in row] for row in evidence.cross])
    best = float(strength[linear_sum_assignment(strength, maximize=True)].sum())
    total = -sum(pair.log10_p for pair in evidence.alignment)
    if not math.isclose(best, total, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        yield _says("the alignment's sum of -log10 p", total, f"{best} of the best map")
