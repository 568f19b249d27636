"""From stored names to a model's parameters: transformers' renamings and conversions.

Only names are read. The result says which stored tensors make a parameter, and what is done to them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from provenance._quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provenance.checkpoints.checkpoint import Checkpoint


@dataclass(frozen=True)
class NameRules:
    """What transformers may do to names of a family, as far as that is known without its model."""

    prefix: str
    transforms: Sequence[Any]

    def may_change(self, stored: str) -> bool:
        """Whether a renaming or a conversion could match; more often yes than it does."""
        parts = stored.split(".")
        # those of a part of the model match what follows that part's path
        rests = [".".join(parts[start:]) for start in range(len(parts))]
        return any(
            transform.compiled_sources.search(rest)
            for transform in self.transforms
            for rest in rests
        )


def name_rules(checkpoint: Checkpoint) -> NameRules | None:
    """The rules of a family, None where only a skeleton tells them."""
    config = checkpoint.config
    is_nested = any(isinstance(part, dict) and "model_type" in part for part in config.values())
    if is_nested or checkpoint.remote_code or config.get("quantization_config"):
        return None
    with quiet():
        kind = _causal_class(checkpoint.model_type)
        if kind is None or getattr(kind.config_class, "sub_configs", None):
            return None
        return NameRules(kind.base_model_prefix, _transforms(kind, checkpoint.model_type))


def _causal_class(model_type: str) -> Any:
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    name = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(model_type)
    return getattr(transformers, name, None) if isinstance(name, str) else None


def _transforms(kind: Any, model_type: str) -> list[Any]:
    """All transforms for a family, and for any class that its models could be made of."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    names = {
        model_type,
        kind.config_class.model_type,
        "legacy",
        *vars(sys.modules[kind.__module__]),
    }
    return [
        transform
        for name in sorted(names)
        for transform in get_checkpoint_conversion_mapping(name) or ()
    ]


@dataclass(eq=False)
class Conversion:
    """Stored tensors, each with the pattern that it matched, and the first parameter made of them."""

    target: str
    converter: Any
    sources: list[tuple[str, str]] = field(default_factory=list)

    def targets(self) -> Iterable[str]:
        """Names that the checkpoint's tensors become in the model."""
        yield self.target
        for pattern in self.converter.target_patterns[1:] if self.converter else ():
            yield self.target.replace(self.converter.target_patterns[0], pattern, 1)


@dataclass(frozen=True)
class ParameterIndex:
    """Of each parameter its shape, what it is made of, and what it is tied to."""

    shapes: dict[str, tuple[int, ...]]
    conversions: dict[str, Conversion]
    tied: dict[str, str]

    @classmethod
    def of(cls, skeleton: Any, stored: Iterable[str]) -> ParameterIndex:
        """Index stored names as ``convert_and_load_state_dict_in_model`` of transformers does."""
        state = skeleton.state_dict()
        first = _conversions(skeleton, state, stored)
        every = {
            target: conversion for conversion in first.values() for target in conversion.targets()
        }
        return cls(
            shapes={name: tuple(tensor.shape) for name, tensor in state.items()},
            conversions={
                name: conversion for name, conversion in (every | first).items() if name in state
            },
            tied=dict(getattr(skeleton, "all_tied_weights_keys", None) or {}),
        )

    def name_of(self, parameter: str) -> str | None:
        """The parameter itself, or one tied to it, whichever the files have."""
        root = self.tied.get(parameter, parameter)
        others = (target for target, source in self.tied.items() if source == root)
        return next((name for name in (parameter, root, *others) if name in self.conversions), None)


def _conversions(model: Any, state: dict[str, Any], stored: Iterable[str]) -> dict[str, Conversion]:
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import (
        WeightConverter,
        WeightRenaming,
        dot_natural_key,
        rename_source_key,
    )

    mapping = get_model_conversion_mapping(model)
    renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
    by_pattern = {pattern: entry for entry in converters for pattern in entry.source_patterns}
    prefix = model.base_model_prefix
    conversions: dict[str, Conversion] = {}
    # experts are stacked in this order, and some renamings depend on what came before
    for name in sorted(stored, key=dot_natural_key):
        target, pattern = rename_source_key(name, renamings, converters, prefix, state)
        if target not in state and name in state:
            target, pattern = rename_source_key(name, [], [], prefix, state)
        if target in state:
            conversion = conversions.setdefault(target, Conversion(target, by_pattern.get(pattern)))
            conversion.sources.append((name, pattern or name))
    return conversions
