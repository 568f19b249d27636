"""`provenance store`: what is kept between runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from provenance import Store
from provenance.cli._options import JSON, STORE, Bytes

if TYPE_CHECKING:
    from pathlib import Path


@click.group()
def store() -> None:
    """Look at the store, or make it smaller."""


@store.command("ls")
@STORE
@JSON
def ls(store: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Print what the store holds."""
    opened = Store(store)
    kinds = sorted(opened.size().items())
    if as_json:
        held = {kind: {"entries": entries, "bytes": size} for kind, (entries, size) in kinds}
        click.echo(json.dumps({"store": str(opened.root), "kinds": held}))
        return
    click.echo(str(opened.root))
    for kind, (entries, size) in kinds:
        click.echo(f"{kind:12} {entries:6} entries {size / 1e6:10.1f} MB")


@store.command("gc")
@click.option("--keep", "size", type=Bytes(), required=True, help="How much to keep, such as 2GiB.")
@STORE
@JSON
def gc(size: int, store: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Remove what was least recently used until the store is small enough."""
    removed = Store(store).prune(size)
    if as_json:
        click.echo(json.dumps({"removed": len(removed)}))
    else:
        click.echo(f"removed {len(removed)} entries")
