"""What a person meant who mistyped a model: a path that is nearly right, a hub id in another form."""

from __future__ import annotations

import os
import re
from pathlib import Path

from provenance._text import closest

_VIEWS = r"(?:tree|blob|resolve|commits?|discussions|edit|raw)"
_HUB = re.compile(
    r"(?:path:|repo:|hf:(?!//))?(?:hf://|(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/)"
    rf"(?:models/)?(?P<name>[\w.-]+(?:/(?!{_VIEWS}\b)[\w.-]+)?)"
    r"(?:@(?P<at>[^/?#\s]+)|/(?:tree|blob|resolve|raw)/(?P<page>[^/?#\s]+))?(?:[/?#]\S*)?",
    re.ASCII,
)
_OTHER_PAGES = frozenset({"api", "buckets", "collections", "datasets", "docs", "papers", "spaces"})
_PATH = re.compile(r"(?:\.{1,2}|~[^/\\]*)?(?:[/\\].*)?|[A-Za-z]:[/\\].*", re.DOTALL)
_WORDS = re.compile(r"[^A-Za-z0-9]+")


def is_plainly_path(text: str) -> bool:
    """Whether a text can be nothing but a path: it begins as one, which no name of the hub does."""
    return bool(text) and _PATH.fullmatch(text) is not None


def hub_name(text: str) -> str | None:
    """Find the hub id in the address of a model's page, or in an ``hf://`` URL.

    Examples
    --------
    >>> hub_name("https://huggingface.co/org/name/tree/v1")
    'org/name@v1'
    """
    found = _HUB.fullmatch(text.strip())
    if found is None or found["name"].partition("/")[0] in _OTHER_PAGES:
        return None
    revision, name = found["at"] or found["page"], found["name"].removesuffix(".git")
    return f"{name}@{revision}" if revision and revision != "main" else name


def meant_path(path: str) -> str | None:
    """Find what is there and named nearly like a path that is not; None where nothing is near.

    Each part that is not there is replaced by what is most like it beside it.
    """
    place, exchanged = Path(path).anchor, False
    for part in Path(path).parts[bool(place) :]:
        there = os.path.join(place, part)  # noqa: PTH118  keeps a leading "./"
        if not os.path.lexists(there):
            near = _nearest(part, place or ".")
            if near is None:
                return None
            exchanged = True
            there = os.path.join(place, near)  # noqa: PTH118
        place = there
    return (f"./{place}" if path.startswith("./") else place) if exchanged else None


def meant_model(name: str) -> str | None:
    """Find the folder or file that a text means which has the form of a hub id; None where it may be one.

    A name that only adds words to another, as ``gpt2-chat`` to ``gpt2``, is no typo.
    """
    near = meant_path(name)
    if near is None:
        return None
    ours, theirs = (set(_WORDS.split(text.lower())) for text in (name, near))
    return None if ours < theirs or theirs < ours else near


def advice(place: Path) -> str:
    """What to do where a folder that a file names is not there; empty where nothing can be guessed."""
    near = meant_path(str(place))
    if near is not None:
        return f"; did you mean {near}?"
    org = place.parent
    if org.name and not org.exists() and org.parent.is_dir():
        return f"; a repository of the hub is repo: {org.name}/{place.name}"
    return ""


def _nearest(name: str, folder: str) -> str | None:
    try:
        return closest(name, sorted(os.listdir(folder)))  # noqa: PTH208
    except (OSError, ValueError):  # no folder, or no name that a file can have
        return None
