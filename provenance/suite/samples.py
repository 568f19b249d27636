"""Rules of claims that are checked on a sample: what they cannot ask for, what independence must say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provenance.statistics import REGISTRY
from provenance.vocabulary import DEFAULT_STATISTIC, SAMPLED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from provenance.errors import Problem
    from provenance.suite.trees import Kin
    from provenance.suite.yaml12 import Document, YamlPath

INDEPENDENCE = (
    "a sample shows no independence of the rest: remove sample, or claim no more than it shows by "
    "scope: sampled"
)


def sample_problems(document: Document, implied: Sequence[Kin]) -> Iterator[Problem]:
    """Find claims of which a sample could never decide what they say.

    Parameters
    ----------
    implied : sequence of Kin
        The pairs that the lineage implies.
    """
    suite = document.value
    defaults = suite.get("defaults")
    defaults = defaults if isinstance(defaults, dict) else {}
    yield from _of_choices(document, ("defaults",), defaults, {})
    unsaid = defaults.get("sample") is not None and defaults.get("scope") is None
    if unsaid and any(kin.expect == "independent" for kin in implied):
        yield document.key_problem(("lineage",), INDEPENDENCE)
    pairs = suite.get("pairs")
    for i, pair in enumerate(pairs if isinstance(pairs, list) else []):
        if isinstance(pair, dict) and not isinstance(
            pair.get("expect"), dict
        ):  # it is of no sample
            yield from _of_pair(document, ("pairs", i), pair, defaults)


def _of_pair(
    document: Document, path: YamlPath, pair: dict[str, Any], defaults: Mapping[str, Any]
) -> Iterator[Problem]:
    yield from _of_choices(document, path, pair, defaults)
    said = {**defaults, **pair}
    if said.get("sample") is None:
        return
    if pair.get("expect") == "independent" and said.get("scope") is None:
        yield document.problem((*path, "expect"), INDEPENDENCE)
    if isinstance(pair.get("alpha"), dict):
        what = "which blocks a sample has is drawn, so that none has an alpha of its own: give one number"
        yield document.problem((*path, "alpha"), what)


def _of_choices(
    document: Document, path: YamlPath, own: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Iterator[Problem]:
    """Find what stands beside a sample, or a scope without one, in a pair or in the defaults."""
    said = {**defaults, **own}
    if said.get("sample") is None:
        if own.get("scope") is not None:
            what = "scope: sampled belongs to a sample: give one, as in sample: 4, or remove scope"
            yield document.key_problem((*path, "scope"), what)
        return
    key = next((key for key in ("sample", *BESIDE) if key in own), None)
    if key is None:  # the defaults say all of it, and are told of
        return
    blocks = said.get("blocks")
    if isinstance(blocks, list) or blocks == "cross":
        what = "a sample draws its blocks: give blocks: all or {at_least: 0.9}, or remove sample"
        yield document.key_problem((*path, key), what)
    if said.get("exhaustive") is True:
        yield document.key_problem(
            (*path, key), "exhaustive compares all, and a sample some: keep one"
        )
    named = said.get("statistic", DEFAULT_STATISTIC)
    for name in named if isinstance(named, list) else [named]:
        if isinstance(name, str) and name in REGISTRY and name not in SAMPLED:
            what = f"{name} reads the whole of both models: a sample is compared by {', '.join(SAMPLED)}"
            yield document.key_problem((*path, key), what)


BESIDE = ("blocks", "exhaustive", "statistic")
"""Keys that a sample restricts."""
