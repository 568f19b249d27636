"""What is shaped like an MLP under names that do not say which part is which, and how to answer that."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance._text import visible
from provenance.architecture.by_names.numbered import LONGEST
from provenance.architecture.by_names.readings import (
    WEIGHT,
    Reading,
    is_twice,
    matrices_of,
    readings_of,
    role_of,
)
from provenance.architecture.by_names.words import ATTENTION, GATE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from provenance.architecture.by_names.numbered import Path, Stack
    from provenance.architecture.by_names.readings import Matrix


@dataclass(frozen=True)
class Choice:
    """Matrices of one holder, shaped like an MLP's projections.

    ``second`` is None where the first has room for gate and up.
    """

    holder: Path
    first: Matrix
    second: Matrix | None
    down: Matrix

    @property
    def is_of_experts(self) -> bool:
        """Whether its names or its axes say so."""
        return len(self.down.shape) == 3 or role_of(self.holder)[0] == "expert"


def choices_of(stack: Stack, block: int, taken: Collection[str] = ()) -> list[Choice]:
    """What is shaped like a gated MLP in a block: in one holder two matrices alike and one turned.

    One matrix of twice the width in place of the two counts as well. Attention is left out, and so are
    tensors that are ``taken``.
    """
    holders: dict[Path, list[Matrix]] = defaultdict(list)
    for path, matrix in matrices_of(stack, block, taken).items():
        if not any(ATTENTION.search(part) for part in path) and 0 not in matrix.shape:
            holders[path[:-1]].append(matrix)
    found = (
        _three(holder, matrices) if len(matrices) == 3 else _two(holder, matrices)
        for holder, matrices in holders.items()
        if len(matrices) in {2, 3}
    )
    return [choice for choice in found if choice is not None]


def every_reading(stack: Stack, block: int, taken: Collection[str] = ()) -> list[Reading]:
    """Every MLP of a block, by known names, or by three shapes of which one alone is called a gate.

    Raises
    ------
    ArchitectureError
        As `provenance.architecture.by_names.readings.readings_of`.
    """
    found = readings_of(stack, block, taken)
    known = {matrix.name for reading in found for matrix in reading.matrices}
    choices = choices_of(stack, block, known.union(taken))
    return [*found, *(one for one in map(_called_gate, choices) if one is not None)]


def _called_gate(choice: Choice) -> Reading | None:
    """A choice that a word decides: one of the two alike is called a gate, and the other is not."""
    if choice.second is None:
        return None
    pair = sorted((choice.first, choice.second), key=lambda one: not _is_gate(one))
    if [_is_gate(one) for one in pair] != [True, False]:
        return None
    role, number = role_of(choice.holder)
    if role == "dense" and choice.is_of_experts:
        role = "expert"
    gate, up = pair
    return Reading(choice.holder, gate, up, choice.down, role, number)


def _is_gate(matrix: Matrix) -> bool:
    *_, last = matrix.name.removesuffix(f".{WEIGHT}").rsplit(".", 1)
    return GATE.search(last) is not None


def _three(holder: Path, matrices: Sequence[Matrix]) -> Choice | None:
    for down in matrices:
        first, second = (one for one in matrices if one is not down)
        turned = (*down.shape[:-2], down.shape[-1], down.shape[-2])
        if first.shape == second.shape == turned != down.shape:
            return Choice(holder, first, second, down)
    return None


def _two(holder: Path, matrices: Sequence[Matrix]) -> Choice | None:
    for both, down in (tuple(matrices), tuple(matrices[::-1])):
        if is_twice(both, down) and not is_twice(down, both):
            return Choice(holder, both, None, down)
    return None


def answers_of(choice: Choice, stack: Stack) -> str:
    """What a person may write to say which projection is which, one answer and what else it could be."""
    _, number = role_of(choice.holder)
    first, down = (pattern(one.name, stack, number) for one in (choice.first, choice.down))
    if choice.second is None:
        halves = layout(choice.is_of_experts, f"{first}[:I]", f"{first}[I:]", down)
        return f"{halves}, with [:I] and [I:] exchanged, or [::2] and [1::2] where rows alternate"
    second = pattern(choice.second.name, stack, number)
    return f"{layout(choice.is_of_experts, first, second, down)}, or with gate and up exchanged"


def interleaved_or_halves(reading: Reading, stack: Stack) -> str:
    """The same of a tensor with both, in which they may be halves or alternate."""
    both, down = (pattern(one.name, stack, reading.number) for one in (reading.up, reading.down))
    halves = layout(reading.role == "expert", f"{both}[:I]", f"{both}[I:]", down)
    return f"{halves}, or with [::2] and [1::2] where they alternate"


def layout(is_expert: bool, gate: str, up: str, down: str) -> str:  # noqa: FBT001 - a word of two
    """An answer as YAML."""
    mlp = f'gate: "{gate}", up: "{up}", down: "{down}"'
    return f"layout: {{experts: {{{mlp}}}}}" if is_expert else f"layout: {{{mlp}}}"


def pattern(name: str, stack: Stack, number: int | None) -> str:
    """A tensor's name with its block and its expert left open."""
    parts = name.split(".")
    parts[len(stack.parts)] = "{block}"
    if number is not None:
        parts[len(parts) - 1 - parts[::-1].index(str(number))] = "{expert}"
    text = visible(".".join(parts))
    return text if len(text) <= 2 * LONGEST else f"{text[: 2 * LONGEST]}..."
