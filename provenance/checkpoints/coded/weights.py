"""A weight that is stored as codes, and all that there are of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provenance.checkpoints.coded.grids import Scale, Shape
    from provenance.checkpoints.safetensors_header import StoredTensor

Code = Literal["float8_e4m3", "float8_e5m2", "int8", "offset8", "offset4", "float4"]
"""What a byte of codes stands for: one number, or two of four bits, the low bits first.

``offset8`` and ``offset4`` are whole numbers, stored with half of their range added.
"""
NUMBERS_A_BYTE: Mapping[Code, int] = {"offset4": 2, "float4": 2}


@dataclass(frozen=True)
class CodedWeight:
    """A weight whose numbers are those of its codes times its scales.

    Attributes
    ----------
    codes : StoredTensor
        Where they lie, under the name and with the shape that the weight has.
    code : Code
        What a byte of them stands for.
    scales : tuple of Scale
        What the numbers are multiplied by, one after the other.
    stored : str
        The name of the tensor of codes.
    shape_at : StoredTensor or None
        A tensor that says the weight's shape, where there is one.
    """

    codes: StoredTensor
    code: Code
    scales: tuple[Scale, ...]
    stored: str
    shape_at: StoredTensor | None = None

    @property
    def shape(self) -> Shape:
        """The weight's."""
        return self.codes.shape

    def names(self) -> Iterator[str]:
        """The stored tensors that it is made of."""
        yield self.stored
        yield from (scale.tensor.name for scale in self.scales)
        if self.shape_at is not None:
            yield self.shape_at.name


def as_weights(
    tensors: Mapping[str, StoredTensor], coded: Mapping[str, CodedWeight]
) -> dict[str, StoredTensor]:
    """The tensors of a checkpoint with its weights in the place of what they are made of, sorted."""
    used = {name for weight in coded.values() for name in weight.names()}
    plain = {name: tensor for name, tensor in tensors.items() if name not in used}
    return dict(sorted((plain | {name: weight.codes for name, weight in coded.items()}).items()))


def renamed(tensor: StoredTensor, name: str, shape: Shape) -> StoredTensor:
    """The place of a stored tensor under the name, and with the shape, of the weight that it codes."""
    return replace(tensor, name=name, shape=shape)
