"""`provenance completion`: scripts for shells; and what is completed besides commands and options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from provenance.cli._options import OUTPUT

if TYPE_CHECKING:
    from pathlib import Path

    from click import Context, Parameter

VARIABLE = "_PROVENANCE_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@OUTPUT
@click.pass_context
def completion(context: Context, shell: str, output: Path) -> None:
    """Print a script that completes commands, options and recipes in SHELL.

    Write it with -o where the shell looks for it:

    \b
    bash  ~/.local/share/bash-completion/completions/provenance
    zsh   _provenance, in a folder of $fpath
    fish  ~/.config/fish/completions/provenance.fish
    """  # noqa: D301 - the character is click's mark of lines that stay as they are
    from provenance.cli._files import write  # what completes models needs none of it

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click completes nothing in {shell}")
    script = kind(context.find_root().command, {}, "provenance", VARIABLE).source()
    write(output, script + "\n")


def complete_model(
    _context: Context, _parameter: Parameter, incomplete: str
) -> list[CompletionItem]:
    """Recipes whose names begin with the text, else files and folders of the shell."""
    from provenance.recipes import RECIPES

    recipes = [name for name in sorted(RECIPES) if name.startswith(incomplete)]
    if recipes and incomplete:
        return [CompletionItem(name) for name in recipes]
    return [CompletionItem(incomplete, type="file"), *map(CompletionItem, recipes)]
