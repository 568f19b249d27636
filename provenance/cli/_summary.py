"""`provenance summary`: the results of a run as Markdown."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

import provenance
from provenance.cli._files import RESULTS, write
from provenance.cli._options import OUTPUT

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("results", type=RESULTS)
@OUTPUT
def summary(results: Path, output: Path) -> None:
    """Print RESULTS (results.json, or the folder that holds it) as Markdown.

    For GitLab's comments, wikis and mails. Where the variables of GitHub Actions are set, lines of YAML
    are links.
    """
    from provenance.gate.links import Links
    from provenance.gate.markdown import summary as markdown_summary

    run = provenance.read_results([results])
    links = Links.of_github(os.environ)
    write(output, markdown_summary(run, links))
