"""Chooses the list of blocks that is the language model's, where a checkpoint has several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.architecture.by_names.around import choices_text, shared_with
from provenance.architecture.by_names.choices import answers_of, choices_of, every_reading
from provenance.architecture.by_names.numbered import EXAMPLE, WRITE
from provenance.architecture.by_names.words import OTHER_TOWERS
from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from provenance.architecture.by_names.choices import Choice
    from provenance.architecture.by_names.numbered import Stack
    from provenance.architecture.by_names.readings import Reading

FEW = 16
"""So many lists, and tables of tokens, are compared with each other at most: no model has more."""
NOT_FOUND = "no tensors are called and shaped like the gate, up and down of an MLP"


@dataclass(frozen=True)
class Tower:
    """A list of blocks, with the MLPs of each; ``elsewhere`` are other lists that have MLPs."""

    stack: Stack
    readings: Mapping[int, Sequence[Reading]]
    elsewhere: tuple[str, ...] = ()


def tower_of(stacks: Mapping[str, Stack], tables: Iterable[str]) -> Tower:
    """The list of blocks of the language model.

    Parameters
    ----------
    stacks : mapping
        All lists, by their paths.
    tables : iterable of str
        Names of tables of tokens: of several lists, that beside a table is chosen.

    Raises
    ------
    ArchitectureError
        No list has MLPs, or several have, or the names of an MLP could be read in two ways. The message
        says how to answer that.
    """
    found: dict[str, Mapping[int, Sequence[Reading]]] = {}
    doubtful: dict[str, ArchitectureError] = {}
    for path, stack in stacks.items():
        try:
            readings = {block: every_reading(stack, block) for block in sorted(stack.blocks)}
        except ArchitectureError as error:  # of another tower it does not matter
            doubtful[path] = error
            continue
        if any(readings.values()):
            found[path] = readings
    own = _own([*found, *doubtful], tables)
    if own is None:
        raise _nothing(stacks)
    if own in doubtful:
        raise doubtful[own]
    return Tower(stacks[own], found[own], tuple(sorted(found.keys() - {own})))


def _own(paths: Sequence[str], tables: Iterable[str]) -> str | None:
    own = [path for path in paths if not OTHER_TOWERS.search(path)] or list(paths)
    beside = list(tables)
    if 1 < len(own) <= FEW and 0 < len(beside) <= FEW:
        shares = {path: max(shared_with(path, table) for table in beside) for path in own}
        own = [path for path, share in shares.items() if share == max(shares.values())]
    if len(own) > 1:
        raise ArchitectureError(
            f"the blocks of its language model could be those of {choices_text(sorted(own))}: "
            f"{WRITE} which MLPs it has, as in {EXAMPLE}"
        )
    return own[0] if own else None


def _nothing(stacks: Mapping[str, Stack]) -> ArchitectureError:
    """Say what could be MLPs where no names say so."""
    named = [path for path in stacks if not OTHER_TOWERS.search(path)] or list(stacks)
    first = None
    for path in named:
        for block in stacks[path].blocks:
            for choice in choices_of(stacks[path], block):
                # what has one matrix for both is more often none
                if first is None or (first[0].second is None and choice.second is not None):
                    first = choice, stacks[path]
    if first is None:
        return ArchitectureError(
            f"{NOT_FOUND}: if it has one, {WRITE} which they are, as in {EXAMPLE}"
        )
    return untold(*first)


def untold(choice: Choice, stack: Stack) -> ArchitectureError:
    """Say that names leave a choice, and how to answer it."""
    return ArchitectureError(
        "the names of its tensors do not say which is an MLP's gate and which its up: "
        f"{WRITE} {answers_of(choice, stack)}"
    )
