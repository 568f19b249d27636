"""Mistakes of a suite or registry in plain words, from pydantic's errors and the words of the schema."""

from __future__ import annotations

from itertools import chain, islice
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from typing_extensions import TypeAliasType

from provenance._text import closest
from provenance.suite import schema
from provenance.suite.yaml_limits import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pydantic import ValidationError

    from provenance.errors import Problem
    from provenance.suite.yaml12 import Document, YamlPath

UNIONS = frozenset({"alpha", "blocks", "expect", "statistic"})
"""Keys whose values may be of several shapes."""
VERSION = "this version of provenance reads suites of version 1: write version: 1"
NO_PAIRS = (
    "no pair is declared, and a suite that checks nothing is an error: add one under pairs:, or a tree "
    "under lineage:"
)
DISTILLED = (
    "a distilled model shares no weights with its teacher, so that this test calls the two "
    "independent: write expect: independent, or expect: unknown to report without a claim"
)


class Hints:
    """Guesses at what was meant, limited in number for each file since each takes time."""

    def __init__(self, budget: int = 100) -> None:
        self.budget = budget
        self._guesses: dict[tuple[str, str], str | None] = {}

    def did_you_mean(self, name: str, known: Collection[str], kind: str) -> str:
        """Say what to write in place of ``name``: the nearest of ``known``, or a list of them."""
        # once for each name, so that a mistake that is merged into many pairs is one problem
        if (name, kind) not in self._guesses:
            self._guesses[name, kind] = self._closest(name, known)
        close = self._guesses[name, kind]
        if close is not None:
            return f"did you mean {close!r}?"
        some = ", ".join(islice(known, 20))
        return f"{kind}: {some or 'none'}{', ...' if len(known) > 20 else ''}"

    def _closest(self, name: str, known: Collection[str]) -> str | None:
        self.budget -= 1
        return closest(name, known) if self.budget >= 0 else None


def schema_problems(
    error: ValidationError, document: Document, hints: Hints, top: type[schema.StrictMapping]
) -> Iterator[Problem]:
    """Translate every error of a failed validation, save those of `no_value_problems`."""
    for item in error.errors(include_url=False, include_context=False):
        path = _yaml_path(item["loc"])
        kind, value = item["type"], item["input"]
        if kind == "extra_forbidden":
            known = known_keys(schema_at(path[:-1], top))
            hint = hints.did_you_mean(str(path[-1]), known, "known keys")
            yield document.key_problem(path, f"unknown key {shown(str(path[-1]))}; {hint}")
        elif kind == "missing":
            yield document.problem(path[:-1], missing(path, top))
        elif (path[0] == "models" and path[2:] == ("[key]",)) or _names_node(kind, path):
            what = f"model name {shown(value)} must be {schema.A_NAME}"
            yield document.key_problem(path[:-1], what)
        elif value is not None:
            yield document.problem(
                path, _unfit(path, value, top, hints, is_short=kind == "too_short")
            )


def unfit_places(error: ValidationError, document: Document) -> set[tuple[int, int]]:
    """Lines and columns of the values that a failed validation refuses for what they are."""
    paths = [
        _yaml_path(item["loc"])
        for item in error.errors(include_url=False, include_context=False)
        if item["type"] not in {"extra_forbidden", "missing"} and item["input"] is not None
    ]
    found = (document.problem(path, "") for path in paths if path[-1:] != ("[key]",))
    return {(one.line, one.column) for one in found}


def no_value_problems(document: Document) -> Iterator[Problem]:
    """Find the keys and items without a value."""
    for path in _empty_paths(document.value):
        if path[0] == "lineage" and len(path) > 1:
            continue  # a model that nothing descends from
        name = path[-1]
        what = f"key {shown(name)} has no value" if isinstance(name, str) else "an item is empty"
        find = document.key_problem if isinstance(name, str) else document.problem
        yield find(path, f"{what}: give it one, or remove it")


def _names_node(kind: str, path: YamlPath) -> bool:
    """Whether a mistake is in the name of a model of the lineage, not in its descendants."""
    return path[0] == "lineage" and path[-1] == "[key]" and kind.startswith("string_")


def describe(value: Any) -> str:
    """Describe a wrong value for a message."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {shown(value)}"
    if isinstance(value, dict | list):
        kind = "mapping" if isinstance(value, dict) else "list"
        return f"a {kind}" if value else f"an empty {kind}"
    return "nothing" if value is None else str(value)


def _empty_paths(value: Any, path: YamlPath = ()) -> Iterator[YamlPath]:
    """Yield the paths without a value."""
    items: Mapping[str | int, Any] = {}
    if isinstance(value, dict):
        items = value
    elif isinstance(value, list):
        items = dict(enumerate(value))
    for key, inner in items.items():
        if inner is None:
            yield (*path, key)
        else:
            yield from _empty_paths(inner, (*path, key))


def _yaml_path(loc: tuple[str | int, ...]) -> YamlPath:
    """Drop the branch of a union of `UNIONS` from a location of pydantic."""
    return tuple(
        part
        for i, part in enumerate(loc)
        if not (part in schema.UNION_TAGS and i and loc[i - 1] in UNIONS)
    )


def _variants(
    annotation: Any, metadata: tuple[Any, ...] = ()
) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield every type that an annotation allows, with its metadata, the outermost first."""
    if isinstance(annotation, TypeAliasType):
        yield from _variants(annotation.__value__, metadata)
    elif get_origin(annotation) is Annotated:
        kind, *notes = get_args(annotation)
        constraints = (note.metadata if isinstance(note, FieldInfo) else [note] for note in notes)
        yield from _variants(kind, (*metadata, *chain.from_iterable(constraints)))
    elif get_origin(annotation) in {Union, UnionType}:
        for kind in get_args(annotation):
            yield from _variants(kind, metadata)
    elif annotation is not type(None):
        yield annotation, metadata


def schema_at(path: YamlPath, top: Any) -> Any:
    """Return the annotation of the value at a path of a document."""
    for key in path:
        top = next(found for kind, _ in _variants(top) if (found := _below(kind, key)) is not None)
    return top


def _below(kind: Any, key: str | int) -> Any:
    arguments = get_args(kind)
    if get_origin(kind) is list and isinstance(key, int):
        return arguments[0]
    if get_origin(kind) is dict:
        return schema.Tree if isinstance(arguments[1], str) else arguments[1]  # a tree is recursive
    if _is_part(kind) and key in kind.model_fields:
        field = kind.model_fields[key]
        return Annotated[field.annotation, *field.metadata, None]
    return None


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, schema.StrictMapping)


def known_keys(annotation: Any) -> list[str]:
    """List the keys that a mapping may have."""
    return sorted(
        name for kind, _ in _variants(annotation) if _is_part(kind) for name in kind.model_fields
    )


def words_for(annotation: Any) -> schema.Words | None:
    """Say what a value must be, by the schema's words or by its type; None if it is one of some texts."""
    variants = list(_variants(annotation))
    for _, metadata in variants:
        for note in metadata:
            if isinstance(note, schema.Words):
                return note
    kind, metadata = variants[0]
    if kind is bool:
        return schema.Words("true or false")
    if kind is int:
        return schema.Words(_whole_number(metadata))
    return None


def _whole_number(metadata: tuple[Any, ...]) -> str:
    bounds: dict[str, int] = {}
    for note in metadata:
        bounds |= {name: getattr(note, name) for name in ("ge", "le", "lt") if hasattr(note, name)}
    most = bounds.get("le", bounds.get("lt", 0) - 1)
    return (
        f"a whole number from {bounds['ge']} to {most}"
        if most > 0
        else f"a whole number, {bounds['ge']} or more"
    )


def choices_of(annotation: Any) -> tuple[str, ...]:
    """Return the texts that a value may be."""
    return next(
        (get_args(kind) for kind, _ in _variants(annotation) if get_origin(kind) is Literal), ()
    )


def missing(path: YamlPath, top: type[schema.StrictMapping]) -> str:
    """Say what to add for a key that is not there."""
    name, annotation = path[-1], schema_at(path, top)
    if name == "version":
        return f"missing key 'version': {VERSION}"
    words = words_for(annotation)
    must = words.must_be if words else f"one of {', '.join(choices_of(annotation))}"
    return f"missing key {name!r}: add {name}, {must}"


def _unfit(
    path: YamlPath, value: Any, top: type[schema.StrictMapping], hints: Hints, *, is_short: bool
) -> str:
    name = next(str(part) for part in reversed(path) if isinstance(part, str))
    if path == ("version",):
        return f"version {describe(value)}: {VERSION}"
    if path == ("pairs",) and value == []:
        return NO_PAIRS
    if value == [] and name == "statistic":
        return "statistic is an empty list: name at least one"
    annotation = schema_at(path, top)
    words = words_for(annotation)
    if words is None:
        return _unknown_choice(name, value, choices_of(annotation), hints)
    called = words.called.format(key=shown(str(path[-1]))) or name
    number = f" of {len(value)}" if is_short and value else ""
    return f"{called} must be {words.must_be}, not {describe(value)}{number}"


def _unknown_choice(name: str, value: Any, known: Sequence[str], hints: Hints) -> str:
    if not isinstance(value, str):
        return f"{name} must be one of {', '.join(known)}, not {describe(value)}"
    if name == "expect" and value.lower() in {"distilled", "distill", "distillation"}:
        return DISTILLED
    return f"unknown {name} {shown(value)}; {hints.did_you_mean(value, known, 'known')}"
