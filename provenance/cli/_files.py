"""Where a command writes what it makes."""

from __future__ import annotations

import os
from pathlib import Path

import click

from provenance import ProvenanceError

FILE = click.Path(dir_okay=False, path_type=Path)
OUTPUT = click.option(
    "-o", "--output", type=FILE, default="-", help="Where to write [default: stdout]."
)


def is_stdout(path: Path) -> bool:
    """Whether that is what stands for stdout."""
    return str(path) == "-"


def expect_writable(path: Path) -> None:
    """Say before hours of measuring, not after, that their result cannot be written.

    Raises
    ------
    ProvenanceError
        If there is no folder for it, or nothing can be written there.
    """
    if is_stdout(path):
        return
    if not path.parent.is_dir():
        raise ProvenanceError(f"{path} cannot be written: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ProvenanceError(f"{path} cannot be written: permission denied")


def write(path: Path, text: str) -> None:
    """Write a file, or to stdout.

    Raises
    ------
    ProvenanceError
        If it cannot be written.
    """
    if is_stdout(path):
        click.echo(text, nl=False)
        return
    try:
        with open(path, "w", encoding="utf-8", opener=_unshared) as file:
            file.write(text)
    except OSError as error:
        raise ProvenanceError(f"{path} cannot be written: {error.strerror or error}") from None


def _unshared(path: str, flags: int) -> int:
    """Open a file as `open` does, but for its owner alone to change, whatever the umask is."""
    return os.open(path, flags, 0o644)
