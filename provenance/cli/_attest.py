"""`provenance attest` and `provenance bom`: what a run found, said to other tools."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import click

import provenance
from provenance import ProvenanceError
from provenance.cli._options import JSON

FILE = click.Path(dir_okay=False, path_type=Path)
OUTPUT = click.option(
    "-o", "--output", type=FILE, default="-", help="Where to write [default: stdout]."
)


@click.group()
def attest() -> None:
    """Sign attestations of runs, and check them.

    `pytest suites/ --provenance-attestation FILE` writes one.
    """


@attest.command()
@click.argument("statement", type=FILE)
@click.option("--key", type=FILE, required=True, help="Private key, PEM.")
@click.option("--password", envvar="PROVENANCE_KEY_PASSWORD", help="Of the key.", show_envvar=True)
@OUTPUT
def sign(statement: Path, key: Path, password: str | None, output: Path) -> None:
    """Sign STATEMENT with a key on disk; the result is a DSSE envelope."""
    secret = None if password is None else password.encode()
    _write(output, provenance.sign_statement(_read(statement), key, secret))


@attest.command()
@click.argument("envelope", type=FILE)
@click.option("--key", type=FILE, required=True, help="Public key, PEM.")
@click.option("--results", type=FILE, help="Results that the Statement must be of.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME=FOLDER",
    help="A checkpoint that must be the attested one of that name.",
)
@JSON
def verify(
    envelope: Path,
    key: Path,
    results: Path | None,
    models: tuple[str, ...],
    as_json: bool,  # noqa: FBT001
) -> None:
    """Check the signature of ENVELOPE, and what it says; exits 1 unless the run passed."""
    attested = provenance.read_statement(provenance.check_envelope(_read(envelope), key))
    if results is not None and sha256(results.read_bytes()).hexdigest() != attested.results_sha256:
        raise ProvenanceError(f"{results} is not what the Statement was made of")
    for name, folder in map(_named_folder, models):
        if (name, provenance.model_digest(folder)) not in attested.subjects:
            raise ProvenanceError(f"{folder} is not the checkpoint {name!r} that was attested")
    if as_json:
        click.echo(json.dumps(asdict(attested)))
    else:
        click.echo(f"the signature is one by {key}")
        for name, digest in attested.subjects:
            click.echo(f"{name}  sha256:{digest}")
        counted = (
            ("passed", attested.passed),
            ("warned", attested.warned),
            ("failed", attested.failed),
        )
        counts = ", ".join(f"{len(tests)} {what}" for what, tests in counted)
        click.echo(f"{attested.result}: {counts}")
    if attested.result == "FAILED":
        sys.exit(1)


@click.command()
@click.argument("results", type=FILE)
@OUTPUT
def bom(results: Path, output: Path) -> None:
    """Write a CycloneDX bill of materials of the models of RESULTS, with the pedigree that held."""
    _write(output, provenance.bill_of_materials(provenance.Results.from_json(_read(results))))


def _named_folder(argument: str) -> tuple[str, Path]:
    name, equals, folder = argument.partition("=")
    if not equals:
        raise ProvenanceError(f"--model {argument}: write NAME=FOLDER")
    return name, Path(folder)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProvenanceError(f"{path} cannot be read: {error}") from None


def _write(path: Path, text: str) -> None:
    if str(path) == "-":
        click.echo(text, nl=False)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ProvenanceError(f"{path} cannot be written: {error}") from None
