"""What a person said of a model's tensors, found in its files: patterns of names become readings."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from provenance.architecture.by_names.choices import every_reading
from provenance.architecture.by_names.numbered import Stack, is_number, shown
from provenance.architecture.by_names.patterns import (
    BLOCK,
    CUTS,
    EXPERT,
    home_of,
    matches,
    split_cut,
)
from provenance.architecture.by_names.readings import Matrix, Reading, require_elements
from provenance.architecture.by_names.towers import Tower
from provenance.errors import ArchitectureError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.architecture.by_names.numbered import Shape
    from provenance.architecture.by_names.patterns import Number
    from provenance.architecture.records import MLPRole
    from provenance.vocabulary import LayoutSpec, MLPNames


def tower_said(said: LayoutSpec, tensors: Mapping[str, Shape]) -> Tower | None:
    """The list of blocks whose MLPs a person named; None where none were.

    Raises
    ------
    ArchitectureError
        A pattern names no tensor, or not as many as another one, or one of another shape.
    """
    sets: Mapping[MLPRole, MLPNames | None] = {
        "dense": said.dense,
        "shared": said.shared,
        "expert": said.experts,
    }
    named = {role: names for role, names in sets.items() if names is not None}
    if not named:
        return None
    homes = {home_of(names.up) for names in named.values()}
    if len(homes) > 1:
        raise ArchitectureError(
            f"layout: its MLPs are in {' and in '.join(sorted(map(shown, homes)))}: name those of one list"
        )
    stack = _stack(homes.pop(), tensors)
    readings: dict[int, list[Reading]] = defaultdict(list)
    for role, names in named.items():
        for block, reading in _readings(role, names, tensors):
            readings[block].append(reading)
    return Tower(stack, {block: readings.get(block, []) for block in sorted(stack.blocks)})


def with_others(named: Tower) -> Tower:
    """The blocks that a person named MLPs of, with those of other kinds that names and shapes tell."""
    kinds = {one.role for readings in named.readings.values() for one in readings}
    taken = {
        matrix.name
        for readings in named.readings.values()
        for one in readings
        for matrix in one.matrices
    }
    whole = {}
    for block, readings in named.readings.items():
        others = every_reading(named.stack, block, taken)
        whole[block] = [*readings, *(one for one in others if one.role not in kinds)]
    return Tower(named.stack, whole, named.elsewhere)


def _stack(path: str, tensors: Mapping[str, Shape]) -> Stack:
    stack = Stack(path)
    depth = len(stack.parts)
    before = f"{stack.path}." if depth else ""
    for name, shape in tensors.items():
        parts = name.split(".") if name.startswith(before) else []
        if len(parts) > depth + 1 and is_number(parts[depth], name):
            stack.blocks[int(parts[depth])][tuple(parts[depth + 1 :])] = shape
    return stack


def _readings(
    role: MLPRole, names: MLPNames, tensors: Mapping[str, Shape]
) -> list[tuple[int, Reading]]:
    key = _KEYS[role]
    up, up_cut = split_cut(names.up)
    gate, gate_cut = split_cut(names.gate or names.up)
    patterns = {f"{key}up": up, f"{key}down": names.down}
    if names.gate is not None:
        patterns[f"{key}gate"] = gate
    found = {said: matches(pattern, tensors) for said, pattern in patterns.items()}
    _require_equal(found, patterns)
    first, interleaved = CUTS[gate_cut, up_cut] if names.gate is not None else (None, False)
    made = []
    for number in sorted(found[f"{key}up"], key=lambda one: (one[0], one[1] or 0)):
        parts = {said: _matrix(said, found[said][number], tensors) for said in patterns}
        block, expert = number
        made.append(
            (
                block,
                Reading(
                    holder=_holder(up, number),
                    gate=parts.get(f"{key}gate"),
                    up=parts[f"{key}up"],
                    down=parts[f"{key}down"],
                    role=role,
                    number=expert if role == "expert" else None,
                    first=first,
                    interleaved=interleaved,
                    told=True,
                ),
            )
        )
    return made


_KEYS: Mapping[MLPRole, str] = {
    "dense": "layout.",
    "shared": "layout.shared.",
    "expert": "layout.experts.",
}


def _holder(pattern: str, number: Number) -> tuple[str, ...]:
    inside = pattern.partition(f"{BLOCK}.")[2].removesuffix(".weight")
    return tuple(inside.replace(EXPERT, str(number[1])).split(".")[:-1])


def _require_equal(found: Mapping[str, Mapping[Number, str]], patterns: Mapping[str, str]) -> None:
    """Refuse patterns of one MLP that are found in other blocks, or of other experts, than each other."""
    for said, names in found.items():
        if not names:
            raise ArchitectureError(f"{said}: no tensor is called {shown(patterns[said])}")
    for said, names in found.items():
        for other, others in found.items():
            missing = others.keys() - names.keys()
            if missing:
                block, expert = min(missing, key=lambda one: (one[0], one[1] or 0))
                of = "" if expert is None else f" expert {expert}"
                raise ArchitectureError(
                    f"{said}: block {block}{of} has no tensor called {shown(patterns[said])}, though it "
                    f"has one for {other}"
                )


def _matrix(said: str, name: str, tensors: Mapping[str, Shape]) -> Matrix:
    matrix = Matrix(name, tensors[name])
    if len(matrix.shape) not in {2, 3}:
        raise ArchitectureError(
            f"{said}: tensor {shown(name)} is {list(matrix.shape)}: a projection has two axes, or "
            "three where experts are stacked"
        )
    require_elements(matrix)
    return matrix
