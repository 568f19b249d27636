"""One forward pass to what every block's MLP is fed, or to its gate and up activations.

Hooks live only inside a ``with``; the pass stops as soon as the last block's MLP has been seen, so
that the language-model head is never computed. Nothing is kept: each batch goes to a `Sink`.
"""

from __future__ import annotations

import json
import os
import struct
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import torch

from provenance.errors import ArchitectureError, DegenerateError, DeviceError
from provenance.units import PROJECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from torch import nn

    from provenance.architecture import GatedMLP, Layout

Record = Literal["input", "gate", "up"]
"""What is kept of an MLP: what both its projections are fed, or what each of them puts out."""

BATCH_BYTES = 256 << 20
"""About how much memory the activations of one batch may take inside the model, where nothing is said."""


@dataclass(frozen=True)
class Recording:
    """Which records are kept of which MLPs; ``widths`` says how wide each is, by (block, record).

    "input" is kept where ``by_input`` says that gate and up are plain linear maps of one input, whose
    weights can be read elsewhere; else "gate" and "up" are.
    """

    layout: Layout
    by_input: bool

    @property
    def records(self) -> tuple[Record, ...]:
        """What is kept of every MLP."""
        return ("input",) if self.by_input else PROJECTIONS

    def widths(self, model: nn.Module) -> dict[tuple[int, Record], int]:
        """Width of every record, in order of blocks."""
        if not self.by_input:
            return {(m.block, p): m.units for m in self.layout.mlps for p in PROJECTIONS}
        return {
            (m.block, "input"): int(model.get_submodule(m.gate).in_features)  # type: ignore[arg-type]
            for m in self.layout.mlps
        }


class SeparateInputsError(Exception):
    """The two projections of an MLP are not fed the same: its input alone does not tell its units."""


class Sink(Protocol):
    """Takes one record of a block for a run of token positions."""

    def write(self, block: int, record: Record, start: int, values: torch.Tensor) -> None:
        """Keep ``values``, (tokens, width), which begin at token position ``start``."""


class _PassComplete(Exception):  # noqa: N818 - not an error: it ends a forward pass early
    """Raised by the last hook of a pass, caught by `capture`."""


@contextmanager
def recording(
    model: nn.Module,
    what: Recording,
    receive: Callable[[GatedMLP, Record, torch.Tensor], None],
) -> Iterator[None]:
    """Hooks on every gate and up projection, removed on the way out whatever happens.

    ``receive`` gets each record as (tokens of the batch, width), detached, on the model's device.

    Raises
    ------
    SeparateInputsError
        Inside the ``with``, if inputs are recorded and an MLP's projections are fed differently.
    """
    install = _watch_input if what.by_input else _watch_outputs
    with ExitStack() as stack:
        for mlp in what.layout.mlps:
            install(model, mlp, receive, stack)
        yield


def _watch_outputs(
    model: nn.Module,
    mlp: GatedMLP,
    receive: Callable[[GatedMLP, Record, torch.Tensor], None],
    stack: ExitStack,
) -> None:
    def hook(projection: Record) -> Callable[..., None]:
        def on_output(_module: nn.Module, _args: object, output: torch.Tensor) -> None:
            receive(mlp, projection, _rows(output))

        return on_output

    for projection in PROJECTIONS:
        module = model.get_submodule(getattr(mlp, projection))
        stack.callback(module.register_forward_hook(hook(projection)).remove)


def _watch_input(
    model: nn.Module,
    mlp: GatedMLP,
    receive: Callable[[GatedMLP, Record, torch.Tensor], None],
    stack: ExitStack,
) -> None:
    """The input is received when the second projection is given the same as the first was."""
    first: list[torch.Tensor] = []

    def on_input(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        if not args:  # given by name: not the call of a plain linear map
            raise SeparateInputsError
        if not first:
            first.append(args[0])
            return
        given = first.pop()
        if given is not args[0] and not torch.equal(given, args[0]):
            raise SeparateInputsError
        receive(mlp, "input", _rows(given))

    for projection in PROJECTIONS:
        module = model.get_submodule(getattr(mlp, projection))
        stack.callback(module.register_forward_pre_hook(on_input).remove)
    stack.callback(first.clear)


def _rows(values: torch.Tensor) -> torch.Tensor:
    return values.detach().reshape(-1, values.shape[-1])


def capture(
    model: nn.Module,
    what: Recording,
    sequences: Sequence[torch.Tensor],
    sink: Sink,
    on_progress: Callable[[int, int], None] | None = None,
    batch_bytes: int = BATCH_BYTES,
) -> None:
    """Run the model over the sequences once and hand every block's records to the sink.

    Parameters
    ----------
    model : torch.nn.Module
        A causal language model that takes ``input_ids``.
    what : Recording
        Its layout is from `provenance.architecture.find_mlps`.
    sequences : sequence of Tensor
        Token ids, each (length,) int64; all of one length but the last.
    on_progress : callable, optional
        Called with (sequences done, sequences in all).
    batch_bytes : int
        About how much memory the activations of one batch may take inside the model.

    Raises
    ------
    DegenerateError
        At the first NaN or infinity, naming the block.
    DeviceError
        If not even one sequence fits the device's memory.
    SeparateInputsError
        See `recording`.
    """
    size = _batch_size(model, what.layout, sequences, batch_bytes)
    done = 0
    while done < len(sequences):
        batch = _same_length(sequences[done : done + size])
        start = sum(len(sequence) for sequence in sequences[:done])
        try:
            _run(model, what, torch.stack(batch), start, sink)
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


def _batch_size(
    model: nn.Module, layout: Layout, sequences: Sequence[torch.Tensor], batch_bytes: int
) -> int:
    width = max(mlp.units for mlp in layout.mlps)
    itemsize = next(model.parameters()).dtype.itemsize
    # gate, up, their product and the residual stream's few copies are alive at once
    one = len(sequences[0]) * width * itemsize * 6
    return max(1, min(len(sequences), batch_bytes // one))


def _run(model: nn.Module, what: Recording, batch: torch.Tensor, start: int, sink: Sink) -> None:
    # a model that is run from disk has parameters on no device until a block is called
    device = next(weight.device for weight in model.parameters() if not weight.is_meta)
    run_batch(model, what, {"input_ids": batch.to(device)}, sink, start)


def run_batch(
    model: nn.Module,
    what: Recording,
    arguments: Mapping[str, torch.Tensor],
    sink: Sink,
    start: int = 0,
) -> None:
    """Run one forward pass, to the last MLP, and hand its records to the sink.

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
    layout = what.layout
    wanted = {(mlp.block, record) for mlp in layout.mlps for record in what.records}

    def receive(mlp: GatedMLP, record: Record, values: torch.Tensor) -> None:
        key = (mlp.block, record)
        if key not in wanted:
            raise ArchitectureError(
                f"{layout.architecture}: block {mlp.block} runs more than once in a forward pass, "
                "which is not supported yet"
            )
        if not bool(torch.isfinite(values).all()):
            of = "MLP's inputs" if record == "input" else f"{record} activations"
            raise DegenerateError(
                f"block {mlp.block}: the {of} hold NaN or infinity; "
                "the checkpoint is broken, or its dtype too narrow (try dtype: float32)"
            )
        sink.write(mlp.block, record, start, values)
        wanted.discard(key)
        if not wanted:
            raise _PassComplete

    with recording(model, what, receive), torch.inference_mode():
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

    Tensors are named ``3.input``, or ``3.gate`` and ``3.up``: (tokens, width), in the dtype that the
    model ran in; ``widths`` is by (block, record). A context manager.
    Format: https://huggingface.co/docs/safetensors/index#format.
    """

    def __init__(
        self, path: Path, widths: Mapping[tuple[int, Record], int], tokens: int, dtype: torch.dtype
    ) -> None:
        self._dtype = dtype
        self._offsets: dict[tuple[int, Record], int] = {}
        header: dict[str, object] = {}
        end = 0
        for (block, record), width in widths.items():
            self._offsets[block, record] = end
            size = tokens * width * dtype.itemsize
            header[f"{block}.{record}"] = {
                "dtype": _SAFETENSORS_NAMES[dtype],
                "shape": [tokens, width],
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

    def write(self, block: int, record: Record, start: int, values: torch.Tensor) -> None:
        """Put ``values``, (tokens, width), at rows ``start`` on."""
        rows = values.to("cpu", self._dtype).contiguous()
        at = start * rows.shape[1] * self._dtype.itemsize
        data = memoryview(rows.view(torch.uint8).numpy().data).cast("B")
        at += self._base + self._offsets[block, record]
        while data:  # one call writes 2 GiB at most on Linux
            written = os.pwrite(self._file, data, at)
            data, at = data[written:], at + written


_SAFETENSORS_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


class ActivationReader:
    """Reads what `ActivationWriter` wrote, one record at a time."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._path = path
        self._device = device

    def read(self, block: int, record: Record) -> torch.Tensor:
        """One record, (tokens, width)."""
        from safetensors import safe_open

        # opened for one record: what was read of a file stays mapped while it is open
        with safe_open(self._path, framework="pt", device=self._device) as file:
            values: torch.Tensor = file.get_tensor(f"{block}.{record}")
        return values
