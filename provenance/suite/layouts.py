"""Rules of what a suite says of a model's tensors: patterns of names that can be found and fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provenance.architecture.by_names.patterns import (
    BLOCK,
    CUTS,
    EXPERT,
    fault_of,
    home_of,
    split_cut,
)
from provenance.suite.yaml_limits import shown
from provenance.vocabulary import WITHOUT_NORM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.errors import Problem
    from provenance.suite.yaml12 import Document, YamlPath

MLP = ("gate", "up", "down")


def layout_problems(document: Document, path: YamlPath, model: dict[str, Any]) -> Iterator[Problem]:
    """Find the mistakes in the layout of a model; ``path`` is the layout's."""
    said = model.get("layout")
    if not isinstance(said, dict):
        return
    if model.get("trust_remote_code") is True:
        what = "a layout is of a model whose code is not run: remove it, or trust_remote_code"
        yield document.key_problem(path, what)
    yield from _mlps_problems(document, path, said)
    for key in ("norm", "router"):
        pattern = said.get(key)
        if isinstance(pattern, str) and (key, pattern) != ("norm", WITHOUT_NORM):
            fault = fault_of(pattern)
            if fault is not None:
                yield document.problem((*path, key), f"{key} {fault}")
    table = said.get("embedding")
    if isinstance(table, str) and (BLOCK in table or EXPERT in table):
        what = f"embedding is one tensor of the model: it has no {BLOCK} and no {EXPERT}"
        yield document.problem((*path, "embedding"), what)


def _mlps_problems(document: Document, path: YamlPath, said: dict[str, Any]) -> Iterator[Problem]:
    """Find the mistakes in the names of all MLPs."""
    homes: dict[str, YamlPath] = {}
    for at in (path, (*path, "shared"), (*path, "experts")):
        names = said if at == path else said.get(str(at[-1]))
        if isinstance(names, dict) and any(key in names for key in MLP):
            yield from _mlp_problems(document, at, names, experts=at != path)
            if isinstance(names.get("up"), str):
                homes.setdefault(home_of(names["up"]), (*at, "up"))
    if len(homes) > 1:
        first, second = list(homes)[:2]
        what = f"MLPs of {shown(first)} and of {shown(second)} are of two lists: name those of one"
        yield document.problem(homes[second], what)


def _mlp_problems(
    document: Document, path: YamlPath, names: dict[str, Any], *, experts: bool
) -> Iterator[Problem]:
    """Find the mistakes in the names of one MLP."""
    for key in ("up", "down"):
        if key not in names and not experts:  # the schema says so of the others
            other = next(one for one in MLP if one in names)
            what = f"{other} without {key}: an MLP has up and down, and most have a gate"
            yield document.key_problem((*path, other), what)
            return
    given = {key: names[key] for key in MLP if isinstance(names.get(key), str)}
    cuts = {}
    for key, text in given.items():
        pattern, cuts[key] = split_cut(text)
        fault = fault_of(pattern, experts=experts)
        if fault is not None:
            yield document.problem((*path, key), f"{key} {fault}")
    if len({text.count(EXPERT) for text in given.values()}) > 1:
        what = f"some of gate, up and down have {EXPERT}, and some have not: write it in all, or in none"
        yield document.problem((*path, next(iter(given))), what)
    if cuts.get("down"):
        what = "down is a whole tensor: only gate and up may be parts of one"
        yield document.problem((*path, "down"), what)
    if "up" in given:
        yield from _cut_problems(document, path, given, cuts)


def _cut_problems(
    document: Document, path: YamlPath, given: dict[str, str], cuts: dict[str, str]
) -> Iterator[Problem]:
    """Find gates and ups that are not the two parts of one tensor, or one tensor without parts."""
    if "gate" not in given:
        if cuts["up"]:
            yield document.problem((*path, "up"), "up is part of a tensor: name the gate in it too")
        return
    gate, up = (split_cut(given[key])[0] for key in ("gate", "up"))
    pair = cuts["gate"], cuts["up"]
    allowed = " or ".join(f"{first} and {second}" for first, second in list(CUTS)[1:])
    if pair not in CUTS or (pair != ("", "") and gate != up):
        what = f"gate and up are parts of one tensor that do not make it up: end them in {allowed}"
        yield document.problem((*path, "gate"), what)
    elif pair == ("", "") and gate == up:
        what = f"gate and up are one tensor: say which part each is, by {allowed} at the end"
        yield document.problem((*path, "gate"), what)
