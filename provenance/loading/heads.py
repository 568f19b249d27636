"""Heads: what stands behind a model's blocks, which no statistic of blocks reads.

Files may lack the head of the language model, or hold others: of values, rewards, classes, draft tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from provenance.checkpoints.contents import WRAPPERS

if TYPE_CHECKING:
    from collections.abc import Iterable


class NoHead(torch.nn.Identity):
    """Stands where a head was not saved: what the model puts out are its last hidden states."""


@dataclass(frozen=True)
class Heads:
    """Which names belong to heads.

    Attributes
    ----------
    own : str or None
        Path of the head of the language model.
    base : frozenset of str
        First parts of the names of all else that the model has.
    stacks : frozenset of str
        Names of the lists of modules right below the base model.
    """

    own: str | None
    base: frozenset[str]
    stacks: frozenset[str]

    @classmethod
    def of(cls, model: Any) -> Heads:
        """Look at the modules of a causal language model, on any device."""
        prefix = model.base_model_prefix
        base = getattr(model, prefix, model) if prefix else model
        children = dict(base.named_children())
        stacks = {
            name for name, child in children.items() if isinstance(child, torch.nn.ModuleList)
        }
        head = model.get_output_embeddings()
        own = next((name for name, one in model.named_modules() if one is head), None)
        outside = {own.partition(".")[0]} if own is not None else set()
        parts = {name for name, _ in model.named_children()} | children.keys() | {prefix}
        return cls(own, frozenset(parts - outside), frozenset(stacks))

    def is_own(self, parameter: str) -> bool:
        """Whether a parameter is of the head of the language model."""
        return self.own is not None and parameter.startswith(f"{self.own}.")

    def is_other(self, stored: str) -> bool:
        """Whether a stored tensor that nothing loads is of another head, and not of more blocks."""
        first, *rest = stored.split(".")
        return first not in self.base | WRAPPERS and not self.stacks & set(rest)

    def without_own(self, model: Any, missing: Iterable[str]) -> bool:
        """Take the model's head away if all that is missing is of it; whether that was so."""
        names = list(missing)
        if not names or self.own is None or not all(map(self.is_own, names)):
            return False
        parent, _, name = self.own.rpartition(".")
        setattr(model.get_submodule(parent), name, NoHead())
        return True
