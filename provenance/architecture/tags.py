"""What a tensor is known to be while data is followed: tags, and which weight a matrix is a view of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class ParameterView:
    """A parameter or a view of one.

    ``layout`` is a tensor without data that goes through the same views as the parameter does. Its
    offset and strides then say which elements a view holds, whatever the views were.
    """

    name: str
    shape: tuple[int, ...]
    layout: torch.Tensor


def parameter_view(name: str, parameter: torch.Tensor) -> ParameterView:
    """Return the tag of a whole parameter."""
    shape = tuple(parameter.shape)
    return ParameterView(name, shape, torch.empty(shape, device="meta"))


@dataclass(frozen=True)
class Axis:
    """Where one dimension of a matrix lies in a parameter: index i is ``start + i * step``."""

    axis: int
    start: int
    step: int
    size: int

    def at(self, indices: range) -> range:
        """Return the parameter's indices of some of the dimension's."""
        first, step = self.start + indices.start * self.step, indices.step * self.step
        return range(first, first + len(indices) * step, step)


@dataclass(frozen=True)
class Operand:
    """A matrix that data was multiplied with: part of a parameter.

    ``expert`` is the index in a first axis of three; None where the operation took all of them.
    """

    parameter: str
    shape: tuple[int, ...]
    outs: Axis
    ins: Axis
    expert: int | None


def operand(weight: ParameterView, out_dim: int, in_dim: int) -> Operand | None:
    """Read off which part of its parameter a weight is; None for what no linear map is made of."""
    layout, shape = weight.layout, weight.shape
    if layout.dim() < 2 or len(shape) not in {2, 3}:
        return None
    strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    rest = layout.storage_offset()
    begin = []
    for stride in strides:
        begin.append(rest // stride)
        rest %= stride
    outs, ins = (
        _axis(layout.size(dim), layout.stride(dim), strides, begin) for dim in (out_dim, in_dim)
    )
    if outs is None or ins is None or outs.axis == ins.axis:
        return None
    whole = layout.dim() > 2  # a dimension of experts, or of rows that each chose one
    expert = None if whole or len(shape) == 2 else begin[0]
    return Operand(weight.name, shape, outs, ins, expert)


def _axis(size: int, stride: int, strides: Sequence[int], begin: Sequence[int]) -> Axis | None:
    for axis, whole in enumerate(strides):
        if stride and stride % whole == 0:
            return Axis(axis, begin[axis], stride // whole, size)
    return None


@dataclass(frozen=True)
class ModuleCall:
    """A call of a module on some hidden states; ``scaled`` counts how often these had been scaled."""

    module: str
    tokens: int
    routed: bool
    scaled: int


@dataclass(eq=False)
class Stream:
    """Hidden states, whatever their view.

    ``calls`` are the modules that they were given to, ``norm`` is the module that made them of as wide
    ones, without a matrix but those that gate a norm, and ``embedding`` is the parameter whose rows they
    are.
    """

    calls: list[ModuleCall] = field(default_factory=list)
    norm: str | None = None
    embedding: str | None = None


@dataclass(frozen=True)
class HiddenStates:
    """A tensor of hidden states.

    ``routed``: some tokens of its stream only, or some repeatedly. ``scaled``: how often each token was
    multiplied by a number of its own, by a router or by a norm.
    """

    stream: Stream
    routed: bool = False
    scaled: int = 0


@dataclass(eq=False)
class Matmul:
    """One multiplication of hidden states with a weight, and what became of it.

    ``before`` is the matmul whose output it multiplied, as it was. ``adapters`` names the weights of
    low-rank pairs on the same input whose output was added. ``squashed``: it went through a sigmoid
    or a tanh, so that it gates something.
    """

    weight: Operand
    states: HiddenStates
    before: Matmul | None = None
    bias: str | None = None
    adapters: list[str] = field(default_factory=list)
    squashed: bool = False


@dataclass(frozen=True, eq=False)
class MatmulOutput:
    """An elementwise function of what one matmul put out.

    ``channels`` has the tensor's shape and says which output channel each element comes from: views
    are replayed on it. ``added`` names the weights of other linear maps whose output was added,
    ``module`` is the last activation that is a module of its own.
    """

    matmul: Matmul
    channels: torch.Tensor
    terms: tuple[str, ...] = ()
    nonlinear: bool = False
    added: tuple[str, ...] = ()
    module: str | None = None

    def same(self, other: MatmulOutput) -> bool:
        """Whether both are functions of the same outputs, element by element."""
        return self.matmul is other.matmul and equal(self.channels, other.channels)


@dataclass(frozen=True, eq=False)
class Product:
    """An elementwise product of two outputs; ``channels`` counts its own channels."""

    factors: tuple[MatmulOutput, MatmulOutput]
    channels: torch.Tensor
    terms: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class DownMatmul:
    """A product (or a nonlinear output) that was multiplied with another weight."""

    value: Product | MatmulOutput
    matmul: Matmul


def along(channels: torch.Tensor) -> tuple[int, torch.Tensor] | None:
    """Return (dimension, values) of a tensor that varies along one dimension alone, else None."""
    if channels.numel() == 0:
        return None
    varying = [
        dim
        for dim in range(channels.dim())
        if channels.size(dim) > 1 and not equal(channels, _first(channels, dim))
    ]
    if len(varying) > 1:
        return None
    dim = varying[0] if varying else channels.dim() - 1
    index = [slice(None) if at == dim else 0 for at in range(channels.dim())]
    return dim, channels[tuple(index)].clone()  # a view would keep all of it


def equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are equal; of what both have expanded, one is looked at."""
    if one is other or one.shape != other.shape:
        return one is other
    expanded = [one.stride(dim) == other.stride(dim) == 0 for dim in range(one.dim())]
    index = tuple(slice(0, 1) if each else slice(None) for each in expanded)
    return torch.equal(one[index], other[index])


def _first(channels: torch.Tensor, dim: int) -> torch.Tensor:
    return channels.narrow(dim, 0, 1).expand_as(channels)


def numbered(shape: Sequence[int], dim: int) -> torch.Tensor:
    """Return a tensor of a shape that holds each element's index along a dimension."""
    wanted = [shape[at] if at == dim % len(shape) else 1 for at in range(len(shape))]
    return torch.arange(shape[dim], device="cpu").view(wanted).expand(tuple(shape))


def progression(values: torch.Tensor) -> range | None:
    """Return the values as a rising range, None where they are none."""
    numbers = values.tolist()
    step = numbers[1] - numbers[0] if len(numbers) > 1 else 1
    spanned = range(numbers[0], numbers[0] + len(numbers) * step, step) if step > 0 else None
    return spanned if spanned is not None and list(spanned) == numbers else None


def multiplied(outputs: Sequence[MatmulOutput], out: torch.Tensor) -> Product | None:
    """Return the product of two outputs, None where their channels do not lie along one dimension."""
    lines = [along(output.channels) for output in outputs]
    if lines[0] is None or lines[1] is None or lines[0][0] != lines[1][0]:
        return None
    first, second = (
        replace(output, channels=values)
        for output, (_, values) in zip(outputs, [lines[0], lines[1]], strict=True)
    )
    return Product((first, second), numbered(out.shape, lines[0][0]))
