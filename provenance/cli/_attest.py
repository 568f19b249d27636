"""`provenance attest` and `provenance bom`: results for other tools."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import click

import provenance
from provenance import ProvenanceError
from provenance.cli._files import RESULTS, expect_writable, write
from provenance.cli._options import FILE, JSON, OUTPUT, QUIET, STORE
from provenance.cli._progress import progress

if TYPE_CHECKING:
    from provenance.attest import Attested


@click.group()
def attest() -> None:
    """Sign attestations of runs, with a key or without, and check them.

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


TRUST = click.option(
    "--trust-config",
    "trust",
    type=FILE,
    help="Of keyless signatures, the client trust configuration of another Sigstore than the public one.",
)


@attest.command()
@click.argument("statement", type=FILE)
@click.option("--key", type=FILE, help="Private key, PEM.")
@click.option("--password", envvar="PROVENANCE_KEY_PASSWORD", help="Of the key.", show_envvar=True)
@click.option(
    "--keyless", is_flag=True, help="Sign through Sigstore, as whom an OpenID token names."
)
@click.option(
    "--identity-token",
    "token",
    envvar="SIGSTORE_ID_TOKEN",
    help="The OpenID token of --keyless [default: the CI system's].",
    show_envvar=True,
)
@TRUST
@OUTPUT
def sign(
    statement: Path,
    key: Path | None,
    password: str | None,
    keyless: bool,  # noqa: FBT001
    token: str | None,
    trust: Path | None,
    output: Path,
) -> None:
    """Sign STATEMENT: with --key on disk, which makes a DSSE envelope, or --keyless, a Sigstore bundle.

    --keyless puts who signed, when, and the Statement's digest into a public log, for ever.
    """
    from provenance.attest import sign_keyless, sign_statement

    if (key is None) is not keyless:
        raise click.UsageError("sign with --key FILE, or with --keyless: one of the two")
    if trust is not None and not keyless:
        raise click.UsageError("--trust-config is for --keyless")
    text = _read(statement)
    if key is not None:
        secret = None if password is None else password.encode()
        write(output, sign_statement(text, key, secret))
        return
    expect_writable(output)  # what the log has it keeps
    write(output, sign_keyless(text, token, trust))


@attest.command()
@click.argument("envelope", type=FILE)
@click.option("--key", type=FILE, help="Public key, PEM.")
@click.option(
    "--identity",
    help="Of a keyless signature: who must have signed, an email address or the URL of a workflow.",
)
@click.option("--issuer", help="The URL of the OpenID provider that says so.")
@TRUST
@click.option("--offline", is_flag=True, help="Take the public Sigstore's roots that are at hand.")
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
    key: Path | None,
    identity: str | None,
    issuer: str | None,
    trust: Path | None,
    offline: bool,  # noqa: FBT001
    results: Path | None,
    models: tuple[str, ...],
    as_json: bool,  # noqa: FBT001
) -> None:
    """Check the signature of ENVELOPE, and what it says; exits 1 unless the run passed.

    Of a keyless signature, a Sigstore bundle, name --identity and --issuer, and of another no less than
    its --key: who signed is never taken from the file.
    """
    from provenance.attest import model_digest, read_statement

    signed, by = _checked(_read(envelope), key, Keyless(identity, issuer, trust, offline))
    attested = read_statement(signed)
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
        _print(attested, by)
    if attested.result == "FAILED":
        sys.exit(1)


@dataclass(frozen=True)
class Keyless:
    """Who must have signed without a key, and whom to believe; nothing of it is given with a key."""

    identity: str | None
    issuer: str | None
    trust: Path | None
    offline: bool

    def given(self) -> list[str]:
        """The options that are."""
        return [
            f"--{name.replace('trust', 'trust-config')}"
            for name, value in vars(self).items()
            if value
        ]


def _checked(envelope: str, key: Path | None, keyless: Keyless) -> tuple[str, str]:
    """The Statement whose signature is good, and by whom it is."""
    from provenance.attest import check_bundle, check_envelope

    if key is not None:
        if keyless.given():
            raise click.UsageError(
                f"{keyless.given()[0]} is for a keyless signature, and --key is not"
            )
        return check_envelope(envelope, key), str(key)
    who, issuer = keyless.identity, keyless.issuer
    if not who or not issuer:
        raise click.UsageError("name the signer: --key FILE, or --identity NAME with --issuer URL")
    signed = check_bundle(envelope, who, issuer, keyless.trust, offline=keyless.offline)
    return signed, f"{who}, as {issuer} says"


def _print(attested: Attested, by: str) -> None:
    click.echo(f"the signature is one by {by}")
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
    except OSError as error:
        raise ProvenanceError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProvenanceError(f"{path} is no text in UTF-8") from None
