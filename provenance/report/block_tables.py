"""Tables of blocks: every number that the figures draw, and more."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from provenance.evidence.decide import is_below, level_of, shows
from provenance.evidence.given import MOST_OF_SIBLINGS, SAID
from provenance.evidence.outcomes import p_value
from provenance.report.view import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provenance.evidence.blocks import BlockEvidence
    from provenance.evidence.records import Evidence
    from provenance.evidence.sparse_merge import SparseMerge
    from provenance.vocabulary import Threshold


def of_blocks(
    evidence: Evidence, blocks: Sequence[BlockEvidence], threshold: Threshold
) -> tuple[Table, ...]:
    """The blocks of a claim; where there are several statistics or experts, a table of each."""
    if not blocks:
        return () if evidence.blocks else (_whole(evidence),)
    tables = [_blocks(blocks, threshold), _parts(blocks), _experts(blocks)]
    return tuple(table for table in tables if table.rows)


def of_parents(evidence: Evidence, names: Sequence[str]) -> tuple[Table, ...]:
    """The shares of a merge's parents, by what the claim calls them; none where none were measured."""
    fitted = None if evidence.merge is None else evidence.merge.fitted
    if fitted is None or len(fitted.shares) != len(names):
        return ()
    rows = [
        (str(block.block), *map(_share, block.shares), f"{block.left_over:.1%}")
        for block in fitted.blocks
    ]
    whole = (
        f"{_share(share)} ({_share(low)} to {_share(high)})"
        for share, low, high in zip(fitted.shares, fitted.low, fitted.high, strict=True)
    )
    rows.append(("all", *whole, f"{fitted.left_over:.1%}"))
    caption = f"Shares of the parents, over {fitted.matrices} matrices"
    by_squares = Table(caption, ("block", *names, "left over"), tuple(rows))
    return (by_squares,) if fitted.sparse is None else (_of_parts(fitted.sparse, names), by_squares)


def _of_parts(found: SparseMerge, names: Sequence[str]) -> Table:
    """What a merge keeps of its parents, number by number."""
    rows = [
        (str(one.block), *_both(one.shares, one.densities), f"{one.fits:.2%}")
        for one in found.blocks
    ]
    rows.append(("all", *_both(found.shares, found.densities), f"{found.fits:.2%}"))
    heads = ((f"{name}: share", f"{name}: density") for name in names)
    head = ("block", *chain.from_iterable(heads), "numbers that fit")
    return Table(f"Number by number: {found.words()}", head, tuple(rows))


def _both(shares: Sequence[float], densities: Sequence[float | None]) -> Iterable[str]:
    for share, density in zip(shares, densities, strict=True):
        yield _share(share)
        yield "base" if density is None else _share(density)


def of_base(evidence: Evidence, name: str | None) -> tuple[Table, ...]:
    """What the two share beyond a base, by what the claim calls it; none where that was not measured."""
    made = None if evidence.given is None else evidence.given.difference
    if made is None or name is None:
        return ()
    rows = (
        ("cosine of the differences", f"{made.cosine:.4f}"),
        ("without the strongest directions", f"{made.weak:.4f}"),
        ("the same, in a tenth of the matrices", f"{made.low:.4f}"),
        ("above this: more than siblings", f"{MOST_OF_SIBLINGS:g}"),
        ("share of the reference's difference", _share(made.share)),
        ("the same, without the strongest directions", _share(made.kept)),
        ("size of the candidate's difference", f"{made.sizes[0]:.3%}"),
        ("size of the reference's difference", f"{made.sizes[1]:.3%}"),
    )
    caption = f"Beyond {name}, over {made.matrices} matrices: {SAID[made.found]}"
    return (Table(caption, ("quantity", "value"), rows),)


def _share(share: float) -> str:
    return f"{round(share, 4) + 0.0:.4f}"


def _whole(evidence: Evidence) -> Table:
    """What a statistic of whole models found."""
    value = "none" if evidence.value is None else f"{evidence.value:.8g}"
    rows = [("value", value), ("p", p_value(evidence.log10_p, "–"))]
    if evidence.permutations is not None:
        rows.append(("permutations", str(evidence.permutations)))
    rows += [
        (name.replace("_", " "), f"{x:.6g}" if isinstance(x, float) else str(x))
        for name, x in evidence.details.items()
    ]
    caption = f"{evidence.statistic} of the two models as a whole"
    return Table(caption, ("quantity", "value"), tuple(rows))


def _blocks(blocks: Sequence[BlockEvidence], threshold: Threshold) -> Table:
    columns = {
        "block": [str(b.candidate_block) for b in blocks],
        "of the reference": [str(b.reference_block) for b in blocks],
        "shows": [_shows(b, threshold) for b in blocks],
        "p": [p_value(b.log10_p, "–") for b in blocks],
        "correlation": ["–" if b.correlation is None else f"{b.correlation:+.4f}" for b in blocks],
        "units": [f"{b.units[0]} × {b.units[1]}" for b in blocks],
        "live": [f"{b.live[0]} × {b.live[1]}" for b in blocks],
        "matched alike": [f"{b.agreeing} of {min(b.live)}" for b in blocks],
    }
    if any(b.mlps is not None for b in blocks):
        columns["MLPs"] = [" / ".join(b.mlps or ("–",)) for b in blocks]
    if any(b.fits is not None for b in blocks):
        columns["fits"] = [_fits(b.fits) for b in blocks]
    if any(b.reason for b in blocks):
        columns["reason"] = [b.reason or "" for b in blocks]
    words = frozenset(i for i, name in enumerate(columns) if name in {"shows", "MLPs", "reason"})
    rows = tuple(zip(*columns.values(), strict=True))
    return Table("Blocks", tuple(columns), rows, words)


def _shows(block: BlockEvidence, threshold: Threshold) -> str:
    if block.log10_p is None:
        return "no test"
    if shows(block, threshold):
        return "kinship"
    return "too few units" if is_below(block, level_of(block, threshold)) else "no kinship"


def _fits(fits: tuple[float, float] | None) -> str:
    return "–" if fits is None else f"{fits[0]:.3f}, {fits[1]:.3f}"


def _parts(blocks: Iterable[BlockEvidence]) -> Table:
    rows = tuple(
        (
            str(block.candidate_block),
            part.statistic,
            p_value(part.log10_p, "–"),
            "–" if part.correlation is None else f"{part.correlation:+.4f}",
            "–" if part.log10_p is None else f"{part.agreeing} of {min(part.live)}",
            part.reason or "",
        )
        for block in blocks
        for part in block.parts
    )
    head = ("block", "statistic", "p", "correlation", "matched alike", "reason")
    caption = "Each statistic by itself, before the correction for their number"
    return Table(caption, head, rows, frozenset({1, 5}))


def _experts(blocks: Iterable[BlockEvidence]) -> Table:
    rows = tuple(
        (
            str(block.candidate_block),
            expert.candidate,
            expert.reference or "none",
            p_value(expert.log10_p, "–"),
            "–" if expert.correlation is None else f"{expert.correlation:+.4f}",
        )
        for block in blocks
        for expert in block.experts
    )
    head = ("block", "MLP of the candidate", "best of the reference", "p", "correlation")
    return Table("Experts: what each found", head, rows, frozenset({1, 2}))
