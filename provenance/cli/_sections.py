"""The commands: each loaded when it is first asked for, and in the help text by purpose."""

from __future__ import annotations

from collections.abc import MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from click import Context, HelpFormatter

SECTIONS = {
    "Check models and claims": (
        "demo",
        "compare",
        "diff",
        "decompose",
        "identify",
        "card",
        "fingerprint",
        "init",
        "suite",
        "lock",
        "plan",
        "audit",
        "verify",
    ),
    "Look at what was found": ("report", "explain", "graph", "summary", "attest", "bom"),
    "Keep house": ("library", "doctor", "store", "schema", "completion"),
}
OTHERS = "More"


class LazyCommands(MutableMapping[str, click.Command]):
    """Commands by name; the module that has one, beside this one, is imported when it is looked up."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        self._modules = dict(modules)
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            module = import_module(f"{__package__}.{self._modules[name]}")
            self._loaded[name] = _summarized(getattr(module, name))
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._modules[name] = ""
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._modules[name]
        self._loaded.pop(name, None)

    def __contains__(self, name: object) -> bool:
        """Whether there is such a command; none is loaded."""
        return name in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


def _summarized(command: click.Command) -> click.Command:
    """Give a command, and those in it, their whole first sentence as summary: click cuts it."""
    command.short_help = command.get_short_help_str(limit=len(command.help or ""))
    for below in getattr(command, "commands", {}).values():
        _summarized(below)
    return command


class Sections(click.Group):
    """A group whose help lists its commands in sections."""

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the sections; the last holds commands that are in no other."""
        named = [name for names in SECTIONS.values() for name in names]
        others = tuple(name for name in self.list_commands(ctx) if name not in named)
        for title, names in {**SECTIONS, OTHERS: others}.items():
            commands = [(name, self.commands[name]) for name in names if name in self.commands]
            rows = [(name, command.get_short_help_str()) for name, command in commands]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
