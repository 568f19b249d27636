"""Which tensors of a checkpoint are one part: a tower, a projector, an encoder, or what a path names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from provenance._text import closest, visible
from provenance.errors import SourceError
from provenance.vocabulary import COMPONENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROJECTOR = re.compile(
    r"projector|connector|aligner|merger|multi_modal_proj|(visual|vision|audio|image|text)_projection",
    re.IGNORECASE,
)
WORDS = {
    "vision": re.compile(r"vision|visual|(^|_)vit(_|$)|image", re.IGNORECASE),
    "audio": re.compile(r"audio|speech", re.IGNORECASE),
    "projector": PROJECTOR,
    "encoder": re.compile(r"(^|_)encoder$", re.IGNORECASE),
    "decoder": re.compile(r"(^|_)decoder$", re.IGNORECASE),
}
"""What parts of names mean a component."""

ANOTHER = {
    "vision": (PROJECTOR, re.compile(r"token|embed|newline", re.IGNORECASE)),
    "audio": (PROJECTOR, re.compile(r"token|embed", re.IGNORECASE)),
    "encoder": (WORDS["vision"], WORDS["audio"]),
    "decoder": (WORDS["vision"], WORDS["audio"]),
}
"""What a part of a name means beside that, so that it is another component."""

CONFIGURATIONS = {
    "vision": ("vision_config", "vision_encoder_config", "image_config"),
    "audio": ("audio_config", "audio_encoder_config", "speech_config", "encoder_config"),
    "encoder": ("encoder",),
    "decoder": ("decoder", "decoder_config", "text_config"),
}
"""Where a configuration of several models has that of a component."""

HEARS = frozenset({"num_mel_bins", "input_feat_per_channel"})
"""What the configuration of a model says that is fed sound and writes text, such as Whisper's."""

SHOWN = 8
"""Beginnings of names that a message lists."""


def prefix_of(component: str, names: Iterable[str], config: Mapping[str, Any], source: str) -> str:
    """What the names of a component's tensors begin with; empty where the whole is that and nothing else.

    Parameters
    ----------
    component : str
        One of `provenance.vocabulary.COMPONENTS`, or the path of a module: ``model.vision_tower``.
    names : iterable of str
        Of all tensors.
    config : mapping
        The configuration, which tells a model of text from a tower.
    source : str
        The checkpoint, for errors.

    Raises
    ------
    SourceError
        If it is not there, or could be several; one line.
    """
    stored = sorted(names)
    if component not in WORDS:
        return _path(component, stored, source)
    found = {prefix for name in stored if (prefix := _prefix(component, name)) is not None}
    stacked = {
        prefix for prefix in found if any(_numbered(name, prefix) for name in stored)
    } or found
    if len(stacked) > 1:
        listed = ", ".join(repr(visible(prefix[:-1])) for prefix in sorted(stacked)[:SHOWN])
        raise SourceError(f"{source}: its {component} could be {listed}: give one of these instead")
    if stacked:
        return stacked.pop()
    if component != "projector" and _is_nothing_else(component, stored, config):
        return ""
    if component == "audio" and HEARS & config.keys():  # what hears is the half that is fed sound
        return prefix_of("encoder", stored, config, source)
    raise _absent(component, stored, source)


def configuration_of(component: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a component, as far as the whole's says it."""
    for key in CONFIGURATIONS.get(component, ()):
        if isinstance(config.get(key), dict):
            return dict(config[key])
    return {key: value for key, value in config.items() if not _is_model(value)}


def _is_model(value: Any) -> bool:
    return isinstance(value, dict) and "model_type" in value


def _prefix(component: str, name: str) -> str | None:
    """The name up to the outermost part that means the component; None where no part does."""
    parts = name.split(".")[:-1]
    for end, part in enumerate(parts, 1):
        is_other = any(words.search(part) for words in ANOTHER.get(component, ()))
        if WORDS[component].search(part) and not is_other:
            return ".".join(parts[:end]) + "."
    return None


def _numbered(name: str, prefix: str) -> bool:
    """Whether it is of a list of blocks in the component."""
    return name.startswith(prefix) and re.search(r"(^|\.)\d+\.", name[len(prefix) :]) is not None


def _is_nothing_else(component: str, names: list[str], config: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is nothing but such a component: no name in it means another one."""
    others = [WORDS[key] for key in ("vision", "audio", "projector") if key != component]
    parts = {part for name in names for part in name.split(".")[:-1]}
    nested = any(_is_model(value) for value in config.values())
    is_text = config.get("vocab_size") is not None
    known = any(words.search(part) for words in others for part in parts)
    if component in {"vision", "audio"}:
        return not (nested or is_text or known)
    classes = config.get("architectures") or []
    causal = any("CausalLM" in str(name) for name in classes)
    return component == "encoder" and not (nested or known or causal)


def _path(path: str, names: list[str], source: str) -> str:
    prefix = path.rstrip(".") + "."
    if any(name.startswith(prefix) for name in names):
        return prefix
    raise _absent(path, names, source)


def _absent(component: str, names: list[str], source: str) -> SourceError:
    heads = sorted({".".join(name.split(".")[:2]) for name in names if "." in name})
    near = closest(component, COMPONENTS)
    hint = f" (did you mean {near!r}?)" if near and near != component else ""
    listed = ", ".join(visible(head) for head in heads[:SHOWN])
    more = ", ..." if len(heads) > SHOWN else ""
    named = visible(component[:100])
    return SourceError(
        f"{source} has no component {named!r}{hint}: its tensors begin with {listed}{more}"
    )
