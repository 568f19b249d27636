"""Answers the questions that a forward pass asks about numbers, on the meta device, which has none.

Models look at masks and at what their routers chose. A projection goes through the same operations
whatever the answer is. So every question gets an answer that lets the pass go on: a mask is true, a number
is zero, and the first expert chose one token.
"""

from __future__ import annotations

import operator
from typing import Any, TypeGuard

import torch
from torch.overrides import TorchFunctionMode

SCALARS: dict[str, Any] = {
    "item": 0,
    "__bool__": True,
    "__int__": 0,
    "__index__": 0,
    "__float__": 0.0,
    "is_nonzero": True,
    "equal": True,
    "__contains__": False,
    "allclose": True,
}

COMPARISONS: dict[str, Any] = {
    spelling: getattr(operator, name)
    for name in ("eq", "ne", "lt", "le", "gt", "ge")
    for spelling in (name, f"__{name}__")
}


class MetaAnswers(TorchFunctionMode):
    """Answers what torch refuses to answer about tensors without numbers."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run a function, or answer in its stead."""
        name = getattr(func, "__name__", "")
        asked = args[0] if args else None
        if _is_meta(asked):
            if name in SCALARS:
                return SCALARS[name]
            if name in COMPARISONS and asked.dim() == 0 and isinstance(args[1], int):
                return COMPARISONS[name](0, args[1])  # is it the expert that stands for none?
            if name == "tolist":
                return torch.zeros(asked.shape, dtype=asked.dtype, device="cpu").tolist()
        return func(*args, **(kwargs or {}))


def answer_without_values(operation: str, args: tuple[Any, ...]) -> Any:
    """Return an operation's result where it depends on numbers that are not there, else None."""
    first = args[0] if args else None
    if not _is_meta(first):
        return None
    if operation == "_local_scalar_dense":
        return first.dtype == torch.bool
    if operation == "nonzero":  # one element is
        return first.new_empty((1, first.dim()), dtype=torch.int64)
    if operation in {"_grouped_mm", "grouped_mm_fallback"}:  # torch's own takes bfloat16 alone
        return first.new_empty((first.shape[0], args[1].shape[-1]))
    return None


def plausible_arguments(operation: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arguments that could be, where some were made of numbers that are not there."""
    first = args[0] if args else None
    if not _is_meta(first):
        return args
    if operation == "index" and any(_is_mask(index) for index in args[1]):
        return (first, [i for index in args[1] for i in _indices(index)])
    if operation == "split_with_sizes":
        size = first.shape[args[2] if args[2:] else 0]
        if sum(args[1]) != size:  # the first expert gets every token
            return (first, [size, *[0] * (len(args[1]) - 1)], *args[2:])
    return args


def _is_meta(value: Any) -> TypeGuard[torch.Tensor]:
    return isinstance(value, torch.Tensor) and value.is_meta


def _is_mask(index: Any) -> bool:
    return isinstance(index, torch.Tensor) and index.dtype in {torch.bool, torch.uint8}


def _indices(index: Any) -> list[Any]:
    """Return what indexes in a mask's stead: one element."""
    if not _is_mask(index):
        return [index]
    return [index.new_empty((1,), dtype=torch.int64) for _ in range(index.dim())]
