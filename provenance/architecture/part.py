"""A language model that is a part of another model: where it lies, and what its tensors are called."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_ATTRIBUTE = "_provenance_part"
ELSEWHERE = "elsewhere."
"""What the names of tensors outside of a part are led to, so that none is taken for one of the part's."""


@dataclass(frozen=True)
class Part:
    """Where a language model lies in the whole.

    Attributes
    ----------
    path : str
        Of its module in the whole.
    whole : str
        The class of the whole.
    prefixes : tuple of str
        What its tensors' names begin with in the files, ``"language_model."``.
    renamings : Mapping
        From the names in the files to its own, as transformers' ``key_mapping`` takes them.
    """

    path: str
    whole: str
    prefixes: tuple[str, ...] = ()
    renamings: Mapping[str, str] = field(default_factory=dict, hash=False)

    def holds(self, stored: str) -> bool:
        """Whether a stored tensor is of this part."""
        return stored.startswith(self.prefixes)

    def own_name(self, stored: str) -> str:
        """A stored tensor's name without the prefix."""
        prefix = next((one for one in self.prefixes if stored.startswith(one)), "")
        return stored.removeprefix(prefix)


def part_of(model: Any) -> Part | None:
    """The part that a model is of a whole; None where it is the whole."""
    part: Part | None = getattr(model, _ATTRIBUTE, None)
    return part


def mark(model: Any, part: Part) -> None:
    """Have `part_of` answer for a model."""
    setattr(model, _ATTRIBUTE, part)


def class_name(model: Any) -> str:
    """The class of a model, and of a part where in the whole it is."""
    part = part_of(model)
    name = type(model).__name__
    return name if part is None else f"{name} ({part.path} of {part.whole})"
