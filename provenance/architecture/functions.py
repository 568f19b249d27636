"""The MLPs of a model as functions from hidden states to hidden states, whatever they are made of.

An MLP that is called by itself is called. One whose matrices lie in a larger module (OPT's, or a stack of
experts) is composed of them and of its activation, as `provenance.architecture.records` describes it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import nn

from provenance.architecture.find import find_mlps
from provenance.architecture.records import activation, linear_map
from provenance.architecture.trace import evaluating
from provenance.architecture.units import LinearMap
from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provenance.architecture.records import MLPKind, MLPRecord, Projection, Trace

TOKENS = 6
Activations: TypeAlias = Callable[[str], Callable[[torch.Tensor], torch.Tensor] | None]


@dataclass(frozen=True)
class MLPFunction:
    """One MLP: call it on hidden states, (tokens, hidden_size), and it returns the same shape.

    Inputs are moved to the model's device and dtype; the answer is float32 on the input's device.
    ``units`` counts its hidden units; ``module`` holds its parameters.
    """

    kind: MLPKind
    hidden_size: int
    units: int
    module: nn.Module
    function: Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return what the MLP makes of each token alone."""
        weight = next(self.module.parameters())
        values = hidden.to(weight.device, _activation_dtype(weight))
        with torch.no_grad(), evaluating(self.module):
            values = self.function(values)
        return values.to(hidden.device, torch.float32)


@dataclass(frozen=True)
class MLPFunctions:
    """The MLPs that can be called, by block and place; ``reasons`` says why others cannot."""

    trace: Trace
    mlps: Mapping[tuple[int, int], MLPFunction]
    reasons: Mapping[tuple[int, int], str]


def find_functions(model: nn.Module) -> MLPFunctions:
    """Find the MLPs of every block, gated or plain, and a way to call each.

    Parameters
    ----------
    model : torch.nn.Module
        With its weights; left as it was. The functions use them where they are.

    Raises
    ------
    ArchitectureError
        If no block has an MLP that can be called; the message names what there is.
    """
    trace = find_mlps(model)
    mlps: dict[tuple[int, int], MLPFunction] = {}
    reasons: dict[tuple[int, int], str] = {}
    for block, place, record in trace.places():
        function = _callable(model, record) or _composed(model, record)
        if function is None:
            terms = f"{record.activation} {record.up_terms} {record.product_terms}".strip()
            reasons[block, place] = f"its MLP cannot be called by itself ({record.path}: {terms})"
            continue
        mlps[block, place] = MLPFunction(record.kind, record.hidden, record.units, *function)
    if not mlps:
        what = "; ".join(dict.fromkeys(reasons.values()))
        raise ArchitectureError(f"{trace.architecture}: no MLP can be called: {what}")
    return MLPFunctions(trace, mlps, reasons)


def functions_of_files(
    trace: Trace, parameter: Callable[[str], torch.Tensor], act: Activations
) -> MLPFunctions:
    """The MLPs of a model of which no code may run, composed of their matrices and a known activation.

    Parameters
    ----------
    trace : Trace
        As names and shapes give it.
    parameter : callable
        Reads a stored tensor by its name.
    act : callable
        The elementwise function that an activation's name means; None where the name is not known.

    Raises
    ------
    ArchitectureError
        If no MLP can be composed.
    """
    mlps: dict[tuple[int, int], MLPFunction] = {}
    reasons: dict[tuple[int, int], str] = {}
    for block, place, record in trace.places():
        function = act(record.activation)
        if function is None:
            reasons[block, place] = f"its activation {record.activation!r} is not known"
            continue
        parts = [None if part is None else linear_map(part, parameter) for part in _parts(record)]
        module = _Matrices(parts)
        called = partial(_compute, parts, function)
        mlps[block, place] = MLPFunction(record.kind, record.hidden, record.units, module, called)
    if not mlps:
        what = "; ".join(dict.fromkeys(reasons.values()))
        raise ArchitectureError(f"{trace.architecture}: no MLP can be called: {what}")
    return MLPFunctions(trace, mlps, reasons)


def _parts(record: MLPRecord) -> tuple[Projection | None, Projection, Projection]:
    return record.gate, record.up, record.down


class _Matrices(nn.Module):
    """Holds the matrices of an MLP, as the module of one does."""

    def __init__(self, parts: Sequence[LinearMap | None]) -> None:
        super().__init__()
        given = [part.weight for part in parts if part is not None]
        self.weights = nn.ParameterList(nn.Parameter(w, requires_grad=False) for w in given)


def _compute(
    parts: Sequence[LinearMap | None],
    function: Callable[[torch.Tensor], torch.Tensor],
    hidden: torch.Tensor,
) -> torch.Tensor:
    gate, up, down = (None if part is None else _float(part) for part in parts)
    assert up is not None
    assert down is not None
    values = hidden.float()
    inner = function(up(values)) if gate is None else function(gate(values)) * up(values)
    answer: torch.Tensor = inner @ down.weight  # rows, one a unit
    return answer if down.bias is None else answer + down.bias


def _float(part: LinearMap) -> LinearMap:
    return LinearMap(part.weight.float(), None if part.bias is None else part.bias.float())


def block_callables(model: nn.Module) -> dict[int, MLPFunction]:
    """The MLP of every block that has one that can be called, by block; the first of several."""
    functions: dict[int, MLPFunction] = {}
    for (block, _), function in find_functions(model).mlps.items():
        functions.setdefault(block, function)
    return functions


Called = tuple["nn.Module", "Callable[[torch.Tensor], torch.Tensor]"]


def _callable(model: nn.Module, record: MLPRecord) -> Called | None:
    """The module of an MLP, if on hidden states alone it does what the MLP does and no more.

    Then its gate and up are given what it is given, and it answers what its down answers.
    """
    if record.role == "expert":
        return None
    module = model.get_submodule(record.path)
    first, last = (_owner(model, part) for part in (record.up, record.down))
    if first is None or last is None:
        return None
    weight = next(module.parameters())
    noise = torch.randn(1, TOKENS, record.hidden, generator=torch.Generator().manual_seed(0))
    noise = noise.to(weight.device, _activation_dtype(weight))
    given: list[torch.Tensor] = []
    answered: list[torch.Tensor] = []
    with ExitStack() as stack, torch.no_grad(), evaluating(module):
        stack.callback(
            first.register_forward_pre_hook(lambda _, x: given.append(x[0].clone())).remove
        )
        stack.callback(last.register_forward_hook(lambda *x: answered.append(x[2].clone())).remove)
        try:
            output = module(noise.clone())
        # a module that needs more than hidden states raises whatever the lack leads it to
        except Exception:  # noqa: BLE001
            return None
    if not (isinstance(output, torch.Tensor) and len(given) == len(answered) == 1):
        return None
    if not (_same(given[0], noise) and _same(output, answered[0])):
        return None
    return module, lambda x: module(x[None]).reshape(x.shape)


def _owner(model: nn.Module, projection: Projection) -> nn.Module | None:
    """The module that a projection is the weight of."""
    path, _, name = projection.parameter.rpartition(".")
    return model.get_submodule(path) if name == "weight" and projection.expert is None else None


def _composed(model: nn.Module, record: MLPRecord) -> Called | None:
    """An MLP made of its matrices and its activation, if there is nothing more to it."""
    act = activation(model, record)
    if act is None:
        return None
    up, down = (linear_map(part, model.get_parameter) for part in (record.up, record.down))
    gate = None if record.gate is None else linear_map(record.gate, model.get_parameter)

    def call(hidden: torch.Tensor) -> torch.Tensor:
        inner = act(up(hidden)) if gate is None else act(gate(hidden)) * up(hidden)
        answer: torch.Tensor = inner @ down.weight  # rows, one a unit
        return answer if down.bias is None else answer + down.bias

    return model.get_submodule(record.path), call


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.numel() == b.numel() and torch.equal(a.reshape(-1), b.reshape(-1))


def _activation_dtype(weight: torch.Tensor) -> torch.dtype:
    return weight.dtype if weight.is_floating_point() else torch.get_default_dtype()
