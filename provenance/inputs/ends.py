"""Where two tokenizers end a token at the same character of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence


def last_ends(ends: Sequence[int]) -> list[int]:
    """The ends of tokens, (tokens,), with 0 for each whose end a later token has too.

    The tokens of a split character all end where the character does, and only the last one has read it.
    """
    last = {end: place for place, end in enumerate(ends)}
    return [end if last[end] == place else 0 for place, end in enumerate(ends)]


def common_ends(
    candidate: Sequence[int], reference: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The positions at which both have read the same characters, in the order of the text.

    Parameters
    ----------
    candidate, reference : sequence of int
        Of `last_ends`; they need not be of one length.

    Returns
    -------
    tuple of Tensor
        Positions of the candidate's tokens and of the reference's, each (common,) int64.
    """
    places = [
        {end: place for place, end in enumerate(ends) if end > 0} for ends in (candidate, reference)
    ]
    common = sorted(places[0].keys() & places[1].keys())
    first, second = (
        torch.tensor([own[end] for end in common], dtype=torch.int64) for own in places
    )
    return first, second
