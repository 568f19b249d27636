"""The tables of the history, for SQLAlchemy, and a query. A prefix sets them apart from others'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    and_,
    func,
    select,
)
from sqlalchemy.dialects.mysql import MEDIUMTEXT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select

SCHEMA = 2
"""Raised whenever these tables change; a history of another schema is refused."""

metadata = MetaData()
# Text of MySQL has 64 KiB, and evidence on a hundred blocks may have more.
Long = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")

schema = Table(
    "provenance_schema",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
)

runs = Table(
    "provenance_runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("registry", Text, nullable=False, index=True),
    Column("digest", String(80), nullable=False),
    Column("statistic", String(40), nullable=False),
    Column("inputs", Text, nullable=False),
    Column("alpha", Float, nullable=False),
    Column("threshold", Float, nullable=False),
    Column("version", String(40), nullable=False),
    Column("started", String(40), nullable=False),
    Column("finished", String(40)),  # null: was killed, or is still at work
)

models = Table(
    "provenance_models",
    metadata,
    Column("run", ForeignKey(runs.c.id), primary_key=True),
    Column("name", String(1000), primary_key=True),
    Column("source", Text, nullable=False),
    Column("digest", String(80)),
    Column("weights_digest", String(80)),
    Column("error", Text),
)

evidence = Table(
    "provenance_evidence",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("statistic", String(40), nullable=False),
    Column("candidate_digest", String(80)),
    Column("reference_digest", String(80)),
    Column("inputs_digest", String(80)),
    Column("log10_p", Float),
    Column("evidence", Long),  # null where there can be none
    Column("error", Text),  # and why
    Column("created", String(40), nullable=False),
)

pairs = Table(
    "provenance_pairs",
    metadata,
    Column("run", ForeignKey(runs.c.id), primary_key=True),
    Column("candidate", String(1000), primary_key=True),
    Column("reference", String(1000), primary_key=True),
    Column("key", String(64)),
    Column("verdict", String(20)),
    Column("log10_p", Float),
    Column("error", Text),
    Column("known", Boolean, nullable=False),
)

screened = Table(
    "provenance_screened",
    metadata,
    Column("run", ForeignKey(runs.c.id), primary_key=True),
    Column("candidate", String(1000), primary_key=True),
    Column("reference", String(1000), primary_key=True),
    Column("candidate_block", Integer, primary_key=True, autoincrement=False),
    Column("reference_block", Integer, nullable=False),
    Column("log10_p", Float, nullable=False),
)

_one, _other = models.alias("one"), models.alias("other")
UNSETTLED = (
    select(_one.c.digest, _other.c.digest)
    .join(pairs, and_(pairs.c.run == _one.c.run, pairs.c.candidate == _one.c.name))
    .join(_other, and_(pairs.c.run == _other.c.run, pairs.c.reference == _other.c.name))
    .where(pairs.c.verdict.in_(("dependent", "inconclusive")))
    .distinct()
)
"""Digests of the two models of each pair that any run judged and did not call independent."""


def last_runs(registry: str, most: int) -> Select[Any]:
    """Number and end of the last complete runs over a registry, the newest first."""
    complete = runs.c.finished.is_not(None)
    query = select(runs.c.id, runs.c.finished).where(runs.c.registry == registry, complete)
    return query.order_by(runs.c.id.desc()).limit(most)


def models_by_run(ids: Sequence[int]) -> Select[Any]:
    """How many models each run had."""
    return (
        select(models.c.run, func.count().label("number"))
        .where(models.c.run.in_(ids))
        .group_by(models.c.run)
    )


def verdicts_by_run(ids: Sequence[int]) -> Select[Any]:
    """How many pairs of each run had which verdict, or none."""
    found = (pairs.c.run, pairs.c.verdict)
    return select(*found, func.count().label("number")).where(pairs.c.run.in_(ids)).group_by(*found)


def kin_by_run(ids: Sequence[int]) -> Select[Any]:
    """The pairs that each run found dependent."""
    found = select(pairs.c.run, pairs.c.candidate, pairs.c.reference)
    return found.where(pairs.c.run.in_(ids), pairs.c.verdict == "dependent")
