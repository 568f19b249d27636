"""A PEFT adapter merged into its base."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors.torch import load_file, save_file

from provenance.checkpoints.folder import ADAPTER_CONFIG
from provenance.checkpoints.formats import ADAPTER
from provenance.conversions import copy_tokenizer, need, translated
from provenance.conversions.adapter_names import grow_vocabulary, named_for, settings_for
from provenance.conversions.pickled import unpickle
from provenance.conversions.untrained import unchanged_by_rounding
from provenance.errors import SourceError
from provenance.loading.model import load_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.checkpoints.formats import Contents
    from provenance.vocabulary import Dtype

DTYPES: dict[str, Dtype] = {"BF16": "bfloat16", "F16": "float16"}


def merge_adapter(
    contents: Contents, base: Checkpoint, folder: Path, source: str, dtype: Dtype | None
) -> None:
    """Save a base with an adapter merged into its weights.

    Parameters
    ----------
    contents : Contents
        An adapter.
    base : Checkpoint
        The model that the adapter was trained on.
    folder : Path
        The empty folder to write.
    source : str
        The name of the adapter in messages.
    dtype : str, optional
        The type of the result; None: the one that most of the base's weights have.

    Raises
    ------
    SourceError
        peft is absent, the adapter does not fit the base, has tensors that peft does not know or lacks
        some, or is of a kind that has no merged contents.
    """
    need("peft", "peft", f"{source} is an adapter, and merging it")
    model = load_model(base, "cpu", dtype or _most_common_dtype(base), head=False)
    with (
        tempfile.TemporaryDirectory() as alone,
        translated(source, f"merging it into {base.source}"),
    ):
        _isolate(contents, Path(alone), model)
        tied = bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False))
        merged = _merged(model, Path(alone), source)
        _settle_head(merged, tied=tied)
        merged.save_pretrained(folder)
    if not copy_tokenizer(contents.folder, folder):
        copy_tokenizer(base.folder, folder)


def _most_common_dtype(base: Checkpoint) -> Dtype:
    counts: Counter[str] = Counter()
    for tensor in base.tensors.values():
        counts[tensor.dtype] += tensor.elements
    return DTYPES.get(counts.most_common(1)[0][0], "float32") if counts else "float32"


def _isolate(contents: Contents, alone: Path, model: PreTrainedModel) -> None:
    """Put the adapter where peft finds nothing else to load, and no pickle, under the model's own names."""
    (file,) = contents.files
    if file.name != ADAPTER:
        unpickle(file, alone / "unpickled")
        file = alone / "unpickled"
    tensors = named_for(model, load_file(file))
    grow_vocabulary(model, tensors)
    save_file(tensors, alone / ADAPTER)
    config = settings_for(model, contents.config)
    (alone / ADAPTER_CONFIG).write_text(json.dumps(config))


def _merged(model: PreTrainedModel, alone: Path, source: str) -> PreTrainedModel:
    import peft

    tuned: Any = peft.PeftModel.from_pretrained(model, str(alone))
    if not hasattr(tuned, "merge_and_unload"):
        raise SourceError(f"{source}: an adapter of this kind has no merged form")
    # peft only warns of tensors that it has no place for, and of places without a tensor
    loaded = tuned.load_adapter(str(alone), "default")
    for what, names in (
        ("lacks", loaded.missing_keys),
        ("has a place for none of", loaded.unexpected_keys),
    ):
        if names:
            subject = "it" if what == "lacks" else "the base"
            raise SourceError(
                f"{source}: {subject} {what} the adapter's tensors {min(names)}"
                f"{f' and {len(names) - 1} more' if len(names) > 1 else ''}; "
                "is this the base that it was trained on?"
            )
    _part(tuned)
    stored = {tensor.dtype for tensor in load_file(alone / ADAPTER).values()}
    with unchanged_by_rounding(tuned, {dtype for dtype in stored if dtype.is_floating_point}):
        return cast("PreTrainedModel", tuned.merge_and_unload(safe_merge=True))


def _part(model: torch.nn.Module) -> None:
    """Give every module weights of its own, so that a merge changes no tied or replicated one."""
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                own = torch.nn.Parameter(parameter.detach().clone(), requires_grad=False)
                module.register_parameter(name, own)
            else:
                seen.add(id(parameter))


def _settle_head(model: PreTrainedModel, *, tied: bool) -> None:
    """Untie a head that the adapter has changed from its embedding; tie one again that it has not."""
    head: Any = model.get_output_embeddings()
    embedding: Any = model.get_input_embeddings()
    if isinstance(getattr(head, "weight", None), torch.nn.Parameter):
        tied = tied and torch.equal(head.weight, embedding.weight)
        if tied:
            head.weight = embedding.weight
        model.config.get_text_config().tie_word_embeddings = tied
        model.config.tie_word_embeddings = tied
