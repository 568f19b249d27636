"""`provenance summary`: the results of a run as Markdown."""

from __future__ import annotations

import os
from pathlib import Path

import click

import provenance


@click.command()
@click.argument("results", type=click.Path(exists=True, path_type=Path))
def summary(results: Path) -> None:
    """Print RESULTS (results.json, or the folder that holds it) as Markdown.

    For GitLab's comments, wikis and mails. Where the variables of GitHub Actions are set, lines of YAML
    are links.
    """
    from provenance.gate.links import Links
    from provenance.gate.markdown import summary as markdown_summary

    run = provenance.read_results([results])
    links = Links.of_github(os.environ)
    click.echo(markdown_summary(run, links), nl=False)
