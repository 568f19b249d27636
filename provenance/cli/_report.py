"""`provenance report` and `provenance graph`: stored results and evidence, drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

import provenance
from provenance.cli._files import write
from provenance.cli._options import ALPHA, JSON

FILES = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.command()
@FILES
@click.option(
    "--output",
    default="provenance-report.html",
    show_default=True,
    help="Where to write it; - is stdout.",
)
@ALPHA
@JSON
def report(files: tuple[Path, ...], output: str, alpha: float, as_json: bool) -> None:  # noqa: FBT001
    """Draw a report, one HTML page, of FILES.

    Each is results.json, a folder that holds one (pytest --provenance-evidence), or evidence on one
    pair. A pair without a claim is judged at --alpha.
    """
    if as_json and output == "-":
        raise click.UsageError("--output - and --json both want stdout: name a file")
    results = provenance.read_results(files, alpha)
    page = provenance.render_report(results)
    write(Path(output), page)
    if output == "-":
        return
    if as_json:
        fields = {"output": output, "state": results.state, "claims": len(results.claims)}
        click.echo(json.dumps(fields))
    else:
        click.echo(output)


@click.command()
@FILES
@click.option(
    "--format",
    "kind",
    default="dot",
    type=click.Choice(["json", "dot", "mermaid"]),
    show_default=True,
    help="json holds every kinship; dot and mermaid draw the strongest, declared parents first.",
)
@ALPHA
def graph(files: tuple[Path, ...], kind: Any, alpha: float) -> None:
    """Print which models in FILES are kin, and the direction of descent where something supports it.

    FILES are what the command report takes.
    """
    from provenance.evidence.family_formats import format_lineage

    lineage = provenance.lineage_graph(provenance.read_results(files, alpha))
    click.echo(format_lineage(lineage, kind))
