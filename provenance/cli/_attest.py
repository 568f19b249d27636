"""`provenance attest` and `provenance bom`: results for other tools."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import click

import provenance
from provenance import ProvenanceError
from provenance.cli._files import RESULTS, write
from provenance.cli._options import FILE, JSON, OUTPUT, QUIET, STORE
from provenance.cli._progress import progress


@click.group()
def attest() -> None:
    """Sign attestations of runs, and check them.

    `pytest suites/ --provenance-attestation FILE` writes one, `make` one of results that were kept.
    """


@attest.command()
@click.argument("results", type=RESULTS)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME=MODEL",
    help="Where the model is that the suite names so: a folder, a hub id. Repeatable.",
)
@click.option("--url", help="Where the run can be looked at.")
@STORE
@QUIET
@OUTPUT
def make(
    results: Path,
    models: tuple[str, ...],
    url: str | None,
    store: Path | str | None,
    quiet: bool,  # noqa: FBT001
    output: Path,
) -> None:
    """Write the attestation of RESULTS (results.json, or the folder that holds it).

    A model that no --model names is attested by the digest in the evidence, which is not that of model
    signing.
    """
    from provenance.attest import make_statement, recorded_subjects
    from provenance.comparison.executor import as_spec

    text = _read(results)
    run = provenance.Results.from_json(text)
    if run.to_json() + "\n" != text:
        raise ProvenanceError(
            f"{results} is not as this version writes results: it was edited, or another version wrote it"
        )
    named = dict(_named(argument, "MODEL") for argument in models)
    checkpoints = {}
    if named:
        with progress(quiet=quiet) as tell:
            executor = provenance.Executor(provenance.Store(store), on_stage=tell)
            checkpoints = {
                name: executor.checkpoint(as_spec(model)) for name, model in named.items()
            }
    subjects = recorded_subjects(run, checkpoints)
    write(output, make_statement(run, subjects, url))


@attest.command()
@click.argument("statement", type=FILE)
@click.option("--key", type=FILE, required=True, help="Private key, PEM.")
@click.option("--password", envvar="PROVENANCE_KEY_PASSWORD", help="Of the key.", show_envvar=True)
@OUTPUT
def sign(statement: Path, key: Path, password: str | None, output: Path) -> None:
    """Sign STATEMENT with a key on disk; the result is a DSSE envelope."""
    from provenance.attest import sign_statement

    secret = None if password is None else password.encode()
    write(output, sign_statement(_read(statement), key, secret))


@attest.command()
@click.argument("envelope", type=FILE)
@click.option("--key", type=FILE, required=True, help="Public key, PEM.")
@click.option("--results", type=RESULTS, help="Results that the Statement must be of.")
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
    from provenance.attest import check_envelope, model_digest, read_statement

    attested = read_statement(check_envelope(_read(envelope), key))
    if results is not None and sha256(results.read_bytes()).hexdigest() != attested.results_sha256:
        raise ProvenanceError(f"{results} is not what the Statement was made of")
    for name, folder in (_named(argument, "FOLDER") for argument in models):
        if (name, None) in attested.subjects:
            raise ProvenanceError(f"the Statement has no digest of the folder of {name!r}")
        if (name, model_digest(Path(folder))) not in attested.subjects:
            raise ProvenanceError(f"{folder} is not the checkpoint {name!r} that was attested")
    if as_json:
        click.echo(json.dumps(asdict(attested)))
    else:
        click.echo(f"the signature is one by {key}")
        for name, digest in attested.subjects:
            click.echo(
                f"{name}  {'not digested as a folder' if digest is None else f'sha256:{digest}'}"
            )
        counted = (
            ("passed", attested.passed),
            ("warned", attested.warned),
            ("failed", attested.failed),
        )
        counts = ", ".join(f"{len(tests)} {what}" for what, tests in counted)
        click.echo(f"{attested.result}: {counts}")
        if attested.not_run:
            click.echo(f"claims that were not run: {', '.join(attested.not_run)}")
        for claim, how in attested.tested_with:
            click.echo(f"{claim}: {'; '.join(how)}")
    if attested.result == "FAILED":
        sys.exit(1)


@click.command()
@click.argument("results", type=RESULTS)
@OUTPUT
def bom(results: Path, output: Path) -> None:
    """Write a CycloneDX bill of materials of the models of RESULTS, with the pedigree that held.

    RESULTS is results.json, or the folder that holds it.
    """
    from provenance.attest import bill_of_materials

    write(output, bill_of_materials(provenance.read_results([results])))


def _named(argument: str, what: str) -> tuple[str, str]:
    name, equals, model = argument.partition("=")
    if not (name and equals and model):
        raise ProvenanceError(f"--model {argument}: write NAME={what}")
    return name, model


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProvenanceError(f"{path} cannot be read: {error}") from None
