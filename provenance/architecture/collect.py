"""From the MLPs that were seen in a forward pass to the records of a model's blocks."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from provenance.architecture.part import class_name
from provenance.architecture.records import (
    Channels,
    HiddenInput,
    MLPRecord,
    Projection,
    Refusal,
    Trace,
    common_path,
)
from provenance.architecture.roles import mlp_uses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import nn

    from provenance.architecture.records import MLPRole
    from provenance.architecture.roles import MLPUse, ProjectionUse
    from provenance.architecture.tags import DownMatmul


@dataclass(frozen=True)
class Location:
    """Where in a model an MLP lies: ``number`` is its index in a list of its own inside the block."""

    stack: str
    block: int
    path: str
    number: int | None
    siblings: str


@dataclass(frozen=True)
class _LocatedMLP:
    use: MLPUse
    location: Location
    times: int
    """How often the same MLP, or the same expert, was used in the pass."""


def assemble(
    model: nn.Module, downs: Sequence[DownMatmul], widths: Mapping[str, int], tokens: int
) -> Trace:
    """Turn what entered linear maps in a pass of some tokens into the records of the model.

    ``widths`` has the last dimension of what each module was called on, and only those called.
    """
    mlps = _locate_all(model, mlp_uses(downs))
    stacks: dict[str, list[_LocatedMLP]] = defaultdict(list)
    for mlp in mlps:
        stacks[mlp.location.stack].append(mlp)
    stack = max(stacks, key=lambda path: _units(stacks[path]), default=largest_list(model))
    blocks = list(model.get_submodule(stack).children()) if stack else []
    members = _of_one_width(stacks.get(stack, []), widths)
    records, refused = _records(model, stack, members, tokens)
    have = {record.block for record in records} | {refusal.block for refusal in refused}
    return Trace(
        architecture=class_name(model),
        model_type=str(getattr(getattr(model, "config", None), "model_type", "")),
        stack=stack,
        blocks=len(blocks),
        mlps=tuple(sorted(records, key=record_order)),
        skipped={
            i: describe(block)
            + ("" if _was_called(f"{stack}.{i}", widths) else ", which did not run")
            for i, block in enumerate(blocks)
            if i not in have
        },
        refused=tuple(refused),
        elsewhere=tuple(sorted(stacks.keys() - {stack})),
    )


ROLES: tuple[MLPRole, ...] = ("dense", "shared", "expert")


def record_order(record: MLPRecord) -> tuple[int, int, str, int]:
    """A key that sorts records by block, role, list and number."""
    siblings = record.path if record.expert is None else record.path.rstrip("0123456789")
    return record.block, ROLES.index(record.role), siblings, record.expert or 0


def describe(block: nn.Module) -> str:
    """Say in a few words what a block is: its class and the classes of what it holds."""
    parts = dict.fromkeys(type(child).__name__ for child in block.children())
    return f"{type(block).__name__}: {', '.join(parts)}"


def _was_called(block: str, widths: Mapping[str, int]) -> bool:
    """Whether a block, or a module of one that is only a container, was called."""
    return any(_holds(block, module) for module in widths)


def _units(mlps: Sequence[_LocatedMLP]) -> int:
    return sum(mlp.use.units * max(1, mlp.use.experts) for mlp in mlps)


def largest_list(model: nn.Module) -> str:
    """Return the path of the list of modules with most parameters: the blocks, whatever they hold.

    It is sought next to the embedding of tokens first, since the towers of a multimodal model can be
    larger than its language model.
    """
    sizes = {
        name: sum(parameter.numel() for parameter in module.parameters())
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module)
    }
    home = _embedding_path(model)
    while home and not any(_holds(home, name) for name in sizes):
        home = home.rpartition(".")[0]
    near = [name for name in sizes if not home or _holds(home, name)]
    return max(near, key=lambda name: sizes[name], default="")


def _embedding_path(model: nn.Module) -> str:
    """Where the embedding of tokens is; empty where the model does not say."""
    table = input_embedding(model)
    return next((name for name, module in model.named_modules() if module is table), "")


def input_embedding(model: nn.Module) -> Any:
    """The module that embeds tokens; None where the model does not say."""
    try:
        return getattr(model, "get_input_embeddings", lambda: None)()
    # NotImplementedError of transformers; a checkpoint's own code raises anything
    except Exception:  # noqa: BLE001
        return None


def _of_one_width(mlps: Sequence[_LocatedMLP], widths: Mapping[str, int]) -> list[_LocatedMLP]:
    """Leave out what is not as wide as the hidden states of its block: a router's own layers.

    A block that takes several streams of hidden states at once says nothing: then the width counts
    that most units have.
    """
    own = [
        mlp
        for mlp in mlps
        if mlp.use.hidden == widths.get(f"{mlp.location.stack}.{mlp.location.block}")
    ]
    if own or not mlps:
        return own
    common: Counter[int] = Counter()
    for mlp in mlps:
        common[mlp.use.hidden] += _units([mlp])
    most, _ = common.most_common(1)[0]
    return [mlp for mlp in mlps if mlp.use.hidden == most]


def _locate_all(model: nn.Module, observed: Sequence[MLPUse]) -> list[_LocatedMLP]:
    """Every MLP once, in the order of first use, with how often it was used."""
    first: dict[tuple[object, ...], MLPUse] = {}
    uses: dict[tuple[object, ...], Counter[object]] = defaultdict(Counter)
    passes = set()
    for use in observed:
        first.setdefault(use.key, use)
        if (use.key, use.matmuls) not in passes:
            uses[use.key][use.up.expert] += 1
        passes.add((use.key, use.matmuls))
    mlps = []
    for key, use in first.items():
        location = _location(model, use)
        if location is not None:
            mlps.append(_LocatedMLP(use, location, max(uses[key].values())))
    return mlps


def _location(model: nn.Module, use: MLPUse) -> Location | None:
    shared = common_path(part.weight.parameter.rpartition(".")[0] for part in use.parts)
    lists = [
        depth
        for depth in range(1, len(shared))
        if shared[depth].isdigit() and _is_list(model.get_submodule(".".join(shared[:depth])))
    ]
    if not lists:
        return None
    stack, block, path = ".".join(shared[: lists[0]]), int(shared[lists[0]]), ".".join(shared)
    if len(lists) == 1:
        return Location(stack, block, path, None, "")
    return Location(stack, block, path, int(shared[lists[-1]]), ".".join(shared[: lists[-1]]))


def _is_list(module: nn.Module) -> bool:
    return isinstance(module, torch.nn.ModuleList | torch.nn.Sequential)


# --- records -----------------------------------------------------------------------------------------


def _records(
    model: nn.Module, stack: str, mlps: Sequence[_LocatedMLP], tokens: int
) -> tuple[list[MLPRecord], list[Refusal]]:
    routed = {mlp.location.block for mlp in mlps if _is_expert(mlp) and mlp.use.states.routed}
    streams = {mlp.use.states.stream for mlp in mlps if _is_expert(mlp)}
    owners = _blocks_of_parameters(model, stack)
    records: list[MLPRecord] = []
    refused: list[Refusal] = []
    for mlp in mlps:
        blocks = owners[mlp.use.up.weight.parameter]
        reason = _refusal_reason(mlp, blocks)
        hidden_input = None if reason else _hidden_input(mlp, tokens)
        if hidden_input is None:
            reason = reason or "its input is not what any module is called on"
            refused.extend(Refusal(block, mlp.location.path, reason) for block in blocks)
            continue
        shared = mlp.use.states.stream in streams and mlp.location.block in routed
        expert = _is_expert(mlp) and (mlp.use.states.routed or not shared)
        role: MLPRole = "expert" if expert else "shared" if shared else "dense"
        records.extend(_record(mlp, role, hidden_input))
    return _with_siblings(model, records, mlps), refused


def _is_expert(mlp: _LocatedMLP) -> bool:
    numbered = mlp.location.number is not None and mlp.use.states.routed
    return bool(mlp.use.experts) or numbered


def _refusal_reason(mlp: _LocatedMLP, blocks: Sequence[int]) -> str | None:
    use = mlp.use
    if use.added:
        return f"the output of {use.added[0]}, an adapter beside it, is added to its own"
    if len(blocks) > 1:
        return f"blocks {', '.join(map(str, blocks))} share its parameters"
    if mlp.times > 1:
        return f"it runs {mlp.times} times in one forward pass"
    if use.states.routed and not _is_expert(mlp):
        return "it gets some of the tokens only"
    return None


def _blocks_of_parameters(model: nn.Module, stack: str) -> dict[str, list[int]]:
    """The blocks that hold each parameter of a stack, by its first name."""
    first: dict[int, str] = {}
    blocks: dict[str, list[int]] = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owner = first.setdefault(id(parameter), name)
        if name.startswith(f"{stack}."):
            number = int(name.removeprefix(f"{stack}.").split(".")[0])
            if number not in blocks[owner]:
                blocks[owner].append(number)
    return blocks


def _hidden_input(mlp: _LocatedMLP, tokens: int) -> HiddenInput | None:
    """The innermost module around gate and up that was called on the hidden states of all tokens."""
    states, path = mlp.use.states, mlp.location.path
    owners = [part.weight.parameter.rpartition(".")[0] for part in mlp.use.parts[:-1]]
    calls = [call for call in states.stream.calls if call.tokens >= tokens and not call.routed]
    around = [call for call in calls if all(_holds(call.module, owner) for owner in owners)]
    beside = [call for call in calls if call.module in owners or _holds(path, call.module)]
    chosen = max(around, key=lambda call: len(call.module), default=None) or next(
        iter(beside), None
    )
    if chosen is None:
        return None
    return HiddenInput(chosen.module, states.scaled > chosen.scaled, states.stream.norm)


def _holds(module: str, inner: str) -> bool:
    return inner == module or inner.startswith(f"{module}.")


def _record(mlp: _LocatedMLP, role: MLPRole, hidden_input: HiddenInput) -> Iterator[MLPRecord]:
    """One record, or one for each expert of a stack."""
    use, location = mlp.use, mlp.location
    for index in range(max(1, use.experts)):
        stacked = index if use.experts else None
        yield MLPRecord(
            block=location.block,
            path=location.path,
            kind=use.kind,
            role=role,
            expert=stacked if use.experts else location.number if role == "expert" else None,
            gate=None if use.gate is None else _projection(use.gate, stacked),
            up=_projection(use.up, stacked),
            down=_projection(use.down, stacked),
            units=use.units,
            hidden=use.hidden,
            input=hidden_input,
            activation="+".join(use.activation),
            activation_module=use.module,
            up_terms="+".join(use.up_terms),
            product_terms="+".join(use.product_terms),
        )


def _projection(part: ProjectionUse, expert: int | None) -> Projection:
    weight = part.weight
    moved = 0 if expert is None else (expert - (part.expert or 0)) * part.height
    channels = Channels(
        part.channels.start + moved, part.channels.stop + moved, part.channels.step, part.axis
    )
    return Projection(
        parameter=weight.parameter,
        channels=channels,
        expert=expert if len(weight.shape) == 3 else None,
        bias=part.bias,
        transposed=weight.outs.axis > weight.ins.axis,
    )


def _with_siblings(
    model: nn.Module, records: Sequence[MLPRecord], mlps: Sequence[_LocatedMLP]
) -> list[MLPRecord]:
    """Add the experts of a list that no token was routed to: modules with the same parameters."""
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    lists = {
        mlp.location.path: mlp.location.siblings for mlp in mlps if mlp.location.number is not None
    }
    known = {record.path for record in records}
    added = []
    for record in records:
        siblings = lists.get(record.path, "")
        if record.role != "expert" or not siblings or record.up.expert is not None:
            continue
        for number in range(len(list(model.get_submodule(siblings).children()))):
            other = _moved(record, f"{siblings}.{record.expert}", f"{siblings}.{number}", number)
            if other.path not in known and _same_shapes(record, other, shapes):
                known.add(other.path)
                added.append(other)
    return [*records, *added]


def _moved(record: MLPRecord, old: str, new: str, number: int) -> MLPRecord:
    """The record with everything below one module named as if it were below another."""

    def name(path: str) -> str:
        return new + path.removeprefix(old) if _holds(old, path) else path

    def projection(part: Projection) -> Projection:
        bias = None if part.bias is None else name(part.bias)
        return replace(part, parameter=name(part.parameter), bias=bias)

    module = record.activation_module
    return replace(
        record,
        path=name(record.path),
        expert=number,
        gate=None if record.gate is None else projection(record.gate),
        up=projection(record.up),
        down=projection(record.down),
        activation_module=None if module is None else name(module),
    )


def _same_shapes(record: MLPRecord, other: MLPRecord, shapes: Mapping[str, torch.Size]) -> bool:
    pairs = ((record.gate, other.gate), (record.up, other.up), (record.down, other.down))
    return all(shapes.get(a.parameter) == shapes.get(b.parameter) for a, b in pairs if a and b)
