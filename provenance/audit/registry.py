"""Reads which models are audited, from a registry file, a suite or a folder of checkpoints."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance._text import closest, expanded
from provenance.audit.folder import models_in
from provenance.errors import ProvenanceError, SuiteError
from provenance.statistics import DISTANCES, WITHOUT_P, default_statistic
from provenance.suite.claims import absolute, inputs_of, layout_lines, models_of
from provenance.suite.read import checked, decode, digest_of_bytes, loads, read_bytes
from provenance.suite.yaml12 import Mark, read
from provenance.vocabulary import (
    DEFAULT_ALPHA,
    DEFAULT_STATISTIC,
    InputsSpec,
    ModelSpec,
    StatisticName,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from os import PathLike

    from provenance.errors import Problem
    from provenance.suite.messages import Hints
    from provenance.suite.schema import RegistryDocument
    from provenance.suite.yaml12 import Document

SUITE_KEYS = ("pairs", "lineage")
"""Keys of a suite: of such a file only the models, inputs and defaults count."""
NOWHERE = Mark(1, 1, 1, 1)


@dataclass(frozen=True)
class Registry:
    """Models, every pair of which is to be judged.

    ``path`` is absolute. ``ignored`` holds the reasons of pairs that are not judged, by their two names;
    ``marks`` where models are declared. ``alpha`` is divided by the number of pairs that are judged.
    ``allowed`` holds the reasons why no pair of a model need be judged, by the model's name.
    ``exhaustive`` has every block of every pair compared, without a screen. ``control`` says whether the
    power control is run where nothing is found. ``distances`` has the weights of kin compared number by
    number, by which families' trees are drawn.
    """

    path: Path
    models: Mapping[str, ModelSpec]
    inputs: InputsSpec = field(default_factory=InputsSpec)
    statistic: StatisticName = DEFAULT_STATISTIC
    alpha: float = DEFAULT_ALPHA
    ignored: Mapping[frozenset[str], str] = field(default_factory=dict)
    marks: Mapping[str, Mark] = field(default_factory=dict)
    digest: str = ""
    exhaustive: bool = False
    control: bool = True
    distances: bool = False
    allowed: Mapping[str, str] = field(default_factory=dict)

    def allowing(self, names: Iterable[str], reason: str) -> Registry:
        """Return the registry that allows that the pairs of these models are not judged.

        Raises
        ------
        ProvenanceError
            If a name is none of its models: a mistyped name would allow nothing.
        """
        given = dict.fromkeys(names, reason)
        for name in given.keys() - self.models.keys():
            near = closest(name, list(self.models))
            hint = f"; did you mean {near!r}?" if near else ""
            raise ProvenanceError(
                f"{self.path}: allow: names {name!r}, which is no model of the registry{hint}"
            )
        return replace(self, allowed={**self.allowed, **given})

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every pair once, as (candidate, reference): the reference is the one that is declared first.

        Neighbours in the order share a model, and a model comes once all before it have met.
        """
        names = list(self.models)
        pairs = []
        for i, candidate in enumerate(names):
            earlier = names[:i] if i % 2 else names[:i][::-1]
            pairs += [(candidate, reference) for reference in earlier]
        return tuple(pair for pair in pairs if frozenset(pair) not in self.ignored)

    def statistic_of(self, candidate: str, reference: str) -> StatisticName:
        """The statistic of a pair; in place of the default, what a fingerprint among the two carries."""
        if self.statistic != DEFAULT_STATISTIC:
            return self.statistic
        return default_statistic(self.models[candidate], self.models[reference])

    @property
    def threshold(self) -> float:
        """``alpha`` divided by the number of pairs (Bonferroni)."""
        models = len(self.models)
        return self.alpha / max(1, models * (models - 1) // 2 - len(self.ignored))


def load_registry(path: str | PathLike[str]) -> Registry:
    """Read a registry file, a suite file, or a folder of checkpoints.

    Of a suite, its models, its inputs and the statistic and alpha of its `defaults` count; its claims do
    not. Of a folder, every checkpoint below it counts that is not inside another one.

    Raises
    ------
    SuiteError
        With all the mistakes of a file.
    ProvenanceError
        A folder that cannot be read, or fewer than two models.
    """
    path = Path(os.path.abspath(expanded(os.fspath(path))))  # noqa: PTH100 - resolve() follows links
    registry = _of_folder(path) if path.is_dir() else _of_file(path)
    if len(registry.models) < 2:
        number = "one model" if registry.models else "no model"
        raise ProvenanceError(f"{path} has {number}, and an audit compares pairs: give two or more")
    if not registry.pairs():
        raise ProvenanceError(f"{path}: every pair is ignored, so that nothing would be judged")
    return registry


def _of_folder(path: Path) -> Registry:
    models = models_in(path)
    names = "\n".join(models).encode("utf-8", "surrogatepass")
    return Registry(path, models, digest=f"sha256:{sha256(names).hexdigest()}")


def _of_file(path: Path) -> Registry:
    from provenance.suite.schema import REGISTRY_VERBATIM, RegistryDocument

    data = read_bytes(path)
    text = decode(data, path)
    document = read(text, path, verbatim=REGISTRY_VERBATIM)
    if not isinstance(document.value, dict):
        what = "a registry is a mapping with the keys version and models, or version and folder"
        raise SuiteError(path, [*document.problems, document.problem((), what)])
    marks = {
        str(key[1]): mark
        for key, mark in document.keys.items()
        if key[0] == "models" and len(key) == 2
    }
    if any(key in document.value for key in SUITE_KEYS):
        registry = _of_suite(text, path, document.value)
    else:
        lines = layout_lines(document, path)
        registry = _registry(checked(document, path, RegistryDocument, _rules), path, lines)
    return replace(registry, digest=digest_of_bytes(data), marks=marks)


def _of_suite(text: str, path: Path, raw: dict[str, Any]) -> Registry:
    suite = loads(text, path)
    defaults = raw.get("defaults", {})
    named = defaults.get("statistic", DEFAULT_STATISTIC)
    several = named if isinstance(named, list) else [named]
    able = [name for name in several if name not in WITHOUT_P | DISTANCES]
    return Registry(
        path=path,
        models=suite.models,
        inputs=suite.inputs,
        statistic=able[0] if able else DEFAULT_STATISTIC,
        alpha=defaults.get("alpha", DEFAULT_ALPHA),
        control=suite.controls != "none",
    )


def _registry(document: RegistryDocument, path: Path, lines: Mapping[str, str]) -> Registry:
    models = models_of(document.models, path.parent, lines)
    if document.folder is not None:
        folder = Path(absolute(document.folder, path.parent))
        in_folder = models_in(folder)
        both = sorted(in_folder.keys() & models.keys())
        if both:
            raise ProvenanceError(
                f"{path}: {both[0]!r} is declared under models: and lies in {folder}; rename one"
            )
        models = {**models, **in_folder}
    ignored = {frozenset(entry.pair): " ".join(entry.reason.split()) for entry in document.ignore}
    _check_ignored(ignored, models, path)
    registry = Registry(
        path=path,
        models=models,
        inputs=inputs_of(document.inputs, path.parent),
        statistic=document.statistic,
        alpha=document.alpha,
        ignored=ignored,
        exhaustive=document.exhaustive,
        control=document.control,
        distances=document.distances,
    )
    for entry in document.allow:
        registry = registry.allowing([entry.model], " ".join(entry.reason.split()))
    return registry


def _check_ignored(
    ignored: Mapping[frozenset[str], str], models: Mapping[str, ModelSpec], path: Path
) -> None:
    """Refuse a pair to ignore that the registry does not have: a mistyped name would ignore nothing."""
    pairs = {frozenset(pair) for pair in combinations(models, 2)}
    for pair in ignored:
        if pair not in pairs:
            names = " and ".join(repr(name) for name in sorted(pair))
            raise ProvenanceError(
                f"{path}: ignore: names {names}, which is no pair of the registry's models"
            )


def _rules(document: Document, _hints: Hints) -> Iterator[Problem]:
    """Find the mistakes that no field shows by itself."""
    from provenance.suite.rules import models_problems

    yield from models_problems(document)
    raw = document.value
    if "models" not in raw and "folder" not in raw:
        yield document.problem((), "the registry has no models: write models:, or folder:")
    statistic = raw.get("statistic")
    if isinstance(statistic, str) and statistic in WITHOUT_P:
        yield document.problem(("statistic",), f"{statistic} has no p-value and decides no pair")
    if isinstance(statistic, str) and statistic in DISTANCES:
        what = f"{statistic} needs more permutations than an audit draws: use it in a suite"
        yield document.problem(("statistic",), what)
