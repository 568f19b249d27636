"""Tells which side of a matrix are units and which hidden states, by one hidden size for all blocks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.architecture.by_names.numbered import WRITE
from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provenance.architecture.by_names.readings import Matrix, Reading


STORED = (
    "layout: {transposed: false} where a row is a unit, as torch.nn.Linear stores it, or "
    "{transposed: true}"
)


@dataclass(frozen=True)
class Sided:
    """A reading whose units are known to lie along one axis of each projection, counted from the last two.

    ``gate_or_up`` is 0 where units are rows of gate and up, as of ``torch.nn.Linear``, and ``down`` is 1
    where they are columns of down.
    """

    reading: Reading
    hidden: int
    units: int
    gate_or_up: int
    down: int


def hidden_size(readings: Iterable[Reading], evidence: Sequence[Iterable[int]]) -> int | None:
    """The size that the MLPs of all blocks have in common.

    Parameters
    ----------
    readings : iterable of Reading
        Of all blocks of a list.
    evidence : sequence of iterable of int
        Sizes that are likely the hidden one, the best evidence first: it decides where the shapes of the
        MLPs leave two.

    Returns
    -------
    int or None
        None where nothing decides.
    """
    counts: Counter[int] = Counter()
    for reading in readings:
        counts.update(_possible(reading))
    most = max(counts.values(), default=0)
    left = {size for size, count in counts.items() if count == most}
    for sizes in evidence:
        if len(left) > 1:
            left = left & set(sizes) or left
    return next(iter(left)) if len(left) == 1 else None


def _possible(reading: Reading) -> set[int]:
    """The sizes that hidden states of an MLP could have."""
    up, down = set(reading.up.sides), set(reading.down.sides)
    return up & down


def sided(reading: Reading, hidden: int, *, transposed: bool | None = None) -> Sided | str:
    """Find the units of a reading; a text says why there are none.

    Parameters
    ----------
    transposed : bool, optional
        Whether square matrices are stored as (in, out); None where nobody said.

    Raises
    ------
    ArchitectureError
        All its matrices are square, and nobody said.
    """
    up, down = reading.up, reading.down
    if reading.gate is not None and reading.gate.shape != up.shape:
        return f"its gate is {list(reading.gate.shape)} and its up {list(up.shape)}"
    if up.shape[:-2] != down.shape[:-2]:
        return f"its up is {list(up.shape)} and its down {list(down.shape)}"
    twice = 2 if reading.first is not None else 1
    axes = _axis_of_units(up, hidden), _axis_of_units(down, hidden)
    if None in axes:
        return f"it neither reads nor writes hidden states of {hidden}"
    along_up, along_down = axes
    if along_up == SQUARE and along_down == SQUARE:
        if transposed is None:
            raise ArchitectureError(
                f"its MLPs have as many units as hidden states have dimensions ({hidden}), so that their "
                f"shapes do not tell rows from columns: {WRITE} {STORED}"
            )
        along_up, along_down = (1, 0) if transposed else (0, 1)
    elif along_up == SQUARE:  # all matrices of a module are stored alike
        along_up = 1 - along_down  # type: ignore[operator]
    elif along_down == SQUARE:
        along_down = 1 - along_up  # type: ignore[operator]
    assert along_up is not None
    assert along_down is not None
    units = down.sides[along_down]
    if up.sides[along_up] != twice * units:
        return f"its up projection has {up.sides[along_up]} units and its down projection {units}"
    return Sided(reading, hidden, units, along_up, along_down)


def side_of(readings: Iterable[Reading], *, transposed: bool) -> list[int]:
    """The sizes of what gates and ups read, where it is known how they are stored."""
    return [reading.up.sides[0 if transposed else 1] for reading in readings]


SQUARE = -1


def _axis_of_units(matrix: Matrix, hidden: int) -> int | None:
    """The axis of the last two that is not of hidden states; `SQUARE` where both could be."""
    first, last = matrix.sides
    if first == last == hidden:
        return SQUARE
    if hidden not in (first, last):
        return None
    return 0 if last == hidden else 1
