"""Pairs of models in a device's memory: their blocks tested in turn and side by side, and on the CPU."""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from benchmarks._clock import Solving, timed
from benchmarks._pair import NOISE, Shape, random_model
from provenance.architecture.units import LinearMap, MLPFactors
from provenance.assignment.apart import solving_apart
from provenance.comparison.blocks import compare_blocks
from provenance.comparison.in_memory import activations
from provenance.comparison.side_by_side import ON_GPU
from provenance.comparison.sides import Component
from provenance.inputs.tokens import random_ids
from provenance.statistics import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.comparison.in_memory import LiveUnits
    from provenance.comparison.table import BlockTable

PARTNERS = {"dependent": (0, NOISE), "independent": (1, 0.0)}
"""Seed and noise of the models that the base, of seed 0, is compared with."""


@dataclass(frozen=True)
class Passed:
    """Seconds that one pair took by what was done, and what its blocks showed.

    ``making`` is of the partner's weights, ``forward`` of both passes. ``in_turn`` is of all blocks, one at
    a time, of which ``solving`` were spent on ``solved`` assignments. ``together`` is of all blocks side by
    side, the start of the solvers' processes included. ``peaks`` are GiB of the device that were in use at
    most, in turn and side by side.
    """

    kind: str
    making: float
    forward: float
    in_turn: float
    solving: float
    solved: int
    together: float
    peaks: tuple[float, float] | None
    table: BlockTable
    same: bool

    @property
    def products(self) -> float:
        """Seconds of all but the assignments: reading weights, preparing sides, products."""
        return self.in_turn - self.solving


@dataclass(frozen=True)
class OnCpu:
    """Units of a model on a device, given to the CPU; satisfies `provenance.comparison.sides.Units`."""

    units: LiveUnits

    @property
    def shape(self) -> Any:
        """What the model is made of."""
        return self.units.shape

    def block(self, index: int, place: int = 0) -> MLPFactors:
        """What one MLP is fed, and its projections."""
        mlp = self.units.block(index, place)
        assert isinstance(mlp, MLPFactors)
        assert mlp.gate is not None
        down = mlp.down
        return replace(
            mlp,
            inputs=mlp.inputs.cpu(),
            gate=_on_cpu(mlp.gate),
            up=_on_cpu(mlp.up),
            down=None if down is None else lambda: down().cpu(),
        )


def _on_cpu(linear: LinearMap) -> LinearMap:
    return LinearMap(linear.weight.cpu(), None if linear.bias is None else linear.bias.cpu())


def pairs(shape: Shape, device: str, dtype: str) -> Iterator[tuple[Passed, LiveUnits, LiveUnits]]:
    """Measure the base with each partner, and give what was measured with the units of both."""
    ids = random_ids(shape.tokens, shape.vocabulary, 0).split(shape.sequence_length)
    batches = [part[None] for part in ids]
    base = random_model(shape, 0, device=device, dtype=dtype)
    activations(base, batches[:1], by_input=True)  # warms up
    first, reference = timed(lambda: activations(base, batches, by_input=True), device)
    for kind, (seed, noise) in PARTNERS.items():
        making, partner = timed(
            lambda seed=seed, noise=noise: random_model(shape, seed, noise, device, dtype), device
        )
        second, candidate = timed(
            lambda partner=partner: activations(partner, batches, by_input=True), device
        )
        yield (
            _passed(kind, making, first + second, candidate, reference, device),
            candidate,
            reference,
        )
        del partner, candidate
        gc.collect()


def _passed(
    kind: str,
    making: float,
    forward: float,
    candidate: LiveUnits,
    reference: LiveUnits,
    device: str,
) -> Passed:
    component = Component.of(REGISTRY["match"], candidate, reference)
    _forget_peak(device)
    with Solving().watched() as solving:
        in_turn, one = timed(
            lambda: compare_blocks([component], "same-index", 0, threads=1), device
        )
    alone = _peak(device)
    _forget_peak(device)
    with solving_apart(ON_GPU):
        together, other = timed(
            lambda: compare_blocks([component], "same-index", 0, threads=ON_GPU), device
        )
    peak = _peak(device)
    return Passed(
        kind,
        making,
        forward,
        in_turn,
        solving.seconds,
        solving.count,
        together,
        None if alone is None or peak is None else (alone, peak),
        one,
        one == other,
    )


def on_cpu(candidate: LiveUnits, reference: LiveUnits, block: int) -> tuple[float, float | None]:
    """Seconds that one block takes the CPU, on what the device's models were fed, and its log10 p."""
    component = Component.of(REGISTRY["match"], OnCpu(candidate), OnCpu(reference))
    spent, table = timed(lambda: compare_blocks([component], "same-index", 0, rows=[block]), "cpu")
    return spent, table.blocks[0].log10_p


def floor(shape: Shape, device: str, dtype: str) -> str:
    """Say what the device's own speed allows: weights read once, and the products that are needed."""
    size = min(8192, 16 * shape.hidden)
    a = torch.randn(size, size, device=device, dtype=getattr(torch, dtype))
    b = torch.randn(size, size, device=device)
    a @ a, b @ b
    half, _ = timed(lambda: a @ a, device)
    single, _ = timed(lambda: b @ b, device)
    copied, _ = timed(b.clone, device)
    rates = [2 * size**3 / seconds for seconds in (half, single)]
    bandwidth = 2 * b.numel() * 4 / copied
    block = 4 * shape.hidden**2 + 3 * shape.hidden * shape.units
    forward = 2 * 2 * shape.tokens * shape.blocks * block
    inner = min(shape.tokens, shape.hidden)
    similarity = 2 * 2 * shape.blocks * inner * shape.units**2
    weights = 2 * 2 * shape.blocks * block / bandwidth
    seconds = weights + forward / rates[0] + similarity / rates[1]
    return (
        f"Floor of a pair: {seconds:.2f} s. Weights are read once at {bandwidth / 1e9:.0f} GB/s, forward "
        f"passes run at {rates[0] / 1e12:.2f} TFLOP/s in {dtype}, and similarities are made once at "
        f"{rates[1] / 1e12:.2f} TFLOP/s in float32."
    )


def _forget_peak(device: str) -> None:
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: str) -> float | None:
    return None if device == "cpu" else torch.cuda.max_memory_allocated(device) / 2**30
