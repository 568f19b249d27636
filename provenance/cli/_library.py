"""`provenance library`: folders of fingerprints with an index."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provenance import ProvenanceError
from provenance._text import visible, without_home
from provenance.cli._completion import complete_model
from provenance.cli._console import console, print_table, say
from provenance.cli._executor import with_executor
from provenance.cli._options import FILE, JSON, Bytes
from provenance.vocabulary import TOKEN_FINGERPRINT_SIZE

if TYPE_CHECKING:
    from provenance import Executor
    from provenance.cli._executor import OpenExecutor
    from provenance.identification.library import Entry
    from provenance.vocabulary import ModelSpec

FOLDER = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


@click.group()
def library() -> None:
    """Keep fingerprints of known models in a folder, for `identify`. Nothing is downloaded by itself."""


@library.command()
@FOLDER
@click.argument("models", nargs=-1, required=True, shell_complete=complete_model)
@click.option(
    "--size",
    type=Bytes(),
    default=TOKEN_FINGERPRINT_SIZE,
    show_default="5MB",
    help="Bytes that a fingerprint has at the most.",
)
@click.option("--name", help="What to call the model, of which there is one then.")
@with_executor
@JSON
def add(
    folder: Path,
    models: tuple[str, ...],
    size: int,
    name: str | None,
    open_executor: OpenExecutor,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Add MODELS to the library in FOLDER: models, of which fingerprints are made, or fingerprints.

    Of a suite or a registry (*.yaml) all models are added, by their names. What cannot be had is said in a
    line each, and loses no other; then the exit code is 1.
    """
    named = _named(models)
    if name is not None:
        if len(named) > 1:
            raise ProvenanceError("--name is for one model: add the others by themselves")
        named = {name: next(iter(named.values()))}
    folder.mkdir(parents=True, exist_ok=True)
    added: list[Entry] = []
    failed: dict[str, str] = {}
    with open_executor() as executor:
        for called, model in named.items():
            try:
                entry = _added(executor, folder, model, size, called)
            except ProvenanceError as error:
                failed[called] = without_home(str(error))
                click.echo(f"provenance: {failed[called]}", err=True)
            else:
                added.append(entry)
                if not as_json:
                    click.echo(f"{entry.name}: {folder / entry.file}")
    if as_json:
        click.echo(json.dumps({"added": [asdict(entry) for entry in added], "failed": failed}))
    return int(bool(failed))


def _named(models: tuple[str, ...]) -> dict[str, ModelSpec]:
    """The models by what the library calls them: as they were named, or as a suite names them."""
    from provenance.audit import load_registry
    from provenance.comparison.executor import as_spec

    named: dict[str, ModelSpec] = {}
    for model in models:
        if model.endswith((".yaml", ".yml")):
            named |= load_registry(model).models
        else:
            spec = as_spec(model)
            is_file = spec.path is not None and Path(spec.path).is_file()
            named[Path(model).stem if is_file else without_home(model)] = spec
    return named


def _added(executor: Executor, folder: Path, spec: ModelSpec, size: int, name: str) -> Entry:
    from provenance.checkpoints.fingerprint_file import is_bundle
    from provenance.comparison.make_token_fingerprint import fingerprint_tokens
    from provenance.comparison.sound_fingerprint import require_sound
    from provenance.identification.library import add, file_of

    file = folder / file_of(name)
    if spec.path is not None and is_bundle(Path(spec.path)):
        given = Path(spec.path)
        require_sound(executor.checkpoint(spec))
        if given.resolve() != file.resolve():
            shutil.copyfile(given, file)
    else:
        fingerprint_tokens(spec, file, size=size, name=name, executor=executor)
    return add(folder, file, name)


@library.command("list")
@FOLDER
@JSON
def list_entries(folder: Path, as_json: bool) -> None:  # noqa: FBT001
    """List the fingerprints of the library in FOLDER."""
    from rich.table import Table

    from provenance.identification.library import read_library

    found = read_library(folder)
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    table = Table(title=f"{len(found.entries)} fingerprints")
    for column in ("name", "architecture", "blocks", "parameters", "digest of the model"):
        table.add_column(column, justify="right" if column in {"blocks", "parameters"} else "left")
    for one in found.entries:
        digest = one.digest.removeprefix("sha256:")[:12]
        table.add_row(one.name, one.architecture, str(one.blocks), f"{one.parameters:,}", digest)
    print_table(console(), table)


@library.command()
@FOLDER
@click.option("--key", type=FILE, help="Public key, PEM: the index must be signed by it.")
@JSON
def verify(folder: Path, key: Path | None, as_json: bool) -> int:  # noqa: FBT001
    """Check every file of the library in FOLDER against its index, and the index against its signature.

    Each fault is a line; then the exit code is 1.
    """
    from provenance.identification.library import check_signature, faults, read_library, strangers

    found = read_library(folder)
    wrong = faults(folder, found)
    wrong += [f"{name}: the index does not have it" for name in strangers(folder, found)]
    if not found.entries:
        add_some = f"provenance library add {folder} MODELS"
        wrong.append(
            f"{folder}: the index has no fingerprint, so that nothing was checked: {add_some}"
        )
    if key is not None:
        try:
            check_signature(folder, key)
        except ProvenanceError as error:
            wrong.append(str(error))
    if as_json:
        number = len(found.entries)
        click.echo(
            json.dumps(
                {"fingerprints": number, "faults": wrong, "key": None if key is None else str(key)}
            )
        )
        return int(bool(wrong))
    for line in wrong:
        click.echo(visible(line))  # whole, however narrow the terminal is
    signed = "" if key is None else f", and the index was signed by {key}"
    if not wrong:
        say(console(), f"{len(found.entries)} fingerprints are what the index says{signed}")
    return int(bool(wrong))


@library.command()
@FOLDER
@click.option("--key", type=FILE, required=True, help="Private key, PEM.")
@click.option("--password", envvar="PROVENANCE_KEY_PASSWORD", help="Of the key.", show_envvar=True)
@JSON
def sign(folder: Path, key: Path, password: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Sign the index of the library in FOLDER; the signature lies beside it."""
    from provenance.identification.library import sign

    secret = None if password is None else password.encode()
    signature = str(sign(folder, key, secret))
    click.echo(json.dumps({"signature": signature}) if as_json else signature)
