"""One forward pass to what every MLP is fed, or to what its gate and up answer to that.

Hooks live only inside a ``with``. The pass stops after the last MLP's inputs, so that the head of the
language model is never computed, save where the loss is asked for. Nothing is kept here: each batch goes
to a `Sink`.

Hooks see what an MLP is fed before any router. So every expert is asked about every token, whichever tokens
would reach it, and however the experts' matrices are multiplied.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from provenance.architecture.records import linear_map
from provenance.architecture.units import PROJECTIONS
from provenance.errors import (
    ArchitectureError,
    DegenerateError,
    DeviceError,
    ProvenanceError,
    one_line,
)
from provenance.loading.devices import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import nn

    from provenance.architecture.records import MLPRecord, Trace
    from provenance.capture.loss import LossProbe

BATCH_BYTES = 256 << 20
"""Default of about how much memory the activations of one batch may take inside the model."""


@dataclass(frozen=True)
class Recording:
    """Which records are kept, each under a name of its own.

    With ``by_input`` a record is what MLPs are fed, named by the path of the module that takes it: MLPs
    that are fed the same share one. Without, it is what gate and up answer, named by `answers_name`.
    """

    trace: Trace
    by_input: bool

    def widths(self) -> dict[str, int]:
        """Width of every record by its name, in order of blocks."""
        if self.by_input:
            return {record.input.module: record.hidden for record in self.trace.mlps}
        return {
            answers_name(block, place, projection): record.units
            for block, place, record in self.trace.places()
            for projection in PROJECTIONS
            if getattr(record, projection) is not None
        }


def answers_name(block: int, place: int, projection: str) -> str:
    """Name of the record of what a projection puts out."""
    return f"{block}.{place}.{projection}"


class Sink(Protocol):
    """Takes one record for a run of token positions."""

    def write(self, name: str, start: int, values: torch.Tensor) -> None:
        """Keep ``values``, (tokens, width), which begin at token position ``start``."""


class _PassComplete(Exception):  # noqa: N818 - not an error: it ends a forward pass early
    """Raised by the last hook of a pass, caught by `capture`."""


@contextmanager
def recording(
    model: nn.Module, recorded: Recording, receive: Callable[[str, torch.Tensor], None]
) -> Iterator[None]:
    """Hook every module that takes what MLPs are fed; remove the hooks on the way out.

    ``receive`` gets the module's path and what it takes: (tokens of the batch, hidden), detached, on its
    device.
    """

    def hook(path: str) -> Callable[..., None]:
        def on_input(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            if not args:
                raise ArchitectureError(
                    f"{recorded.trace.architecture}: {path} is now given its inputs by name"
                )
            receive(path, args[0].detach().reshape(-1, args[0].shape[-1]))

        return on_input

    with ExitStack() as stack:
        for path in dict.fromkeys(record.input.module for record in recorded.trace.mlps):
            module = model.get_submodule(path)
            stack.callback(module.register_forward_pre_hook(hook(path)).remove)
        yield


def capture(
    model: nn.Module,
    recorded: Recording,
    sequences: Sequence[torch.Tensor],
    sink: Sink,
    on_progress: Callable[[int, int], None] | None = None,
    batch_bytes: int = BATCH_BYTES,
    probe: LossProbe | None = None,
) -> None:
    """Run the model over the sequences once and hand every block's records to the sink.

    Parameters
    ----------
    model : torch.nn.Module
        A causal language model that takes ``input_ids``.
    recorded : Recording
        Its trace is of this model, or of its configuration.
    sequences : sequence of Tensor
        Token ids, each (length,) int64; all of one length but the last.
    on_progress : callable, optional
        Called with (sequences done, sequences in all).
    batch_bytes : int
        About how much memory the activations of one batch may take inside the model.
    probe : LossProbe, optional
        Takes the loss of the first batch, unless memory is too small for that.

    Raises
    ------
    DegenerateError
        At the first NaN or infinity, naming the block.
    DeviceError
        If not even one sequence fits the device's memory.
    ArchitectureError
        If the model runs otherwise than it was traced.
    """
    size = _batch_size(model, recorded.trace, sequences, batch_bytes)
    done = 0
    while done < len(sequences):
        batch = _same_length(sequences[done : done + size])
        start = sum(len(sequence) for sequence in sequences[:done])
        if not _fits(model, recorded, torch.stack(batch), start, sink, probe):
            torch.cuda.empty_cache()
            if len(batch) == 1 and probe is not None:
                probe = None
                continue
            if len(batch) == 1:
                raise DeviceError(
                    f"not even one sequence of {len(batch[0])} tokens fits the device's memory: "
                    "lower sequence_length, or use another device"
                )
            size = max(1, len(batch) // 2)
            continue
        done, probe = done + len(batch), None
        if on_progress is not None:
            on_progress(done, len(sequences))


def _same_length(sequences: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The leading sequences of one length; a shorter last one makes a batch of its own."""
    return [s for s in sequences if len(s) == len(sequences[0])]


def _batch_size(
    model: nn.Module, trace: Trace, sequences: Sequence[torch.Tensor], batch_bytes: int
) -> int:
    width = max(record.units for record in trace.mlps)
    itemsize = next(model.parameters()).dtype.itemsize
    # gate, up, their product and the residual stream's few copies are alive at once
    one = len(sequences[0]) * width * itemsize * 6
    return max(1, min(len(sequences), batch_bytes // one))


def _fits(
    model: nn.Module,
    recorded: Recording,
    batch: torch.Tensor,
    start: int,
    sink: Sink,
    probe: LossProbe | None,
) -> bool:
    """Run a batch; return False where memory is too small for it.

    When this returns, the error is gone, and with it the tensors of the pass that it holds.
    """
    try:
        _run(model, recorded, batch, start, sink, probe)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def _run(
    model: nn.Module,
    recorded: Recording,
    batch: torch.Tensor,
    start: int,
    sink: Sink,
    probe: LossProbe | None,
) -> None:
    # a model that is run from disk has parameters on no device until a block is called
    device = next(weight.device for weight in model.parameters() if not weight.is_meta)
    run_batch(model, recorded, {"input_ids": batch.to(device)}, sink, start, probe)


def run_batch(
    model: nn.Module,
    recorded: Recording,
    arguments: Mapping[str, torch.Tensor],
    sink: Sink,
    start: int = 0,
    probe: LossProbe | None = None,
) -> None:
    """Run one forward pass, to the last MLP, and hand its records to the sink.

    Parameters
    ----------
    arguments : mapping
        What the model is called with, on its device: ``input_ids``, and ``attention_mask`` where given.
    start : int
        Token position that the batch begins at.
    probe : LossProbe, optional
        Runs the pass to its end, and takes the loss.

    Raises
    ------
    DegenerateError
        At the first NaN or infinity.
    ArchitectureError
        If the model's own code fails, or an MLP runs twice, or never, or on other positions than the
        tokens'.
    """
    architecture = recorded.trace.architecture
    fed = _fed(recorded.trace)
    wanted = {path: mlps[0][0] for path, mlps in fed.items()}
    tokens = arguments["input_ids"].numel()

    def receive(path: str, hidden: torch.Tensor) -> None:
        if not wanted:
            return  # what runs behind the last MLP is seen only where there is a probe
        block = wanted.pop(path, None)
        if block is None:
            raise ArchitectureError(
                f"{architecture}: {path} runs more than once in a forward pass, which is not supported yet"
            )
        if len(hidden) != tokens:
            raise ArchitectureError(
                f"{architecture}: {path} runs on {len(hidden)} positions where there are {tokens} tokens"
            )
        _require_finite(hidden, f"block {block}: the MLP's inputs")
        if recorded.by_input:
            sink.write(path, start, hidden)
        else:
            _answer(model, fed[path], hidden, sink, start)
        if not wanted and probe is None:
            raise _PassComplete

    watching = nullcontext() if probe is None else probe.watching()
    with recording(model, recorded, receive), watching, torch.inference_mode():
        try:
            with _explaining(architecture):
                output = model(**arguments, use_cache=False)
        except _PassComplete:
            return
        if probe is not None and not wanted:
            probe.take(arguments["input_ids"], output)
            return
    missed = sorted(set(wanted.values()))
    raise ArchitectureError(
        f"{architecture}: the MLPs of blocks {missed} did not run in a forward pass"
    )


@contextmanager
def _explaining(architecture: str) -> Iterator[None]:
    """Say in one line what a family's own code could not do, on whatever a configuration says."""
    try:
        yield
    except (ProvenanceError, _PassComplete, OSError):  # a disk that is full is no fault of the code
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ArchitectureError(
            f"{architecture}: its forward pass fails ({type(error).__name__}: {one_line(error)})"
        ) from error


def _fed(trace: Trace) -> dict[str, list[tuple[int, int, MLPRecord]]]:
    """The MLPs that are fed what a module takes, by its path."""
    fed: dict[str, list[tuple[int, int, MLPRecord]]] = {}
    for block, place, record in trace.places():
        fed.setdefault(record.input.module, []).append((block, place, record))
    return fed


def _answer(
    model: nn.Module,
    fed: Sequence[tuple[int, int, MLPRecord]],
    hidden: torch.Tensor,
    sink: Sink,
    start: int,
) -> None:
    """Write what gate and up of some MLPs answer to hidden states, (tokens, hidden)."""
    for block, place, record in fed:
        for name in PROJECTIONS:
            projection = getattr(record, name)
            if projection is not None:
                answers = linear_map(projection, model.get_parameter)(hidden)
                _require_finite(answers, f"block {block}: the {name} activations")
                sink.write(answers_name(block, place, name), start, answers)


def _require_finite(values: torch.Tensor, what: str) -> None:
    if not bool(torch.isfinite(values).all()):
        raise DegenerateError(
            f"{what} hold NaN or infinity; "
            "the checkpoint is broken, or its dtype too narrow (try dtype: float32)"
        )


@contextmanager
def inputs(model: nn.Module, *paths: str) -> Iterator[dict[str, list[torch.Tensor]]]:
    """Record what modules take in, by path, one tensor a call, while the ``with`` lasts."""
    with _watching(model, paths, lambda args, _output: args[0]) as seen:
        yield seen


@contextmanager
def outputs(model: nn.Module, *paths: str) -> Iterator[dict[str, list[torch.Tensor]]]:
    """Record what modules put out, by path, one tensor a call, while the ``with`` lasts.

    Where a module puts out a tuple, that is its first element.
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
