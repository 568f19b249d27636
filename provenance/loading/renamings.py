"""From stored names to a model's parameters: transformers' renamings and conversions.

Only names are read. The result says which stored tensors make a parameter, and what is done to them.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from provenance._quiet import quiet
from provenance.architecture.part import part_of
from provenance.errors import SourceError

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
    """Stored tensors, each with the pattern that it matched, and the first parameter made of them.

    ``twins`` are pairs of stored names that come to one and the same part of it: transformers takes one of
    the two, and says nothing.
    """

    target: str
    converter: Any
    sources: list[tuple[str, str]] = field(default_factory=list)
    twins: list[tuple[str, str]] = field(default_factory=list)
    _parts: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, pattern: str | None, part: str) -> None:
        """Take a stored tensor; ``part`` is its name before a converter puts several together."""
        first = next(iter(self._parts.values()), name)
        other = self._parts.setdefault(part, name)
        is_whole = pattern is None and self.sources  # a whole parameter beside the parts of it
        if other != name or is_whole or (self.sources and self.converter is None):
            self.twins.append((other if other != name else first, name))
        self.sources.append((name, pattern or name))

    def targets(self) -> Iterable[str]:
        """Names that the checkpoint's tensors become in the model."""
        yield self.target
        for pattern in self.converter.target_patterns[1:] if self.converter else ():
            yield self.target.replace(self.converter.target_patterns[0], pattern, 1)


@dataclass(frozen=True)
class ParameterIndex:
    """Of each parameter its shape, what it is made of, and what it is tied to.

    ``unread`` are the stored names that lead to no parameter, and that the family does not expect to; of a
    part of a model, those of the part alone.
    """

    shapes: dict[str, tuple[int, ...]]
    conversions: dict[str, Conversion]
    tied: dict[str, str]
    unread: tuple[str, ...] = ()

    @classmethod
    def of(cls, skeleton: Any, stored: Iterable[str]) -> ParameterIndex:
        """Index stored names as ``convert_and_load_state_dict_in_model`` of transformers does."""
        state = skeleton.state_dict()
        names = tuple(stored)
        first = _conversions(skeleton, state, names)
        every = {
            target: conversion for conversion in first.values() for target in conversion.targets()
        }
        return cls(
            shapes={name: tuple(tensor.shape) for name, tensor in state.items()},
            conversions={
                name: conversion for name, conversion in (every | first).items() if name in state
            },
            tied=dict(getattr(skeleton, "all_tied_weights_keys", None) or {}),
            unread=_unread(skeleton, names, first.values()),
        )

    def refuse_twins(self, source: str) -> None:
        """Refuse two stored tensors for one parameter: a test could read the one that does not run.

        Raises
        ------
        SourceError
            There are; the message names the model ``source``, both tensors and the parameter.
        """
        for name, conversion in sorted(self.conversions.items()):
            for first, second in conversion.twins:
                raise SourceError(
                    f"{source}: two tensors are stored for parameter '{name}': '{first}' and "
                    f"'{second}'; only one of them runs; remove the other, or save the model again"
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

    part = part_of(model)
    mapping = get_model_conversion_mapping(model, dict(part.renamings) if part else None)
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
            part, _ = rename_source_key(name, renamings, [], None, None)
            conversion.add(name, pattern, part.removeprefix(f"{prefix}.") if pattern else target)
    return conversions


def _unread(model: Any, names: Iterable[str], conversions: Iterable[Conversion]) -> tuple[str, ...]:
    read = {name for conversion in conversions for name, _ in conversion.sources}
    ignored = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    part = part_of(model)
    return tuple(
        name
        for name in sorted(set(names) - read)
        if (part is None or part.holds(name))
        and not any(re.search(pattern, name) for pattern in ignored)
    )
