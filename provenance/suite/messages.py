"""pydantic's errors in a suite's own words, each at its line and with what to do."""

from __future__ import annotations

import difflib
from itertools import islice
from typing import TYPE_CHECKING, Any

from provenance.suite import schema
from provenance.suite.registry_schema import IgnoreDocument
from provenance.suite.yaml_limits import shown
from provenance.vocabulary import RELATIONSHIPS, STATISTICS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pydantic import ValidationError

    from provenance.errors import Problem
    from provenance.suite.yaml12 import Document, YamlPath

VERSION = "this version of provenance reads suites of version 1: write version: 1"
NO_PAIRS = (
    "no pair is declared, and a suite that checks nothing is an error: add one under pairs:, or a tree "
    "under lineage:"
)
DISTILLED = (
    "a distilled model shares no weights with its teacher, so that this test calls the two "
    "independent: write expect: independent, or expect: unknown to report without a claim"
)

_CHOICES = {
    "dtype": ("float32", "bfloat16", "float16"),
    "expect": RELATIONSHIPS,
    "inconclusive": ("warn", "fail"),
    "kind": ("text", "random", "hidden"),
    "statistic": STATISTICS,
}
_A_NAME = "made of letters, digits, '.', '_' and '-', and begin with a letter or digit"
_A_PAIR = "a mapping such as {candidate: chat, reference: base, expect: finetune}"
_A_MODEL = "a mapping such as {repo: org/name} or {path: ./folder}"
_A_TREE = "a mapping of names to what descends from them, such as base: {chat: {}, small: {}}"
_AN_IGNORED = 'a mapping such as {pair: [chat, base], reason: "a mirror"}'
_A_TAG = (
    "made of ASCII letters, digits and '_', begin with a letter, and be no word of Python's and "
    f"no mark of pytest's ({', '.join(schema.RESERVED_TAGS)})"
)
_MUST_BE = {
    "allow_pickle": "true or false",
    "alpha": "a number above 0 (1e-300 at the least) and below 1, such as 1e-6",
    "at_least": "a number above 0 and up to 1, such as 0.9",
    "base": "a name under models:, or a folder, repository, URL or recipe, as a text",
    "blocks": "all, a list of block numbers such as [0, 1], {at_least: 0.9}, or cross",
    "candidate": "the name of a model under models:",
    "controls": "true or false",
    "expect": f"one of {', '.join(RELATIONSHIPS)}",
    "defaults": "a mapping such as {alpha: 1e-6}",
    "folder": "a folder, as a text",
    "id": _A_NAME,
    "inconclusive": "warn or fail",
    "ignore": f"a list of pairs, each {_AN_IGNORED}",
    "inputs": "a mapping such as {tokens: 4096}",
    "lineage": _A_TREE,
    "models": "a mapping of names to models, such as base: {repo: org/name}",
    "pair": "a list of two names of models, such as [chat, base]",
    "pairs": f"a list of pairs, each {_A_PAIR}",
    "path": "a folder or file, as a text",
    "permutations": "a whole number from 19 to 100000, such as 99",
    "reason": 'a text, such as reason: "a mirror"',
    "recipe": "the name of a recipe, such as quickstart/base",
    "reference": "the name of a model under models:",
    "repo": "a repository of the hub, such as org/name",
    "revision": "a commit, tag or branch, as a text",
    "seed": "a whole number from 0 to 4294967295",
    "sequence_length": "a whole number from 2 to 1000000",
    "skip": 'a text that gives a reason, such as skip: "needs 80 GB"',
    "tags": "a list of words, such as [nightly, gpu]",
    "text": "stdlib, topics, or a file relative to the suite",
    "tokens": "a whole number from 16 to 10000000",
    "trust_remote_code": "true or false",
    "url": "an address such as s3://bucket/model",
    "version": "1",
    "xfail": 'a text that gives a reason, such as xfail: "issue 7"',
}
_ADD = {"version": VERSION}


class Hints:
    """Guesses at what was meant, of which a file gets so many: each one costs time."""

    def __init__(self, budget: int = 100) -> None:
        self.budget = budget
        self._guesses: dict[tuple[str, str], str | None] = {}

    def did_you_mean(self, name: str, known: Collection[str], kind: str) -> str:
        """Say what to write in place of ``name``: the nearest of ``known``, or a list of them."""
        # Once a name, so that a mistake that is merged into many pairs is one problem.
        if (name, kind) not in self._guesses:
            self._guesses[name, kind] = self._closest(name, known)
        close = self._guesses[name, kind]
        if close is not None:
            return f"did you mean {close!r}?"
        some = ", ".join(islice(known, 20))
        return f"{kind}: {some or 'none'}{', ...' if len(known) > 20 else ''}"

    def _closest(self, name: str, known: Collection[str]) -> str | None:
        if self.budget <= 0 or len(name) > 60:
            return None
        self.budget -= 1
        return next(iter(difflib.get_close_matches(name, islice(known, 300), n=1)), None)


def schema_problems(
    error: ValidationError, document: Document, hints: Hints, top: type[schema.Part]
) -> Iterator[Problem]:
    """Translate every error of a failed validation, save those of `no_value_problems`."""
    for item in error.errors(include_url=False, include_context=False):
        path = _yaml_path(item["loc"])
        kind, value = item["type"], item["input"]
        if kind == "extra_forbidden":
            known = _known_keys(path[:-1], top)
            hint = hints.did_you_mean(str(path[-1]), known, "known keys")
            yield document.key_problem(path, f"unknown key {shown(str(path[-1]))}; {hint}")
        elif kind == "missing":
            yield document.problem(path[:-1], _missing(path))
        elif (path[0] == "models" and path[2:] == ("[key]",)) or _names_node(kind, path):
            what = f"model name {shown(value)} must be {_A_NAME}"
            yield document.key_problem(path[:-1], what)
        elif value is not None:
            yield document.problem(path, _unfit(path, value, hints))


def no_value_problems(document: Document) -> Iterator[Problem]:
    """Find the keys and items at which nothing is written."""
    for path in _written(document.value):
        if path[0] == "lineage" and len(path) > 1:
            continue  # a model that nothing descends from
        name = path[-1]
        what = f"key {shown(name)} has no value" if isinstance(name, str) else "an item is empty"
        find = document.key_problem if isinstance(name, str) else document.problem
        yield find(path, f"{what}: give it one, or remove it")


def _names_node(kind: str, path: YamlPath) -> bool:
    """Whether a mistake is in the name of a model of the lineage, and not in what stands below it."""
    return path[0] == "lineage" and path[-1] == "[key]" and kind.startswith("string_")


def describe(value: Any) -> str:
    """Name a wrong value in a message."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {shown(value)}"
    if isinstance(value, dict | list):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    return "nothing" if value is None else str(value)


def _written(value: Any, path: YamlPath = ()) -> Iterator[YamlPath]:
    """Paths at which nothing stands."""
    items: Mapping[str | int, Any] = {}
    if isinstance(value, dict):
        items = value
    elif isinstance(value, list):
        items = dict(enumerate(value))
    for key, inner in items.items():
        if inner is None:
            yield (*path, key)
        else:
            yield from _written(inner, (*path, key))


def _yaml_path(loc: tuple[str | int, ...]) -> YamlPath:
    """Leave out the branch of `blocks` or `statistic` that pydantic took."""
    return tuple(
        part
        for i, part in enumerate(loc)
        if not (part in schema.UNION_TAGS and i and loc[i - 1] in {"blocks", "statistic"})
    )


def _known_keys(path: YamlPath, top: type[schema.Part]) -> list[str]:
    part: type[schema.Part]
    match path:
        case ():
            part = top
        case ("inputs",):
            part = schema.InputsDocument
        case ("defaults",):
            part = schema.DefaultsDocument
        case ("models", _):
            part = schema.ModelDocument
        case ("ignore", _):
            part = IgnoreDocument
        case (*_, "blocks"):
            part = schema.ShareDocument
        case _:
            part = schema.PairDocument
    return sorted(part.model_fields)


def _missing(path: YamlPath) -> str:
    name = str(path[-1])
    return f"missing key {name!r}: {_ADD.get(name) or f'add {name}, {_MUST_BE[name]}'}"


def _unfit(path: YamlPath, value: Any, hints: Hints) -> str:
    name = path[-1]
    if path == ("version",):
        return f"version {describe(value)}: {VERSION}"
    if path == ("pairs",) and value == []:
        return NO_PAIRS
    if value == [] and name == "statistic":
        return "statistic is an empty list: name at least one"
    if isinstance(name, int) and path[-2] == "statistic":
        name = "statistic"
    if name in _CHOICES and path[0] != "lineage" and path[:-1] != ("models",):  # a model's own name
        return _unknown_choice(str(name), value, hints)
    what, must = _requirement(path)
    return f"{what} must be {must}, not {describe(value)}"


def _requirement(path: YamlPath) -> tuple[str, str]:
    match path:
        case ("lineage", _, *_):
            name = path[-1]
            found = f"what descends from {shown(str(name))}", _A_TREE
        case ("models", name):
            found = f"model {shown(str(name))}", _A_MODEL
        case ("pairs", _):
            found = "a pair", _A_PAIR
        case ("ignore", _):
            found = "an ignored pair", _AN_IGNORED
        case ("ignore", _, "pair", _):
            found = "a name in a pair", "the name of a model"
        case ("models", _, "blocks"):
            found = "blocks", "a whole number, 1 or more"
        case (*_, "blocks", int()):
            found = "a block number", "a whole number, 0 or more"
        case (*_, "tags", int()):
            found = "a tag", _A_TAG
        case _:
            found = str(path[-1]), _MUST_BE[str(path[-1])]
    return found


def _unknown_choice(name: str, value: Any, hints: Hints) -> str:
    known = _CHOICES[name]
    if not isinstance(value, str):
        return f"{name} must be one of {', '.join(known)}, not {describe(value)}"
    if name == "expect" and value.lower() in {"distilled", "distill", "distillation"}:
        return DISTILLED
    return f"unknown {name} {shown(value)}; {hints.did_you_mean(value, known, 'known')}"
