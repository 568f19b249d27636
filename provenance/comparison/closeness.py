"""How close the units of a model are to those of one of its kin: it orders kin, and is no test.

A p-value says that two models are kin, and all kin of one family have p-values at the floor. What tells a
base from a cousin is how far its units have moved: the cosine of a unit with its nearest on the other side.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from provenance._threads import in_turn
from provenance.comparison.course import Course
from provenance.comparison.pair import Pair
from provenance.comparison.token_fingerprints import TokenPair
from provenance.errors import DegenerateError
from provenance.evidence.relatives import Closeness
from provenance.statistics import REGISTRY
from provenance.statistics._directions import products
from provenance.statistics._nearness import some_units
from provenance.statistics.match_tokens import Probed
from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from provenance.comparison.executor import Executor
    from provenance.comparison.plan import Comparison
    from provenance.comparison.sides import Component, Units
    from provenance.statistics._directions import Directions
    from provenance.vocabulary import StatisticName

BLOCKS = 3
"""Blocks of the candidate that are looked at, evenly spaced: the same for every reference."""

UNITS = 256
"""Units of a block whose nearest counterparts are looked for."""

ELSEWHERE = 0.5
"""Below this two blocks are no partners: all others are looked at, and where none is one, a block does not
count."""

WEIGHTS: tuple[StatisticName, ...] = ("match_tokens", "match_weights")
"""On what two models are looked at, the first that is defined for them."""


@in_turn
def closeness(executor: Executor, comparison: Comparison) -> Closeness | None:
    """Measure how close a candidate is to a reference; None where nothing is defined for the two.

    Raises
    ------
    ProvenanceError
        If a model cannot be had, or read.
    """
    models = executor.checkpoint(comparison.candidate), executor.checkpoint(comparison.reference)
    pair = Pair(comparison, *models, executor.work, Course())
    carried = {model.bundle.statistic for model in models if model.bundle}
    tokens = TokenPair.of(*models, executor.work) if "match_tokens" in carried else None
    bundled = pair.bundled() if carried and tokens is None else None
    with executor.work.leased() as device:
        if tokens is not None:
            found = _of(tokens.component(device), comparison.inputs.seed)
            # two bits lose some of it, even of equals
            return found and replace(found, measured_on="token fingerprint")
        if bundled is not None:
            bundles, entries = bundled
            component = bundles.component("match", entries, device)
            return _of(component, comparison.inputs.seed)
        from provenance.comparison.components import Components

        made = Components(*models, comparison, executor.work)
        for name in WEIGHTS:
            with suppress(DegenerateError):  # the next may be defined for the two
                found = _of(made.of_files(REGISTRY[name], device), comparison.inputs.seed)
                if found is not None:
                    return found
    return None


def _of(component: Component[Any], seed: int) -> Closeness | None:
    sides = _Sides(component, seed)
    indices = _spread(sorted(component.candidate.shape.mlps))
    values = ((index, sides.closest(index)) for index in indices)
    blocks = tuple((index, value) for index, value in values if value is not None)
    # what was left out says nothing of how far the rest has moved
    met = tuple((index, value) for index, value in blocks if value >= ELSEWHERE)
    return Closeness(met or blocks, component.statistic) if blocks else None


def _spread(blocks: list[int]) -> list[int]:
    """Evenly spaced blocks, none at an end where there are more."""
    if len(blocks) <= BLOCKS:
        return blocks
    return [blocks[(2 * k + 1) * len(blocks) // (2 * BLOCKS)] for k in range(BLOCKS)]


class _Sides:
    """The MLPs of two models, prepared when they are asked for."""

    def __init__(self, component: Component[Any], seed: int) -> None:
        self._component = component
        self._seed = seed

    def closest(self, index: int) -> float | None:
        """How close one block of the candidate is to its partner; None where that is not defined."""
        side = self._prepared(0, index, 0)
        theirs = self._component.reference.shape.mlps
        if side is None:
            return None
        value = self._to(side, index) if index in theirs else None
        if value is None or value < ELSEWHERE:
            found = [self._to(side, other) for other in sorted(theirs) if other != index]
            value = max((v for v in (value, *found) if v is not None), default=None)
        return value

    def _to(self, side: Directions, index: int) -> float | None:
        places = range(len(self._component.reference.shape.mlps[index]))
        others = (self._prepared(1, index, place) for place in places)
        return max((near(side, other) for other in others if other is not None), default=None)

    def _prepared(self, which: int, index: int, place: int) -> Directions | None:
        role = ROLES[which]
        units: Units[Any] = getattr(self._component, role)
        assert self._component.prepare is not None
        try:
            prepared = self._component.prepare(units.block(index, place), role, self._seed)
            whole: Directions = prepared.whole if isinstance(prepared, Probed) else prepared
        except DegenerateError:  # the block has nothing to look at
            return None
        return whole


def near(a: Directions, b: Directions) -> float:
    """Return the mean cosine of units with their nearest on the other side, by gate.

    Units of the narrower side are looked for in the wider one: what was pruned away has no counterpart.

    Parameters
    ----------
    a, b : Directions
        Units along inputs that both answered.
    """
    narrow, wide = sorted((a, b), key=lambda side: len(side.live))
    some = some_units(narrow, UNITS)
    gate, _ = products(some, wide)
    nearest = gate.rows(0, len(some.live)).amax(dim=1)
    return min(1.0, max(0.0, float(nearest.mean())))
