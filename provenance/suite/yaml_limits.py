"""Limits of a YAML text, checked before anything recursive or slow reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from provenance.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 1 << 20
MAX_NODES = 50_000
MAX_DEPTH = 20

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
# YAML's printable characters, less three that are line breaks to some programs and not to others
# (U+0085, U+2028, U+2029), which would make line numbers a matter of opinion.
_UNPRINTABLE = re.compile(
    r"[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def find_unprintable(text: str) -> Problem | None:
    """Find the first character that YAML does not allow in a file."""
    match = _UNPRINTABLE.search(text)
    if match is None:
        return None
    line, column = position(text, match.start())
    what = f"character U+{ord(match.group()):04X} cannot stand in a suite"
    return Problem(line, column, f"{what}: remove it, and every other like it")


def position(text: str, index: int) -> tuple[int, int]:
    """Line and column, from 1, of the character at ``index``."""
    line, start = 1, 0
    for match in _LINE_BREAK.finditer(text, 0, index):
        line, start = line + 1, match.end()
    return line, index - start + 1


def find_directive(text: str) -> Problem | None:
    """Find the first directive, which could only name a YAML version or abbreviate tags."""
    # libyaml takes time quadratic in their number.
    match = _DIRECTIVE.search(text)
    if match is None:
        return None
    line, column = position(text, match.start())
    return Problem(line, column, "a line beginning with '%' is a YAML directive: remove it")


def shown(text: str) -> str:
    """Quote ``text`` for a message, on one line and in at most 60 characters."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


@dataclass
class _Weight:
    """The size of a node with its aliases written out; open until its last child is seen."""

    anchor: str | None
    line: int
    size: int = 1
    height: int = 0
    closed: bool = False


@dataclass
class Survey:
    """One pass over the events, without recursion, that refuses a document too big to build.

    Aliases count as often as they are used, so that a few lines cannot stand for a billion nodes.
    """

    problems: list[Problem] = field(default_factory=list)
    fatal: bool = False
    stopped: bool = False
    open: list[_Weight] = field(default_factory=list)
    anchors: dict[str, _Weight] = field(default_factory=dict)
    nodes: int = 0
    documents: int = 0

    def run(self, events: Iterator[Any]) -> None:
        """Read events until the end, or until the file is too big."""
        for event in events:
            if isinstance(event, yaml.NodeEvent):
                self._node(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end()
            elif isinstance(event, yaml.DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    self._stop(event, "a second document begins: keep one suite to a file")
            if self.stopped:
                return

    def _node(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._alias(event)
            return
        if event.tag is not None:
            self._note(event, f"a suite is data; YAML tags are not read: remove {_tag(event)}")
        weight = _Weight(event.anchor, event.start_mark.line + 1)
        self._declare(event, weight)
        self._grow(event, 1)
        if isinstance(event, yaml.CollectionStartEvent):
            self.open.append(weight)
            self._reach(event, 0)
        else:
            weight.closed = True
            self._add(weight)

    def _declare(self, event: Any, weight: _Weight) -> None:
        if weight.anchor is None:
            return
        first = self.anchors.setdefault(weight.anchor, weight)
        if first is not weight:
            name = shown(weight.anchor)
            self._refuse(event, f"anchor {name} is already at line {first.line}: rename one")

    def _alias(self, event: Any) -> None:
        name = shown(event.anchor)
        target = self.anchors.get(event.anchor)
        if target is None:
            self._refuse(event, f"alias {name} has no anchor above it: write &{event.anchor[:60]}")
        elif not target.closed:
            self._refuse(event, f"alias {name} stands inside its own anchor: a suite cannot recur")
        else:
            self._grow(event, target.size)
            self._reach(event, target.height)
            self._add(target)

    def _end(self) -> None:
        weight = self.open.pop()
        weight.closed = True
        weight.height += 1
        self._add(weight)

    def _add(self, child: _Weight) -> None:
        if self.open:
            self.open[-1].size += child.size
            self.open[-1].height = max(self.open[-1].height, child.height)

    def _grow(self, event: Any, size: int) -> None:
        self.nodes += size
        if self.nodes > MAX_NODES:
            what = f"more than {MAX_NODES} values, aliases written out"
            self._stop(event, f"{what}: split the suite into several files")

    def _reach(self, event: Any, height: int) -> None:
        if len(self.open) + height > MAX_DEPTH:
            needed = "a suite needs 4 levels, or one for each generation of its lineage"
            self._stop(event, f"nested more than {MAX_DEPTH} deep: {needed}")

    def _stop(self, event: Any, message: str) -> None:
        self.stopped = True
        self._refuse(event, message)

    def _refuse(self, event: Any, message: str) -> None:
        self.fatal = True
        self._note(event, message)

    def _note(self, event: Any, message: str) -> None:
        mark = event.start_mark
        self.problems.append(Problem(mark.line + 1, mark.column + 1, message))


def _tag(event: Any) -> str:
    return shown(str(event.tag).replace("tag:yaml.org,2002:", "!!", 1))
