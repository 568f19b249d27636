"""The commands in the help text, by purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click import Context, HelpFormatter

SECTIONS = {
    "Check models and claims": (
        "demo",
        "compare",
        "fingerprint",
        "init",
        "suite",
        "audit",
        "verify",
    ),
    "Look at what was found": ("report", "explain", "graph", "summary", "attest", "bom"),
    "Keep house": ("doctor", "store", "schema", "completion"),
}
OTHERS = "More"


class Sections(click.Group):
    """A group whose help lists its commands in sections."""

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the sections; the last holds commands that are in no other."""
        named = [name for names in SECTIONS.values() for name in names]
        others = tuple(name for name in self.list_commands(ctx) if name not in named)
        for title, names in {**SECTIONS, OTHERS: others}.items():
            commands = [(name, self.commands[name]) for name in names if name in self.commands]
            width = formatter.width - 6 - max((len(name) for name, _ in commands), default=0)
            rows = [(name, command.get_short_help_str(width)) for name, command in commands]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
