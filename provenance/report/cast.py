"""Who takes part: every model of the claims once, by its digest, and which two each claim is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from provenance.evidence.families import Lineage
    from provenance.evidence.models import ModelRecord
    from provenance.evidence.results import ClaimResult, Results
    from provenance.vocabulary import Role


@dataclass(frozen=True)
class Cast:
    """The models of some results, those of the lineage first and in its order.

    Attributes
    ----------
    labels : tuple of str
        What each is called.
    records : tuple of ModelRecord or None
        What was measured; None of a model of which nothing was.
    pairs : tuple of tuple of int
        The candidate and the reference of each claim, by their places in ``labels``.
    """

    labels: tuple[str, ...]
    records: tuple[ModelRecord | None, ...]
    pairs: tuple[tuple[int, int], ...]


def cast_of(results: Results, lineage: Lineage) -> Cast:
    """Number the models; one that was never measured is known by its name alone."""
    labels = [model.label for model in lineage.models]
    by_digest = {model.digest: i for i, model in enumerate(lineage.models)}
    by_name = {name: i for i, model in enumerate(lineage.models) for name in model.names}
    records: dict[int, ModelRecord] = {}

    def place(result: ClaimResult, role: Role) -> int:
        name = result.name_of(role)
        record: ModelRecord | None = getattr(result.evidence, role, None)
        i = by_name.get(name) if record is None else by_digest.get(record.digest)
        if i is None:
            i = by_name[name] = len(labels)
            labels.append(name)
        if record is not None:
            by_digest.setdefault(record.digest, i)
            records.setdefault(i, record)
        return i

    pairs = tuple((place(result, ROLES[0]), place(result, ROLES[1])) for result in results.claims)
    return Cast(tuple(labels), tuple(records.get(i) for i in range(len(labels))), pairs)
