"""`provenance init`: a suite drafted from what model cards claim."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from provenance import ProvenanceError
from provenance.cli._files import is_stdout, write
from provenance.cli._options import JSON, OUTPUT, QUIET
from provenance.cli._progress import progress
from provenance.vocabulary import Stage

if TYPE_CHECKING:
    from pathlib import Path


@click.command("init")
@click.argument("models", nargs=-1, required=True)
@OUTPUT
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@QUIET
@JSON
def init(
    models: tuple[str, ...],
    output: Path,
    force: bool,  # noqa: FBT001
    quiet: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Draft a suite from the model cards of MODELS: hub ids (org/name, org/name@revision) or folders.

    Cards name base models; what they name is followed, and pinned to the commit of today. Read the
    draft before you run it: it claims what the cards claim.
    """
    from provenance.suite.draft import draft_suite

    if not is_stdout(output) and output.exists() and not force:
        raise ProvenanceError(f"{output} is there already: name another file, or say --force")
    with progress(quiet=quiet) as tell:
        draft = draft_suite(
            models,
            folder=None if is_stdout(output) else output.parent,
            on_card=lambda source: tell(Stage("download", source)),
        )
    if as_json:
        about = {"claims": draft.claims, "models": draft.models, "notes": draft.notes}
        click.echo(json.dumps({"suite": draft.text, **about}))
        return
    for note in draft.notes:
        click.echo(f"provenance: {note}", err=True)
    write(output, draft.text)
    if not is_stdout(output):
        click.echo(f"{output}: {draft.claims} claims on {draft.models} models")
