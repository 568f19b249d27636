"""An adapter's tensors and settings under the names and for the vocabulary of the model it is merged into.

Adapters are trained on models without a head, with another one, wrapped, compiled, or with tokens added.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from provenance.architecture.part import part_of
from provenance.checkpoints.prefixes import PEFT, without_marks
from provenance.loading.heads import Heads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedModel

OTHER_TASKS = frozenset({"FEATURE_EXTRACTION", "QUESTION_ANS", "SEQ_CLS", "TOKEN_CLS"})
"""Tasks for which peft looks for a head that a language model does not have."""

NAMED = re.compile(
    r"(lora_\w+|lora_magnitude_vector|modules_to_save|original_module)\.default(?=\.|$)"
)
"""An adapter's own name in those of its tensors, which peft leaves out when it saves one."""


def named_for(
    model: PreTrainedModel, tensors: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The tensors under the names that peft looks for, without those of heads that the model has not."""
    heads, there, part = Heads.of(model), dict(model.named_children()), part_of(model)
    named = {}
    for name, tensor in tensors.items():
        bare = without_marks(NAMED.sub(r"\1", name)).removeprefix(PEFT)
        inner = _inside(model, bare if part is None else bare.removeprefix(f"{part.path}."))
        if inner.partition(".")[0] in there:
            named[PEFT + inner] = tensor
        elif "." not in inner or not heads.is_other(inner):
            named[name] = tensor
    return _saved_once(named)


def _saved_once(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without what peft saves again of a module that was trained in full: as it was, and as wrapped."""
    saved = {}
    for name, tensor in tensors.items():
        plain = name.replace(".modules_to_save.", ".")
        if ".original_module." not in name and (plain == name or plain not in tensors):
            saved[plain] = tensor
    return saved


def settings_for(model: PreTrainedModel, config: Mapping[str, Any]) -> dict[str, Any]:
    """The adapter's settings, for a language model, without names of wrappers and of other heads."""
    settings, part = dict(config), part_of(model)
    if settings.get("task_type") in OTHER_TASKS:
        settings["task_type"] = "CAUSAL_LM"
    for key in ("target_modules", "modules_to_save"):
        if isinstance(settings.get(key), list):
            settings[key] = [without_marks(str(name)) for name in settings[key]]
            if part is not None:
                settings[key] = [name.removeprefix(f"{part.path}.") for name in settings[key]]
        elif isinstance(settings.get(key), str) and part is not None:
            settings[key] = _matched(model, part.path, settings[key])
    saved = settings.get("modules_to_save")
    if isinstance(saved, list):
        there = {part for name, _ in model.named_modules() for part in name.split(".")}
        kept = [name for name in saved if name.rpartition(".")[2] in there]
        settings["modules_to_save"] = kept or None
    return settings


def _matched(model: PreTrainedModel, path: str, pattern: str) -> list[str] | str:
    """The modules of a part that a pattern for the whole's names means; a keyword of peft's as it is."""
    names = [name for name, _ in model.named_modules() if re.fullmatch(pattern, f"{path}.{name}")]
    return names or pattern


def grow_vocabulary(model: PreTrainedModel, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give the model the rows of tokens that were added before the adapter was trained, as zeros."""
    embedding: Any = model.get_input_embeddings()
    rows = embedding.weight.shape[0]
    wanted = max((_rows(model, name, tensor) for name, tensor in tensors.items()), default=0)
    if wanted <= rows:
        return
    model.resize_token_embeddings(wanted, mean_resizing=False)
    with torch.no_grad():
        for table in (model.get_input_embeddings(), model.get_output_embeddings()):
            weight = getattr(table, "weight", None)
            if isinstance(weight, torch.nn.Parameter):
                weight[rows:] = 0


def _rows(model: PreTrainedModel, name: str, tensor: torch.Tensor) -> int:
    """How many tokens a tensor of the embedding or the head is for; 0 of all others."""
    path = name.removeprefix(PEFT)
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    owners = [one for one, module in model.named_modules() if any(module is t for t in tables)]
    owner = next((one for one in owners if path.startswith(f"{one}.")), None)
    if owner is None or tensor.dim() != 2:
        return 0
    if "lora_embedding_A" in path:
        return tensor.shape[1]
    is_narrow = "lora_A" in path or "lora_embedding_B" in path
    return 0 if is_narrow else tensor.shape[0]


def _inside(model: PreTrainedModel, name: str) -> str:
    """The name of a parameter of the base model as the model with its head has it."""
    prefix = model.base_model_prefix
    base = getattr(model, prefix, None) if prefix else None
    first = name.partition(".")[0]
    if base is None or base is model or first in dict(model.named_children()):
        return name
    return f"{prefix}.{name}" if first in dict(base.named_children()) else name
