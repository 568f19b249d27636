"""The permutations that leave the function of a Llama-like model alone (paper, Appendix D).

The group is written down as data: `axes_of` says which axis of which parameter moves with which others. MLP
units, whole attention heads, the inner units of values, and the residual stream are permuted. With
grouped-query attention key-value heads move with their query heads, and query heads within a group.
The inner units of queries and keys stay: rotary embedding turns pair i of a head at a frequency of
its own, so no two pairs (and no two units of a pair) can change places without changing the function.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch

from provenance.errors import ArchitectureError
from provenance.transforms import BLOCK_AXES, OUTER_AXES

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HEAD_AXES", "Member", "Moved", "Symmetries", "axes_of", "random_member"]

Parameters = Mapping[str, torch.Tensor]

Moved = Literal["residual", "unit", "head", "inner"]
"""What a member permutes: the residual stream, MLP units, whole heads, a value head's inner units."""

HEAD_AXES: Mapping[str, tuple[str, ...]] = {
    "self_attn.q_proj.weight": ("query", "residual"),
    "self_attn.q_proj.bias": ("query",),
    "self_attn.q_norm.weight": ("query",),
    "self_attn.k_proj.weight": ("key", "residual"),
    "self_attn.k_proj.bias": ("key",),
    "self_attn.k_norm.weight": ("key",),
    "self_attn.v_proj.weight": ("value", "residual"),
    "self_attn.v_proj.bias": ("value",),
    "self_attn.o_proj.weight": ("residual", "output"),
    "self_attn.rotary_emb.inv_freq": ("other",),
}
"""The axes of a block's attention, in place of those of `provenance.transforms.BLOCK_AXES`.

``query`` and ``key``: heads times inner units, of which the heads alone move. ``value`` and ``output``:
the inner units move besides. A norm as long as one head (Qwen3) is one for all heads, and stays.
"""

_LAYOUT: Mapping[str, tuple[str, ...]] = {**BLOCK_AXES, **HEAD_AXES}
_IN_BLOCK = re.compile(r"model\.layers\.(\d+)\.(.+)")
_HEAD_NORMS = ("q_norm.weight", "k_norm.weight")
_OUTSIDE = -1  # the block of what is outside the blocks
_STREAMS = {"residual": 0, "unit": 1, "head": 2, "within": 3, "inner": 4}


def axes_of(name: str) -> tuple[str, ...] | None:
    """Return the kinds of a parameter's axes, None for a name that the tables do not know."""
    inside = _IN_BLOCK.fullmatch(name)
    return _LAYOUT.get(inside[2]) if inside else OUTER_AXES.get(name)


@dataclass(frozen=True)
class Symmetries:
    """The group of permutations that leaves the function of a Llama-like model alone.

    Attributes
    ----------
    shapes : mapping of str to tuple of int
        The shape of every parameter, by name.
    heads, key_value_heads : int, optional
        Attention heads and key-value heads, as in the model's configuration; shapes alone do not tell
        them. Without ``heads`` the heads stay where they are: a smaller group, as valid.
        Without ``key_value_heads`` there are as many as ``heads``.
    parts : tuple of str
        What to permute, all by default. The paper's group for Llama is ``("residual", "unit")``.

    Raises
    ------
    ArchitectureError
        If a parameter's axes are not known, axes that move together differ in length, or heads do
        not divide the projections.
    ValueError
        If a part is not one.
    """

    shapes: Mapping[str, tuple[int, ...]]
    heads: int | None = None
    key_value_heads: int | None = None
    parts: tuple[Moved, ...] = get_args(Moved)

    def __post_init__(self) -> None:
        if unknown := set(self.parts) - set(get_args(Moved)):
            raise ValueError(f"parts has {sorted(unknown)}; they must be of {get_args(Moved)}")
        widths: dict[tuple[int, str], int] = {}
        for name in self.shapes:
            for place, width in filter(None, _widths(name, self.shapes)):
                if widths.setdefault(place, width) != width:
                    raise ArchitectureError(
                        f"{name!r} has {width} {place[1]} units where another parameter has "
                        f"{widths[place]}: they cannot be permuted together"
                    )
        if self.heads is not None:
            self._require_whole_heads(self.heads, widths)

    @classmethod
    def of(
        cls,
        parameters: Parameters,
        *,
        heads: int | None = None,
        key_value_heads: int | None = None,
        parts: tuple[Moved, ...] = get_args(Moved),
    ) -> Symmetries:
        """Return the group of a model by its parameters, each of which is read once."""
        shapes = {name: tuple(parameters[name].shape) for name in parameters}
        return cls(shapes, heads, key_value_heads, parts)

    @property
    def groups(self) -> int:
        """Key-value heads: those that are stated, or as many as heads."""
        return self.key_value_heads or self.heads or 1

    def _require_whole_heads(self, heads: int, widths: Mapping[tuple[int, str], int]) -> None:
        if heads % self.groups:
            raise ArchitectureError(
                f"{heads} heads cannot share {self.groups} key-value heads evenly"
            )
        whole = {"query": heads, "output": heads, "key": self.groups, "value": self.groups}
        for (block, kind), width in widths.items():
            if width % whole.get(kind, 1):
                raise ArchitectureError(
                    f"block {block} has {width} {kind} units, which are not {whole[kind]} heads"
                )
        for (block, kind), width in widths.items():
            partner = block, {"query": "key", "output": "value"}.get(kind, kind)
            if partner in widths and width * whole.get(partner[1], 1) != (
                widths[partner] * whole.get(kind, 1)
            ):
                raise ArchitectureError(
                    f"block {block} has {width} {kind} and {widths[partner]} {partner[1]} units, which "
                    f"are not of {heads} heads over {self.groups} key-value heads"
                )


@dataclass(frozen=True)
class Member:
    """One permutation of a model's parameters, held as the key from which its orders are drawn.

    Attributes
    ----------
    symmetries : Symmetries
        The group.
    key : int
        Tells members apart; equal keys are equal members.
    """

    symmetries: Symmetries = field(repr=False)
    key: int

    def apply(self, parameters: Parameters) -> Parameters:
        """Return a view of the parameters that permutes a tensor whenever it is asked for."""
        return _Permuted(self, parameters)

    def permute(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Return the parameter of this name with its axes permuted.

        Raises
        ------
        ArchitectureError
            If the group has no such parameter of such a shape.
        """
        if self.symmetries.shapes.get(name) != tuple(tensor.shape):
            raise ArchitectureError(
                f"a permutation is not made for the parameter {name!r} of shape {tuple(tensor.shape)}"
            )
        for axis, order in enumerate(self.orders(name)):
            if order is not None:
                index = torch.from_numpy(order).to(tensor.device)
                tensor = tensor.index_select(axis, index)
        return tensor

    def orders(self, name: str) -> tuple[NDArray[np.int64] | None, ...]:
        """Return, for each axis of a parameter, the old index of each new one; None: unmoved."""
        axes = _widths(name, self.symmetries.shapes)
        return tuple(None if axis is None else self._order(*axis) for axis in axes)

    def _order(self, place: tuple[int, str], width: int) -> NDArray[np.int64] | None:
        block, kind = place
        if kind in {"residual", "unit"}:
            moved = kind in self.symmetries.parts
            return self._rng(block, kind).permutation(width) if moved else None
        if self.symmetries.heads is None:
            return None
        return self._head_order(block, kind, width)

    def _head_order(self, block: int, kind: str, width: int) -> NDArray[np.int64]:
        """Return old inner units by new ones: heads in a new order, values with units in one too."""
        heads, groups = self._heads(block)
        taken = heads.reshape(-1) if kind in {"query", "output"} else groups
        inner = width // len(taken)
        if kind in {"query", "key"}:
            units = np.tile(np.arange(inner), (len(taken), 1))
        else:
            of_group = self._inner(block, inner)  # (groups, inner)
            units = of_group[taken // heads.shape[1] if kind == "output" else taken]
        return (taken[:, None] * inner + units).reshape(-1)

    def _heads(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return old heads by new (groups, heads a group), and old groups by new (groups,)."""
        count = self.symmetries.groups
        sharing = (self.symmetries.heads or count) // count
        groups, within = np.arange(count), np.tile(np.arange(sharing), (count, 1))
        if "head" in self.symmetries.parts:
            groups = self._rng(block, "head").permutation(count)
            within = self._rng(block, "within").permuted(within, axis=1)
        return groups[:, None] * sharing + within, groups

    def _inner(self, block: int, inner: int) -> NDArray[np.int64]:
        units = np.tile(np.arange(inner), (self.symmetries.groups, 1))
        moved = "inner" in self.symmetries.parts
        return self._rng(block, "inner").permuted(units, axis=1) if moved else units

    def _rng(self, block: int, stream: str) -> np.random.Generator:
        # Drawn anew where they are needed: all members' orders at once would fill the memory.
        return np.random.default_rng([self.key, block + 1, _STREAMS[stream]])


class _Permuted(Mapping[str, torch.Tensor]):
    def __init__(self, member: Member, parameters: Parameters) -> None:
        self._member = member
        self._parameters = parameters

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._member.permute(name, self._parameters[name])

    def __contains__(self, name: object) -> bool:
        return name in self._parameters  # Mapping's own would permute the tensor to find out

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)


def random_member(symmetries: Symmetries, generator: np.random.Generator) -> Member:
    """Draw a member of the group uniformly."""
    return Member(symmetries, int(generator.integers(2**63)))


def _widths(
    name: str, shapes: Mapping[str, tuple[int, ...]]
) -> list[tuple[tuple[int, str], int] | None]:
    """Return the place and the length of each of a parameter's axes; None: the axis stays."""
    axes, shape = axes_of(name), shapes[name]
    if axes is None or len(axes) != len(shape):
        raise ArchitectureError(
            f"the axes of parameter {name!r} with shape {shape} are not known here; the group is "
            "that of models laid out like Llama, with separate gate, up and down"
        )
    if name.endswith(_HEAD_NORMS) and shapes.get(name.replace("_norm", "_proj"), ())[:1] != shape:
        return [None]  # one norm for all heads
    inside = _IN_BLOCK.fullmatch(name)
    block = int(inside[1]) if inside else _OUTSIDE
    return [
        None if kind == "other" else ((_OUTSIDE if kind == "residual" else block, kind), width)
        for kind, width in zip(axes, shape, strict=True)
    ]
