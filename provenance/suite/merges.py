"""Rules of claims that name the parents of a merge: who they are, what their shares are, what is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provenance.suite.said import pairs_of_two
from provenance.suite.yaml_limits import shown
from provenance.vocabulary import MOST_SHARE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from provenance.errors import Problem
    from provenance.suite.messages import Hints
    from provenance.suite.said import SaidPair
    from provenance.suite.yaml12 import Document, YamlPath

ROUNDING = 0.005
"""How far the sum of all shares may be from 1: they are written with few digits."""


def merge_problems(document: Document, hints: Hints) -> Iterator[Problem]:
    """Find the mistakes in what claims say of parents."""
    for one in pairs_of_two(document):
        yield from _of_pair(document, one, hints)


def _of_pair(document: Document, one: SaidPair, hints: Hints) -> Iterator[Problem]:
    path, pair = one.path, one.pair
    expect = pair.get("expect")
    shares = expect.get("merge") if isinstance(expect, dict) else None
    at: YamlPath = (*path, "expect", "merge") if isinstance(shares, dict) else (*path, "parents")
    if "tolerance" in pair and not isinstance(shares, dict):
        what = "tolerance belongs to shares: write expect: {merge: {a: 0.6, b: 0.4}}, or remove it"
        yield document.key_problem((*path, "tolerance"), what)
    if "parents" in pair and expect != "merge":
        what = "parents are of a merge: write expect: merge, or remove them"
        if isinstance(expect, dict):
            what = "expect has the parents already: remove parents"
        yield document.key_problem((*path, "parents"), what)
    if isinstance(shares, dict):
        yield from _of_shares(document, at, shares)
        names: Sequence[Any] = list(shares)
    else:
        names = pair["parents"] if isinstance(pair.get("parents"), list) else []
    texts = [name for name in names if isinstance(name, str)]
    if texts:
        yield from _of_names(document, at, pair, texts, one.models, hints)
        yield from _unread(document, at, one.said)


def _of_shares(document: Document, path: YamlPath, shares: Mapping[str, Any]) -> Iterator[Problem]:
    numbers = [x for x in shares.values() if type(x) in {int, float} and abs(x) <= MOST_SHARE]
    if len(shares) < 2:
        yield document.problem(path, "a merge has two parents or more: give the share of each")
    elif len(numbers) == len(shares) and abs(sum(numbers) - 1) > ROUNDING:
        what = (
            f"the shares sum to {sum(numbers):g}, and not to 1: for task arithmetic, give the base the "
            f"rest, {1 - sum(numbers):g}"
        )
        yield document.problem(path, what)


def _of_names(
    document: Document,
    path: YamlPath,
    pair: Mapping[str, Any],
    names: Sequence[str],
    models: Mapping[str, Any],
    hints: Hints,
) -> Iterator[Problem]:
    for i, name in enumerate(names):
        at = (*path, name if path[-1] == "merge" else i)
        find = document.key_problem if path[-1] == "merge" else document.problem
        if name not in models and models:
            hint = hints.did_you_mean(name, models, "declared")
            yield find(at, f"parent {shown(name)} is not declared under models:; {hint}")
        elif name in names[:i]:
            yield find(at, f"parent {shown(name)} is in the list twice: keep one")
        elif name == pair.get("candidate"):
            yield find(at, f"{shown(name)} is the candidate, and no parent of itself: name another")
    reference = pair.get("reference")
    if isinstance(reference, str) and reference not in names:
        what = (
            f"the reference {shown(reference)} is none of the parents: add it, or name one of them"
        )
        yield document.problem(path, what)


def _unread(document: Document, path: YamlPath, said: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what leaves the shares unmeasured."""
    if said.get("sample") is not None:
        yield document.problem(
            path, "shares are read off whole models: remove sample, or name no parents"
        )
    if said.get("kind") == "any":
        what = "with kind: any no shares are measured: give kind: measured, or name no parents"
        yield document.problem(path, what)
