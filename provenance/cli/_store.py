"""`provenance store`: what is kept between runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

import provenance
from provenance.cli._options import JSON, STORE, Bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@click.group()
def store() -> None:
    """Look at the store, or make it smaller."""


@store.command("ls")
@STORE
@JSON
def ls(store: Path | str | None, as_json: bool) -> None:  # noqa: FBT001
    """Print what the store holds."""
    opened = provenance.Store(store)
    here, shared = opened.size(), opened.shared_size()
    if as_json:
        report: dict[str, object] = {"store": opened.place, "kinds": _counted(here)}
        if opened.url is not None:
            report |= {"folder": str(opened.root), "shared": _counted(shared)}
        click.echo(json.dumps(report))
        return
    if opened.url is not None:
        click.echo(opened.url)
        _print(shared)
    click.echo(str(opened.root))
    _print(here)


def _counted(sizes: Mapping[str, tuple[int, int]]) -> dict[str, dict[str, int]]:
    return {
        kind: {"entries": entries, "bytes": size} for kind, (entries, size) in sorted(sizes.items())
    }


def _print(sizes: Mapping[str, tuple[int, int]]) -> None:
    for kind, (entries, size) in sorted(sizes.items()):
        click.echo(f"{kind:12} {entries:6} entries {size / 1e6:10.1f} MB")


@store.command("gc")
@click.option("--keep", "size", type=Bytes(), required=True, help="How much to keep, such as 2GiB.")
@STORE
@JSON
def gc(size: int, store: Path | str | None, as_json: bool) -> None:  # noqa: FBT001
    """Remove what was least recently used until the store is small enough: of a URL, what is kept here."""
    removed = provenance.Store(store).prune(size)
    if as_json:
        click.echo(json.dumps({"removed": len(removed)}))
    else:
        click.echo(f"removed {len(removed)} entries")
