"""Measure the size of a model's activations in a shared store, and what compression would save.

``python -m benchmarks.traffic`` prints the tables of RESULTS.md. It compresses real activations of a small
trained model without loss by zlib, and by zstd where the package ``zstandard`` is installed. It does so
with the bytes as they are, and with bytes of equal significance put together. Speeds are of one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import provenance
from benchmarks._arguments import at_least
from benchmarks._table import table
from benchmarks.capacity import KINDS, Kind, bytes_kept
from provenance.comparison.executor import as_spec
from provenance.recipes.train import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

WIDTHS = {"float32": 4, "bfloat16": 2}
GIGABIT = 1e9 / 8
NETWORKS = {"1 Gbit/s": GIGABIT, "10 Gbit/s": 10 * GIGABIT}
SMALL = Kind("0.5B", 0.36e9, 24, 896, 4864)


@dataclass(frozen=True)
class Squeezed:
    """One way to squeeze one file: bytes left of each byte, and bytes a second either way."""

    way: str
    left: float
    there: float
    back: float

    def seconds(self, size: float, network: float) -> float:
        """To squeeze ``size`` bytes, send them, and have them back, one after the other."""
        return size * (1 / self.there + self.left / network + 1 / self.back)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.traffic", description=__doc__)
    parser.add_argument("--model", default="quickstart/base", help="a recipe, folder or repository")
    parser.add_argument(
        "--partner", default="quickstart/finetuned", help="what it is compared with"
    )
    parser.add_argument("--tokens", type=at_least(1), default=4096)
    parser.add_argument("--store", type=Path, help="keeps the models; by default nothing does")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, one_thread():
        store = provenance.Store(options.store or folder)
        for dtype, width in WIDTHS.items():
            file, weighs = captured(store, options.model, options.partner, dtype, options.tokens)
            data = file.read_bytes()
            print(f"\n{options.model} in {dtype}: {len(data):,} bytes, by the formula {weighs:,}\n")
            if not weighs <= len(data) < weighs + 2**16:
                sys.exit("the formula is wrong")
            print(_ways(list(squeezed(data, width))), flush=True)
    print(f"\nWhat is kept of a model, {options.tokens} tokens, by the formula:\n")
    print(sizes(options.tokens))


def captured(
    store: provenance.Store, model: str, partner: str, dtype: str, tokens: int
) -> tuple[Path, int]:
    """A model's activations in the store, and the bytes that the formula says they have."""
    specs = [replace(as_spec(name), dtype=dtype) for name in (model, partner)]
    executor = provenance.Executor(store, "cpu")
    inputs = provenance.InputsSpec(tokens=tokens)
    provenance.compare(*specs, inputs=inputs, statistic="match", executor=executor)
    checkpoint = executor.checkpoint(specs[0])
    for manifest in (store.root / store.version / "activations").glob("*/*/manifest.json"):
        fields = json.loads(manifest.read_text())["fields"]
        if (fields["model"], fields["dtype"]) == (checkpoint.digest, dtype):
            blocks, hidden = (
                checkpoint.config[name] for name in ("num_hidden_layers", "hidden_size")
            )
            weighs = bytes_kept(Kind(model, 0, blocks, hidden, 0, WIDTHS[dtype]), tokens)
            return manifest.parent / "activations.safetensors", weighs
    raise LookupError(f"no activations of {model} in {store.root}")


def squeezed(data: bytes, width: int) -> Iterator[Squeezed]:
    """Squeeze a file in every way that there is, and look that it comes back."""
    for name, (squeeze, expand) in _libraries().items():
        yield _measured(name, data, squeeze, expand)
        yield _measured(
            f"{name}, bytes apart",
            data,
            lambda given, squeeze=squeeze: squeeze(apart(given, width)),
            lambda given, expand=expand: together(expand(given), width),
        )


def apart(data: bytes, width: int) -> bytes:
    """The first bytes of all numbers, then all second ones, and so on; what is over comes last."""
    whole = len(data) - len(data) % width
    planes = np.frombuffer(data[:whole], np.uint8).reshape(-1, width)
    return planes.T.tobytes() + data[whole:]


def together(data: bytes, width: int) -> bytes:
    """The inverse of `apart`."""
    whole = len(data) - len(data) % width
    planes = np.frombuffer(data[:whole], np.uint8).reshape(width, -1)
    return planes.T.tobytes() + data[whole:]


def _libraries() -> dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]]:
    ways = {"zlib, level 1": (lambda data: zlib.compress(data, 1), zlib.decompress)}
    if find_spec("zstandard") is not None:
        zstd = import_module("zstandard")
        for level in (1, 3):
            ways[f"zstd, level {level}"] = (
                zstd.ZstdCompressor(level=level).compress,
                zstd.ZstdDecompressor().decompress,
            )
    return ways


def _measured(
    way: str,
    data: bytes,
    squeeze: Callable[[bytes], bytes],
    expand: Callable[[bytes], bytes],
    times: int = 3,
) -> Squeezed:
    there, back = [], []
    for _ in range(times):
        began = time.perf_counter()
        small = squeeze(data)
        half = time.perf_counter()
        again = expand(small)
        there.append(half - began)
        back.append(time.perf_counter() - half)
        if again != data:
            sys.exit(f"{way} loses something")
    return Squeezed(way, len(small) / len(data), len(data) / min(there), len(data) / min(back))


def _ways(found: Sequence[Squeezed]) -> str:
    head = (
        "way",
        "left",
        "compress, MB/s",
        "expand, MB/s",
        *(f"a GB at {name}" for name in NETWORKS),
    )
    plain = ("as it is", "100 %", "", "", *(f"{1e9 / speed:.1f} s" for speed in NETWORKS.values()))
    rows = [
        (
            one.way,
            f"{one.left:.0%}".replace("%", " %"),
            f"{one.there / 1e6:.0f}",
            f"{one.back / 1e6:.0f}",
            *(f"{one.seconds(1e9, speed):.1f} s" for speed in NETWORKS.values()),
        )
        for one in found
    ]
    return table(head, [plain, *rows])


def sizes(tokens: int) -> str:
    """A table of what is kept of models of some shapes."""
    rows = []
    for kind in (SMALL, *KINDS.values()):
        wide = replace(kind, width=4)
        rows.append(
            (
                kind.name,
                str(kind.blocks),
                str(kind.hidden),
                f"{bytes_kept(kind, tokens) / 2**20:,.0f} MiB",
                f"{bytes_kept(wide, tokens) / 2**20:,.0f} MiB",
                *(f"{bytes_kept(kind, tokens) / speed:.1f} s" for speed in NETWORKS.values()),
            )
        )
    head = (
        "model",
        "blocks",
        "hidden",
        "16 bits",
        "float32",
        *(f"16 bits at {n}" for n in NETWORKS),
    )
    return table(head, rows)


if __name__ == "__main__":
    main()
