"""The units of two checkpoints on the embeddings of tokens that they share, as `match_tokens` takes them.

The package does the same for a comparison, of at most `provenance.vocabulary.PROBE_TOKENS` tokens. Here
the number is free, so that it can be calibrated.
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from provenance import Executor, ModelSpec, Store
from provenance.capture.embeddings import TokenUnits, embed, embedding_rows, usable
from provenance.errors import DegenerateError
from provenance.inputs.shared_tokens import draw
from provenance.inputs.vocabulary import Vocabulary, read_vocabulary
from provenance.loading.parameters import ModelTensors
from provenance.statistics import REGISTRY
from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

COUNTS = (64, 256, 512)
"""Numbers of tokens that are calibrated."""

DEFAULT = 256
"""The number that the package asks of a pair."""


def label(count: int) -> str:
    """Return the name of the statistic at a number of tokens."""
    return "match_tokens" if count == DEFAULT else f"match_tokens, {count} tokens"


class Embedded:
    """A checkpoint that can be asked about the embeddings of tokens. ``scratch`` is a folder of a store."""

    def __init__(self, checkpoint: Path, scratch: Path) -> None:
        executor = Executor(Store(scratch), "cpu")
        self._checkpoint = executor.checkpoint(ModelSpec(path=str(checkpoint)))
        self._layout = executor.work.layout(self._checkpoint)
        self._tensors = ModelTensors(self._checkpoint, stored=self._layout.stored)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What the ids stand for."""
        return read_vocabulary(self._checkpoint, embedding_rows(self._layout.trace, self._tensors))

    def rows(self, ids: Sequence[int]) -> torch.Tensor:
        """Return scaled embeddings, (tokens, hidden) float32."""
        return embed(self._layout.trace, self._tensors, ids)

    def units(self, rows: torch.Tensor) -> TokenUnits:
        """Return the units that answer to embeddings."""
        return TokenUnits(self._layout, self._tensors, rows, "cpu")


def on_tokens(
    candidate: Embedded, reference: Embedded, count: int, seed: int
) -> tuple[TokenUnits, TokenUnits]:
    """Return both models' units on so many shared tokens, or on all that can be used."""
    drawn = draw(candidate.vocabulary, reference.vocabulary, count, seed)
    rows = candidate.rows(drawn.candidate), reference.rows(drawn.reference)
    places = usable(*rows, count)
    return candidate.units(rows[0][places]), reference.units(rows[1][places])


def p_values(
    candidate: Embedded, reference: Embedded, count: int, seed: int, every: int = 1
) -> dict[tuple[int, int], float]:
    """Return log10 p of `match_tokens` of pairs of blocks; no pair where a block is refused.

    Parameters
    ----------
    every : int
        The step from one block to the next.
    """
    row = REGISTRY["match_tokens"]
    test, prepare = row.load(), row.load_preparation()
    assert prepare is not None
    prepared: list[dict[int, object]] = [{}, {}]
    sides = on_tokens(candidate, reference, count, seed)
    for side, role, blocks in zip(sides, ROLES, prepared, strict=True):
        for block in sorted(side.shape.mlps)[::every]:
            with suppress(DegenerateError):
                blocks[block] = prepare(side.block(block), role, seed)
    return {
        (i, j): test(prepared[0][i], prepared[1][j], seed=seed).log10_p
        for i, j in itertools.product(*prepared)
    }
