"""Follows data through a forward pass: which products of which linear maps enter which linear map.

A mode of torch's dispatcher sees every operation, whether Python or C++ called it. Its vocabulary is a few
dozen names, each marked as elementwise, as a view or as neither [1]_. Operations that mix channels need no
list (softmax, convolutions, norms, products of activations): their results carry no tag.

References
----------
.. [1] https://docs.pytorch.org/docs/stable/notes/extending.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from provenance.architecture.meta_device import answer_without_values, plausible_arguments
from provenance.architecture.tags import (
    Axis,
    DownMatmul,
    HiddenStates,
    Matmul,
    MatmulOutput,
    ModuleCall,
    Operand,
    ParameterView,
    Product,
    Stream,
    along,
    equal,
    multiplied,
    numbered,
    operand,
    parameter_view,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Tag = ParameterView | MatmulOutput | Product

MATMULS = {
    "mm": (0, 1, None),
    "bmm": (0, 1, None),
    "addmm": (1, 2, 0),
    "baddbmm": (1, 2, 0),
    "_grouped_mm": (0, 1, None),
    "grouped_mm_fallback": (0, 1, None),
}
"""Positions of the two factors and of what is added."""

SAME = {"clone", "_to_copy", "alias", "detach", "contiguous", "lift_fresh", "native_dropout"}
RESHAPES = {"_unsafe_view", "view", "reshape", "_reshape_alias"}
GATHERS = {"index", "index_select", "gather", "repeat", "repeat_interleave", "embedding"}
LINEAR = {"mul", "div", "add", "sub", "rsub", "neg", "clamp", "where", "masked_fill"}
"""Elementwise operations that alone make no activation: gpt-oss clamps what `up` puts out."""
SQUASHES = {"sigmoid", "tanh", "hardsigmoid"}


class Dataflow(TorchDispatchMode):
    """Tags tensors while it is active; ``downs`` are the products that entered a linear map."""

    def __init__(self, parameters: Iterable[tuple[str, torch.Tensor]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.downs: list[DownMatmul] = []
        self.depth = 0
        """How many modules deep inside something whose insides are not followed."""
        self.widths: dict[str, int] = {}
        """How wide what each module was called on is; 0 where that is no hidden states."""
        self.widened: dict[str, Operand] = {}
        """What rows of an embedding are multiplied with first, by the embedding's parameter."""
        self._normed_from: dict[str, tuple[Stream, Stream]] = {}
        self._tags = WeakTensorKeyDictionary()
        self._states = WeakTensorKeyDictionary()
        for name, parameter in parameters:
            self._tags[parameter] = parameter_view(name, parameter)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation and tag what it returns."""
        named = kwargs or {}
        name = func._schema.name.rpartition("::")[2]  # noqa: SLF001 - has no other name
        args = plausible_arguments(name, args)
        out = answer_without_values(name, args)
        if out is None:
            out = func(*args, **named)
        if self.depth == 0:
            self._follow(name, func, args, named, out)
        return out

    def _tag(self, tensor: Any) -> Tag | None:
        tag: Tag | None = self._tags.get(tensor)
        return tag

    def enter(self, module: str, hidden: Any) -> None:
        """Note that a module was called, and on what."""
        self.widths.setdefault(module, 0)
        if _is_tensor(hidden) and hidden.is_floating_point() and hidden.dim() > 1:
            self.widths[module] = self.widths[module] or hidden.shape[-1]
            states = self._states_of(hidden)
            count = hidden.numel() // hidden.shape[-1] if hidden.shape[-1] else 0
            states.stream.calls.append(ModuleCall(module, count, states.routed, states.scaled))

    def normed(self, module: str, before: Any, after: Any, *, has_matrix: bool = False) -> None:
        """Note that a module without a matrix made hidden states of others that are as wide.

        With matrices it is a norm where they gate one: where a norm in it was called on what the module
        was called on, and nothing else in it on anything but that norm's output.
        """
        if not (_is_tensor(before) and _is_tensor(after) and before.shape == after.shape):
            return
        given, stream = self._states_of(before).stream, self._states_of(after).stream
        if stream is given or stream.norm is not None:
            return
        if not has_matrix or self._gates_a_norm(module, given):
            stream.norm = module
        if not has_matrix:
            self._normed_from[module] = given, stream

    def _gates_a_norm(self, module: str, given: Stream) -> bool:
        norms = {
            name: made
            for name, (source, made) in self._normed_from.items()
            if source is given and name.rpartition(".")[0] == module
        }
        if len(norms) != 1:
            return False
        ((norm, made),) = norms.items()
        beside = {call.module for call in made.calls if call.module.rpartition(".")[0] == module}
        children = {name for name in self.widths if name.rpartition(".")[0] == module}
        return bool(beside) and children == {norm, *beside}

    def activated(self, module: str, kind: str, before: torch.Tensor, after: torch.Tensor) -> None:
        """Note that a module of a class made one tensor of another, if it is an activation."""
        then, now = self._tag(before), self._tag(after)
        if not isinstance(then, MatmulOutput) or not isinstance(now, MatmulOutput):
            return
        if then.matmul is now.matmul and now.nonlinear and not then.nonlinear:
            self._tags[after] = replace(now, module=module, terms=(*then.terms, kind))

    def packed(self, weight: Operand, before: torch.Tensor, after: torch.Tensor) -> None:
        """Take a module for one matmul with a weight, whatever it does inside."""
        self._tags[after] = self._multiplied(before, before.dim() - 1, weight, after, -1)

    def _follow(
        self, name: str, func: Any, args: tuple[Any, ...], named: dict[str, Any], out: Any
    ) -> None:
        outs = [o for o in (out if isinstance(out, list | tuple) else [out]) if _is_tensor(o)]
        operation = name if name in MATMULS else name.rstrip("_") or name
        tags: Sequence[Tag | None] = []
        if operation in MATMULS:
            tags = [self._matmul(operation, args, outs[0])]
        elif operation in SAME:
            tags = [self._tag(args[0])] * len(outs)
        elif func.is_view or operation in RESHAPES:
            tags = self._viewed(operation, func, args, named)
        elif operation in {"index", "index_select"} and isinstance(
            self._tag(args[0]), ParameterView
        ):
            tags = [_gathered(self._tags[args[0]], outs[0])]
        elif operation in {"cat", "glu"}:
            tags = [getattr(self, f"_{operation}")(*args, **named)]
        elif torch.Tag.pointwise in func.tags and outs:
            tags = [self._pointwise(operation, _tensors(args, named), outs[0])]
        self._flow(operation, func, args, outs)
        for place, result in enumerate(outs):
            self._put(result, tags[place] if place < len(tags) else None)

    def _put(self, result: torch.Tensor, tag: Tag | None) -> None:
        if tag is not None:
            self._tags[result] = tag
        elif isinstance(self._tag(result), MatmulOutput | Product):
            del self._tags[result]  # written over in place

    # --- hidden states -------------------------------------------------------------------------------

    def _states_of(self, hidden: torch.Tensor) -> HiddenStates:
        if hidden not in self._states:
            self._states[hidden] = HiddenStates(Stream())
        states: HiddenStates = self._states[hidden]
        return states

    def _flow(
        self, operation: str, func: Any, args: tuple[Any, ...], outs: Sequence[torch.Tensor]
    ) -> None:
        """Let views, selections and multiples of hidden states be of the same stream."""
        weighted = operation in {"mul", "div"} and bool(outs)
        first = _weighted(args, outs[0]) if weighted else next(iter(args), None)
        if operation == "embedding" and isinstance(source := self._tag(first), ParameterView):
            self._states_of(outs[0]).stream.embedding = source.name
        if not outs or not _is_tensor(first) or isinstance(self._tag(first), ParameterView):
            return
        kept = func.is_view or operation in SAME | RESHAPES | GATHERS
        wide = outs[0].shape[-1:] == first.shape[-1:] or operation == "unsqueeze"
        if not (weighted or kept) or not wide:
            return
        states = self._states_of(first)
        for result in outs:
            # expanding gives every token to every expert: nothing is chosen
            part = result.numel() != first.numel() and operation != "expand"
            routed = states.routed or operation in GATHERS or part
            self._states[result] = replace(states, routed=routed, scaled=states.scaled + weighted)

    # --- linear maps ---------------------------------------------------------------------------------

    def _matmul(
        self, operation: str, args: tuple[Any, ...], out: torch.Tensor
    ) -> MatmulOutput | None:
        left, right, plus = MATMULS[operation]
        for at, other, out_dim, in_dim in ((right, left, -1, -2), (left, right, -2, -1)):
            weight = self._tag(args[at])
            hidden = args[other]
            if not isinstance(weight, ParameterView) or isinstance(
                self._tag(hidden), ParameterView
            ):
                continue
            matrix = operand(weight, out_dim, in_dim)
            if matrix is not None:
                output = self._multiplied(hidden, hidden.dim() + out_dim, matrix, out, out_dim)
                output.matmul.bias = self._name_of(args[plus]) if plus is not None else None
                return output
        return None

    def _name_of(self, tensor: torch.Tensor) -> str | None:
        tag = self._tag(tensor)
        return tag.name if isinstance(tag, ParameterView) else None

    def _multiplied(
        self, hidden: torch.Tensor, dim: int, weight: Operand, out: torch.Tensor, out_dim: int
    ) -> MatmulOutput:
        """Return the tag of a matmul over one dimension of `hidden`, and note what was multiplied."""
        value = self._tag(hidden)
        before = value.matmul if isinstance(value, MatmulOutput) and not value.nonlinear else None
        states = self._states_of(hidden)
        if states.stream.embedding is not None:
            self.widened.setdefault(states.stream.embedding, weight)
        matmul = Matmul(weight, states, before)
        if isinstance(value, Product) or (isinstance(value, MatmulOutput) and value.nonlinear):
            place = along(value.channels)
            if place is not None and place[0] == dim:
                self.downs.append(DownMatmul(replace(value, channels=place[1]), matmul))
        return MatmulOutput(matmul, numbered(out.shape, out_dim))

    # --- what keeps channels apart -------------------------------------------------------------------

    def _viewed(
        self, operation: str, func: Any, args: tuple[Any, ...], named: dict[str, Any]
    ) -> list[Tag | None]:
        tag = self._tag(args[0])
        if tag is None:
            return []
        shadow = tag.layout if isinstance(tag, ParameterView) else tag.channels
        copies = operation in RESHAPES and not isinstance(tag, ParameterView)
        replay = torch.reshape if copies else func
        try:
            replayed = replay(shadow, *args[1:], **named)
        except RuntimeError:  # a view of a copy in another order
            return []
        shadows = replayed if isinstance(replayed, list | tuple) else [replayed]
        if isinstance(tag, ParameterView):
            return [replace(tag, layout=each) for each in shadows]
        return [replace(tag, channels=each) for each in shadows]

    def _cat(self, tensors: Sequence[torch.Tensor], dim: int = 0) -> MatmulOutput | None:
        tags = [self._tag(tensor) for tensor in tensors]
        outputs = [tag for tag in tags if isinstance(tag, MatmulOutput)]
        if not outputs or len(outputs) < len(tags):
            return None
        matmul = _one_of(outputs)
        channels = torch.cat([output.channels for output in outputs], dim)
        return None if matmul is None else replace(outputs[0], matmul=matmul, channels=channels)

    def _glu(self, tensor: torch.Tensor, dim: int = -1) -> Product | None:
        tag = self._tag(tensor)
        if not isinstance(tag, MatmulOutput):
            return None
        up, gate = (replace(tag, channels=half) for half in tag.channels.chunk(2, dim))
        gate = replace(gate, nonlinear=True, terms=(*gate.terms, "sigmoid"))
        return multiplied((gate, up), gate.channels)

    def _pointwise(
        self, operation: str, tensors: Sequence[torch.Tensor], out: torch.Tensor
    ) -> Tag | None:
        tags = [self._tag(tensor) for tensor in tensors]
        outputs = [
            (t, tag) for t, tag in zip(tensors, tags, strict=True) if isinstance(tag, MatmulOutput)
        ]
        products = [tag for tag in tags if isinstance(tag, Product)]
        others = [
            (t, tag)
            for t, tag in zip(tensors, tags, strict=True)
            if not isinstance(tag, MatmulOutput | Product)
        ]
        if any(tag is None and t.numel() >= out.numel() for t, tag in others):
            return None  # joins a stream of its own: a residual, or what attention puts out
        if products:
            alone = len(products) == 1 and not outputs and products[0].channels.shape == out.shape
            terms = (*products[0].terms, operation)
            return replace(products[0], terms=terms) if alone else None
        signals = [tag for _, tag in outputs]
        if not signals or any(tag.channels.shape != out.shape for tag in signals):
            return None
        if all(tag.same(signals[0]) for tag in signals):
            sources = [tag for _, tag in others if isinstance(tag, ParameterView)]
            return _function(operation, signals, next(iter(sources), None))
        return _combined(operation, signals, out)


def _function(
    operation: str, outputs: Sequence[MatmulOutput], parameter: ParameterView | None
) -> MatmulOutput:
    """Return what an elementwise function of one output is, the parameter being its other operand."""
    first = outputs[0]
    first.matmul.squashed |= operation in SQUASHES
    if operation == "add" and parameter and not first.terms and _is_bias(parameter, first.matmul):
        first.matmul.bias = parameter.name
        return first
    squared = len(outputs) > 1 and operation in {"mul", "div"}
    nonlinear = operation not in LINEAR or squared or any(s.nonlinear for s in outputs)
    paths = dict.fromkeys(s.terms for s in outputs)
    branches = [p for p in paths if not any(p == q[: len(p)] for q in paths if q != p)]
    terms = (*(term for branch in branches for term in branch), operation)
    return replace(first, terms=terms, nonlinear=nonlinear)


def _is_bias(parameter: ParameterView, matmul: Matmul) -> bool:
    """Whether a parameter has one number for each output, or for each output of each expert."""
    *experts, size = parameter.shape
    stack = list(matmul.weight.shape[:-2])
    return matmul.bias is None and size == matmul.weight.outs.size and experts in ([], stack)


def _one_of(outputs: Sequence[MatmulOutput]) -> Matmul | None:
    """Return the matmul of all outputs; one with all experts where each had an expert of a stack."""
    matmuls = list(dict.fromkeys(output.matmul for output in outputs))
    if len(matmuls) == 1:
        return matmuls[0]
    weights = {replace(matmul.weight, expert=None) for matmul in matmuls}
    streams = {matmul.states.stream for matmul in matmuls}
    if len(weights) > 1 or len(streams) > 1:
        return None
    return replace(matmuls[0], weight=weights.pop())


def _combined(operation: str, outputs: Sequence[MatmulOutput], out: torch.Tensor) -> Tag | None:
    """Return what outputs of two matmuls make: a product, or a sum of two linear maps."""
    if len(outputs) != 2:
        return None
    first, second = outputs
    if operation == "mul":
        return multiplied(outputs, out)
    straight = not (first.nonlinear or second.nonlinear)
    if operation == "add" and straight and equal(first.channels, second.channels):
        _adapt(first.matmul, second.matmul)
        extra = (second.matmul.weight.parameter, *second.added)
        return replace(first, added=(*first.added, *extra))
    return None


def _adapt(first: Matmul, second: Matmul) -> None:
    """Note on one of two matmuls that the other ends a low-rank pair on the same input."""
    for base, other in ((first, second), (second, first)):
        if other.before is not None and other.before.states.stream is base.states.stream:
            base.adapters.append(other.weight.parameter)


def _gathered(weight: ParameterView, out: torch.Tensor) -> ParameterView | None:
    """Return the tag of matrices chosen by index, one a token: any stands for all."""
    if weight.layout.dim() < 2 or out.dim() != weight.layout.dim():
        return None
    chosen = weight.layout.narrow(0, 0, 1).expand(out.shape)
    return replace(weight, layout=chosen)


def _weighted(args: tuple[Any, ...], out: torch.Tensor) -> torch.Tensor | None:
    """Return the operand that a number for each token, or one in all, is multiplied with."""
    for one, other in (args[:2], args[1::-1]):
        alone = not _is_tensor(other) or other.numel() == 1 or other.shape[-1] == 1
        if _is_tensor(one) and one.shape == out.shape and alone:
            return one
    return None


def _tensors(args: tuple[Any, ...], named: dict[str, Any]) -> list[torch.Tensor]:
    return [value for value in (*args, *named.values()) if _is_tensor(value)]


def _is_tensor(value: Any) -> TypeGuard[torch.Tensor]:
    return isinstance(value, torch.Tensor)


def whole(module: str, outputs: int, inputs: int) -> Operand:
    """Return the operand of a linear module whose weight is packed."""
    shape = (outputs, inputs)
    return Operand(f"{module}.weight", shape, Axis(0, 0, 1, outputs), Axis(1, 0, 1, inputs), None)
