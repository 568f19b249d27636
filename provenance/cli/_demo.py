"""`provenance demo`: one true claim and one false one, and what a failure says."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

import click

import provenance
from provenance import ProvenanceError
from provenance.cli._options import STORE


@click.command()
@STORE
def demo(store: Path | str | None) -> None:
    """Make small models, check one true claim and one false one, and show what a failure says."""
    text = resources.files("provenance").joinpath("demo.suite.yaml").read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "demo.suite.yaml"
        suite.write_text(text, encoding="utf-8")
        (Path(folder) / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        click.echo(text)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", suite.name]
        command += ["--provenance-store", provenance.Store(store).place]
        code = subprocess.run(command, check=False, cwd=folder).returncode  # noqa: S603 - ours
    if code != 1:
        raise ProvenanceError(
            f"the demo should end with one false claim found, but pytest said {code}"
        )
    click.echo(
        "\nThat was the demo: the first claim held; the second was false on purpose, and the failure "
        "above says so."
    )
