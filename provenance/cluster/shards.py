"""Which part of a sharded plan does what: models go to parts by size, pairs to a part of their models.

Every part comes to the same answer by itself, from the plan and the models alone. Pure data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, TypeAlias

from provenance.errors import ProvenanceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provenance.comparison.plan import Comparison, Plan
    from provenance.vocabulary import ModelSpec

Models: TypeAlias = "Mapping[ModelSpec, tuple[str | None, int]]"
"""Of every model its digest, None where it cannot be had, and its number of parameters."""

MOST = 100_000


@dataclass(frozen=True, order=True)
class Shard:
    """The k-th part of a plan that is run in n; ``index`` is k, counted from 1."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``k/n``.

        Raises
        ------
        ProvenanceError
            If it is none.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        index, count = map(int, found.groups()) if found else (0, 0)
        if not 1 <= index <= count <= MOST:
            raise ProvenanceError(
                f"{text!r} is no part of a plan: write k/n, such as 3/8 for the third of eight parts"
            )
        return cls(index, count)

    def __str__(self) -> str:
        return f"part {self.index} of {self.count}"


@dataclass(frozen=True)
class Division:
    """Who does what; parts count from 1.

    ``models`` has the part that runs a model, ``owners`` the part that compares two, one of those of the
    two models.
    """

    models: Mapping[ModelSpec, int]
    owners: Mapping[Comparison, int]

    def parts(self, comparison: Comparison) -> tuple[int, int]:
        """The parts that run the candidate and the reference."""
        return self.models[comparison.candidate], self.models[comparison.reference]


def divide(plan: Plan, models: Models, count: int) -> Division:
    """Divide a plan among ``count`` parts, by the numbers of the models' parameters.

    Notes
    -----
    The largest model that is left goes to the part that has least, which is within a third of the best
    division (Graham 1969); a pair goes to that of its two parts which has fewer pairs.
    """
    order = {spec: place for place, spec in enumerate(plan.models())}
    load, parts = [0] * count, {}
    for spec in sorted(order, key=lambda spec: (-models[spec][1], order[spec])):
        part = min(range(count), key=lambda k: (load[k], k))
        load[part] += max(models[spec][1], 1)
        parts[spec] = part + 1
    pairs, owners = [0] * (count + 1), {}
    for comparison in plan.comparisons:
        both = (parts[comparison.candidate], parts[comparison.reference])
        owner = min(both, key=lambda part: pairs[part])
        pairs[owner] += 1
        owners[comparison] = owner
    return Division(parts, owners)


def plan_key(plan: Plan) -> str:
    """What a plan is called among its parts, and by whoever judges it."""
    return _digest(plan.comparisons)


def models_key(plan: Plan, models: Models) -> str:
    """What the models of a plan are called: parts that see others do not heed each other."""
    return _digest((spec, models[spec][0]) for spec in plan.models())


def _digest(things: Iterable[object]) -> str:
    hashed = sha256()
    for thing in things:
        hashed.update(f"{thing!r}\n".encode())
    return hashed.hexdigest()
