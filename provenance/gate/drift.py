"""What differs between a run and its lock file, each difference in one line that says how to accept it."""

from __future__ import annotations

import shlex
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provenance.evidence.outcomes import p_value
from provenance.gate.lock import Pinned, as_declared, pinned, stale

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from provenance.evidence.results import Results, SuiteRecord
    from provenance.gate.lock import Key, Lock, PinnedModel

RELATIVE = 0.05
"""Share by which a log10 p-value may move.

A matching that mostly agrees moves in proportion to its log10 p where another machine, or another
version of torch, rounds differently and a few units change partners.
"""
ABSOLUTE = 0.5
"""What it may move in any case: a factor of three in p.

Between strangers the matchings are of noise and log10 p is near 0, so that a relative tolerance would
allow nothing.
"""


@dataclass(frozen=True)
class Drift:
    """One difference.

    ``claim`` is None where it is of a whole suite; ``run`` is what pytest must run to accept it.
    """

    suite: str
    claim: str | None
    text: str
    run: str

    def line(self, lock: str) -> str:
        """The complaint, with the command that accepts it."""
        where = self.suite if self.claim is None else f"{self.suite}::{self.claim}"
        command = shlex.join(["pytest", self.run, "--provenance-lock", lock, "--update-lock"])
        return f"provenance lock: {where} {self.text}; to accept it: {command}"


def drift(lock: Lock, results: Results, gone: Iterable[str] = ()) -> tuple[Drift, ...]:
    """Compare a run with its lock file.

    What did not run, or could not be checked, is not compared. Suites in ``gone`` are pinned and their
    files are no more.
    """
    before = lock.by_key()
    now = {claim.key: claim for claim in pinned(results)}
    drifts: list[Drift] = list(_thresholds(before, now.values()))
    for key, claim in now.items():
        old = before.get(key)
        texts = [_NEW] if old is None else _changes(old, claim)
        drifts += [Drift(*key, text, "::".join(key)) for text in texts]
    return (*drifts, *_stale(before, results.suites, gone))


def declared_drift(
    lock: Lock, suites: Sequence[SuiteRecord], gone: Iterable[str] = ()
) -> tuple[Drift, ...]:
    """Compare a lock file with suites as they are now; nothing is run.

    What only a run can tell is taken for what is pinned. A claim need not be pinned that is skipped or
    tagged, which a run may have left out, or is of the nearest kin, of which nothing is pinned.
    """
    before = lock.by_key()
    drifts: list[Drift] = []
    now: list[Pinned] = []
    for suite in suites:
        for claim in suite.claims:
            old = before.get((suite.path, claim.id))
            if old is not None:
                now.append(as_declared(old, claim))
            elif not (claim.skip or claim.tags or claim.among or claim.library):
                run = f"{suite.path}::{claim.id}"
                drifts.append(Drift(suite.path, claim.id, _NEW, run))
    changes = [
        Drift(*new.key, text, "::".join(new.key))
        for new in now
        for text in _changes(before[new.key], new)
    ]
    return (*_thresholds(before, now), *drifts, *changes, *_stale(before, suites, gone))


def _stale(
    before: dict[Key, Pinned], suites: Sequence[SuiteRecord], gone: Iterable[str]
) -> Iterator[Drift]:
    """What is pinned of no claim any more; what accepts it is a run of a suite that is there."""
    there = [suite.path for suite in suites]
    for suite, name in stale(before, suites, gone):
        if suite in there:
            yield Drift(suite, name, _STALE, suite)
        else:
            yield Drift(suite, name, _GONE, there[0])


_NEW = "is not in the lock file: the claim is new"
_STALE = "is pinned, but the suite no longer has the claim"
_GONE = "is pinned, but the suite's file is no more"


def _thresholds(before: dict[Key, Pinned], now: Iterable[Pinned]) -> Iterator[Drift]:
    """One line a suite: adding a claim moves the thresholds of all."""
    moved: dict[tuple[str, float, float], list[str]] = defaultdict(list)
    for claim in now:
        old = before.get(claim.key)
        if old is not None and old.threshold != claim.threshold:
            moved[claim.suite, old.threshold, claim.threshold].append(claim.id)
    for (suite, was, is_), ids in moved.items():
        claims = "1 claim" if len(ids) == 1 else f"{len(ids)} claims"
        text = f"judges {claims} at the threshold {is_:.3g}, pinned at {was:.3g}"
        yield Drift(suite, None, text, suite)


def _changes(old: Pinned, new: Pinned) -> Iterator[str]:
    same = True
    for role in ("candidate", "reference"):
        text = _model(role, getattr(old, role), getattr(new, role))
        if text is not None:
            same = False
            yield text
    for what in ("expect", "statistic", "inputs"):
        was, is_ = getattr(old, what), getattr(new, what)
        if was != is_:
            same = False
            yield f"has {what} {is_}, pinned {was}"
    for index in sorted({*old.alphas, *new.alphas}):
        was, is_ = old.alphas.get(index), new.alphas.get(index)
        if was != is_:
            yield f"has {_alpha(is_)} for block {index}, pinned {_alpha(was)}"
    if (old.verdict, old.state) != (new.verdict, new.state):
        yield f"is {new.verdict} ({new.state}), pinned {old.verdict} ({old.state})"
    if same:  # another model or input has other p-values, which goes without saying
        yield from _p_values(old, new)


def _alpha(alpha: float | None) -> str:
    return "no alpha of its own" if alpha is None else f"alpha {alpha:g}"


def _model(role: str, old: PinnedModel, new: PinnedModel) -> str | None:
    if old.name != new.name:
        digest = f" ({new.digest})" if new.digest else ""
        return f"has the {role} {new.name}{digest}, pinned {old.name} ({old.digest})"
    if old.digest == new.digest:
        return None
    what = f"has another {role} behind the name {new.name}: {new.digest}, pinned {old.digest}"
    if old.weights and old.weights == new.weights:
        what += " (its configuration changed, its weights did not)"
    return what


def _p_values(old: Pinned, new: Pinned) -> Iterator[str]:
    if _moved(old.log10_p, new.log10_p):
        yield f"has p = {_p(new.log10_p)} from the same models and inputs, pinned {_p(old.log10_p)}"
    moved = [
        index
        for index in sorted({*old.blocks, *new.blocks})
        if _moved(old.blocks.get(index), new.blocks.get(index))
    ]
    if moved:
        index = moved[0]
        was, is_ = old.blocks.get(index), new.blocks.get(index)
        others = f", and {len(moved) - 1} more blocks moved" if len(moved) > 1 else ""
        yield (
            f"has p = {_p(is_)} in block {index} from the same models and inputs, pinned "
            f"{_p(was)}{others}"
        )


def _moved(old: float | None, new: float | None) -> bool:
    if old is None or new is None:
        return old is not new
    return abs(new - old) > max(ABSOLUTE, RELATIVE * abs(old))


def _p(log10_p: float | None) -> str:
    return p_value(log10_p, "none")
