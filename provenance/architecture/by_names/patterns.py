"""Patterns of tensors' names, as a person writes them: what they may be, and which names they match."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provenance.architecture.by_names.numbered import is_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provenance.architecture.by_names.words import First

BLOCK, EXPERT = "{block}", "{expert}"
CUTS: Mapping[tuple[str, str], tuple[First | None, bool]] = {
    ("", ""): (None, False),
    ("[:I]", "[I:]"): ("gate", False),
    ("[I:]", "[:I]"): ("up", False),
    ("[::2]", "[1::2]"): ("gate", True),
    ("[1::2]", "[::2]"): ("up", True),
}
"""Which part of one tensor gate and up may be: which of them comes first, and whether they alternate."""
_CUT = re.compile(r"\[[^\[\]]*\]$")

Number = tuple[int, int | None]
"""A block, and an expert where experts are listed."""


def split_cut(pattern: str) -> tuple[str, str]:
    """A pattern without what it says of the part of a tensor, and that."""
    cut = _CUT.search(pattern)
    return (pattern, "") if cut is None else (pattern[: cut.start()], cut[0])


def home_of(pattern: str) -> str:
    """The path of the list of blocks that a pattern names tensors of."""
    return pattern.partition(BLOCK)[0].removesuffix(".")


def fault_of(pattern: str, *, experts: bool = False) -> str | None:
    """Say what is wrong with a pattern of one tensor a block; None where nothing is.

    ``experts`` says whether it may have an expert's number as well.
    """
    parts = pattern.split(".")
    if parts.count(BLOCK) != 1:
        return f"must have {BLOCK} once, between dots, in place of the block's number"
    if EXPERT in pattern and not experts:
        return f"may not have {EXPERT}: write the experts below experts:"
    if EXPERT in pattern and EXPERT not in parts[parts.index(BLOCK) + 1 :]:
        return f"must have {EXPERT} once, between dots, behind {BLOCK}"
    rest = "".join(part for part in parts if part not in {BLOCK, EXPERT})
    if parts.count(EXPERT) > 1 or "{" in rest or "}" in rest:
        return f"may have no braces but {BLOCK} and {EXPERT}, each once"
    return None


def matches(pattern: str, names: Iterable[str]) -> dict[Number, str]:
    """The names that a pattern matches, by their numbers.

    Raises
    ------
    ArchitectureError
        As `provenance.architecture.by_names.numbered.stacks_of`.
    """
    before = pattern.partition(BLOCK)[0]
    words = re.escape(pattern)
    for placeholder, group in ((BLOCK, "block"), (EXPERT, "expert")):
        words = words.replace(re.escape(placeholder), rf"(?P<{group}>[0-9]+)")
    expression = re.compile(words)
    found: dict[Number, str] = {}
    for name in names:
        match = expression.fullmatch(name) if name.startswith(before) else None
        if match is not None and all(is_number(number, name) for number in match.groups()):
            numbers = {key: int(number) for key, number in match.groupdict().items()}
            found[numbers["block"], numbers.get("expert")] = name
    return found
