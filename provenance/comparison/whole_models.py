"""Statistics of whole models: `csu_all`, distances, JSD. `comparison.blocks` has those of blocks.

Weights are read lazily, tensor by tensor, and no model is built for `csu_all` and `l2`; `jsd` and
`mode_connectivity` run models on the suite's inputs. A distance gets its p-value from PERMTEST.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from provenance.architecture.trace import run
from provenance.errors import ArchitectureError
from provenance.loading.devices import is_out_of_memory
from provenance.loading.lazy_tensors import LazyTensors
from provenance.loading.model import load_model
from provenance.statistics.csu import csu_all
from provenance.statistics.jsd import JensenShannon
from provenance.statistics.mode_connectivity import mode_connectivity
from provenance.statistics.permtest import l2_permtest, permtest
from provenance.statistics.symmetries import Symmetries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.inputs.tokens import Inputs

    Parameters = Mapping[str, torch.Tensor]


LOSS_TOKENS = 1024
"""Token positions that a loss is measured on: PERMTEST measures it T + 1 times."""


@dataclass(frozen=True)
class PairResult:
    """What a statistic of two whole models found.

    ``value`` is the statistic's own number: larger is more alike, and of `jsd` smaller is. ``log10_p`` is
    None where the statistic has no p-value. ``permutations`` is PERMTEST's T. ``details`` explains both.
    """

    value: float | None
    log10_p: float | None
    permutations: int | None = None
    details: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class WholeModels:
    """Two models, and what a statistic of both may use; ``inputs`` are both's, None for weights alone."""

    candidate: Checkpoint
    reference: Checkpoint
    inputs: Inputs | None
    device: str
    seed: int
    permutations: int


def measure_pair(statistic: str, given: WholeModels) -> PairResult:
    """Compute one of `csu_all`, `jsd`, `l2`, `mode_connectivity`."""
    measures: Mapping[str, Callable[[WholeModels], PairResult]] = {
        "csu_all": _csu_all,
        "jsd": _jsd,
        "l2": _l2,
        "mode_connectivity": _mode_connectivity,
    }
    return measures[statistic](given)


def _csu_all(given: WholeModels) -> PairResult:
    result = csu_all(LazyTensors(given.candidate), LazyTensors(given.reference), seed=given.seed)
    strongest = result.strongest()
    details: dict[str, float | int | str] = {
        "tensors": len(result.tensors),
        "skipped": len(result.skipped),
        "strongest": strongest.name,
        "exact": int(result.exact()),
    }
    return PairResult(strongest.result.correlation, result.log10_p, details=details)


def _l2(given: WholeModels) -> PairResult:
    reference = LazyTensors(given.reference)
    result = l2_permtest(
        LazyTensors(given.candidate),
        reference,
        trials=given.permutations,
        seed=given.seed,
        symmetries=_symmetries(given.reference, reference),
    )
    return PairResult(
        result.observed, result.log10_p, given.permutations, {"largest_of_null": max(result.null)}
    )


def _jsd(given: WholeModels) -> PairResult:
    assert given.inputs is not None
    models = [
        load_model(model, given.device, model.spec.dtype)
        for model in (given.candidate, given.reference)
    ]
    divergence = JensenShannon()
    front = len(given.inputs.front)
    for sequence in given.inputs.sequences():
        logits = [_logits(model, sequence)[front:] for model in models]
        divergence.update(*logits)
    result = divergence.result()
    details = {"nats_per_token": result.value, "tokens": result.tokens, "compared": result.compared}
    return PairResult(result.value, None, details=details)


def _logits(model: Any, sequence: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        ids = sequence[None].to(next(model.parameters()).device)
        try:
            output = run(model, ids)
        except ArchitectureError as error:
            cause = error.__cause__
            if cause is not None and is_out_of_memory(cause):
                raise cause from None
            raise
    logits: torch.Tensor = output.logits[0]  # (length, vocabulary)
    return logits


def _mode_connectivity(given: WholeModels) -> PairResult:
    """Loss on the midpoint. PERMTEST permutes the reference, which leaves the reference's loss alone."""
    assert given.inputs is not None
    model = load_model(given.candidate, given.device, "float32")
    candidate = dict(model.named_parameters())
    other = load_model(given.reference, given.device, "float32")
    reference = dict(other.named_parameters())
    sequences = replace(given.inputs, ids=given.inputs.ids[:LOSS_TOKENS]).sequences()
    front = len(given.inputs.front)

    def loss(parameters: Parameters) -> float:
        return _loss(model, parameters, sequences, front)

    ends = (loss(candidate) + loss(reference)) / 2

    result = permtest(
        partial(mode_connectivity, loss, ends=ends),
        candidate,
        reference,
        trials=given.permutations,
        seed=given.seed,
        symmetries=_symmetries(given.reference, reference),
    )
    details = {"mean_loss_of_the_ends": ends, "barrier": -result.observed}
    return PairResult(result.observed, result.log10_p, given.permutations, details)


def _loss(model: Any, parameters: Parameters, sequences: list[torch.Tensor], front: int) -> float:
    """Mean next-token loss in nats of a model with other parameters."""
    first = max(front, 1)  # what is in front of a text is not predicted
    total, count = 0.0, 0
    with torch.no_grad():
        for sequence in sequences:
            ids = sequence[None].to(next(iter(parameters.values())).device)
            output = torch.func.functional_call(
                model, dict(parameters), kwargs={"input_ids": ids, "use_cache": False}
            )
            predictions = output.logits[0, first - 1 : -1].float()
            loss = functional.cross_entropy(predictions, ids[0, first:], reduction="sum")
            total += float(loss)
            count += len(sequence) - first
    return total / max(count, 1) if math.isfinite(total) else math.nan


def _symmetries(checkpoint: Checkpoint, parameters: Parameters) -> Symmetries:
    """The group that leaves the reference's function alone, heads included."""
    config = checkpoint.config
    heads = config.get("num_attention_heads")
    return Symmetries.of(
        parameters, heads=heads, key_value_heads=config.get("num_key_value_heads") or heads
    )
