"""What changed between two complete runs of one registry. Pure functions of what they recorded."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from provenance.audit.records import Change
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from provenance.audit.records import AuditedModel, AuditedPair, Snapshot


def changes(before: Snapshot, now: Snapshot) -> tuple[Change, ...]:
    """Everything that changed, models first.

    A model that was renamed is followed: its pairs are compared with what they were under its old name.
    """
    moved = _moves(_by_name(before.models), _by_name(now.models))
    return (
        *_models(_by_name(before.models), _by_name(now.models), moved),
        *_pairs(_renamed(before, moved), now),
    )


def kin_before(before: Snapshot, models: Sequence[AuditedModel]) -> list[tuple[str, str]]:
    """Pairs that the run before found dependent, by the names of now."""
    moved = _moves(_by_name(before.models), _by_name(models))
    return [
        (pair.candidate, pair.reference)
        for pair in _renamed(before, moved).pairs
        if pair.verdict == "dependent"
    ]


def unsettled(before: Snapshot, models: Sequence[AuditedModel]) -> set[frozenset[str]]:
    """Pairs that were judged and not called independent, by their two names of now."""
    moved = _moves(_by_name(before.models), _by_name(models))
    return {
        pair.names
        for pair in _renamed(before, moved).pairs
        if pair.verdict in {"dependent", "inconclusive"}
    }


def _by_name(models: Sequence[AuditedModel]) -> dict[str, AuditedModel]:
    return {model.name: model for model in models}


def _moves(before: Mapping[str, AuditedModel], now: Mapping[str, AuditedModel]) -> dict[str, str]:
    """New names by old ones: the old is gone, and the new has its digest."""
    gone = defaultdict(list)
    for name, model in sorted(before.items()):
        if name not in now and model.digest is not None:
            gone[model.digest].append(name)
    return {
        gone[model.digest].pop(0): name
        for name, model in sorted(now.items())
        if name not in before and model.digest is not None and gone[model.digest]
    }


def _models(
    before: Mapping[str, AuditedModel], now: Mapping[str, AuditedModel], moved: Mapping[str, str]
) -> Iterator[Change]:
    for old, new in moved.items():
        yield Change("moved", (old, new), f"{old} is called {new} now: the same weights")
    for name in sorted(before.keys() - now.keys() - moved.keys()):
        yield Change("model-gone", (name,), f"{name} is not in the registry any more")
    for name in sorted(now.keys() - before.keys() - set(moved.values())):
        yield Change("new-model", (name,), f"{name} is new{_twin(now[name], before, ', ')}")
    for name in sorted(now.keys() & before.keys()):
        yield from _same_name(before[name], now[name], before)


def _same_name(
    was: AuditedModel, model: AuditedModel, before: Mapping[str, AuditedModel]
) -> Iterator[Change]:
    if model.error is not None:
        if was.error is None:
            yield Change("failing", (model.name,), f"it cannot be read any more: {model.error}")
    elif was.error is not None:
        yield Change("mended", (model.name,), "it can be read again")
    elif model.digest != was.digest:
        what = "other weights stand behind this name"
        if model.weights_digest == was.weights_digest:
            what = "its configuration changed, its weights did not"
        twin = _twin(model, before, ": ")
        yield Change("changed-digest", (model.name,), what + twin)


def _twin(model: AuditedModel, before: Mapping[str, AuditedModel], link: str) -> str:
    """Which model had these very weights before."""
    names = [
        name
        for name, other in sorted(before.items())
        if model.digest is not None and other.digest == model.digest and name != model.name
    ]
    return f"{link}those that {names[0]} had" if names else ""


def _renamed(before: Snapshot, moved: Mapping[str, str]) -> Snapshot:
    def follow(name: str) -> str:
        return moved.get(name, name)

    models = tuple(replace(model, name=follow(model.name)) for model in before.models)
    pairs = tuple(
        replace(pair, candidate=follow(pair.candidate), reference=follow(pair.reference))
        for pair in before.pairs
    )
    return replace(before, models=models, pairs=pairs)


def _pairs(before: Snapshot, now: Snapshot) -> Iterator[Change]:
    was = {pair.names: pair for pair in before.pairs}
    unreadable = {model.name for model in now.models if model.error is not None}
    for pair in now.pairs:
        if pair.names & unreadable:
            continue  # said once, of the model
        yield from _pair(was.get(pair.names), pair, _why(was.get(pair.names), pair, before, now))


def _pair(was: AuditedPair | None, pair: AuditedPair, why: str) -> Iterator[Change]:
    names = (pair.candidate, pair.reference)
    if pair.error is not None:
        if was is None or was.error is None:
            yield Change("failing", names, f"it cannot be judged: {pair.error}")
        return
    p = f"p = {format_p(pair.log10_p)}" if pair.log10_p is not None else "no p-value"
    if was is None or was.verdict is None:
        if pair.verdict == "dependent":
            yield Change("new-kin", names, f"they are kin, {p}")
        elif was is not None:
            yield Change("mended", names, f"it can be judged again: {pair.verdict}, {p}")
        return
    if was.verdict == pair.verdict:
        return
    detail = f"{pair.verdict}, {p}; it was {was.verdict}{why}"
    if pair.verdict == "dependent":
        yield Change("new-kin", names, detail)
    elif was.verdict == "dependent":
        yield Change("lost-kin", names, detail)
    else:
        yield Change("verdict", names, detail)


def _why(was: AuditedPair | None, pair: AuditedPair, before: Snapshot, now: Snapshot) -> str:
    """What else than weights could have changed a verdict."""
    if was is None:
        return ""
    if was.key == pair.key:
        old, new = before.threshold, now.threshold
        return f" (the same evidence; the threshold moved from {old:.3g} to {new:.3g})"
    digests = [
        {model.digest for model in models if model.name in pair.names}
        for models in (before.models, now.models)
    ]
    if digests[0] == digests[1] and was.screened:
        return f" (the same weights; then, only {len(was.screened)} blocks were compared)"
    if digests[0] == digests[1]:
        return " (the same weights; the statistic, the inputs or the code changed)"
    return ""
