"""Rules of claims of the nearest kin: which keys they have, and that what they name is a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provenance.suite.messages import missing
from provenance.suite.schema import OF_MANY, OF_ONE_PAIR, SuiteDocument, kind_of_expectation
from provenance.suite.yaml_limits import shown
from provenance.vocabulary import NO_KIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provenance.errors import Problem
    from provenance.suite.messages import Hints
    from provenance.suite.yaml12 import Document, YamlPath


def nearest_of(pair: Mapping[str, Any]) -> str | None:
    """Which reference a pair claims to be the nearest kin; None where it claims something else."""
    expect = pair.get("expect")
    name = expect.get("nearest") if isinstance(expect, dict) else None
    return name if isinstance(name, str) else None


def nearest_problems(document: Document, hints: Hints) -> Iterator[Problem]:
    """Find keys that do not belong to what a pair claims, and references that there are not."""
    pairs, models = document.value.get("pairs"), document.value.get("models")
    for i, pair in enumerate(pairs if isinstance(pairs, list) else []):
        if not isinstance(pair, dict):
            continue
        if kind_of_expectation(pair.get("expect")) == "<nearest>":
            yield from _of_many(
                document, ("pairs", i), pair, models if isinstance(models, dict) else {}, hints
            )
        else:
            yield from _of_one(document, ("pairs", i), pair)


def _of_one(document: Document, path: YamlPath, pair: Mapping[str, Any]) -> Iterator[Problem]:
    if "reference" not in pair:
        yield document.problem(path, missing((*path, "reference"), SuiteDocument))
    for key in OF_MANY:
        if key in pair:
            what = f"{key} belongs to a claim of the nearest kin: write expect: {{nearest: NAME}}"
            yield document.key_problem((*path, key), f"{what}, or remove {key}")


def _of_many(
    document: Document,
    path: YamlPath,
    pair: Mapping[str, Any],
    models: Mapping[str, Any],
    hints: Hints,
) -> Iterator[Problem]:
    for key in OF_ONE_PAIR:
        if key in pair:
            what = "is of one pair, and the nearest kin is of many references: remove it"
            yield document.key_problem((*path, key), f"{key} {what}")
    if isinstance(pair.get("alpha"), dict):
        what = "the nearest kin has one alpha, and none for a block: give one number"
        yield document.problem((*path, "alpha"), what)
    yield from _among_problems(document, path, pair, models, hints)
    yield from _name_problems(document, path, pair, models, hints)


def _among_problems(
    document: Document,
    path: YamlPath,
    pair: Mapping[str, Any],
    models: Mapping[str, Any],
    hints: Hints,
) -> Iterator[Problem]:
    """Find references that are no models of the suite, that stand twice, or that are the candidate."""
    among = pair.get("among")
    names = among if isinstance(among, list) else []
    for k, name in enumerate(names):
        if not isinstance(name, str):
            continue  # the schema says so
        at = (*path, "among", k)
        if name not in models:
            hint = hints.did_you_mean(name, models, "declared")
            yield document.problem(
                at, f"reference {shown(name)} is not declared under models:; {hint}"
            )
        elif name == pair.get("candidate"):
            what = f"{shown(name)} is the candidate, and no reference of its own: remove it"
            yield document.problem(at, what)
        elif name in names[:k]:
            yield document.problem(at, f"reference {shown(name)} is in the list twice: keep one")


def _name_problems(
    document: Document,
    path: YamlPath,
    pair: Mapping[str, Any],
    models: Mapping[str, Any],
    hints: Hints,
) -> Iterator[Problem]:
    """Find a nearest kin that is none of the references, as far as they are known without the library."""
    name, at, among = nearest_of(pair), (*path, "expect", "nearest"), pair.get("among")
    others = [other for other in models if other != pair.get("candidate")]
    named = among if isinstance(among, list) else [] if "library" in pair else others
    if name == NO_KIN and NO_KIN in named:
        what = (
            f"{NO_KIN} says that no reference is kin, and is also a model's name: rename the model"
        )
        yield document.problem(at, what)
    elif name is not None and name == pair.get("candidate") and "library" not in pair:
        what = f"{shown(name)} is the candidate, and no reference of its own: name another"
        yield document.problem(at, what)
    elif name is not None and name != NO_KIN and "library" not in pair and name not in named:
        known = [one for one in named if isinstance(one, str)]
        hint = hints.did_you_mean(name, known, "references")
        yield document.problem(at, f"{shown(name)} is none of the references; {hint}")
    elif name == NO_KIN and not named and "library" not in pair:
        what = "there is no reference: declare one more model, or give a library"
        yield document.problem(at, what)
