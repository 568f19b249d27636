"""Rules of claims that are given a base: that it is a third model, and that the claim means something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.suite.said import pairs_of_two
from provenance.suite.yaml_limits import shown
from provenance.vocabulary import GIVEN_EXPECTATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.errors import Problem
    from provenance.suite.messages import Hints
    from provenance.suite.said import SaidPair
    from provenance.suite.yaml12 import Document


def given_problems(document: Document, hints: Hints) -> Iterator[Problem]:
    """Find the mistakes in what claims say of a base that both models descend from."""
    for one in pairs_of_two(document):
        if isinstance(one.pair.get("given"), str):
            yield from _of_pair(document, one, hints)


def _of_pair(document: Document, one: SaidPair, hints: Hints) -> Iterator[Problem]:
    at, pair, models = (*one.path, "given"), one.pair, one.models
    name, expect = pair["given"], pair.get("expect")
    if name not in models and models:
        hint = hints.did_you_mean(name, models, "declared")
        yield document.problem(at, f"base {shown(name)} is not declared under models:; {hint}")
    for role in ("candidate", "reference"):
        if name == pair.get(role):
            what = f"{shown(name)} is the {role} itself, and no base of both: name a third model"
            yield document.problem(at, what)
    if isinstance(expect, dict) or (isinstance(expect, str) and expect not in GIVEN_EXPECTATIONS):
        what = f"given belongs to a claim of {', '.join(GIVEN_EXPECTATIONS[:-1])} or "
        what += f"{GIVEN_EXPECTATIONS[-1]}: claim one of these, or remove given"
        yield document.key_problem(at, what)
    if one.said.get("sample") is not None:
        what = "what two share beyond a base is read off whole models: remove sample, or given"
        yield document.key_problem(at, what)
