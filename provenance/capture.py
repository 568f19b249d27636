"""One forward pass to the gate and up activations of every block.

Hooks live only inside a ``with``; the pass stops as soon as the last block's MLP has been seen, so
that the language-model head is never computed. Nothing is kept: each batch goes to a `Sink`.
"""

from __future__ import annotations

import json
import os
import struct
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import torch

from provenance.errors import ArchitectureError, DegenerateError, DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from torch import nn

    from provenance.architecture import GatedMLP, Layout

Projection = Literal["gate", "up"]
PROJECTIONS: tuple[Projection, Projection] = ("gate", "up")
BATCH_BYTES = 256 << 20
"""About how much memory the activations of one batch may take inside the model."""


class Sink(Protocol):
    """Takes the activations of one projection for a run of token positions."""

    def write(self, block: int, projection: Projection, start: int, values: torch.Tensor) -> None:
        """Keep ``values``, (tokens, units), which begin at token position ``start``."""


class _PassComplete(Exception):  # noqa: N818 - not an error: it ends a forward pass early
    """Raised by the last hook of a pass, caught by `capture`."""


@contextmanager
def recording(
    model: nn.Module,
    mlps: Sequence[GatedMLP],
    receive: Callable[[GatedMLP, Projection, torch.Tensor], None],
) -> Iterator[None]:
    """Hooks on every gate and up projection, removed on the way out whatever happens.

    ``receive`` gets each output as (tokens of the batch, units), detached, on the model's device.
    """

    def hook(mlp: GatedMLP, projection: Projection) -> Callable[..., None]:
        def on_output(_module: nn.Module, _args: object, output: torch.Tensor) -> None:
            receive(mlp, projection, output.detach().reshape(-1, output.shape[-1]))

        return on_output

    with ExitStack() as stack:
        for mlp in mlps:
            for projection in PROJECTIONS:
                module = model.get_submodule(getattr(mlp, projection))
                handle = module.register_forward_hook(hook(mlp, projection))
                stack.callback(handle.remove)
        yield


def capture(
    model: nn.Module,
    layout: Layout,
    sequences: Sequence[torch.Tensor],
    sink: Sink,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Run the model over the sequences once and hand every block's activations to the sink.

    Parameters
    ----------
    model : torch.nn.Module
        A causal language model that takes ``input_ids``.
    layout : Layout
        From `provenance.architecture.find_mlps`.
    sequences : sequence of Tensor
        Token ids, each (length,) int64; all of one length but the last.
    on_progress : callable, optional
        Called with (sequences done, sequences in all).

    Raises
    ------
    DegenerateError
        At the first NaN or infinity, naming block and projection.
    DeviceError
        If not even one sequence fits the device's memory.
    """
    size = _batch_size(model, layout, sequences)
    done = 0
    while done < len(sequences):
        batch = _same_length(sequences[done : done + size])
        start = sum(len(sequence) for sequence in sequences[:done])
        try:
            _run(model, layout, torch.stack(batch), start, sink)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            if len(batch) == 1:
                raise DeviceError(
                    f"not even one sequence of {len(batch[0])} tokens fits the device's memory: "
                    "lower sequence_length, or use another device"
                ) from None
            size = max(1, len(batch) // 2)
            continue
        done += len(batch)
        if on_progress is not None:
            on_progress(done, len(sequences))


def _same_length(sequences: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The leading sequences of one length; a shorter last one makes a batch of its own."""
    return [s for s in sequences if len(s) == len(sequences[0])]


def _batch_size(model: nn.Module, layout: Layout, sequences: Sequence[torch.Tensor]) -> int:
    width = max(mlp.units for mlp in layout.mlps)
    itemsize = next(model.parameters()).dtype.itemsize
    # gate, up, their product and the residual stream's few copies are alive at once
    one = len(sequences[0]) * width * itemsize * 6
    return max(1, min(len(sequences), BATCH_BYTES // one))


def _run(model: nn.Module, layout: Layout, batch: torch.Tensor, start: int, sink: Sink) -> None:
    device = next(model.parameters()).device
    run_batch(model, layout, {"input_ids": batch.to(device)}, sink, start)


def run_batch(
    model: nn.Module,
    layout: Layout,
    arguments: Mapping[str, torch.Tensor],
    sink: Sink,
    start: int = 0,
) -> None:
    """Run one forward pass, to the last MLP, and hand its activations to the sink.

    Parameters
    ----------
    arguments : mapping
        What the model is called with, on its device: ``input_ids`` and what else it takes.
    start : int
        Token position that the batch begins at.

    Raises
    ------
    DegenerateError
        At the first NaN or infinity.
    ArchitectureError
        If a block runs twice, or never.
    """
    wanted = {(mlp.block, projection) for mlp in layout.mlps for projection in PROJECTIONS}

    def receive(mlp: GatedMLP, projection: Projection, values: torch.Tensor) -> None:
        key = (mlp.block, projection)
        if key not in wanted:
            raise ArchitectureError(
                f"{layout.architecture}: block {mlp.block} runs more than once in a forward pass, "
                "which is not supported yet"
            )
        if not bool(torch.isfinite(values).all()):
            raise DegenerateError(
                f"block {mlp.block}: the {projection} activations hold NaN or infinity; "
                "the checkpoint is broken, or its dtype too narrow (try dtype: float32)"
            )
        sink.write(mlp.block, projection, start, values)
        wanted.discard(key)
        if not wanted:
            raise _PassComplete

    with recording(model, layout.mlps, receive), torch.inference_mode():
        try:
            model(**arguments, use_cache=False)
        except _PassComplete:
            return
    missed = sorted({block for block, _ in wanted})
    raise ArchitectureError(f"{layout.architecture}: blocks {missed} did not run in a forward pass")


@contextmanager
def inputs(model: nn.Module, *paths: str) -> Iterator[dict[str, list[torch.Tensor]]]:
    """Record what modules take in, by path, one tensor a call, while the ``with`` lasts."""
    with _watching(model, paths, lambda args, _output: args[0]) as seen:
        yield seen


@contextmanager
def outputs(model: nn.Module, *paths: str) -> Iterator[dict[str, list[torch.Tensor]]]:
    """Record what modules put out, by path, one tensor a call, while the ``with`` lasts.

    Of a module that puts out a tuple, the first.
    """

    def first(_args: Any, output: Any) -> Any:
        return output[0] if isinstance(output, tuple) else output

    with _watching(model, paths, first) as seen:
        yield seen


@contextmanager
def _watching(
    model: nn.Module, paths: Sequence[str], choose: Callable[[Any, Any], torch.Tensor]
) -> Iterator[dict[str, list[torch.Tensor]]]:
    seen: dict[str, list[torch.Tensor]] = {path: [] for path in paths}

    def keep(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, args: Any, output: Any) -> None:
            seen[path].append(choose(args, output).detach().clone())

        return hook

    with ExitStack() as stack:
        for path in paths:
            handle = model.get_submodule(path).register_forward_hook(keep(path))
            stack.callback(handle.remove)
        yield seen


class ActivationWriter:
    """A `Sink` that fills one safetensors file in place, batch by batch, in bounded memory.

    Tensors are named ``3.gate``, ``3.up``: (tokens, units), in the dtype that the model ran in.
    Format: https://huggingface.co/docs/safetensors/index#format. A context manager.
    """

    def __init__(self, path: Path, layout: Layout, tokens: int, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._offsets: dict[tuple[int, Projection], int] = {}
        header: dict[str, object] = {}
        end = 0
        for mlp in layout.mlps:
            for projection in PROJECTIONS:
                self._offsets[mlp.block, projection] = end
                size = tokens * mlp.units * dtype.itemsize
                header[f"{mlp.block}.{projection}"] = {
                    "dtype": _SAFETENSORS_NAMES[dtype],
                    "shape": [tokens, mlp.units],
                    "data_offsets": [end, end + size],
                }
                end += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self._base = 8 + len(text)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(self._file, struct.pack("<Q", len(text)) + text)
        os.truncate(self._file, self._base + end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def write(self, block: int, projection: Projection, start: int, values: torch.Tensor) -> None:
        """Put ``values``, (tokens, units), at rows ``start`` on."""
        rows = values.to("cpu", self._dtype).contiguous()
        at = start * rows.shape[1] * self._dtype.itemsize
        data = memoryview(rows.view(torch.uint8).numpy().data).cast("B")
        at += self._base + self._offsets[block, projection]
        while data:  # one call writes 2 GiB at most on Linux
            written = os.pwrite(self._file, data, at)
            data, at = data[written:], at + written


_SAFETENSORS_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


class ActivationReader:
    """Reads what `ActivationWriter` wrote, one projection at a time."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        from safetensors import safe_open

        self._file = safe_open(path, framework="pt", device=device)

    def read(self, block: int, projection: Projection) -> torch.Tensor:
        """Activations of one projection, (tokens, units)."""
        values: torch.Tensor = self._file.get_tensor(f"{block}.{projection}")
        return values
