"""What a wrapper put in front of every tensor's name, told from the names alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

PEFT = "base_model.model."
"""What peft puts before the name of every module."""

MARKS = frozenset(
    {
        "_checkpoint_wrapped_module",
        "_forward_module",
        "_fsdp_wrapped_module",
        "_orig_mod",
        "module",
    }
)
"""What compilers, parallel training and activation checkpointing put around modules, wherever in a name."""

OUTER = frozenset(
    {
        "actor",
        "backbone",
        "base_model",
        "causal_lm",
        "llm",
        "model",
        "net",
        "policy",
        "pretrained_model",
    }
)
"""What trainers call the model inside of theirs."""

BASES = frozenset({"backbone", "gpt_neox", "model", "transformer"})
"""What families call their model without a head."""


OWN = frozenset({"embed_out", "lm_head"})
"""What families call the head of their language model, which has no tensors of its own where it is tied."""


def plain_names(names: Iterable[str], config: Mapping[str, Any]) -> dict[str, str]:
    """The model's own name of every tensor, by the name that it is stored under.

    Marks of wrappers go wherever they stand, and so does what stands in front of a model with its head. Two
    tensors are never brought under one name: then all names are left as they are. A model of several
    models, or one with code of its own, may be meant to have such names: it loses the marks of compilers.
    """
    stored = list(names)
    nested = any(isinstance(part, dict) and "model_type" in part for part in config.values())
    is_usual = not nested and "auto_map" not in config
    marks = MARKS if is_usual else MARKS - {"module"}
    bare = {name: without_marks(name, marks) for name in stored}
    plain = _without_outer(bare) if is_usual else bare
    is_sound = len(set(plain.values())) == len(stored) and all(plain.values())
    return plain if is_sound else {name: name for name in stored}


def without_marks(name: str, marks: Collection[str] = MARKS) -> str:
    """The name without the parts that wrappers put there."""
    return ".".join(part for part in name.split(".") if part not in marks)


def _without_outer(names: dict[str, str]) -> dict[str, str]:
    """Take away what stands in front of all of a language model, its heads apart."""
    while True:
        outer = _outer(names.values())
        if outer is None:
            return names
        names = {stored: name.removeprefix(f"{outer}.") for stored, name in names.items()}


def _outer(names: Iterable[str]) -> str | None:
    """The first part of the names, where a model with a base model of its own is inside of it."""
    parts = [name.split(".") for name in names]
    for outer in sorted(OUTER & {first for first, *_ in parts}):
        inside = [rest for first, *rest in parts if first == outer]
        inner = {rest[0] for rest in inside if len(rest) > 1}
        holds = any(len(rest) > 2 and rest[0] in BASES | OUTER for rest in inside)
        others = {first for first, *_ in parts} - {outer}
        if holds and not others & (BASES | OUTER) and not inner & others:
            return outer
    return None


def left_out(adapter: Iterable[str], model: Iterable[str]) -> tuple[str, ...]:
    """The heads that an adapter has tensors of and the model that it was merged into has not, sorted."""
    parts = [name.split(".") for name in model]
    known = {part for name in parts for part in name[:2]} | OUTER | OWN
    names = (without_marks(name).removeprefix(PEFT).split(".") for name in adapter)
    return tuple(sorted({first for first, *rest in names if rest and first not in known}))


def taken_away(names: Mapping[str, str]) -> tuple[str, ...]:
    """The parts of names that wrappers put there, sorted; of what `plain_names` returned."""
    found: set[str] = set()
    for stored, plain in names.items():
        left = plain.split(".")
        for part in reversed(stored.split(".")):
            if left and part == left[-1]:
                left.pop()
            else:
                found.add(part)
    return tuple(sorted(found))
