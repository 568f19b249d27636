"""How well a model reads a text: its loss on a short stretch, on the way of a pass that is made anyway.

A model that does worse than guessing is out of its element, and what its units answer says little of it.
"""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

POSITIONS = 128
"""Most positions that logits are computed for: 128 MiB of them in float32 for 262 144 tokens."""

STEP = 16
"""Positions whose logarithms are taken at once: they take twice what the logits do, in float32."""


@dataclass(frozen=True)
class Loss:
    """Mean next-token loss, and how many tokens the model chooses among: guessing has their logarithm."""

    nats: float
    vocabulary: int


class LossProbe:
    """Takes the loss of a model on the first positions of the first sequence of a batch.

    The batch is run anyway, to its last MLP; it is run to its end, and the head is given those positions
    alone. So no second pass is needed, which would read a streamed model from disk once more.
    ``front`` ids at the start of the sequence are not predicted.
    """

    def __init__(self, head: torch.nn.Module, front: int = 0) -> None:
        self.loss: Loss | None = None
        self._head = head
        self._first = max(front, 1)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Let the head see the first positions of the first sequence only."""

        def shorten(
            _module: torch.nn.Module, args: tuple[torch.Tensor, ...]
        ) -> tuple[torch.Tensor, ...]:
            hidden, *others = args
            return (hidden[:1, :POSITIONS], *others)

        with ExitStack() as stack:
            stack.callback(self._head.register_forward_pre_hook(shorten).remove)
            yield

    def take(self, ids: torch.Tensor, output: Any) -> None:
        """Keep the loss of a batch; none where the model puts out no logits of what it was fed.

        Parameters
        ----------
        ids : Tensor
            (sequences, length) that the model was run on.
        output
            Of the model. Its ``logits`` are (sequences, positions, vocabulary) of what `watching` lets
            through.
        """
        logits: torch.Tensor | None = getattr(output, "logits", None)
        targets = ids[0, self._first : POSITIONS]
        if logits is None or not len(targets) or int(targets.max()) >= logits.shape[-1]:
            return
        predictions = logits[0, self._first - 1 :][: len(targets)]
        total = 0.0
        for start in range(0, len(targets), STEP):
            part = predictions[start : start + STEP].float()
            wanted = targets[start : start + STEP].to(part.device)
            total += float(functional.cross_entropy(part, wanted, reduction="sum"))
        if math.isfinite(total):
            self.loss = Loss(total / len(targets), logits.shape[-1])
