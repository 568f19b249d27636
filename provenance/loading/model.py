"""Loads a verified checkpoint's model and tokenizer, and refuses what transformers only logs."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch

from provenance._quiet import quiet
from provenance.architecture.auto_class import auto_class
from provenance.architecture.inside import language_model
from provenance.architecture.part import class_name, part_of
from provenance.architecture.trace import build_whole, runs_on_tokens
from provenance.checkpoints.contents import BUFFERS
from provenance.checkpoints.folder import CONFIG
from provenance.errors import ArchitectureError, DeviceError, SourceError, one_line
from provenance.loading.configuration import read_configuration
from provenance.loading.devices import free_bytes
from provenance.loading.experts import run_one_by_one
from provenance.loading.families import why_not_run
from provenance.loading.faults import explain, refuse_nonfinite
from provenance.loading.heads import Heads
from provenance.loading.lazy_tensors import LazyTensors
from provenance.loading.parts import as_saved_alone, locate, of_part, parts_left_out
from provenance.loading.renamings import ParameterIndex
from provenance.loading.streaming import (
    cast,
    device_map,
    is_streamed,
    remove_with,
    return_freed_memory,
    scratch_folder,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PreTrainedModel

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.vocabulary import Dtype, Memory

__all__ = [
    "is_streamed",
    "load_model",
    "load_skeleton",
    "other_heads",
    "quiet",
    "refuse_extras",
    "refuse_gaps",
]


def load_model(
    checkpoint: Checkpoint,
    device: str,
    dtype: Dtype | None = None,
    memory: Memory | None = None,
    skeleton: PreTrainedModel | None = None,
    *,
    head: bool = True,
) -> PreTrainedModel:
    """Load a causal or multimodal language model, in evaluation mode and without gradients.

    No pickle is read, no network is asked, and the checkpoint's own code runs only if it was opened as
    trusted. A weight that the checkpoint lacks is an error; transformers fills it with random numbers and
    only logs it [1]_.

    Parameters
    ----------
    checkpoint : Checkpoint
        A verified folder.
    device : str
        ``cpu``, ``cuda``, ``cuda:1``, ...
    dtype : {"float32", "bfloat16", "float16"}, optional
        The type to load in; None: float32 on a CPU, elsewhere the checkpoint's own.
    memory : Memory, optional
        A model that takes more is run block by block from its files (`is_streamed`): its blocks can
        be called by the model alone. None: it is loaded whatever it takes.
    skeleton : PreTrainedModel, optional
        What `load_skeleton` made of the checkpoint; None: it is built.
    head : bool
        Whether the head of the language model is needed. Else `NoHead` stands where it was not saved.

    Raises
    ------
    SourceError
        The family is unknown or needs code of its own, a library for its quantization is absent,
        weights are missing, of another shape, stored twice, or not finite, or transformers cannot load it.
    DeviceError
        The device is not there, or its memory is too small.

    References
    ----------
    .. [1] https://huggingface.co/docs/transformers/main_classes/model
    """
    place = _device(device)
    skeleton = skeleton or load_skeleton(checkpoint)
    try:
        with quiet():
            ParameterIndex.of(skeleton, checkpoint.tensors).refuse_twins(checkpoint.source)
            if memory is not None and _is_too_large(checkpoint, skeleton, place, dtype, memory):
                places = device_map(skeleton, device)
                return _streamed(checkpoint, skeleton, places, _dtype(place.type, dtype), head=head)
            model, info = _from_pretrained(checkpoint, skeleton, dtype=_dtype(place.type, dtype))
            _refuse_others(checkpoint, model, info, head=head)
            model = model.eval().requires_grad_(requires_grad=False).to(place)
            for name, parameter in model.named_parameters():
                refuse_nonfinite(checkpoint, name, parameter)
            run_one_by_one(model)
    except (SourceError, DeviceError):
        raise
    # the loaders of some 200 families raise whatever a wrong configuration leads them to
    except Exception as error:
        raise explain(error, checkpoint, device) from error
    return model


def _is_too_large(
    checkpoint: Checkpoint,
    skeleton: PreTrainedModel,
    place: Any,
    dtype: Dtype | None,
    memory: Memory,
) -> bool:
    """Whether the weights, and what is mapped of their files while they are cast, exceed the memory."""
    part = part_of(skeleton)
    read = [one for one in checkpoint.tensors.values() if part is None or part.holds(one.name)]
    stored = sum(tensor.stop - tensor.start for tensor in read)
    run_in = _dtype(place.type, dtype)
    elements = sum(tensor.elements for tensor in read)
    weights = stored if run_in == "auto" else elements * run_in.itemsize
    if weights != stored and stored > memory.working and place.type == "cpu":
        return True
    limit = memory.resident
    if limit is None:
        limit = free_bytes(str(place)) - memory.working
    return weights > limit


def _streamed(
    checkpoint: Checkpoint,
    skeleton: PreTrainedModel,
    places: dict[str, str],
    dtype: Any,
    *,
    head: bool,
) -> PreTrainedModel:
    """A model whose blocks are read when they are called; ``places`` is from `device_map`."""
    return_freed_memory()
    folder = scratch_folder()
    model, info = _from_pretrained(
        checkpoint, skeleton, dtype="auto", device_map=places, offload_folder=folder
    )
    remove_with(model, folder)
    _refuse_others(checkpoint, model, info, head=head)
    part = part_of(skeleton)
    tensors = LazyTensors(checkpoint).items()
    for name, tensor in tensors:
        if part is None or part.holds(name):
            refuse_nonfinite(checkpoint, name, tensor)
    model = model.eval().requires_grad_(requires_grad=False)
    run_one_by_one(model)
    if dtype != "auto":
        cast(model, dtype)
    return model


def load_skeleton(checkpoint: Checkpoint) -> PreTrainedModel:
    """Build a model on the meta device: its modules and shapes, none of its numbers.

    Where it does not run on token ids alone, it is the language model inside, and the rest is left out.

    Raises
    ------
    ArchitectureError
        The language model inside encodes its text.
    SourceError
        The family is unknown or needs code of its own, its configuration builds no model, or it implies
        more than `EXCESS` times the parameters that the files hold.
    """
    unknown = why_not_run(checkpoint)
    if unknown is not None:
        raise SourceError(unknown)
    _refuse_hollow(checkpoint)
    try:
        with torch.device("meta"):
            config = read_configuration(checkpoint)
        whole = build_whole(config, trusted=checkpoint.remote_code)
        _refuse_oversized(checkpoint, whole)
        model = language_model(whole, runs_on_tokens)
        locate(model, whole, checkpoint.tensors)
    except SourceError:
        raise
    except ArchitectureError as error:
        raise ArchitectureError(f"{checkpoint.source}: {error}") from None
    # as in load_model: a wrong configuration raises anything
    except Exception as error:
        raise explain(error, checkpoint, "meta") from error
    return model


def _device(name: str) -> Any:
    try:
        device = torch.device(name)
        if device.type != "cpu":
            torch.empty(0, device=device)
    # torch's builds without an accelerator answer with AssertionError, NotImplementedError, ...
    except Exception as error:
        raise DeviceError(f"there is no device {name!r}: {one_line(error, 100)}") from error
    return device


def _dtype(device_type: str, dtype: Dtype | None) -> Any:
    if dtype is not None:
        return getattr(torch, dtype)
    return torch.float32 if device_type == "cpu" else "auto"


def _from_pretrained(
    checkpoint: Checkpoint, skeleton: PreTrainedModel, **options: Any
) -> tuple[PreTrainedModel, dict[str, Any]]:
    part = part_of(skeleton)
    if part is None:
        config = read_configuration(checkpoint)
        loader = auto_class(config)
    else:
        config, loader = deepcopy(skeleton.config), type(skeleton)
        options |= {"key_mapping": dict(part.renamings)}
    model, info = loader.from_pretrained(
        checkpoint.folder,
        config=config,
        **options,
        use_safetensors=True,
        trust_remote_code=checkpoint.remote_code,
        local_files_only=True,
        # else the mismatched keys are named in a log only; `refuse_gaps` refuses them
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    return (model, info) if part is None else (as_saved_alone(model, part), of_part(info))


def _refuse_others(
    checkpoint: Checkpoint, model: PreTrainedModel, info: dict[str, Any], *, head: bool
) -> None:
    """Refuse gaps and extras; take away a head that was not saved, where none is needed."""
    heads = Heads.of(model)
    if head and heads.own is None and part_of(model) is not None:
        raise SourceError(
            f"{checkpoint.source}: the language model inside ({class_name(model)}) has no head of its "
            "own, which is needed here: use a statistic of blocks, as kinship"
        )
    gaps = [*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])]
    if not head and heads.without_own(model, gaps):
        info = {**info, "missing_keys": (), "mismatched_keys": ()}
    elif gaps and all(map(heads.is_own, gaps)):
        raise SourceError(
            f"{checkpoint.source}: it was saved without the head of its language model "
            f"({_first_three(sorted(gaps))}), which is needed here: use a statistic of blocks, as kinship"
        )
    refuse_gaps(checkpoint.source, info)
    refuse_extras(checkpoint, model, info["unexpected_keys"])


def refuse_gaps(source: str, info: dict[str, Any]) -> None:
    """Refuse what transformers only logs: it has put random numbers where a tensor did not fit.

    Raises
    ------
    SourceError
        Weights are missing, or of another shape than the model's.
    """
    # a mismatched key comes as (name, shape in the file, shape in the model)
    wrong = [
        f"{name} is {list(there)}, not {list(wanted)}"
        for name, there, wanted in sorted(info["mismatched_keys"])
    ]
    if wrong:
        raise SourceError(
            f"{source}: weights of another shape than the configuration's: {_first_three(wrong)}"
        )
    if info["missing_keys"]:
        raise SourceError(
            f"{source}: weights missing: {_first_three(sorted(info['missing_keys']))}; "
            "download or save it again"
        )
    if info["error_msgs"]:
        raise SourceError(f"{source}: {_first_three([str(text) for text in info['error_msgs']])}")


def refuse_extras(checkpoint: Checkpoint, model: PreTrainedModel, names: Iterable[str]) -> None:
    """Refuse weights that no part of the model reads: they say that it is not what was saved.

    Heads that were put on the model are left out. Where transformers reads a text model alone from the
    checkpoint of a multimodal one, so are the other towers.
    """
    if _is_inner(checkpoint, model):
        return
    heads, part = Heads.of(model), part_of(model)
    extra = [
        name
        for name in sorted(names)
        if not BUFFERS.search(name)
        and not heads.is_other(name if part is None else part.own_name(name))
    ]
    if extra:
        file = checkpoint.tensors[extra[0]].file if extra[0] in checkpoint.tensors else CONFIG
        raise SourceError(
            f"{checkpoint.source}: {file} has weights that the configuration has no place for: "
            f"{_first_three(extra)}; is {CONFIG} the one that was saved with them?"
        )


def other_heads(
    checkpoint: Checkpoint, model: PreTrainedModel, index: ParameterIndex | None = None
) -> tuple[str, ...]:
    """The heads in the files that nothing loads: the first part of their tensors' names, each once.

    One that stands in the place of the language model's, and has another shape, is among them. Of a
    language model that is read alone, they are the other parts of the whole.
    """
    part = part_of(model)
    if part is not None:
        return parts_left_out(part, checkpoint.tensors)
    if _is_inner(checkpoint, model) or checkpoint.config.get("quantization_config"):
        return ()
    if index is None:
        with quiet():
            index = ParameterIndex.of(model, checkpoint.tensors)
    heads = Heads.of(model)
    loaded = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    found = {
        name
        for name in index.unread
        if name not in loaded and not BUFFERS.search(name) and heads.is_other(name)
    }
    for name, conversion in index.conversions.items():
        stored = conversion.sources[0][0]
        shape = checkpoint.tensors[stored].shape
        if heads.is_own(name) and conversion.converter is None and shape != index.shapes[name]:
            found.add(stored)
    return tuple(sorted({name.partition(".")[0] for name in found}))


def _is_inner(checkpoint: Checkpoint, model: PreTrainedModel) -> bool:
    """Whether transformers takes the model, a text model, out of the checkpoint of a multimodal one."""
    if part_of(model) is not None:
        return False
    is_nested = isinstance(checkpoint.config.get("text_config"), dict)
    return is_nested and bool(model.config.model_type != checkpoint.model_type)


def _refuse_hollow(checkpoint: Checkpoint) -> None:
    """Refuse a configuration of more blocks or experts than there are tensors, before they are built."""
    counts = {key: checkpoint.config.get(key) for key in COUNTS}
    for key, count in counts.items():
        if isinstance(count, int) and count > max(10_000, checkpoint.parameters):
            raise SourceError(
                f"{checkpoint.source}: {CONFIG} has {key} {count:,}; no model has so many"
            )
    blocks = checkpoint.blocks or 0
    if blocks > len(checkpoint.tensors):
        raise SourceError(
            f"{checkpoint.source}: {CONFIG} claims {blocks:,} blocks, but there are "
            f"{len(checkpoint.tensors):,} tensors; is it the one that was saved with them?"
        )


COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "num_attention_heads")


def _refuse_oversized(checkpoint: Checkpoint, skeleton: PreTrainedModel) -> None:
    """Refuse a configuration of a far greater model than the files hold, before memory is taken for it."""
    wanted = sum(parameter.numel() for parameter in skeleton.parameters())
    buffers = sum(buffer.numel() for buffer in skeleton.buffers())
    if wanted > EXCESS * checkpoint.parameters + SLACK or buffers > checkpoint.parameters + 2**32:
        raise SourceError(
            f"{checkpoint.source}: {CONFIG} asks for {max(wanted, buffers):,} parameters, but the files "
            f"hold {checkpoint.parameters:,}; is it the one that was saved with them?"
        )


EXCESS, SLACK = 4, 10**7
"""Of smaller excesses each weight that is missing, or of another shape, is named."""


def _first_three(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
