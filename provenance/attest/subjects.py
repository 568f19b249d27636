"""The checkpoints that a run was about, with the digest that OpenSSF model signing gives them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provenance._home import without_home
from provenance.attest._extra import need
from provenance.errors import AttestationError, ProvenanceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provenance.evidence import ModelRecord
    from provenance.results import Results
    from provenance.sources import Checkpoint
    from provenance.suite import Suite
    from provenance.vocabulary import ModelSpec

OWN_MANIFEST = "manifest.json"
"""What the store keeps beside a checkpoint that it holds; it has a date in it."""


@dataclass(frozen=True)
class Subject:
    """A checkpoint of a run.

    Attributes
    ----------
    name : str
        As the suite has it.
    sha256 : str
        Of the folder, as model signing has it: SHA-256, in hex, over the SHA-256 of every file, in the
        order of their names.
    digest, weights_digest : str
        As in evidence: ``sha256:`` over configuration and weights, and over the weights alone.
    source, conversion : str
        Where it came from, and from what it was made where it was no plain checkpoint.
    """

    name: str
    sha256: str
    digest: str
    weights_digest: str
    source: str
    conversion: str | None = None


def model_digest(folder: Path, *, stored: bool = False) -> str:
    """Digest a checkpoint's folder as OpenSSF model signing does.

    Parameters
    ----------
    folder : pathlib.Path
        Links in it are followed, as in a hub cache. Git's own files are left out.
    stored : bool
        Whether the folder is the store's, whose manifest is no part of the model.

    Returns
    -------
    str
        SHA-256 in hex: the digest of the subject in a signature that ``model_signing sign`` makes.

    Raises
    ------
    AttestationError
        If the folder cannot be digested.

    Notes
    -----
    https://github.com/sigstore/model-transparency, "Model Signing Format".
    """
    hashing = need("model_signing.hashing")
    ignored = [folder / OWN_MANIFEST] if stored else []
    try:
        manifest = (
            hashing.Config()
            .set_ignored_paths(paths=ignored, ignore_git_paths=True)
            .set_allow_symlinks(True)
            .hash(folder)
        )
    except (OSError, ValueError) as error:
        raise AttestationError(f"{folder} cannot be digested: {error}") from None
    total = hashlib.sha256()
    for file in manifest.resource_descriptors():
        total.update(file.digest.digest_value)
    return total.hexdigest()


def subjects_of(
    results: Results, suites: Mapping[str, Suite], opened: Callable[[ModelSpec], Checkpoint]
) -> tuple[Subject, ...]:
    """Digest the models of all claims that were checked.

    Parameters
    ----------
    suites : mapping
        The suite files, by the path that the results have.
    opened : callable
        Gives a model's files, as `Executor.checkpoint` does.

    Raises
    ------
    AttestationError
        If a model cannot be had any more, or is another one than the evidence was measured on.
    """
    found: dict[tuple[str, str], Subject] = {}
    for result in results.claims:
        if result.evidence is None:
            continue
        roles = {
            result.claim.candidate: result.evidence.candidate,
            result.claim.reference: result.evidence.reference,
        }
        for name, record in roles.items():
            if (name, record.digest) not in found:
                spec = suites[result.suite].models[name]
                found[name, record.digest] = _subject(name, record, _open(name, spec, opened))
    return tuple(found.values())


def _open(name: str, spec: ModelSpec, opened: Callable[[ModelSpec], Checkpoint]) -> Checkpoint:
    try:
        return opened(spec)
    except ProvenanceError as error:
        raise AttestationError(f"model {name!r} cannot be digested: {error}") from None


def _subject(name: str, record: ModelRecord, checkpoint: Checkpoint) -> Subject:
    if checkpoint.digest != record.digest:
        raise AttestationError(
            f"model {name!r} is not the one that was measured: its digest is {checkpoint.digest}, and the "
            f"evidence has {record.digest}; run the suite again"
        )
    return Subject(
        name=name,
        sha256=model_digest(checkpoint.folder, stored=_is_stored(checkpoint)),
        digest=record.digest,
        weights_digest=checkpoint.weights_digest,
        source=without_home(checkpoint.source),
        conversion=checkpoint.conversion,
    )


def _is_stored(checkpoint: Checkpoint) -> bool:
    """Whether the folder was made by this package: nobody else's checkpoint has that manifest."""
    spec = checkpoint.spec
    return spec.path is None or Path(spec.path) != checkpoint.folder
