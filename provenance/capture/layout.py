"""Where in a checkpoint's files the MLPs of its model lie: all that is asked of a model before it is read.

It costs an import of the family's code and a pass on the meta device, and depends on the configuration and
on the names and shapes of the tensors alone. So it is kept in the store, where a fine-tune finds its
base's. A few plain families are known without either (`provenance.architecture.known`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING

from provenance._quiet import quiet
from provenance.architecture.known import known_heads, known_trace, norm_offset
from provenance.architecture.records import Trace  # noqa: TC001 - as above
from provenance.capture.norms import Norm, measure_norms
from provenance.checkpoints.checkpoint import lasting_digest, said_of
from provenance.errors import ArchitectureError, SourceError

if TYPE_CHECKING:
    from torch import nn

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.store.store import JSON

LAYOUT_VERSION = 5
"""Raised whenever the same checkpoint would give another layout."""

LAYOUT = "layout.json"


@dataclass(frozen=True)
class Layout:
    """The MLPs of a model, and which stored tensors are its parameters as they are.

    ``stored`` has the tensors' names by the parameters'. Parameters that are made of several tensors, or of
    a part of one, are not in it. ``norms`` are those before the MLPs, by their paths. ``heads`` are in the
    files, and nothing reads them. ``by_names`` says what was taken for what where names and shapes alone
    told it, and is empty where the model's code did. ``routers`` are then the matrices that choose among a
    block's experts.
    """

    trace: Trace
    stored: Mapping[str, str]
    norms: Mapping[str, Norm]
    heads: tuple[str, ...] = ()
    by_names: tuple[str, ...] = ()
    routers: Mapping[int, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """As text, for `from_json`."""
        from pydantic import TypeAdapter

        return TypeAdapter(Layout).dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Layout:
        """The layout of a text that `to_json` made."""
        from pydantic import TypeAdapter

        layout: Layout = TypeAdapter(Layout).validate_json(text)
        return layout


def known_layout(checkpoint: Checkpoint) -> Layout | None:
    """The layout of a plain family, without transformers; None where it takes a look at the model."""
    if checkpoint.remote_code or checkpoint.spec.layout is not None:
        return None
    shapes = _shapes(checkpoint)
    trace = known_trace(checkpoint.config, shapes)
    if trace is None:
        return None
    offset = norm_offset(trace)
    norms = {path: Norm("rms", offset, f"{path}.weight") for path in _norm_widths(trace)}
    return Layout(
        trace, {name: name for name in shapes}, norms, known_heads(checkpoint.config, shapes)
    )


def find_layout(checkpoint: Checkpoint) -> Layout:
    """Find the layout in the model that the configuration describes, or, where none can be built, by names.

    Raises
    ------
    SourceError
        As `provenance.loading.model.load_skeleton`, or the files hold an MLP in another shape, two tensors
        for one parameter, or tensors that nothing loads; or a layout was said of a family that is known.
    ArchitectureError
        As `provenance.architecture.find.with_mlps` or `provenance.architecture.by_names.structure`, naming
        the model.
    """
    from provenance.capture.units import find_in_skeleton
    from provenance.loading.families import why_not_run
    from provenance.loading.model import load_skeleton, other_heads, refuse_extras
    from provenance.loading.renamings import ParameterIndex

    if why_not_run(checkpoint) is not None:
        return _by_names(checkpoint)
    if checkpoint.spec.layout is not None:
        raise SourceError(
            f"{_where(checkpoint)}{checkpoint.source}: the code of {checkpoint.model_type!r} tells where "
            "its MLPs are: remove layout:"
        )
    skeleton = load_skeleton(checkpoint)
    trace = find_in_skeleton(checkpoint, skeleton, gated=False)
    _refuse_other_shapes(checkpoint, skeleton, trace)
    norms = measure_norms(skeleton, _norm_widths(trace))
    if checkpoint.config.get("quantization_config"):
        return Layout(trace, {}, norms)
    with quiet():
        index = ParameterIndex.of(skeleton, checkpoint.tensors)
    index.refuse_twins(checkpoint.source)
    refuse_extras(checkpoint, skeleton, index.unread)
    stored = {
        name: conversion.sources[0][0]
        for name, conversion in index.conversions.items()
        if conversion.converter is None
        and checkpoint.tensors[conversion.sources[0][0]].shape == index.shapes[name]
    }
    return Layout(trace, stored, norms, other_heads(checkpoint, skeleton, index))


def layout_in_part(checkpoint: Checkpoint) -> Layout:
    """The layout by stored tensors alone, of a checkpoint that is opened in part; no code is asked.

    Names of a family that transformers knows are not its maker's choice: under others it would not load.

    Raises
    ------
    ArchitectureError
        As `find_layout`, by names.
    """
    from provenance.loading.families import why_not_run

    known = known_layout(checkpoint)
    if known is not None:
        return known
    found = _by_names(checkpoint)
    is_chosen = checkpoint.spec.layout is not None or why_not_run(checkpoint) is not None
    return found if is_chosen else replace(found, by_names=())


def _shapes(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape for name, tensor in checkpoint.tensors.items()}


def _where(checkpoint: Checkpoint) -> str:
    """File and line of what was said of a layout, for the front of a message."""
    said = checkpoint.spec.layout
    return "" if said is None or said.where is None else f"{said.where}: "


def _by_names(checkpoint: Checkpoint) -> Layout:
    """The layout of a model of which no code may run, or none is known."""
    from provenance.architecture.by_names.structure import structure

    shapes = _shapes(checkpoint)
    try:
        found = structure(shapes, checkpoint.config, checkpoint.spec.layout)
    except ArchitectureError as error:
        raise ArchitectureError(f"{_where(checkpoint)}{checkpoint.source}: {error}") from None
    norms = {
        path: Norm("unknown", weight=path, reason=norm)
        if isinstance(norm, str)
        else Norm(norm.kind, norm.offset, norm.weight, norm.bias)
        for path, norm in found.norms.items()
    }
    return Layout(
        found.trace,
        {name: name for name in shapes},
        norms,
        by_names=found.says,
        routers=found.routers,
    )


def _refuse_other_shapes(checkpoint: Checkpoint, skeleton: nn.Module, trace: Trace) -> None:
    """Refuse files that hold what is compared in another shape, in the words in which loading does."""
    from provenance.loading.model import refuse_gaps
    from provenance.loading.parameters import ModelTensors

    wanted = {name: tuple(skeleton.get_parameter(name).shape) for name in trace.parameters()}
    other = ModelTensors(checkpoint).other_shapes(wanted)
    refuse_gaps(checkpoint.source, {"mismatched_keys": other, "missing_keys": (), "error_msgs": ()})


def _norm_widths(trace: Trace) -> dict[str, int]:
    """The norms before MLPs, by their paths, and how wide what they normalise is."""
    return {r.input.norm: r.hidden for r in trace.mlps if r.input.norm is not None}


def layout_fields(checkpoint: Checkpoint) -> dict[str, JSON]:
    """All that a layout depends on: the store's key."""
    tensors = sorted((t.name, t.dtype, t.shape) for t in checkpoint.tensors.values())
    return {
        "version": LAYOUT_VERSION,
        "config": lasting_digest(checkpoint.config),
        "tensors": sha256(json.dumps(tensors).encode()).hexdigest(),
        "said": said_of(checkpoint.spec),
        # code of the checkpoint's own is part of its digest
        "code": checkpoint.digest if checkpoint.remote_code else None,
        "transformers": version("transformers"),
        "torch": version("torch"),
    }
