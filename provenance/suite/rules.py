"""Rules that take more than one field to check.

They work on raw data, even where it is wrong, so that one run shows all mistakes of a file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from provenance._text import is_url
from provenance.checkpoints.meant import hub_name, is_plainly_path
from provenance.statistics import DISTANCES, PAIR_STATISTICS, REGISTRY, WITHOUT_P, WITHSTANDING
from provenance.suite.alphas import BLOCK_ALPHA_PATTERN, WHOLE, whole_alpha
from provenance.suite.given import given_problems
from provenance.suite.layouts import layout_problems
from provenance.suite.merges import merge_problems
from provenance.suite.messages import NO_PAIRS, describe
from provenance.suite.nearest import nearest_of, nearest_problems
from provenance.suite.samples import sample_problems
from provenance.suite.trees import kin, nodes
from provenance.suite.yaml_limits import find_unprintable, shown
from provenance.vocabulary import (
    COPIES,
    DEFAULT_ALPHA,
    DEFAULT_STATISTIC,
    LEAST_SHARE,
    LEAST_SHARE_OF_COPY,
    PERMUTATIONS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provenance.errors import Problem
    from provenance.suite.messages import Hints
    from provenance.suite.trees import Kin, Node
    from provenance.suite.yaml12 import Document, YamlPath

MAX_BASES = 10
"""Most adapters on adapters, so that a circle ends."""
SOURCES = ("recipe", "path", "repo", "url")


def rule_problems(document: Document, hints: Hints) -> Iterator[Problem]:
    """Find every mistake that takes more than one field to see."""
    suite = document.value
    yield from models_problems(document)
    yield from _repeated_blocks(document, ("defaults", "blocks"), suite.get("defaults"))
    for i, pair in _pairs(suite):
        yield from _pair_problems(document, ("pairs", i), pair)
        yield from _alpha_problems(document, ("pairs", i), pair, _mapping(suite.get("defaults")))
    yield from sample_problems(document, implied_pairs(suite))
    yield from nearest_problems(document, hints)
    yield from merge_problems(document, hints)
    yield from given_problems(document, hints)
    yield from _lineage_problems(document, suite, hints)
    yield from _undecidable(document, suite)
    yield from _powerless(document, suite)
    yield from _small_shares(document, suite)
    yield from _undeclared_models(document, suite, hints)
    yield from _repeated_ids(document, suite)
    yield from _all_skipped(document, suite)


def models_problems(document: Document) -> Iterator[Problem]:
    """Find the mistakes in the models and in their inputs."""
    content = document.value
    yield from _text_problems(document, content)
    yield from _inputs_problems(document, _mapping(content.get("inputs")))
    for name, model in _mapping(content.get("models")).items():
        yield from _model_problems(document, ("models", name), model)
    yield from _base_problems(document, _mapping(content.get("models")))


def claim_id(
    candidate: str, reference: str | None, given: str | None, nearest: str | None = None
) -> str:
    """Return the id of a claim: the given one, else one made of the names of its models.

    ``nearest`` is the reference that a claim on many names, which need not be a model of the suite.
    """
    if nearest is not None:
        return given or f"{candidate}-nearest-{re.sub(r'[^A-Za-z0-9._-]+', '-', nearest)}"
    return given or f"{candidate}-vs-{reference}"


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _pairs(suite: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    pairs = suite.get("pairs")
    for i, pair in enumerate(pairs if isinstance(pairs, list) else []):
        if isinstance(pair, dict):
            yield i, pair


def _text_problems(document: Document, value: Any, path: YamlPath = ()) -> Iterator[Problem]:
    """Find characters in texts that no file name has, such as an escaped NUL."""
    if isinstance(value, str):
        problem = find_unprintable(value)
        if problem:
            yield document.problem(path, f"in {shown(value)}: {problem.message}")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _text_problems(document, inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _text_problems(document, inner, (*path, i))


def _inputs_problems(document: Document, inputs: dict[str, Any]) -> Iterator[Problem]:
    kind = inputs.get("kind")
    if "text" in inputs and kind in ("random", "hidden", "tokens"):
        what = f"'text' is not used with kind: {kind}: remove one of the two"
        yield document.key_problem(("inputs", "text"), what)


def _model_problems(document: Document, path: YamlPath, model: Any) -> Iterator[Problem]:
    if not isinstance(model, dict):
        return
    given = [source for source in SOURCES if source in model]
    name = shown(str(path[-1]))
    if not given:
        yield document.problem(
            path, f"model {name} comes from nowhere: give recipe, path, repo or url"
        )
    elif len(given) > 1:
        what = f"model {name} comes from {' and '.join(given)}: keep one"
        yield document.key_problem((*path, given[1]), what)
    if "revision" in model and "repo" not in model:
        what = "'revision' belongs to a repo: remove it, or give repo"
        yield document.key_problem((*path, "revision"), what)
    for key in ("path", "repo", "url"):
        misplaced = _of_another_key(key, model.get(key))
        if misplaced is not None:
            yield document.key_problem((*path, key), misplaced)
    if "recipe" in model:
        for key in ("base", "allow_pickle", "trust_remote_code", "layout"):
            if key in model:
                what = f"{key!r} has no use for a recipe: remove it"
                yield document.key_problem((*path, key), what)
    yield from layout_problems(document, (*path, "layout"), model)


def _of_another_key(key: str, value: Any) -> str | None:
    """Say which key a model's source belongs under; None where it may stand as it is."""
    if not isinstance(value, str):
        return None
    hub, at, revision = (hub_name(value) or "").partition("@")
    if hub:
        pinned = f", revision: {shown(revision)}" if at else ""
        return f"{key} is an address of the hub: write repo: {shown(hub)}{pinned}"
    if key == "path" and is_url(value):
        return f"path is a URL: write url: {shown(value)}"
    if key == "repo" and is_plainly_path(value):
        return f"repo is a path: write path: {shown(value)}"
    if key == "repo" and "@" in value:
        name, _, revision = value.partition("@")
        return f"repo holds a revision: write repo: {shown(name)}, revision: {shown(revision or 'main')}"
    return None


def _base_problems(document: Document, models: dict[str, Any]) -> Iterator[Problem]:
    """Find chains of bases that are too long or have no end."""
    for name, model in models.items():
        base = _mapping(model).get("base")
        for _ in range(MAX_BASES):
            if not isinstance(base, str) or base not in models:
                break
            base = _mapping(models[base]).get("base")
        else:
            what = f"model {shown(name)} has more than {MAX_BASES} bases below it: name another"
            yield document.problem(("models", name, "base"), what)


def _pair_problems(document: Document, path: YamlPath, pair: dict[str, Any]) -> Iterator[Problem]:
    candidate = pair.get("candidate")
    if isinstance(candidate, str) and candidate == pair.get("reference"):
        what = f"candidate and reference are both {shown(candidate)}: name two models"
        yield document.problem((*path, "reference"), what)
    if "skip" in pair and "xfail" in pair:
        what = "a pair has both skip and xfail: keep one (a skipped pair cannot fail)"
        yield document.key_problem((*path, "xfail"), what)
    if pair.get("expect") == "independent" and "at_least" in _mapping(pair.get("blocks")):
        what = "independence is claimed of every block: give all, or a list of blocks"
        yield document.problem((*path, "blocks"), what)
    yield from _repeated_blocks(document, (*path, "blocks"), pair)
    named = pair.get("statistic")
    named = named if isinstance(named, list) else []
    for i, name in enumerate(named):
        if name in named[:i]:
            what = f"statistic {describe(name)} is in the list twice: keep one"
            yield document.problem((*path, "statistic", i), what)


def _alpha_problems(
    document: Document, path: YamlPath, pair: dict[str, Any], defaults: dict[str, Any]
) -> Iterator[Problem]:
    """Find blocks with an alpha of their own that are no blocks, or that the claim does not test."""
    blocks, levels = pair.get("blocks", defaults.get("blocks")), _mapping(pair.get("alpha"))
    for name in (name for name in levels if name != WHOLE):
        if re.fullmatch(BLOCK_ALPHA_PATTERN, name) is None:
            what = (
                f"alpha has the key {shown(name)}: write a block number such as 0, or {WHOLE}, the alpha "
                "of the claim as a whole and of all other blocks"
            )
            yield document.key_problem((*path, "alpha", name), what)
        elif isinstance(blocks, list) and name not in map(str, blocks):
            what = f"alpha names block {name}, which is not among the claim's blocks"
            yield document.key_problem((*path, "alpha", name), what)
    whole = [name for name in statistics_of(pair, defaults) if name in PAIR_STATISTICS]
    if levels.keys() - {WHOLE} and whole:
        what = f"{whole[0]} compares whole models: give one alpha, since no block has a p-value"
        yield document.problem((*path, "alpha"), what)


def _repeated_blocks(document: Document, path: YamlPath, part: Any) -> Iterator[Problem]:
    blocks = _mapping(part).get("blocks")
    if not isinstance(blocks, list):
        return
    seen: set[int] = set()
    for i, block in enumerate(blocks):
        if type(block) is int and block in seen:
            what = f"block {describe(block)} is in the list twice: keep one"
            yield document.problem((*path, i), what)
        elif type(block) is int:
            seen.add(block)


def _undecidable(document: Document, suite: dict[str, Any]) -> Iterator[Problem]:
    """Find claims that their statistic could never decide, whatever the models are."""
    defaults = _mapping(suite.get("defaults"))
    implied = len(implied_pairs(suite)) * len(statistics_of({}, defaults))
    written = sum(len(statistics_of(pair, defaults)) for _, pair in _pairs(suite))
    claims = max(1, implied + written)
    checked: list[tuple[YamlPath, dict[str, Any]]] = [
        (("pairs", i, "statistic") if "statistic" in pair else ("pairs", i), pair)
        for i, pair in _pairs(suite)
    ]
    if implied:
        checked.append((("lineage",), {}))
    for path, pair in checked:
        if pair.get("expect") == "unknown":
            continue
        named = set(statistics_of(pair, defaults))
        for name in sorted(named & WITHOUT_P):
            what = f"{name} has no p-value and decides no claim: use it with expect: unknown"
            yield document.problem(path, what)
        own = whole_alpha(pair.get("alpha"))
        alpha = defaults.get("alpha", DEFAULT_ALPHA) if own is None else own
        drawn = pair.get("permutations", defaults.get("permutations", PERMUTATIONS))
        if type(alpha) is not float or type(drawn) is not int or alpha / claims > 1 / (drawn + 1):
            continue
        for name in sorted(named & DISTANCES):
            what = (
                f"{name} with {drawn} permutations has no p-value below {1 / (drawn + 1):.2g}, and "
                f"the threshold is {alpha / claims:.2g}: raise permutations, or alpha"
            )
            yield document.problem(path, what)


def _powerless(document: Document, suite: dict[str, Any]) -> Iterator[Problem]:
    """Find claims of independence by what a copy in a disguise that costs nothing passes."""
    defaults, inputs = _mapping(suite.get("defaults")), _mapping(suite.get("inputs"))
    claims: list[tuple[YamlPath, dict[str, Any]]] = [
        (("pairs", i, "statistic") if "statistic" in pair else ("pairs", i, "expect"), pair)
        for i, pair in _pairs(suite)
        if pair.get("expect") == "independent"
    ]
    if any(k.expect == "independent" for k in implied_pairs(suite)):
        claims.append((("lineage",), {}))
    for path, pair in claims:
        for name in dict.fromkeys(statistics_of(pair, defaults)):
            if name not in REGISTRY or name in WITHOUT_P:
                continue
            kind = inputs.get("kind")
            used = REGISTRY[name].on(kind) if kind in ("hidden", "tokens") else name
            if REGISTRY[used].withstanding():
                continue
            how = name if used == name else f"{name} on inputs of kind {kind} is {used}, which"
            what = (
                f"{how} finds no copy in a disguise that costs nothing, and so shows no independence: use "
                f"{', '.join(WITHSTANDING)}, or expect: unknown"
            )
            if used != name:
                what += ", or inputs of another kind"
            yield document.problem(path, what)


def _small_shares(document: Document, suite: dict[str, Any]) -> Iterator[Problem]:
    """Find copies of which most blocks need not be copied."""
    defaults = _mapping(suite.get("defaults"))
    for i, pair in _pairs(suite):
        given = pair if "blocks" in pair else defaults
        share = _mapping(given.get("blocks")).get("at_least")
        kind = pair.get("expect")
        if not isinstance(kind, str) or kind not in COPIES or not isinstance(share, int | float):
            continue
        if LEAST_SHARE <= share < LEAST_SHARE_OF_COPY:
            what = (
                f"at_least: {share:g} is too little for {kind}, whose blocks come from the reference: give "
                f"{LEAST_SHARE_OF_COPY:g} or more, or expect: derived"
            )
            yield document.problem(
                ("pairs", i, "blocks") if "blocks" in pair else ("pairs", i), what
            )


def statistics_of(pair: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """List the statistics of a pair as it is written; each makes a claim."""
    named = pair.get("statistic", defaults.get("statistic", DEFAULT_STATISTIC))
    several = named if isinstance(named, list) else [named]
    return [name for name in several if isinstance(name, str)]


def implied_pairs(suite: dict[str, Any]) -> list[Kin]:
    """List the pairs that the lineage implies and no written pair covers."""
    written = {
        frozenset({str(pair.get("candidate")), str(pair.get("reference"))})
        for _, pair in _pairs(suite)
        if nearest_of(pair) is None
    }
    pairs = kin(suite.get("lineage"))
    return [k for k in pairs if frozenset({k.candidate.name, k.reference.name}) not in written]


def _lineage_problems(document: Document, suite: dict[str, Any], hints: Hints) -> Iterator[Problem]:
    if "lineage" not in suite and "pairs" not in suite:
        yield document.problem((), NO_PAIRS)
    models, tree_nodes = _mapping(suite.get("models")), nodes(suite.get("lineage"))
    if isinstance(suite.get("lineage"), dict) and len(tree_nodes) < 2:
        what = "a lineage of fewer than two models claims nothing: add a model, or remove it"
        yield document.key_problem(("lineage",), what)
    first: dict[str, Node] = {}
    for node in tree_nodes:
        if first.setdefault(node.name, node) is not node:
            line = document.keys[first[node.name].at].line
            what = f"model {shown(node.name)} stands in the lineage already, at line {line}"
            yield document.key_problem(node.at, f"{what}: it has one place")
        elif node.name not in models:
            hint = hints.did_you_mean(node.name, models, "declared")
            what = f"model {shown(node.name)} is not declared under models:; {hint}"
            yield document.key_problem(node.at, what)


def _undeclared_models(
    document: Document, suite: dict[str, Any], hints: Hints
) -> Iterator[Problem]:
    models = suite.get("models")
    if not isinstance(models, dict):
        return
    for i, pair in _pairs(suite):
        for role in ("candidate", "reference"):
            name = pair.get(role)
            if isinstance(name, str) and name not in models:
                hint = hints.did_you_mean(name, models, "declared")
                what = f"{role} {shown(name)} is not declared under models:; {hint}"
                yield document.problem(("pairs", i, role), what)


def _repeated_ids(document: Document, suite: dict[str, Any]) -> Iterator[Problem]:
    implied = {claim_id(k.candidate.name, k.reference.name, None) for k in implied_pairs(suite)}
    first: dict[str, int] = {}
    for i, pair in _pairs(suite):
        nearest = nearest_of(pair)
        candidate, reference = pair.get("candidate"), pair.get("reference", nearest)
        given = pair.get("id", "")
        if not all(isinstance(part, str) for part in (candidate, reference, given)):
            continue
        name = claim_id(str(candidate), reference, given, nearest)
        line = document.values["pairs", i].line
        if first.setdefault(name, i) != i:
            other = document.values["pairs", first[name]].line
            what = f"two pairs have the id {shown(name)}, at lines {other} and {line}"
            yield document.problem(("pairs", i, "id"), f"{what}: give one an id: of its own")
        elif name in implied:
            what = f"the id {shown(name)} is that of a pair of the lineage"
            yield document.problem(("pairs", i, "id"), f"{what}: give it another id:")


def _all_skipped(document: Document, suite: dict[str, Any]) -> Iterator[Problem]:
    pairs = suite.get("pairs")
    if implied_pairs(suite):
        return
    if isinstance(pairs, list) and pairs and all("skip" in _mapping(pair) for pair in pairs):
        what = "every pair is skipped, so that the suite checks nothing"
        yield document.problem(("pairs",), f"{what}: remove a skip, or the file")
