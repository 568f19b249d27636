"""`provenance report` and `provenance graph`: stored results and evidence, drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

import provenance
from provenance.cli._files import is_stdout, write
from provenance.cli._options import ALPHA, FILE, JSON, OUTPUT

FILES = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.command()
@FILES
@click.option(
    "-o",
    "--output",
    type=FILE,
    default="provenance-report.html",
    show_default=True,
    help="Where to write it; - is stdout.",
)
@click.option(
    "--whole",
    is_flag=True,
    help="Draw the figures of every claim, however long the page becomes.",
)
@ALPHA
@JSON
def report(
    files: tuple[Path, ...],
    output: Path,
    whole: bool,  # noqa: FBT001
    alpha: float,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Draw a report, one HTML page, of FILES.

    Each is results.json, a folder that holds one (pytest --provenance-evidence), or evidence on one
    pair. A pair without a claim is judged at --alpha.
    """
    if as_json and is_stdout(output):
        raise click.UsageError("--output - and --json both want stdout: name a file")
    results = provenance.read_results(files, alpha)
    page = provenance.render_report(results, whole=whole)
    write(output, page)
    if is_stdout(output):
        return
    if as_json:
        fields = {"output": str(output), "state": results.state, "claims": len(results.claims)}
        click.echo(json.dumps(fields))
    else:
        click.echo(str(output))


@click.command()
@FILES
@click.option(
    "--format",
    "kind",
    type=click.Choice(["json", "dot", "mermaid"]),
    help="json holds every kinship; dot and mermaid draw the strongest, declared parents first "
    "[default: dot].",
)
@OUTPUT
@ALPHA
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def graph(files: tuple[Path, ...], kind: Any, output: Path, alpha: float, as_json: bool) -> None:  # noqa: FBT001
    """Print which models in FILES are kin, and the direction of descent where something supports it.

    FILES are what the command report takes. A direction that is only claimed is drawn dashed.
    """
    from provenance.evidence.family_formats import format_lineage

    if as_json and kind not in {None, "json"}:
        raise click.UsageError(f"--json and --format {kind}: choose one of them")
    lineage = provenance.lineage_graph(provenance.read_results(files, alpha))
    write(output, format_lineage(lineage, "json" if as_json else kind or "dot") + "\n")
