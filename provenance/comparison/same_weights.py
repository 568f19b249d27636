"""Whether two models hold the same weights, whatever their files call them and store them as.

Tensors of one hash are not read. Of the others the smallest come first, and the first that differs ends it:
of two models that were trained apart, or one after the other, one tensor is read.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from provenance._quiet import quiet
from provenance.architecture.part import part_of
from provenance.checkpoints.checkpoint import VOLATILE
from provenance.checkpoints.contents import BUFFERS
from provenance.evidence.weights import WeightsRecord
from provenance.loading.families import why_not_run

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from provenance.checkpoints.checkpoint import Checkpoint

    Tensors = Iterable[tuple[torch.Tensor, torch.Tensor]]

NARROW = ("bfloat16", "float16", "float32")
"""The types that weights are rounded to."""

IDLE = frozenset({"initializer_range", "pretraining_tp", "tie_word_embeddings", "use_cache"})
"""Settings of families that change no number of a pass; what is tied is seen in the weights."""
IDLE_ENDINGS = ("_token_id", "dropout", "_pdrop")


def compare_weights(candidate: Checkpoint, reference: Checkpoint) -> WeightsRecord:
    """Compare the weights of two models that are no fingerprints.

    Raises
    ------
    SourceError
        A model cannot be built from its configuration, or its files cannot be read.
    """
    dtypes = _narrow_types(_of_files(candidate, reference))
    if dtypes is None:
        return WeightsRecord("other")
    if _names(candidate) == _names(reference):
        return _record(candidate, reference, dtypes)
    if candidate.model_type != reference.model_type or why_not_run(candidate) is not None:
        return WeightsRecord("other")  # the names of one family say nothing of another's
    return _by_parameters(candidate, reference)


def _names(checkpoint: Checkpoint) -> set[str]:
    return {name for name in checkpoint.tensors if not BUFFERS.search(name)}


def _of_files(candidate: Checkpoint, reference: Checkpoint) -> Tensors:
    """The tensors that both files have by name, save those of one type and hash."""
    from provenance.loading.lazy_tensors import LazyTensors

    ours, theirs = LazyTensors(candidate), LazyTensors(reference)
    differ = [
        name
        for name in _names(candidate) & _names(reference)
        if _look(candidate, name) != _look(reference, name)
    ]
    for name in sorted(differ, key=lambda name: (candidate.tensors[name].elements, name)):
        yield ours[name], theirs[name]


def _look(checkpoint: Checkpoint, name: str) -> tuple[str, tuple[int, ...], str]:
    stored = checkpoint.tensors[name]
    return stored.dtype, stored.shape, checkpoint.hashes[name]


def _by_parameters(candidate: Checkpoint, reference: Checkpoint) -> WeightsRecord:
    """Compare under the models' own names, where their files have others."""
    ours, theirs = _Parameters(candidate), _Parameters(reference)
    if ours.index.shapes != theirs.index.shapes:
        return WeightsRecord("other")
    shared = sorted(ours.found & theirs.found, key=lambda name: (ours.size(name), name))
    if not shared:
        return WeightsRecord("other")
    alone = (ours.found | ours.unread) ^ (theirs.found | theirs.unread)
    pairs = ((ours.tensors.read(name), theirs.tensors.read(name)) for name in shared)
    dtypes = _narrow_types(pairs)
    if dtypes is None:
        return WeightsRecord("other")
    return _record(candidate, reference, dtypes, tuple(sorted(alone)))


class _Parameters:
    """What a checkpoint's files hold, by the names of its model."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        from provenance.loading.model import load_skeleton
        from provenance.loading.parameters import ModelTensors
        from provenance.loading.renamings import ParameterIndex

        skeleton = load_skeleton(checkpoint)
        with quiet():
            self.index = ParameterIndex.of(skeleton, checkpoint.tensors)
        self.tensors = ModelTensors(checkpoint, skeleton)
        self.found = {name for name in self.index.shapes if self.index.name_of(name) is not None}
        part = part_of(skeleton)
        beside = () if part is None else {n for n in checkpoint.tensors if not part.holds(n)}
        self.unread = {n for n in (*self.index.unread, *beside) if not BUFFERS.search(n)}

    def size(self, name: str) -> int:
        """The number of a parameter's elements."""
        return prod(self.index.shapes[name])


def _narrow_types(pairs: Tensors) -> set[str] | None:
    """The types in which tensors are the same numbers (`common_type`); None where two are not the same."""
    dtypes = set()
    for ours, theirs in pairs:
        narrow = common_type(ours, theirs)
        if narrow is None:
            return None
        dtypes.add(narrow)
    return dtypes - {""}


def _record(
    candidate: Checkpoint, reference: Checkpoint, dtypes: set[str], alone: tuple[str, ...] = ()
) -> WeightsRecord:
    settings = differing_settings(candidate, reference)
    return WeightsRecord("rounded" if dtypes else "same", tuple(sorted(dtypes)), alone, settings)


def common_type(first: torch.Tensor, second: torch.Tensor) -> str | None:
    """The narrower type in which two tensors are the same numbers, one of them rounded to it.

    Empty where they are the same as they are; None where they are not the same.
    """
    import torch

    if first.shape != second.shape:
        return None
    both = torch.promote_types(first.dtype, second.dtype)
    first, second = first.to(both), second.to(both)
    if torch.equal(first, second):
        return ""
    for name in NARROW:
        narrow = getattr(torch, name)
        ours, theirs = first.to(narrow).to(both), second.to(narrow).to(both)
        is_rounded = torch.equal(ours, first) or torch.equal(theirs, second)
        if is_rounded and torch.equal(ours, theirs):
            return name
    return None


def differing_settings(candidate: Checkpoint, reference: Checkpoint) -> tuple[str, ...]:
    """Keys of the configuration that say how a model computes, and that differ, sorted."""
    ours, theirs = settings_of(candidate), settings_of(reference)
    missing = object()
    return tuple(
        key
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key, missing) != theirs.get(key, missing)
    )


def settings_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a configuration says of its family's own settings, as transformers reads it; else as it is."""
    from transformers import PreTrainedConfig

    from provenance.loading.configuration import read_configuration

    if why_not_run(checkpoint) is not None:
        idle = (PreTrainedConfig().to_dict().keys() | VOLATILE) - {"model_type"}
        own = {key: value for key, value in checkpoint.config.items() if key not in idle}
        return {key: _settled(value) for key, value in own.items() if _counts(key)}
    with quiet():
        config = read_configuration(checkpoint)
        own = type(config)().to_dict() if not checkpoint.remote_code else config.to_dict()
        general = PreTrainedConfig().to_dict()
        said = config.to_dict()
    return {
        key: _settled(said.get(key))
        for key in (own.keys() - general.keys()) | {"model_type"}
        if _counts(key)
    }


def _settled(value: Any) -> Any:
    """A setting without what its parts have of idle ones."""
    if not isinstance(value, dict):
        return value
    return {key: _settled(part) for key, part in value.items() if _counts(str(key))}


def _counts(key: str) -> bool:
    return key not in IDLE and not key.endswith(IDLE_ENDINGS)
