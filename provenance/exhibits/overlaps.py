"""Exhibits of what two models have in common: tokens, settings, units that gate and up pair alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provenance.errors import DegenerateError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from provenance.evidence.blocks import BlockEvidence

__all__ = ["most_agreeing", "setting_overlap", "token_overlap"]


def token_overlap(candidate: Collection[bytes], reference: Collection[bytes]) -> tuple[float, int]:
    """Return the share of the tokens of either that both have, by their text, and how many there are.

    Raises
    ------
    DegenerateError
        Neither has any.
    """
    ours, theirs = set(candidate), set(reference)
    either = len(ours | theirs)
    if not either:
        raise DegenerateError("neither tokenizer has a token that stands for text")
    return len(ours & theirs) / either, either


def setting_overlap(
    candidate: Mapping[str, Any], reference: Mapping[str, Any]
) -> tuple[float, int]:
    """Return the share of the settings of either that are equal in both, and how many there are.

    Raises
    ------
    DegenerateError
        Neither has any.
    """
    keys = candidate.keys() | reference.keys()
    if not keys:
        raise DegenerateError("neither configuration says how the model computes")
    missing = object()
    equal = sum(candidate.get(key, missing) == reference.get(key, missing) for key in keys)
    return equal / len(keys), len(keys)


def most_agreeing(blocks: Iterable[BlockEvidence], statistic: str, part: str) -> tuple[float, int]:
    """Return the most units of a tested pair of blocks that gate and up pair alike, and of how many pairs.

    Parameters
    ----------
    blocks : iterable of BlockEvidence
        Of one comparison by ``statistic``.
    part : str
        The statistic whose matchings count, so that all pairs of models are looked at in one way.

    Raises
    ------
    DegenerateError
        No pair of blocks was tested by it.
    """
    counts = [
        test.agreeing
        for block in blocks
        for test in (*block.parts, *([block] if statistic == part else ()))
        if test.log10_p is not None and getattr(test, "statistic", part) == part
    ]
    if not counts:
        raise DegenerateError(f"no blocks were tested by {part}: kinship tests by it")
    return float(max(counts)), len(counts)
