"""Rows of two embeddings that stand for the same tokens, by id or by text, whichever lie nearer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from provenance.errors import DegenerateError, InputError
from provenance.inputs.shared_tokens import LEAST_TOKENS, SPARE, draw
from provenance.inputs.vocabulary import Vocabulary, read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.differences.side import Side
    from provenance.evidence.difference import Tokens

__all__ = ["MOST_TOKENS", "paired_rows"]

MOST_TOKENS = 4096
"""Rows that are looked at: of a larger vocabulary those that the seed draws."""


def paired_rows(
    candidate: Side, reference: Side, seed: int
) -> Iterator[tuple[Tokens, torch.Tensor, torch.Tensor]]:
    """Yield ways to pair rows: how, and the candidate's and the reference's ids, int64 (tokens,).

    By id first, which costs nothing; by text where both have tokenizers that differ.
    """
    sizes = [
        side.tensors.shape(side.embedding)[0] for side in (candidate, reference) if side.embedding
    ]
    if len(sizes) < 2:
        return
    generator = torch.Generator().manual_seed(seed % 2**63)
    ids = torch.randperm(min(sizes), generator=generator)[:MOST_TOKENS].sort().values
    yield "by id", ids, ids
    ours, theirs = candidate.checkpoint, reference.checkpoint
    if ours.tokenizer_digest == theirs.tokenizer_digest:
        return
    try:
        vocabularies: list[Vocabulary] = [
            read_vocabulary(one, size) for one, size in zip((ours, theirs), sizes, strict=True)
        ]
        drawn = draw(vocabularies[0], vocabularies[1], MOST_TOKENS // SPARE, seed)
    except (DegenerateError, InputError):
        return
    if drawn.candidate != drawn.reference and len(drawn.candidate) >= LEAST_TOKENS:
        yield "by text", torch.tensor(drawn.candidate), torch.tensor(drawn.reference)
