"""The checkpoints that a run was about, with the digest that OpenSSF model signing gives them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provenance._text import without_home
from provenance.attest._libraries import need
from provenance.errors import AttestationError, ProvenanceError
from provenance.store.files import file_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.evidence.models import ModelRecord, RangesRecord
    from provenance.evidence.results import Results
    from provenance.suite.claims import Suite
    from provenance.vocabulary import ModelSpec

OWN_MANIFEST = "manifest.json"
"""The store's own file beside a checkpoint; it holds a date, so that no digest may cover it."""


@dataclass(frozen=True)
class Subject:
    """A checkpoint of a run.

    Attributes
    ----------
    name : str
        As the suite has it.
    sha256 : str or None
        Of the folder, as model signing has it: SHA-256, in hex, over the SHA-256 of every file, in the
        order of their names. None where the folder was not at hand.
    digest, weights_digest : str
        As in evidence: ``sha256:`` over configuration and weights, and over the weights alone.
    source, conversion : str
        Where it came from, and from what it was made where it was no plain checkpoint.
    claimed : str or None
        Of a fingerprint, the digest of the model, by the fingerprint's maker. No weights were seen:
        ``sha256`` and ``digest`` are then of the fingerprint's file, and ``weights_digest`` is None.
    ranges : RangesRecord or None
        What was read of a model of which a sample was, and what the hub says of its whole files.
    """

    name: str
    sha256: str | None
    digest: str
    weights_digest: str | None
    source: str
    conversion: str | None = None
    claimed: str | None = None
    ranges: RangesRecord | None = None


def model_digest(folder: Path, *, stored: bool = False) -> str:
    """Digest a checkpoint's folder as OpenSSF model signing does.

    Parameters
    ----------
    folder : pathlib.Path
        Links in it are followed, as in a hub cache. Git's own files are left out. Or the file of a
        fingerprint bundle, whose digest is its own SHA-256.
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
    if folder.is_file():
        return _file_digest(folder)
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


def _file_digest(file: Path) -> str:
    try:
        return file_sha256(file)
    except OSError as error:
        raise AttestationError(f"{file} cannot be digested: {error}") from None


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
    return tuple(
        _recorded(name, record, ranges)
        if ranges is not None or name not in suites[suite].models  # a library's fingerprint
        else _subject(name, record, _open(name, suites[suite].models[name], opened))
        for suite, name, record, ranges in _measured(results)
    )


def recorded_subjects(
    results: Results, checkpoints: Mapping[str, Checkpoint]
) -> tuple[Subject, ...]:
    """Name the models of results that were kept; only some of them, or none, need be at hand.

    Parameters
    ----------
    checkpoints : mapping
        Those that are, by the name that the suite has for them.

    Raises
    ------
    AttestationError
        If one of them was not measured, or is another one than the evidence was measured on.
    """
    measured = list(_measured(results))
    strange = checkpoints.keys() - {name for _, name, _, _ in measured}
    if strange:
        raise AttestationError(f"no claim that was checked has a model {min(strange)!r}")
    return tuple(
        _subject(name, record, checkpoints[name])
        if name in checkpoints and ranges is None
        else _recorded(name, record, ranges)
        for _, name, record, ranges in measured
    )


def _measured(
    results: Results,
) -> Iterator[tuple[str, str, ModelRecord, RangesRecord | None]]:
    """The models of claims that were checked, each once, with a suite that names it, and what was read."""
    listed = set()
    for result in results.claims:
        for role, name, record in result.sides:
            if (name, record.digest) not in listed:
                listed.add((name, record.digest))
                ranges = None if result.evidence is None else result.evidence.ranges.get(role)
                yield result.suite, name, record, ranges


def _recorded(name: str, record: ModelRecord, ranges: RangesRecord | None = None) -> Subject:
    """A model as evidence has it; a fingerprint's digest is of the very file, at hand or not."""
    return Subject(
        name=name,
        sha256=None if record.claimed is None else record.digest.removeprefix("sha256:"),
        digest=record.digest,
        weights_digest=record.weights_digest,
        source=record.source,
        conversion=record.conversion,
        claimed=record.claimed,
        ranges=ranges,
    )


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
    if checkpoint.bundle is not None:
        return _recorded(name, record)
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
    if spec.repo is not None and spec.disguised is None and checkpoint.conversion is None:
        return False  # the hub's own cache
    return spec.path is None or Path(spec.path) != checkpoint.folder
