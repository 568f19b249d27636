"""Text that anyone may have written, made visible: nothing in it can hide, reorder or break a line."""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


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
