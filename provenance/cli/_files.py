"""Where a command writes what it makes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from provenance import ProvenanceError
from provenance.store.files import write_output


class ResultsFile(click.Path):
    """Results of a run: their file, or the folder that a run kept them in."""

    def __init__(self) -> None:
        super().__init__(exists=True, path_type=Path)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the path of the file."""
        from provenance.evidence.read import results_file

        return results_file(Path(os.fsdecode(super().convert(value, param, ctx))))


RESULTS = ResultsFile()


def is_stdout(path: Path) -> bool:
    """Whether the path is "-", the name of stdout."""
    return str(path) == "-"


def expect_writable(path: Path) -> None:
    """Refuse a path that cannot be written, before hours of measuring and not after.

    Raises
    ------
    ProvenanceError
        If there is no folder for it, or nothing can be written there.
    """
    if is_stdout(path):
        return
    if not path.parent.is_dir():
        raise ProvenanceError(f"{path} cannot be written: there is no folder {path.parent}")
    needed = (path.parent, path) if path.exists() else (path.parent,)
    if not all(os.access(place, os.W_OK) for place in (needed if _is_plain(path) else (path,))):
        raise ProvenanceError(f"{path} cannot be written: permission denied")


def write(path: Path, text: str) -> None:
    """Write a whole file, or to stdout.

    Raises
    ------
    ProvenanceError
        If it cannot be written.
    """
    if is_stdout(path):
        click.echo(text, nl=False)
        return
    expect_writable(path)
    try:
        write_output(path.resolve() if path.is_symlink() else path, text)
    except OSError as error:
        raise ProvenanceError(f"{path} cannot be written: {error.strerror or error}") from None


def _is_plain(path: Path) -> bool:
    """Whether another file may take its place: a device, a pipe or a link is written to instead."""
    return not path.is_symlink() and (path.is_file() or not path.exists())
