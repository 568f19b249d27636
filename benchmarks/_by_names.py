"""What names and shapes alone tell of a model, compared with what following its data does."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from provenance.architecture.by_names.numbered import WRITE
from provenance.architecture.by_names.structure import structure
from provenance.architecture.by_names.towers import NOT_FOUND
from provenance.architecture.records import projection_bias, projection_weight
from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from provenance.architecture.by_names.structure import Structure
    from provenance.architecture.records import MLPRecord, Projection, Trace

AGREES, MISSING = "agrees", "not found"


def in_memory(model: Any, seen: Trace) -> str:
    """Say what the names and shapes of a model's parameters tell, compared with its trace by names."""
    shapes = {name: tuple(one.shape) for name, one in model.named_parameters()}

    def differ(found: Structure) -> list[str]:
        def projections(record: MLPRecord) -> object:
            return record.kind, record.gate, record.up, record.down

        ours, theirs = (_valued(one, projections) for one in (seen, found.trace))
        return [*_of_mlps(ours, theirs), *_of_norms(seen, found), *_of_table(model, seen, found)]

    return _said(shapes, model.config.to_dict(), seen, differ)


def as_saved(model: Any, seen: Trace) -> str:
    """Say what the names and shapes in a model's files tell, compared with its trace by the numbers.

    Every parameter must have numbers of its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        stored: dict[str, torch.Tensor] = {}
        for file in sorted(Path(folder).glob("*.safetensors")):
            stored |= load_file(file)

    def differ(found: Structure) -> list[str]:
        def numbers(tensors: Callable[[str], torch.Tensor]) -> Callable[[MLPRecord], object]:
            return lambda record: (record.kind, *_numbers(record, tensors))

        ours = _valued(seen, numbers(model.get_parameter))
        theirs = _valued(found.trace, numbers(stored.__getitem__))
        norms = _same_norms(model, stored, seen, found)
        return [*_of_mlps(ours, theirs), *norms, *_same_table(model, stored, seen, found)]

    shapes = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    return _said(shapes, model.config.to_dict(), seen, differ)


def _said(
    shapes: Mapping[str, tuple[int, ...]],
    config: Mapping[str, Any],
    seen: Trace,
    differ: Callable[[Structure], list[str]],
) -> str:
    try:
        found = structure(shapes, config)
    except ArchitectureError as error:
        if str(error).startswith(NOT_FOUND):
            return MISSING if seen.mlps else f"{AGREES}: none"
        return f"ambiguous: {str(error).partition(f': {WRITE}')[0]}"
    return "; ".join(differ(found)) or AGREES


def _valued(
    seen: Trace, value: Callable[[MLPRecord], object]
) -> dict[tuple[object, ...], MLPRecord]:
    """The records by their block, their number among experts, and what is compared of them."""
    numbers = (record.expert if record.role == "expert" else None for record in seen.mlps)
    return {
        (record.block, number, value(record)): record
        for record, number in zip(seen.mlps, numbers, strict=True)
    }


def _numbers(
    record: MLPRecord, tensor: Callable[[str], torch.Tensor]
) -> tuple[tuple[float, ...], ...]:
    """All numbers of an MLP's projections."""
    parts: list[Projection] = [one for one in (record.gate, record.up, record.down) if one]
    weights = [projection_weight(one, tensor(one.parameter)) for one in parts]
    biases = [projection_bias(one, tensor(one.bias)) for one in parts if one.bias is not None]
    return tuple(tuple(one.detach().flatten().tolist()) for one in (*weights, *biases))


def _of_mlps(
    ours: Mapping[tuple[object, ...], MLPRecord], theirs: Mapping[tuple[object, ...], MLPRecord]
) -> list[str]:
    says = []
    for what, mlps in (
        ("not found", [ours[key] for key in ours if key not in theirs]),
        ("none by its data", [theirs[key] for key in theirs if key not in ours]),
    ):
        if mlps:
            first = mlps[0]
            says.append(f"{len(mlps)} MLPs {what}, as {first.role} in block {first.block}")
    called = {(ours[key].role, theirs[key].role) for key in ours.keys() & theirs.keys()}
    says += [f"{theirs} where it is {ours}" for ours, theirs in sorted(called) if ours != theirs]
    return says


def _of_norms(seen: Trace, found: Structure) -> list[str]:
    ours = {record.block: record.input.norm for record in seen.mlps}
    theirs = {record.block: record.input.norm for record in found.trace.mlps}
    other = [block for block in ours if block in theirs and ours[block] != theirs[block]]
    return _norms_differ(found, other, theirs)


def _norms_differ(
    found: Structure, blocks: list[int], paths: Mapping[int, str | None]
) -> list[str]:
    doubts = [found.norms.get(paths[block] or "") for block in blocks]
    if not doubts:
        return []
    if isinstance(doubts[0], str):
        return [f"norm ambiguous: {doubts[0].partition(f': {WRITE}')[0]}"]
    return [f"another norm in {len(blocks)} blocks"]


def _same_norms(
    model: nn.Module, stored: Mapping[str, torch.Tensor], seen: Trace, found: Structure
) -> list[str]:
    ours = {record.block: record.input.norm for record in seen.mlps}
    theirs = {record.block: record.input.norm for record in found.trace.mlps}

    def is_same(block: int) -> bool:
        path, norm = ours[block], found.norms.get(theirs[block] or "")
        if path is None or norm is None or isinstance(norm, str):
            return path is None and theirs[block] is None
        weight = getattr(model.get_submodule(path), "weight", None)
        return weight is not None and torch.equal(weight, stored[norm.weight])

    other = [block for block in ours if block in theirs and not is_same(block)]
    return _norms_differ(found, other, theirs)


def _of_table(model: nn.Module, seen: Trace, found: Structure) -> list[str]:
    ours, theirs = seen.embedding, found.trace.embedding
    if ours is None or theirs is None:
        return [] if ours is theirs or not seen.mlps else [_table(theirs is None)]
    same = model.get_parameter(ours.parameter) is model.get_parameter(theirs.parameter)
    return [] if same and ours.projection is None else [_table(missing=False)]


def _same_table(
    model: nn.Module, stored: Mapping[str, torch.Tensor], seen: Trace, found: Structure
) -> list[str]:
    ours, theirs = seen.embedding, found.trace.embedding
    if ours is None or theirs is None:
        return [] if ours is theirs or not seen.mlps else [_table(theirs is None)]
    table = model.get_parameter(ours.parameter)
    same = torch.equal(table, stored[theirs.parameter])
    return [] if same and ours.projection is None else [_table(missing=False)]


def _table(missing: bool) -> str:  # noqa: FBT001 - a word of two
    return "table of tokens not found" if missing else "another table of tokens"
