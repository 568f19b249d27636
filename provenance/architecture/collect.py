"""From the MLPs that were seen in a forward pass to the records of a model's blocks."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from provenance.architecture.records import (
    Channels,
    HiddenInput,
    MLPRecord,
    Projection,
    Refusal,
    Trace,
    common_path,
)
from provenance.architecture.roles import drafts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import nn

    from provenance.architecture.records import Role
    from provenance.architecture.roles import Draft, Part
    from provenance.architecture.tags import Hit


@dataclass(frozen=True)
class Place:
    """Where in a model a draft lies: ``number`` is its index in a list of its own inside the block."""

    stack: str
    block: int
    path: str
    number: int | None
    siblings: str


@dataclass(frozen=True)
class _Found:
    draft: Draft
    place: Place
    calls: int
    """How often the same MLP, or the same expert, was used in the pass."""


def assemble(
    model: nn.Module, hits: Sequence[Hit], widths: Mapping[str, int], tokens: int
) -> Trace:
    """Turn what entered linear maps in a pass of some tokens into the records of the model.

    ``widths`` has the last dimension of what each module was called on, and only those called.
    """
    found = _found(model, drafts(hits))
    stacks: dict[str, list[_Found]] = defaultdict(list)
    for each in found:
        stacks[each.place.stack].append(each)
    stack = max(stacks, key=lambda path: _units(stacks[path]), default=largest_list(model))
    blocks = list(model.get_submodule(stack).children()) if stack else []
    members = _of_one_width(stacks.get(stack, []), widths)
    records, refused = _records(model, stack, members, tokens)
    have = {record.block for record in records} | {refusal.block for refusal in refused}
    return Trace(
        architecture=type(model).__name__,
        model_type=str(getattr(getattr(model, "config", None), "model_type", "")),
        stack=stack,
        blocks=len(blocks),
        mlps=tuple(sorted(records, key=_order)),
        skipped={
            i: describe(block) + ("" if _ran(f"{stack}.{i}", widths) else ", which did not run")
            for i, block in enumerate(blocks)
            if i not in have
        },
        refused=tuple(refused),
        elsewhere=tuple(sorted(stacks.keys() - {stack})),
    )


ROLES: tuple[Role, ...] = ("dense", "shared", "expert")


def _order(record: MLPRecord) -> tuple[int, int, str, int]:
    place = record.path if record.expert is None else record.path.rstrip("0123456789")
    return record.block, ROLES.index(record.role), place, record.expert or 0


def describe(block: nn.Module) -> str:
    """Say in a few words what a block is: its class and the classes of what it holds."""
    parts = dict.fromkeys(type(child).__name__ for child in block.children())
    return f"{type(block).__name__}: {', '.join(parts)}"


def _ran(block: str, widths: Mapping[str, int]) -> bool:
    """Whether a block, or a module of one that is only a container, was called."""
    return any(_holds(block, module) for module in widths)


def _units(found: Sequence[_Found]) -> int:
    return sum(each.draft.units * max(1, each.draft.experts) for each in found)


def largest_list(model: nn.Module) -> str:
    """Return the path of the list of modules with most parameters: the blocks, whatever they hold."""
    sizes = {
        name: sum(parameter.numel() for parameter in module.parameters())
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module)
    }
    return max(sizes, key=lambda name: sizes[name], default="")


def _of_one_width(found: Sequence[_Found], widths: Mapping[str, int]) -> list[_Found]:
    """Leave out what is not as wide as the hidden states of its block: a router's own layers.

    A block that takes several streams of hidden states at once says nothing: then the width counts
    that most units have.
    """
    own = [e for e in found if e.draft.hidden == widths.get(f"{e.place.stack}.{e.place.block}")]
    if own or not found:
        return own
    common: Counter[int] = Counter()
    for each in found:
        common[each.draft.hidden] += _units([each])
    most, _ = common.most_common(1)[0]
    return [each for each in found if each.draft.hidden == most]


def _found(model: nn.Module, seen: Sequence[Draft]) -> list[_Found]:
    """Every MLP once, in the order of first use, with how often it was used."""
    first: dict[tuple[object, ...], Draft] = {}
    uses: dict[tuple[object, ...], Counter[object]] = defaultdict(Counter)
    passes = set()
    for draft in seen:
        first.setdefault(draft.key, draft)
        if (draft.key, draft.matmuls) not in passes:
            uses[draft.key][draft.up.expert] += 1
        passes.add((draft.key, draft.matmuls))
    found = []
    for key, draft in first.items():
        place = _place(model, draft)
        if place is not None:
            found.append(_Found(draft, place, max(uses[key].values())))
    return found


def _place(model: nn.Module, draft: Draft) -> Place | None:
    shared = common_path(part.weight.parameter.rpartition(".")[0] for part in draft.parts)
    lists = [
        depth
        for depth in range(1, len(shared))
        if shared[depth].isdigit() and _is_list(model.get_submodule(".".join(shared[:depth])))
    ]
    if not lists:
        return None
    stack, block, path = ".".join(shared[: lists[0]]), int(shared[lists[0]]), ".".join(shared)
    if len(lists) == 1:
        return Place(stack, block, path, None, "")
    return Place(stack, block, path, int(shared[lists[-1]]), ".".join(shared[: lists[-1]]))


def _is_list(module: nn.Module) -> bool:
    return isinstance(module, torch.nn.ModuleList | torch.nn.Sequential)


# --- records -----------------------------------------------------------------------------------------


def _records(
    model: nn.Module, stack: str, found: Sequence[_Found], tokens: int
) -> tuple[list[MLPRecord], list[Refusal]]:
    routed = {e.place.block for e in found if _is_expert(e) and e.draft.rows.routed}
    streams = {e.draft.rows.stream for e in found if _is_expert(e)}
    owners = _blocks_of_parameters(model, stack)
    records: list[MLPRecord] = []
    refused: list[Refusal] = []
    for each in found:
        blocks = owners[each.draft.up.weight.parameter]
        reason = _why_not(each, blocks)
        at = None if reason else _input(each, tokens)
        if at is None:
            reason = reason or "its input is not what any module is called on"
            refused.extend(Refusal(block, each.place.path, reason) for block in blocks)
            continue
        shared = each.draft.rows.stream in streams and each.place.block in routed
        expert = _is_expert(each) and (each.draft.rows.routed or not shared)
        role: Role = "expert" if expert else "shared" if shared else "dense"
        records.extend(_record(each, role, at))
    return _with_siblings(model, records, found), refused


def _is_expert(found: _Found) -> bool:
    numbered = found.place.number is not None and found.draft.rows.routed
    return bool(found.draft.experts) or numbered


def _why_not(found: _Found, blocks: Sequence[int]) -> str | None:
    draft = found.draft
    if draft.added:
        return f"the output of {draft.added[0]}, an adapter beside it, is added to its own"
    if len(blocks) > 1:
        return f"blocks {', '.join(map(str, blocks))} share its parameters"
    if found.calls > 1:
        return f"it runs {found.calls} times in one forward pass"
    if draft.rows.routed and not _is_expert(found):
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


def _input(found: _Found, tokens: int) -> HiddenInput | None:
    """The innermost module around gate and up that was called on the hidden states of all tokens."""
    rows, path = found.draft.rows, found.place.path
    owners = [part.weight.parameter.rpartition(".")[0] for part in found.draft.parts[:-1]]
    seen = [e for e in rows.stream.entries if e.rows >= tokens and not e.routed]
    around = [e for e in seen if all(_holds(e.module, owner) for owner in owners)]
    beside = [e for e in seen if e.module in owners or _holds(path, e.module)]
    chosen = max(around, key=lambda e: len(e.module), default=None) or next(iter(beside), None)
    if chosen is None:
        return None
    return HiddenInput(chosen.module, scaled=rows.scaled > chosen.scaled)


def _holds(module: str, inner: str) -> bool:
    return inner == module or inner.startswith(f"{module}.")


def _record(found: _Found, role: Role, at: HiddenInput) -> Iterator[MLPRecord]:
    """One record, or one for each expert of a stack."""
    draft, place = found.draft, found.place
    for index in range(max(1, draft.experts)):
        of = index if draft.experts else None
        yield MLPRecord(
            block=place.block,
            path=place.path,
            kind=draft.kind,
            role=role,
            expert=of if draft.experts else place.number if role == "expert" else None,
            gate=None if draft.gate is None else _projection(draft.gate, of),
            up=_projection(draft.up, of),
            down=_projection(draft.down, of),
            units=draft.units,
            hidden=draft.hidden,
            input=at,
            activation="+".join(draft.activation),
            activation_module=draft.module,
            up_terms="+".join(draft.up_terms),
            product_terms="+".join(draft.product_terms),
        )


def _projection(part: Part, expert: int | None) -> Projection:
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
    model: nn.Module, records: Sequence[MLPRecord], found: Sequence[_Found]
) -> list[MLPRecord]:
    """Add the experts of a list that no token was routed to: modules with the same parameters."""
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    lists = {e.place.path: e.place.siblings for e in found if e.place.number is not None}
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
