"""Finds the MLPs of every transformer block by following the data through one forward pass.

No name of a model or of a module is known here. Two shapes of computation count:

* a *gated* MLP multiplies an elementwise function of one linear map with a second linear map of the same
  hidden states, and the product enters a third;
* a *plain* MLP is a linear map, a nonlinearity and a second linear map.

The views that data and weights went through say which channels of which parameters took part. So separate,
fused, interleaved and stacked projections are the same case.

The pass needs no numbers: on the meta device it takes a model of any size from its configuration in about
a second.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from provenance._quiet import quiet
from provenance.architecture.auto_class import auto_class
from provenance.architecture.collect import assemble, input_embedding
from provenance.architecture.dataflow import Dataflow, whole
from provenance.architecture.inside import language_model
from provenance.architecture.meta_device import MetaAnswers
from provenance.architecture.records import Embedding
from provenance.errors import ArchitectureError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

    from provenance.architecture.records import Trace

TOKENS = 8


def trace_config(config: PretrainedConfig) -> Trace:
    """Find the MLPs of the model that a configuration describes, without its weights.

    Raises
    ------
    ArchitectureError
        If no causal language model can be built from it, or it does not run on token ids alone.
    """
    return trace(skeleton(config))


def skeleton(config: PretrainedConfig) -> PreTrainedModel:
    """Build the causal language model of a configuration on the meta device.

    Raises
    ------
    ArchitectureError
        If none can be built.
    """
    try:
        return build_on_meta(config)
    except ArchitectureError:
        raise
    # some 200 families raise whatever a wrong configuration leads them to
    except Exception as error:
        raise ArchitectureError(
            f"{config.model_type}: no causal language model can be built from its configuration "
            f"({type(error).__name__}: {one_line(error, 150)})"
        ) from error


def build_on_meta(config: PretrainedConfig, *, trusted: bool = False) -> PreTrainedModel:
    """Build a language model without numbers; ``trusted`` lets the checkpoint's own code run.

    Where the model does not run on token ids alone, it is the language model inside
    (`provenance.architecture.inside`). What goes wrong raises whatever the family's code does.
    """
    return language_model(build_whole(config, trusted=trusted), runs_on_tokens)


def runs_on_tokens(model: nn.Module) -> bool:
    """Whether a model on the meta device runs on token ids alone."""
    # one that asks about numbers runs under the trace alone, which takes longer
    return any(_succeeds(attempt, model) for attempt in (_pass, trace))


def _pass(model: nn.Module) -> None:
    with torch.no_grad(), quiet(), MetaAnswers():
        run(model, probe(model))


def _succeeds(attempt: Callable[[nn.Module], object], model: nn.Module) -> bool:
    try:
        attempt(model)
    except ArchitectureError:
        return False
    return True


def build_whole(config: PretrainedConfig, *, trusted: bool = False) -> PreTrainedModel:
    """Build all that a configuration describes, as `build_on_meta` the language model of it."""
    loader = auto_class(config)
    with quiet(), torch.device("meta"):
        model: PreTrainedModel = loader.from_config(config, trust_remote_code=trusted)
    if not all(parameter.is_meta for parameter in model.parameters()):
        model = model.to(
            "meta"
        )  # a few families fill a parameter on the CPU, wherever they are built
    return model.eval()


def trace(model: nn.Module) -> Trace:
    """Find the MLPs of a model by one forward pass of eight tokens.

    Parameters
    ----------
    model : torch.nn.Module
        Takes ``input_ids``; on any device, the meta device too; left as it was.

    Returns
    -------
    Trace
        With no records where no block has an MLP: `skipped` then says what the blocks hold.

    Raises
    ------
    ArchitectureError
        If the model does not run on token ids alone, or part of its weights is offloaded: then the
        tensors that it computes with are not its parameters.
    """
    if len({parameter.is_meta for parameter in model.parameters()}) > 1:
        raise ArchitectureError(
            f"{type(model).__name__} has some of its weights on the meta device, as offloaded ones are: "
            "trace its configuration instead, with trace_config(model.config)"
        )
    flow = Dataflow(model.named_parameters())
    with ExitStack() as stack, torch.no_grad(), quiet():
        stack.enter_context(evaluating(model))
        stack.enter_context(_watched(model, flow))
        stack.enter_context(MetaAnswers())
        stack.enter_context(flow)
        run(model, probe(model))
    found = assemble(model, flow.downs, flow.widths, TOKENS)
    hidden = found.mlps[0].hidden if found.mlps else 0
    return replace(found, embedding=_embedding(model, flow, hidden))


def _embedding(model: nn.Module, flow: Dataflow, hidden: int) -> Embedding | None:
    """Where the rows of tokens are, None where no table of them leads to the hidden states."""
    weight: Any = getattr(input_embedding(model), "weight", None)
    names = [name for name, parameter in model.named_parameters() if parameter is weight]
    if not names or weight.dim() != 2:
        return None
    if weight.shape[1] == hidden:
        return Embedding(names[0], None, transposed=False)
    widened = flow.widened.get(names[0])
    if widened is None or (widened.outs.size, widened.ins.size) != (hidden, weight.shape[1]):
        return None
    return Embedding(names[0], widened.parameter, widened.outs.axis > widened.ins.axis)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off inside, every module's mode as it was afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def probe(model: nn.Module) -> torch.Tensor:
    """Return the token ids that a model is traced with, (1, 8) int64."""
    size = _vocabulary(model)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    # the first few ids are often special
    ids = (torch.arange(TOKENS, device="cpu") + min(8, max(0, size - TOKENS))) % size
    return ids.unsqueeze(0).to(device)


def _vocabulary(model: nn.Module) -> int:
    embeddings = [m for m in model.modules() if isinstance(m, torch.nn.Embedding)]
    return max((m.num_embeddings for m in embeddings), default=TOKENS)


def run(model: nn.Module, ids: torch.Tensor) -> Any:
    """Run a model on token ids, (1, tokens), and return what it puts out.

    Raises
    ------
    ArchitectureError
        If it does not run on token ids alone.
    """
    try:
        return model(input_ids=ids, use_cache=False)
    # as above: whatever a model finds wrong with an input that lacks what it needs
    except Exception as error:
        raise ArchitectureError(
            f"{type(model).__name__} does not run on token ids alone "
            f"({type(error).__name__}: {one_line(error, 150)}): use csu_all, which runs no model"
        ) from error


@contextmanager
def _watched(model: nn.Module, flow: Dataflow) -> Iterator[None]:
    """Hooks that tell the data flow which modules it passes through, removed on the way out."""
    with ExitStack() as stack:
        for path, module in model.named_modules():
            if not path:
                continue
            hooks = _packed(path, module, flow) if is_packed(module) else _open(path, module, flow)
            before, after = hooks
            stack.callback(module.register_forward_pre_hook(before).remove)
            stack.callback(module.register_forward_hook(after).remove)
        yield


Hooks = tuple["Callable[[nn.Module, Any], None]", "Callable[[nn.Module, Any, Any], None]"]


def _open(path: str, module: nn.Module, flow: Dataflow) -> Hooks:
    has_matrix = any(parameter.dim() > 1 for parameter in module.parameters())

    def before(_module: nn.Module, args: Any) -> None:
        if flow.depth == 0:
            flow.enter(path, next(iter(args), None))

    def after(module: nn.Module, args: Any, output: Any) -> None:
        tensors = args and isinstance(args[0], torch.Tensor) and isinstance(output, torch.Tensor)
        if tensors and flow.depth == 0:
            flow.activated(path, type(module).__name__, args[0], output)
            flow.normed(path, args[0], output, has_matrix=has_matrix)

    return before, after


def is_packed(module: Any) -> bool:
    """Whether a module is linear and its weight is not the matrix that it multiplies with."""
    if not (hasattr(module, "in_features") and hasattr(module, "out_features")):
        return False
    weight = getattr(module, "weight", None)
    if not isinstance(weight, torch.Tensor):
        return False
    sizes = [module.in_features, module.out_features]
    return not weight.is_floating_point() or sorted(weight.shape) != sorted(sizes)


def _packed(path: str, module: Any, flow: Dataflow) -> Hooks:
    weight = whole(path, int(module.out_features), int(module.in_features))

    def before(_module: nn.Module, args: Any) -> None:
        if flow.depth == 0:
            flow.enter(path, args[0])
        flow.depth += 1

    def after(_module: nn.Module, args: Any, output: Any) -> None:
        flow.depth -= 1
        if flow.depth == 0:
            flow.packed(weight, args[0], output)

    return before, after
