"""Two models' parameters side by side, read one pair at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch

from provenance.errors import ArchitectureError, DegenerateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

_SHOWN = 3
_CHUNK = 1 << 22  # elements that are held in float64 at a time


def map_paired(
    measure: Callable[[str, torch.Tensor, torch.Tensor], T],
    candidate: Mapping[str, torch.Tensor],
    reference: Mapping[str, torch.Tensor],
) -> dict[str, T]:
    """Return ``measure(name, a, b)`` for every parameter, a and b the candidate's and reference's.

    The mappings may load a tensor when it is asked for: each is asked for once, and a pair is let
    go before the next is read.

    Raises
    ------
    ArchitectureError
        If names or shapes differ; the message lists up to three that do.
    """
    _require_equal_names(candidate, reference)
    measured: dict[str, T] = {}
    unlike: list[str] = []
    for name in candidate:
        _measure(name, candidate, reference, measure, measured, unlike)
        if len(unlike) == _SHOWN:
            break
    if unlike:
        raise ArchitectureError(
            f"the two models' parameters must have equal shapes, but differ in: {_listed(unlike)}"
        )
    return measured


def distance(name: str, a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the Euclidean distance of two equal-shaped parameters, summed in float64.

    Raises
    ------
    DegenerateError
        If either holds NaN or infinity.
    """
    squared = torch.zeros((), dtype=torch.float64)
    pieces = (torch.split(side.reshape(-1), _CHUNK) for side in (a, b))
    for x, y in zip(*pieces, strict=True):
        squared += (x.double() - y.to(x.device).double()).square().sum().cpu()
    if not bool(torch.isfinite(squared)):
        raise DegenerateError(f"parameter {name!r} holds NaN or infinity, so it has no distance")
    return float(squared.sqrt())


def _measure(
    name: str,
    candidate: Mapping[str, torch.Tensor],
    reference: Mapping[str, torch.Tensor],
    measure: Callable[[str, torch.Tensor, torch.Tensor], T],
    measured: dict[str, T],
    unlike: list[str],
) -> None:
    """Read one pair; as a function of its own, so that the pair is freed when it returns."""
    a, b = candidate[name], reference[name]
    if a.shape != b.shape:
        unlike.append(f"{name} {tuple(a.shape)} and {tuple(b.shape)}")
    elif not unlike:
        measured[name] = measure(name, a, b)


def _require_equal_names(
    candidate: Mapping[str, torch.Tensor], reference: Mapping[str, torch.Tensor]
) -> None:
    if not candidate and not reference:
        raise ArchitectureError("neither model has a parameter")
    # Names by iteration: a mapping may answer ``in`` by loading the tensor.
    names = set(candidate), set(reference)
    lone = [f"{name} (the candidate alone)" for name in candidate if name not in names[1]]
    lone += [f"{name} (the reference alone)" for name in reference if name not in names[0]]
    if lone:
        raise ArchitectureError(
            f"the two models must have the same parameters, but {len(lone)} are in one alone: "
            f"{_listed(lone)}"
        )


def _listed(what: Sequence[str]) -> str:
    return ", ".join(what[:_SHOWN]) + (", ..." if len(what) > _SHOWN else "")
