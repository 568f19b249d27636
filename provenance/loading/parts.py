"""A language model inside of another model's files: which tensors are its, and how they are called."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from provenance._quiet import quiet
from provenance.architecture.part import ELSEWHERE, Part, mark, part_of
from provenance.loading.renamings import ParameterIndex

if TYPE_CHECKING:
    from collections.abc import Collection

    from transformers import PreTrainedModel


def locate(model: PreTrainedModel, whole: PreTrainedModel, stored: Collection[str]) -> None:
    """Note on a part of a whole what its tensors are called in the files; nothing on a whole."""
    part = part_of(model)
    if part is None:
        return
    with quiet():
        index = ParameterIndex.of(whole, stored)
    prefixes = _prefixes(part.path, index)
    choice = "|".join(re.escape(prefix) for prefix in prefixes)
    # in this order: what is not of the part must not be taken for it once the prefix is gone
    renamings = {f"^(?!{choice})": ELSEWHERE, f"^(?:{choice})": ""}
    mark(model, replace(part, prefixes=prefixes, renamings=renamings))


def _prefixes(path: str, index: ParameterIndex) -> tuple[str, ...]:
    """What the whole's renamings lead to the part, the longest first; else the path of its module."""
    found = {f"{path}."}
    for name, conversion in index.conversions.items():
        own = name.removeprefix(f"{path}.")
        if own != name:
            found |= {one.removesuffix(own) for one, _ in conversion.sources if one.endswith(own)}
    return tuple(sorted(found - {""}, key=lambda prefix: (-len(prefix), prefix)))


def as_saved_alone(model: PreTrainedModel, part: Part) -> PreTrainedModel:
    """A loaded part, which would put the whole's prefix before its names when it is saved."""
    mark(model, part)
    changes: Any = getattr(model, "_weight_conversions", None)
    if changes:
        own = [one for one in changes if not set(one.source_patterns) & part.renamings.keys()]
        setattr(model, "_weight_conversions", own)  # noqa: B010
    return model


def of_part(info: dict[str, Any]) -> dict[str, Any]:
    """What transformers tells of loading a part, without the tensors of the others."""
    names = [name for name in info["unexpected_keys"] if not name.startswith(ELSEWHERE)]
    return {**info, "unexpected_keys": names}


def parts_left_out(part: Part, stored: Collection[str]) -> tuple[str, ...]:
    """The other parts that the files hold: the first parts of their names, as deep as they differ."""
    others = [name for name in stored if not part.holds(name)]
    shared = {prefix.split(".")[0] for prefix in part.prefixes}
    cut = (name.split(".")[: 2 if name.split(".")[0] in shared else 1] for name in others)
    return tuple(sorted({".".join(parts) for parts in cut}))
