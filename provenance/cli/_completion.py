"""`provenance completion`: scripts for shells; and what is completed besides commands and options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

if TYPE_CHECKING:
    from click import Context, Parameter

VARIABLE = "_PROVENANCE_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: Context, shell: str) -> None:
    r"""Print a script that completes commands, options and recipes in SHELL.

    \b
    bash: provenance completion bash > ~/.local/share/bash-completion/completions/provenance
    zsh:  provenance completion zsh > a file _provenance in a folder of $fpath
    fish: provenance completion fish > ~/.config/fish/completions/provenance.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click completes nothing in {shell}")
    script = kind(context.find_root().command, {}, "provenance", VARIABLE).source()
    click.echo(script)


def complete_model(
    _context: Context, _parameter: Parameter, incomplete: str
) -> list[CompletionItem]:
    """Recipes whose names begin with the text, else files and folders of the shell."""
    from provenance.recipes import RECIPES

    recipes = [name for name in sorted(RECIPES) if name.startswith(incomplete)]
    if recipes and incomplete:
        return [CompletionItem(name) for name in recipes]
    return [CompletionItem(incomplete, type="file"), *map(CompletionItem, recipes)]
