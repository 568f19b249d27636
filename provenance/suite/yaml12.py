"""YAML as plain data with the position of every value: `read`.

PyYAML parses and composes; what it makes of scalars is not used, for it reads YAML 1.1, where
``no`` is false and ``1e-6`` is text. Here scalars are those of YAML 1.2's core schema. A file is
data from a stranger: tags are refused, and `yaml_limits` bounds its size.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from provenance.errors import Problem, SuiteError
from provenance.suite.yaml_limits import Survey, find_directive, find_unprintable, position, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from yaml.nodes import Node

MAX_NUMBER = 100
"""Most characters of a number. A longer one stays text, since `int` and `float` are slow on it."""

YamlPath = tuple[str | int, ...]
"""Keys and indices from the top of a document: ``("pairs", 0, "expect")``."""

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_DECIMAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BASES = {"0o": 8, "0x": 16}


def _cases(word: str) -> tuple[str, str, str]:
    return word, word.capitalize(), word.upper()


_WORDS: dict[str, bool | float | None] = {
    "": None,
    "~": None,
    **dict.fromkeys(_cases("null"), None),
    **dict.fromkeys(_cases("true"), True),
    **dict.fromkeys(_cases("false"), False),
    **{sign + "." + inf: math.inf for sign in ("", "+") for inf in ("inf", "Inf", "INF")},
    **{"-." + inf: -math.inf for inf in ("inf", "Inf", "INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}


@dataclass(frozen=True)
class Mark:
    """Where a value stands in a file: lines and columns count from 1, the end is exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True)
class Document:
    """What a file says, and where: ``values`` and ``keys`` map paths to positions.

    ``problems`` are the mistakes that did not keep the rest from being read.
    """

    value: Any
    values: Mapping[YamlPath, Mark]
    keys: Mapping[YamlPath, Mark]
    problems: tuple[Problem, ...]

    def problem(self, path: YamlPath, message: str) -> Problem:
        """Report a mistake at the value of ``path``, or at the nearest value around it."""
        while path and path not in self.values:
            path = path[:-1]
        mark = self.values[path]
        return Problem(mark.line, mark.column, message)

    def key_problem(self, path: YamlPath, message: str) -> Problem:
        """Report a mistake at the last key of ``path``."""
        mark = self.keys.get(path)
        if mark is None:
            return self.problem(path, message)
        return Problem(mark.line, mark.column, message)


def loader_over(base: type[Any]) -> type[Any]:
    """Make PyYAML's safe loader ``base`` leave every scalar the text that it is."""
    return type("SuiteLoader", (base,), {"yaml_implicit_resolvers": {}})


LOADER = loader_over(getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def read(
    text: str,
    path: Path,
    *,
    verbatim: frozenset[str] = frozenset(),
    named: tuple[str, ...] = (),
    loader: type[Any] = LOADER,
) -> Document:
    """Read one YAML document as plain data.

    Parameters
    ----------
    text
        The document.
    path
        The file, for the error.
    verbatim
        Keys whose plain scalars, or lists of them, stay text: a revision ``12345678`` is no number.
        ``null`` and ``~`` are None under these keys, too.
    named
        The end of the path of mappings whose keys are names, whatever they are like: none is ``verbatim``.
    loader
        A PyYAML loader class, made by `loader_over`.

    Raises
    ------
    SuiteError
        If the text is no YAML or exceeds a limit; with the mistakes up to there.
    """
    unreadable = find_unprintable(text) or find_directive(text)
    if unreadable:
        raise SuiteError(path, [unreadable])
    survey = Survey()
    try:
        survey.run(yaml.parse(text, Loader=loader))
        if survey.fatal:
            raise SuiteError(path, sorted(set(survey.problems)))
        root = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        raise SuiteError(path, [*survey.problems, _syntax_problem(error, text)]) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # The pure-Python scanner lets `chr` fail on an escape such as "\U00110000".
        problem = Problem(1, 1, f"not valid YAML: {' '.join(str(error).split())}")
        raise SuiteError(path, [*survey.problems, problem]) from None
    if root is None:
        return Document(None, {(): Mark(1, 1, 1, 1)}, {}, tuple(survey.problems))
    builder = _Builder(verbatim, named)
    value = builder.build(root, (), text=False)
    problems = sorted({*survey.problems, *builder.problems})
    return Document(value, builder.values, builder.keys, tuple(problems))


def resolve(text: str) -> bool | int | float | str | None:
    """Read a plain scalar by YAML 1.2's core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > MAX_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text, _BASES.get(text[:2], 10))
    if _DECIMAL.fullmatch(text):
        return float(text)
    return text


# Parts of the messages of PyYAML's two scanners, and plain words for each.
_INDENT = "indent the line like its neighbours"
_PLAIN_WORDS = (
    ("values are not allowed", f"a ':' where none can stand: {_INDENT}, or put the text in quotes"),
    ("start any token", "put text that begins so in quotes, and indent with spaces, not tabs"),
    ("tab character", "indent with spaces, not tabs"),
    ("end of stream", "a quote is not closed"),
    ("',' or", "a ',' is missing, or a bracket is not closed"),
    ("expected ':'", "a key without its ': ' (a colon, then a space)"),
    ("expected key", f"a key was expected here: {_INDENT}, or put the text in quotes"),
    ("<block end>", f"a key or a list item was expected here: {_INDENT}"),
    ("'-' indicator", f"a list item ('- ') was expected here: {_INDENT}"),
    ("node content", "a value was expected here"),
    ("unknown escape", "an unknown escape: write two backslashes for one, or use single quotes"),
    ("character escape", "an escape that is no character: use single quotes"),
)


def _syntax_problem(error: yaml.MarkedYAMLError, text: str) -> Problem:
    reported = str(error.problem or error.context or "it cannot be read")
    words = next((plain for part, plain in _PLAIN_WORDS if part in reported), reported)
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem(1, 1, f"not valid YAML: {words}")
    begun = error.context_mark
    if begun is not None and begun.line != mark.line:
        words += f" (in what begins at line {begun.line + 1})"
    line, column = position(text, min(mark.index, len(text)))
    return Problem(line, column, f"not valid YAML: {words}")


_Entries = dict[str, "tuple[ScalarNode, Node]"]


class _Builder:
    """Nodes to plain data; recursive, as `Survey` has bounded the depth."""

    def __init__(self, verbatim: frozenset[str], named: tuple[str, ...]) -> None:
        self.verbatim = verbatim
        self.named = named
        self.values: dict[YamlPath, Mark] = {}
        self.keys: dict[YamlPath, Mark] = {}
        self.problems: list[Problem] = []

    def build(self, node: Node, path: YamlPath, *, text: bool) -> Any:
        self.values[path] = _mark(node)
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            items = enumerate(node.value)
            return [self.build(item, (*path, i), text=text) for i, item in items]
        return _scalar(node, text=text)

    def _mapping(self, node: MappingNode, path: YamlPath) -> dict[str, Any]:
        result = {}
        are_names = bool(self.named) and path[-len(self.named) :] == self.named
        for name, (key, value) in self._entries(node).items():
            inner = (*path, name)
            self.keys[inner] = _mark(key)
            text = name in self.verbatim and not are_names
            result[name] = self.build(value, inner, text=text)
        return result

    def _entries(self, node: MappingNode) -> _Entries:
        own: _Entries = {}
        merge: _Entries = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._note(key, "a key must be a text, not a mapping or a list: put it in quotes")
                continue
            target = merge if key.value == "<<" and not key.style else own
            if key.value in target:
                self._duplicate(key, target[key.value][0])
            else:
                target[key.value] = (key, value)
        for _, value in merge.values():
            for name, entry in self._merged(value).items():
                own.setdefault(name, entry)
        return own

    def _merged(self, node: Node) -> _Entries:
        sources = node.value if isinstance(node, SequenceNode) else [node]
        merged: _Entries = {}
        for source in sources:
            if isinstance(source, MappingNode):
                for name, entry in self._entries(source).items():
                    merged.setdefault(name, entry)
            else:
                self._note(source, "'<<' takes a mapping, or a list of mappings, to merge in")
        return merged

    def _duplicate(self, key: ScalarNode, first: ScalarNode) -> None:
        name, line = shown(key.value), _mark(first).line
        remedy = "write <<: [*a, *b]" if key.value == "<<" else "keep one"
        again = f"duplicate key {name}, first at line {line} and again at line"
        self._note(key, f"{again} {_mark(key).line}: {remedy}")

    def _note(self, node: Node, message: str) -> None:
        mark = _mark(node)
        self.problems.append(Problem(mark.line, mark.column, message))


def _scalar(node: Any, *, text: bool) -> bool | float | str | None:
    if node.style:  # quoted, or a block
        return str(node.value)
    meaning = resolve(node.value)
    return str(node.value) if text and meaning is not None else meaning


def _mark(node: Any) -> Mark:
    start, end = node.start_mark, node.end_mark
    return Mark(start.line + 1, start.column + 1, end.line + 1, end.column + 1)
