"""Finds the MLPs of one block: tensors that are called, and shaped, like the projections of one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from provenance.architecture.by_names.numbered import EXAMPLE, WRITE, is_number, shown
from provenance.architecture.by_names.words import (
    ATTENTION,
    EXPERT,
    FUSED,
    NORM,
    PLAIN,
    SEPARATE,
    SHARED,
)
from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from provenance.architecture.by_names.numbered import Path, Shape, Stack
    from provenance.architecture.by_names.words import First, Naming
    from provenance.architecture.records import MLPRole

WEIGHT, BIAS = "weight", "bias"


@dataclass(frozen=True)
class Matrix:
    """A stored tensor that is a projection, or a stack of them: two axes, or three."""

    name: str
    shape: Shape

    @property
    def sides(self) -> tuple[int, int]:
        """The last two axes."""
        return self.shape[-2], self.shape[-1]


@dataclass(frozen=True)
class Reading:
    """One MLP of a block, or a stack of them, as its names tell it.

    Attributes
    ----------
    holder : tuple of str
        The path, within the block, of what holds all its projections.
    gate : Matrix or None
        None of a plain MLP; ``up`` where one tensor has both.
    first : {"gate", "up"} or None
        Which of the two comes first in a tensor that has both; ``interleaved`` says that they alternate.
    role : {"dense", "shared", "expert"}
        What its names say; the shapes may know better.
    number : int or None
        Of an expert, where experts are listed.
    told : bool
        Whether a person said so, and not its names.
    """

    holder: Path
    gate: Matrix | None
    up: Matrix
    down: Matrix
    role: MLPRole
    number: int | None = None
    first: First | None = None
    interleaved: bool = False
    told: bool = False

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """All projections."""
        return (self.up, self.down) if self.gate is None else (self.gate, self.up, self.down)


def matrices_of(stack: Stack, block: int, taken: Collection[str] = ()) -> dict[Path, Matrix]:
    """The tensors of a block with two or three axes, by the paths of what they are the weights of.

    Those that are ``taken`` are left out.
    """
    found: dict[Path, Matrix] = {}
    for inside, shape in stack.blocks[block].items():
        path = inside[:-1] if inside[-1] == WEIGHT else inside
        if len(shape) in {2, 3} and path:
            matrix = Matrix(stack.name(block, inside), shape)
            if matrix.name not in taken:
                found[path] = matrix
    return found


def readings_of(stack: Stack, block: int, taken: Collection[str] = ()) -> list[Reading]:
    """Every MLP of a block that its names tell, of tensors that are not ``taken``.

    Raises
    ------
    ArchitectureError
        The names of one could be read in two ways, or one of its tensors has no elements.
    """
    matrices = matrices_of(stack, block, taken)
    beside: dict[Path, list[Matrix]] = defaultdict(list)
    for path, matrix in matrices.items():
        beside[path[:-1]].append(matrix)
    found: dict[Path, list[Reading]] = defaultdict(list)
    for path in matrices:
        for ending, naming in _rows_of(path):
            holder = path[: len(path) - len(ending)]
            # what lies right below a block is attention too
            reading = _read(holder, naming, matrices, beside[holder] if holder else ())
            if reading is not None:
                found[holder].append(reading)
    return [_only(readings) for readings in found.values()]


def _rows_of(path: Path) -> list[tuple[Path, Naming]]:
    """The namings of which a path ends in an up."""
    if any(ATTENTION.search(part) or NORM.search(part) for part in path[:-1][-3:]):
        return []
    by_up = _by_up()
    endings = [path[-length:] for length in (1, 2) if length <= len(path)]
    return [(ending, naming) for ending in endings for naming in by_up.get(ending, ())]


@cache
def _by_up() -> Mapping[Path, Sequence[Naming]]:
    rows: dict[Path, list[Naming]] = defaultdict(list)
    for naming in (*SEPARATE, *FUSED, *PLAIN):
        rows[naming.up].append(naming)
    return rows


def _read(
    holder: Path, naming: Naming, matrices: Mapping[Path, Matrix], beside: Iterable[Matrix]
) -> Reading | None:
    up, down = matrices[holder + naming.up], matrices.get(holder + naming.down)
    gate = None if naming.gate is None else matrices.get(holder + naming.gate)
    if down is None or (naming.gate is not None and gate is None):
        return None
    role, number = role_of(holder)
    if role == "dense" and len(up.shape) == 3:
        role = "expert"
    reading = Reading(holder, gate, up, down, role, number, naming.first)
    for matrix in reading.matrices:
        require_elements(matrix)
    if naming.first is not None:
        return reading if is_twice(up, down) else None
    if gate is not None:
        return reading if gate.shape == up.shape else None
    # another projection of the same shape may be its gate, whatever it is called
    has_rival = any(one.shape == up.shape and one not in {up, down} for one in beside)
    return reading if sorted(up.shape) == sorted(down.shape) and not has_rival else None


def require_elements(matrix: Matrix) -> None:
    """Refuse a projection without numbers.

    Raises
    ------
    ArchitectureError
        A side is 0.
    """
    if 0 in matrix.shape:
        raise ArchitectureError(
            f"tensor {shown(matrix.name)} is {list(matrix.shape)}: it holds no numbers"
        )


def is_twice(both: Matrix, down: Matrix) -> bool:
    """Whether one tensor has room for two projections of another's units."""
    if both.shape[:-2] != down.shape[:-2]:
        return False
    return any(
        side == other and 2 * rest == width
        for side, width in (both.sides, both.sides[::-1])
        for other, rest in (down.sides, down.sides[::-1])
    )


def _only(readings: Sequence[Reading]) -> Reading:
    """The one reading of a holder: gated before plain."""
    gated = [one for one in readings if one.gate is not None]
    chosen = gated or list(readings)
    if len(chosen) > 1:
        names = " or ".join(shown((one.gate or one.up).name) for one in chosen)
        raise ArchitectureError(f"{names} could be a gate: {WRITE} which is, as in {EXAMPLE}")
    return chosen[0]


def role_of(holder: Path) -> tuple[MLPRole, int | None]:
    """What the names around an MLP say that it is, and its number among listed experts."""
    if any(SHARED.search(part) for part in holder):
        return "shared", None
    places = [place for place, part in enumerate(holder) if EXPERT.search(part)]
    if not places:
        return "dense", None
    after = holder[places[-1] + 1 :]
    number = next((int(part) for part in after if is_number(part, ".".join(holder))), None)
    return "expert", number


def bias_of(matrix: Matrix, tensors: Mapping[str, Shape]) -> str | None:
    """The bias beside a weight: ``x.bias`` of ``x.weight``, ``x_bias`` of a parameter ``x``."""
    path, _, last = matrix.name.rpartition(".")
    beside = f"{path}.{BIAS}" if last == WEIGHT else f"{matrix.name}_{BIAS}"
    return beside if len(tensors.get(beside, ())) == len(matrix.shape) - 1 else None
