"""Models that are in memory already: their activations on your own batches, block against block.

For notebooks and for users of the paper's public code; docs/statistics.md maps its functions to these.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from provenance.architecture.find import find_mlps
from provenance.architecture.records import linear_map
from provenance.architecture.units import PROJECTIONS, MLPActivations, MLPFactors
from provenance.capture.forward import Recording, answers_name, run_batch
from provenance.capture.units import Shape
from provenance.comparison.blocks import compare_blocks
from provenance.comparison.side_by_side import beside, pairs_at_once
from provenance.comparison.sides import Component
from provenance.errors import InputError
from provenance.statistics import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from provenance.architecture.records import Trace
    from provenance.architecture.units import MLPUnits
    from provenance.comparison.table import BlockTable
    from provenance.evidence.records import Pairing


class LiveUnits:
    """Activations of a model in memory; satisfies `provenance.comparison.sides.Units`.

    Without ``parameters``, ``kept`` holds what gate and up answer; with them, what the MLPs are fed.
    """

    def __init__(
        self,
        trace: Trace,
        dtype: str,
        kept: Mapping[str, torch.Tensor],
        parameters: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        self.shape = Shape.of(trace, dtype)
        self._trace = trace
        self._kept = kept
        self._parameters = parameters

    @property
    def device(self) -> str:
        """Where what `block` gives is: beside the model's weights; where these are not kept, on the CPU."""
        weights = iter((self._parameters or self._kept).values())
        return str(next(weights).device)

    def block(self, index: int, place: int = 0) -> MLPUnits:
        """Gate and up activations of one MLP, each (tokens, units), or what they follow from."""
        if self._parameters is None:
            names = [answers_name(index, place, projection) for projection in PROJECTIONS]
            return MLPActivations(self._kept.get(names[0]), self._kept[names[1]])
        record = self._trace.of_block(index)[place]
        read = self._parameters.__getitem__
        gate = None if record.gate is None else linear_map(record.gate, read)
        up = linear_map(record.up, read)
        fed = self._kept[record.input.module].to(up.weight.device)
        return MLPFactors(
            fed, gate, up, lambda: linear_map(record.down, read).weight, record.activation
        )


class _Memory:
    """A sink that keeps the tokens that a mask leaves."""

    def __init__(self) -> None:
        self.parts: dict[str, list[torch.Tensor]] = defaultdict(list)
        self.mask: torch.Tensor | None = None

    def write(self, name: str, start: int, values: torch.Tensor) -> None:
        del start  # batches come in order
        kept = values if self.mask is None else values[self.mask]
        self.parts[name].append(kept.cpu())


def activations(model: nn.Module, batches: Iterable[Any], *, by_input: bool = False) -> LiveUnits:
    """Run a model once over batches of the caller's own and keep all blocks' activations in memory.

    Parameters
    ----------
    model : torch.nn.Module
        A causal language model; it is run where it is, to its last MLP.
    batches : iterable
        For instance a ``torch.utils.data.DataLoader``: token ids (batch, length), or a mapping with
        ``input_ids`` and, where there is padding, ``attention_mask`` (its zeros are left out), or a
        tuple that begins with the ids. Two models are compared position by position: give both the
        same batches in the same order.
    by_input : bool
        Keep what each MLP is fed, and the model's weights where they are, in place of what gate and up
        put out. That takes a third to an eighth of the memory, and far less where there are experts.

    Raises
    ------
    ArchitectureError
        If no block has an MLP.
    DegenerateError
        At the first NaN or infinity.
    InputError
        If there is no batch, or one without token ids.
    """
    trace = find_mlps(model)
    recording = Recording(trace, by_input)
    parameter = next(model.parameters())
    sink = _Memory()
    for batch in batches:
        arguments = {name: value.to(parameter.device) for name, value in _arguments(batch).items()}
        mask = arguments.get("attention_mask")
        sink.mask = None if mask is None else mask.reshape(-1).bool()
        run_batch(model, recording, arguments, sink)
    if not sink.parts:
        raise InputError("there is no batch to run the model on")
    kept = {key: torch.cat(parts) for key, parts in sink.parts.items()}
    parameters = dict(model.named_parameters()) if by_input else None
    return LiveUnits(trace, str(parameter.dtype).removeprefix("torch."), kept, parameters)


def _arguments(batch: Any) -> dict[str, torch.Tensor]:
    if isinstance(batch, Mapping):
        if "input_ids" not in batch:
            raise InputError(f"a batch has no 'input_ids', only {sorted(batch)}")
        return {name: batch[name] for name in ("input_ids", "attention_mask") if name in batch}
    ids = batch[0] if isinstance(batch, list | tuple) else batch
    if not isinstance(ids, torch.Tensor):
        raise InputError(f"a batch is token ids or a mapping with 'input_ids', not {type(batch)}")
    return {"input_ids": ids}


def compare_units(
    candidate: LiveUnits,
    reference: LiveUnits,
    *,
    statistic: str = "match",
    pairing: Pairing = "same-index",
    seed: int = 0,
) -> BlockTable:
    """Compare two models by activations that `activations` has kept.

    Parameters
    ----------
    statistic : str
        One that is computed on activations: `match`, `match_cosine` or `csh`.
    pairing : str
        See `provenance.comparison.blocks.compare_blocks`.

    Raises
    ------
    ValueError
        If the statistic is not computed on activations.
    """
    row = REGISTRY[statistic]
    if row.basis != "activations":
        raise ValueError(f"{statistic} is not computed on activations; use provenance.compare")
    device = candidate.device
    component = Component.of(row, candidate, reference)
    with beside(device):
        return compare_blocks([component], pairing, seed, threads=pairs_at_once(device))
