"""Sorts stored tensors into the numbered blocks of lists, by their names alone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provenance._text import visible
from provenance.errors import ArchitectureError
from provenance.vocabulary import BLOCK_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Shape = tuple[int, ...]
Path = tuple[str, ...]
"""The parts of a name between its dots."""

LONGEST = 100
"""Characters of a stranger's name that a message shows."""


WRITE = "write in a suite, at this model,"
"""What a person is to do where names and shapes leave a choice."""
EXAMPLE = (
    'layout: {gate: "layers.{block}.mlp.a.weight", up: "layers.{block}.mlp.b.weight", '
    'down: "layers.{block}.mlp.c.weight"}'
)


@dataclass
class Stack:
    """A list of blocks: the shapes of each block's tensors, by their names inside of it."""

    path: str
    blocks: dict[int, dict[Path, Shape]] = field(default_factory=lambda: defaultdict(dict))

    def name(self, block: int, inside: Path) -> str:
        """The name of a tensor of a block."""
        return ".".join((*self.parts, str(block), *inside))

    @property
    def parts(self) -> Path:
        """The parts of its path: none where numbers come first in the names."""
        return tuple(self.path.split(".")) if self.path else ()

    @property
    def count(self) -> int:
        """The number of blocks; every number below it has one, as `require_all` sees to."""
        return len(self.blocks)


def stacks_of(tensors: Mapping[str, Shape]) -> tuple[dict[str, Stack], dict[str, Shape]]:
    """Sort tensors into lists, by the first number in their names.

    Returns
    -------
    dict
        The lists by the names before their numbers.
    dict
        The tensors without a number.

    Raises
    ------
    ArchitectureError
        A number has zeros in front, so that two names could mean one block, or is greater than any list.
    """
    stacks: dict[str, Stack] = {}
    outside: dict[str, Shape] = {}
    for name, shape in tensors.items():
        parts = name.split(".")
        first = next((place for place, part in enumerate(parts) if is_number(part, name)), None)
        if first is None or first + 1 == len(parts):
            outside[name] = shape
            continue
        path = ".".join(parts[:first])
        stack = stacks.setdefault(path, Stack(path))
        stack.blocks[int(parts[first])][tuple(parts[first + 1 :])] = shape
    return stacks, outside


def is_number(part: str, name: str) -> bool:
    """Whether a part of a name numbers a block or an expert; raises as `stacks_of`."""
    if not (part.isascii() and part.isdigit()):
        return False
    if len(part) > len(str(BLOCK_LIMIT)) or int(part) >= BLOCK_LIMIT:
        raise ArchitectureError(
            f"tensor {shown(name)} has the number {part[:20]}{'...' * (len(part) > 20)} in its name; "
            f"lists of {BLOCK_LIMIT:,} and more are not read"
        )
    if part != str(int(part)):
        raise ArchitectureError(
            f"tensor {shown(name)} has the number {part} in its name, which could be another's: number "
            "blocks without zeros in front"
        )
    return True


def require_all(numbers: Iterable[int], what: str) -> None:
    """Refuse numbers that do not go from 0 up without a gap.

    Raises
    ------
    ArchitectureError
        They do not; the message names the first that is missing, and begins with ``what``.
    """
    present = set(numbers)
    missing = next((number for number in range(len(present)) if number not in present), None)
    if missing is not None:
        raise ArchitectureError(
            f"{what} are numbered up to {max(present)}, but {missing} has no tensor: give the whole model, "
            "numbered from 0"
        )


def shown(name: str) -> str:
    """A stranger's name, for a message."""
    text = visible(name)
    return repr(text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}...")
