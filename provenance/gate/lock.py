"""The lock file: what a run found, pinned, so that a later run that finds something else fails.

TOML, a table a claim, in the order of suites and claims: a change of a model is a change of a few lines
that a person can review. Only what is pinned is in it, and no number has more digits than are compared.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field, replace
from datetime import date, time
from typing import TYPE_CHECKING, Any, TypedDict

from provenance._documents import adapter, first_problem
from provenance._text import visible
from provenance.errors import ProvenanceError
from provenance.evidence.outcomes import verdict_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from provenance.evidence.models import ModelRecord
    from provenance.evidence.results import ClaimResult, Results, SuiteRecord
    from provenance.suite.claims import Claim

SCHEMA = 1
MAX_BYTES = 1 << 24
DIGITS = 2
"""Decimals that a log10 p-value keeps: 0.01 is 2 % of a p-value, far below any tolerance."""
NOT_TESTED = "not tested"
HEAD = (
    "# What a run of pytest --provenance-lock is compared with. Written by --update-lock: review its\n"
    "# changes, and do not edit it. p-values are log10.\n"
)

Key = tuple[str, str]
"""A claim's suite and id."""


class LockError(ProvenanceError):
    """A file that should be a lock file is not, or is of a schema that this version does not read."""


@dataclass(frozen=True)
class PinnedModel:
    """A model: its name in the suite, where it came from, and what it was."""

    name: str
    source: str
    digest: str
    weights: str = ""


@dataclass(frozen=True)
class Pinned:
    """One claim as it was found.

    ``log10_p`` is None where there is no p-value; ``blocks`` are the log10 p-values of the claimed
    blocks by index, None where a block could not be tested. ``alphas`` are those of blocks with one of
    their own.
    """

    suite: str
    id: str
    expect: str
    statistic: str
    threshold: float
    verdict: str
    state: str
    inputs: str
    candidate: PinnedModel
    reference: PinnedModel
    log10_p: float | None = None
    blocks: Mapping[int, float | None] = field(default_factory=dict)
    alphas: Mapping[int, float] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What names the claim."""
        return self.suite, self.id


@dataclass(frozen=True)
class Lock:
    """A lock file's content."""

    claims: tuple[Pinned, ...]
    versions: Mapping[str, str] = field(default_factory=dict)

    def by_key(self) -> dict[Key, Pinned]:
        """The claims by suite and id."""
        return {claim.key: claim for claim in self.claims}


def pinned(results: Results) -> tuple[Pinned, ...]:
    """What a lock file keeps of the claims that a run measured."""
    return tuple(
        _pinned(result) for result in results.claims if result.parts and result.evidence is not None
    )


def _pinned(result: ClaimResult) -> Pinned:
    claim, evidence = result.claim, result.evidence
    assert evidence is not None
    models = {role: _model(name, record) for role, name, record in result.sides}
    return Pinned(
        suite=result.suite,
        id=claim.id,
        **_declared(claim),
        verdict=verdict_of(result),
        state=result.judgement.state if result.judgement else "fails",
        inputs=evidence.inputs.digest,
        candidate=models["candidate"],
        reference=models["reference"],
        log10_p=_rounded(result.log10_p),
        blocks={block.candidate_block: _rounded(block.log10_p) for block in result.blocks},
    )


class Declared(TypedDict):
    """What of a pinned claim is the suite's, and not a measurement."""

    expect: str
    statistic: str
    threshold: float
    alphas: Mapping[int, float]


def _declared(claim: Claim) -> Declared:
    """What the suite alone says of a claim, besides the names of its models."""
    return {
        "expect": _expected(claim),
        "statistic": claim.statistic,
        "threshold": float(f"{claim.threshold:.6g}"),
        "alphas": dict(claim.block_alphas),
    }


def as_declared(old: Pinned, claim: Claim) -> Pinned:
    """What is pinned of a claim, with what its suite says of it today; another model has no digest yet."""
    return replace(
        old,
        **_declared(claim),
        candidate=_named(old.candidate, claim.candidate),
        reference=_named(old.reference, claim.reference),
    )


def _named(model: PinnedModel, name: str) -> PinnedModel:
    return model if model.name == name else PinnedModel(name, "", "")


def _expected(claim: Claim) -> str:
    """What is claimed, with a base that is given, or the parents of a merge and their shares."""
    if claim.given is not None:
        return f"{claim.expect} given {claim.given}"
    if not claim.parents:
        return claim.expect
    named = (name if share is None else f"{name} {share:g}" for name, share in claim.parents)
    return f"{claim.expect} of {', '.join(named)}"


def _model(name: str, record: ModelRecord) -> PinnedModel:
    return PinnedModel(name, record.source, record.digest, record.weights_digest or "")


def _rounded(log10_p: float | None) -> float | None:
    return None if log10_p is None else round(log10_p, DIGITS) + 0.0


def merge(lock: Lock | None, results: Results, gone: Iterable[str] = ()) -> Lock:
    """The lock file after a run: what ran is renewed, and what did not is kept.

    Claims that their suite no longer has are dropped, and those of the suites in ``gone``, whose files
    are no more. A claim that could not be checked stays as it was pinned.
    """
    kept = {} if lock is None else lock.by_key()
    for key in stale(kept, results.suites, gone):
        del kept[key]
    kept |= {claim.key: claim for claim in pinned(results)}
    order = {
        (suite.path, claim.id): place
        for suite in results.suites
        for place, claim in enumerate(suite.claims)
    }
    old = {key: place for place, key in enumerate(kept)}
    claims = sorted(kept.values(), key=lambda c: (c.suite, order.get(c.key, old[c.key])))
    return Lock(tuple(claims), dict(sorted(results.versions.items())))


def stale(
    keys: Iterable[Key], suites: Iterable[SuiteRecord], gone: Iterable[str] = ()
) -> tuple[Key, ...]:
    """Claims that are pinned and no longer made, by these suites or those whose files are no more."""
    made = {suite.path: {claim.id for claim in suite.claims} for suite in suites}
    made |= {path: set() for path in gone if path not in made}
    return tuple((suite, id_) for suite, id_ in keys if suite in made and id_ not in made[suite])


def dump(lock: Lock) -> str:
    """Write a lock file's text; equal locks are equal text."""
    import tomli_w

    fields = {
        "schema": SCHEMA,
        "versions": dict(lock.versions),
        "claim": [_fields(claim) for claim in lock.claims],
    }
    return HEAD + tomli_w.dumps(fields)


def _fields(claim: Pinned) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: getattr(claim, name)
        for name in ("suite", "id", "expect", "statistic", "threshold", "verdict", "state")
    }
    fields["log10_p"] = NOT_TESTED if claim.log10_p is None else claim.log10_p
    fields["inputs"] = claim.inputs
    if claim.blocks:
        fields["blocks"] = {
            str(index): NOT_TESTED if log10_p is None else log10_p
            for index, log10_p in sorted(claim.blocks.items())
        }
    if claim.alphas:
        fields["alphas"] = {str(index): alpha for index, alpha in claim.alphas.items()}
    for role in ("candidate", "reference"):
        model: PinnedModel = getattr(claim, role)
        fields[role] = {"name": model.name, "source": model.source, "digest": model.digest}
        if model.weights:
            fields[role]["weights"] = model.weights
    return fields


def read_lock(path: Path) -> Lock | None:
    """Read a lock file; None where there is no such file.

    Raises
    ------
    LockError
        If it cannot be read, is damaged, or is no lock file; one line, with its path.
    """
    try:
        return load(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}"
    except LockError as error:
        reason = str(error)
    raise LockError(f"provenance lock {path}: {reason}")


def load(data: bytes) -> Lock:
    """Read a lock file.

    Raises
    ------
    LockError
        If it is damaged, or no lock file; one line.
    """
    if len(data) > MAX_BYTES:
        raise LockError(f"it has {len(data)} bytes, and a lock file has at most {MAX_BYTES}")
    try:
        fields = _plain(tomllib.loads(data.decode("utf-8")))
    except ValueError as error:
        raise LockError(f"it is not TOML: {error}".replace("\n", " ")) from None
    except RecursionError:
        raise LockError("it is damaged: it is nested too deeply") from None
    if "schema" not in fields or "claim" not in fields:
        raise LockError("it is TOML, but no lock file: it has no `schema`, or no `claim`")
    if fields["schema"] != SCHEMA:
        raise LockError(
            f"it is of schema {repr(fields['schema'])[:40]}, "
            f"and this version of provenance reads {SCHEMA}"
        )
    more = sorted(fields.keys() - {"schema", "versions", "claim"})
    if more:
        raise LockError(f"it is damaged: it has the key {more[0]!r}, which no lock file has")
    return _checked(fields)


def _checked(fields: dict[str, Any]) -> Lock:
    from pydantic import ValidationError

    known = {"claims": fields["claim"], "versions": fields.get("versions", {})}
    try:
        reader = adapter(Lock, (PinnedModel, Pinned, Lock))
        lock = reader.validate_json(json.dumps(known), strict=True)
    except ValidationError as error:
        raise LockError(f"it is damaged at {visible(first_problem(error))}") from None
    if len(lock.by_key()) < len(lock.claims):
        raise LockError("it is damaged: it pins a claim twice (was a merge left unfinished?)")
    for claim in lock.claims:
        for log10_p in (claim.log10_p, *claim.blocks.values()):
            if log10_p is not None and log10_p > 0:
                where = "::".join(claim.key)
                raise LockError(f"it is damaged at {visible(where)}: {log10_p} is no log10 p-value")
    return lock


def _plain(value: Any) -> Any:
    """What TOML has as JSON has it: None where it has no word for it, dates as text.

    Raises
    ------
    LockError
        If a number has more than 64 bits; hexadecimal ones of any length are read.
    RecursionError
        If it is nested too deeply: a key with dots can be so, without any depth of the text.
    """
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, int) and value.bit_length() > 64:
        raise LockError("it is damaged: a number has more than 64 bits")
    if isinstance(value, date | time):  # a datetime is a date
        return str(value)
    return None if value == NOT_TESTED else value
