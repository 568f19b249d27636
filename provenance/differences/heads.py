"""Maps attention heads onto those of another model: groups by keys, then queries, then values' inner units.

The inner units of queries and keys stay: rotary embedding turns each pair at a frequency of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from provenance.assignment.solve import assign

if TYPE_CHECKING:
    from provenance.evidence.difference import Moved

__all__ = ["HeadMap", "Heads", "head_map"]

OWN = 0.5
"""Mean cosine above which two heads are one: of strangers it is near 0."""


@dataclass(frozen=True)
class Heads:
    """Rows of queries, keys and values, float32 (heads x inner, hidden), and of how many heads they are."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    heads: int
    groups: int


@dataclass(frozen=True)
class HeadMap:
    """For each kind of axis, the reference's index of each of the candidate's, int64; None: the same."""

    query: torch.Tensor | None = None
    key: torch.Tensor | None = None
    value: torch.Tensor | None = None
    output: torch.Tensor | None = None

    @property
    def moved(self) -> tuple[Moved, ...]:
        """What the map undoes."""
        heads = self.query is not None or self.key is not None
        return ("heads",) if heads else ("values",) if self.value is not None else ()


def head_map(candidate: Heads, reference: Heads) -> HeadMap | None:
    """Find the map; None where heads differ in number or size, or no map finds them."""
    if (candidate.heads, candidate.groups) != (reference.heads, reference.groups):
        return None
    pairs = ((candidate.query, reference.query), (candidate.key, reference.key))
    if any(ours.shape != theirs.shape for ours, theirs in pairs):
        return None
    count, groups = candidate.heads, candidate.groups
    straight = torch.stack([_straight(*side, count) for side in pairs[:1]])
    values = _straight(candidate.value, reference.value, groups)
    if float(straight.min()) > OWN and float(values.min()) > OWN:
        return HeadMap()
    keys = _best(_vectors(candidate.key, groups), _vectors(reference.key, groups))
    sharing = count // groups
    queries = torch.empty(count, dtype=torch.int64)
    ours, theirs = (_vectors(side, count) for side in pairs[0])
    for group, old in enumerate(keys.tolist()):
        mine, its = (slice(g * sharing, (g + 1) * sharing) for g in (group, old))
        queries[mine] = old * sharing + _best(ours[mine], theirs[its])
    own = (ours * theirs[queries]).sum(dim=1)
    if float(own.mean()) < OWN:
        return None
    inner = len(candidate.value) // groups
    within = [
        _best(_rows(candidate.value, group, inner), _rows(reference.value, old, inner))
        for group, old in enumerate(keys.tolist())
    ]
    value = torch.cat(
        [old * inner + order for old, order in zip(keys.tolist(), within, strict=True)]
    )
    output = torch.cat(
        [int(old) * inner + within[head // sharing] for head, old in enumerate(queries.tolist())]
    )
    size = len(candidate.query) // count
    return HeadMap(
        _moved(_whole(queries, size)),
        _moved(_whole(keys, len(candidate.key) // groups)),
        _moved(value),
        _moved(output),
    )


def _vectors(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """One vector of length 1 a head."""
    return torch.nn.functional.normalize(rows.reshape(heads, -1), dim=1)


def _rows(rows: torch.Tensor, head: int, inner: int) -> torch.Tensor:
    return torch.nn.functional.normalize(rows[head * inner : (head + 1) * inner], dim=1)


def _straight(ours: torch.Tensor, theirs: torch.Tensor, heads: int) -> torch.Tensor:
    return (_vectors(ours, heads) * _vectors(theirs, heads)).sum(dim=1)


def _best(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    made = assign(ours @ theirs.T)
    return torch.from_numpy(made.columns.copy())[torch.from_numpy(made.rows.copy()).argsort()]


def _whole(order: torch.Tensor, size: int) -> torch.Tensor:
    return (order[:, None] * size + torch.arange(size)).reshape(-1)


def _moved(order: torch.Tensor) -> torch.Tensor | None:
    return None if bool((order == torch.arange(len(order))).all()) else order
