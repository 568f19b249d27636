"""Text: made fit to be shown, a URL or a path, near to what was meant."""

from __future__ import annotations

import os
import unicodedata
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_FILE_NAME = 140
"""Bytes: the least that a file system in use takes (eCryptfs; others take 255)."""
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def is_url(place: str) -> bool:
    """Whether a place is named by a URL and not by a path."""
    return "://" in place


def visible(text: str, keep: str = "") -> str:
    r"""Write characters that are not seen as their code points: ``a⟨U+202E⟩b``.

    Parameters
    ----------
    text : str
        Any string: the name of a model, a reason, a path.
    keep : str
        Characters to leave as they are, such as a line feed.

    Examples
    --------
    >>> visible("a\x1b[31m")
    'a⟨U+001B⟩[31m'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"⟨U+{ord(character):04X}⟩"
        if unicodedata.category(character) in _HIDDEN and character not in keep
        else character
        for character in text
    )


def expanded(path: str) -> str:
    """Put a home folder in place of a leading ``~``; a path without one stays. Never raises."""
    try:
        return os.path.expanduser(path)  # noqa: PTH111  Path's raises where there is no such user
    except ValueError:  # no user's name has such characters
        return path


def home_folder() -> str | None:
    """The user's home folder; None where there is none, as of a container's user without a name."""
    home = Path(expanded("~"))
    return str(home) if home.is_absolute() and home != Path(home.anchor) else None


def without_home(text: str) -> str:
    """The text with every path below the user's home folder shortened to ``~``."""
    home = home_folder()
    return text if home is None else text.replace(home + os.sep, "~" + os.sep)


def file_name(name: str, suffix: str = "") -> str:
    """The name of a file for a name of any length: a long one is cut, and has a digest of the whole.

    Examples
    --------
    >>> file_name("chat-vs-base", ".json")
    'chat-vs-base.json'
    >>> len(file_name("c" * 300, ".json"))
    140
    """
    whole = f"{name}{suffix}"
    if len(os.fsencode(whole)) <= LONGEST_FILE_NAME:
        return whole
    end = f"-{sha256(os.fsencode(name)).hexdigest()[:16]}{suffix}"
    kept = os.fsencode(name)[: LONGEST_FILE_NAME - len(end)].decode(errors="ignore")
    return f"{kept}{end}"


def closest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that is most like a mistyped one; None where none is near.

    Long names, and known ones after the first 300, are not looked at: each takes time.
    """
    from difflib import get_close_matches

    near = get_close_matches(name, islice(known, 300), n=1) if len(name) <= 60 else []
    return near[0] if near else None


def per_cent(share: float) -> str:
    """A share in two digits, as people write it: 100%, and not 1e+02%."""
    return f"{float(f'{100 * share:.2g}'):g}%"
