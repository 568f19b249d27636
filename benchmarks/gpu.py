"""Time `match` on the GPU, on a pair of models shaped like Llama-2-7B.

``python -m benchmarks.gpu`` generates the pair on the device and prints a table. Its rows: both models'
forward passes, all blocks, blocks against blocks, one block of the obvious method, and the least time that
the device's matrix products and memory allow. ``--tiny`` is a small shape for any device.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from benchmarks._pair import NOISE, Shape, random_model
from provenance.comparison.in_memory import activations, compare_units
from provenance.inputs.tokens import random_ids
from tests import reference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provenance.comparison.in_memory import LiveUnits

LLAMA_7B = Shape(blocks=32, hidden=4096, units=11_008, heads=32, tokens=4096, sequence_length=512)
TINY = Shape(
    blocks=2, hidden=64, units=192, heads=4, vocabulary=512, tokens=512, sequence_length=64
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark as the options say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args(arguments)
    shape = TINY if options.tiny else LLAMA_7B
    if options.device == "cpu" and not options.tiny:
        parser.error("there is no GPU here: --tiny runs on the CPU")
    name = options.device
    if name != "cpu":
        name = torch.cuda.get_device_name(options.device)
    print(f"{name}, torch {torch.__version__}, {options.dtype}, {asdict(shape)}")
    with torch.device(options.device):
        measure(shape, options.device, options.dtype)


def measure(shape: Shape, device: str, dtype: str) -> None:
    """Print seconds by what was done, and the floor."""
    ids = [
        part[None]
        for part in random_ids(shape.tokens, shape.vocabulary, 0).split(shape.sequence_length)
    ]
    base = random_model(shape, 0, device=device, dtype=dtype)
    partners = {
        "dependent": random_model(shape, 0, NOISE, device, dtype),
        "independent": random_model(shape, 1, device=device, dtype=dtype),
    }
    activations(base, ids[:1], by_input=True)  # warms up
    spent, reference_units = timed(lambda: activations(base, ids, by_input=True), device)
    report("forward pass of one model, to its last MLP", spent)
    for kind, partner in partners.items():
        seconds, units = timed(
            lambda partner=partner: activations(partner, ids, by_input=True), device
        )
        compared, table = timed(lambda units=units: compare_units(units, reference_units), device)
        p = min(block.log10_p or 0.0 for block in table.blocks)
        report(f"{kind}: both forward passes and all blocks", spent + seconds + compared, p)
        crossed, _ = timed(
            lambda units=units: compare_units(units, reference_units, pairing="cross"), device
        )
        report(f"{kind}: blocks against blocks, besides", crossed)
        obvious, _ = timed(lambda units=units: one_block(units, reference_units), device)
        report(f"{kind}: one block by the obvious method, without its passes", obvious)
    floor(shape, device, dtype)


def one_block(candidate: LiveUnits, reference_units: LiveUnits) -> None:
    """Dense products in float64 on the CPU, and scipy's dense solver, for gate and for up."""
    ours, theirs = (units.block(0).dense() for units in (candidate, reference_units))
    for projection in ("gate", "up"):
        reference.matching_of(
            *(getattr(side, projection).double().cpu() for side in (ours, theirs))
        )


def floor(shape: Shape, device: str, dtype: str) -> None:
    """Print what the device's own speed allows: weights read once, and the products that are needed."""
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
    print(
        f"floor {seconds:.2f} s: weights once at {bandwidth / 1e9:.0f} GB/s, forward passes at "
        f"{rates[0] / 1e12:.2f} TFLOP/s in {dtype}, similarities at {rates[1] / 1e12:.2f} in float32"
    )


def timed(run: Callable[[], object], device: str) -> tuple[float, object]:
    """Seconds of one run, the device's work included, and what it gave."""
    _wait(device)
    start = time.perf_counter()
    found = run()
    _wait(device)
    return time.perf_counter() - start, found


def report(what: str, seconds: float, log10_p: float | None = None) -> None:
    """Print one line."""
    p = "" if log10_p is None else f"   least log10 p of a block {log10_p:.1f}"
    print(f"{what:58} {seconds:9.2f} s{p}")


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
