"""A library: a folder of fingerprints with an index that says what each is, which may be signed.

``library.json`` names every file with its SHA-256 and what its document says. A signature beside it,
``library.dsse.json``, is over an in-toto Statement whose subject is the index. Libraries come from
strangers: the index is read strictly, and a file that is not what it says is refused. None of this needs
torch.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING

from provenance._documents import adapter, read_document
from provenance._text import file_name, visible
from provenance.checkpoints.fingerprint_file import COUNT_LIMIT, DIGEST, TEXT_LIMIT, is_bundle
from provenance.checkpoints.token_fingerprint_file import Bundle, read_bundle
from provenance.errors import ProvenanceError
from provenance.evidence.bounds import first_fault
from provenance.store.files import write_whole
from provenance.vocabulary import FINGERPRINT_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA = 1
INDEX = "library.json"
SIGNATURE = "library.dsse.json"
ENTRY_LIMIT = 100_000
INDEX_LIMIT = 1 << 27
"""Bytes of an index that are read."""


class LibraryError(ProvenanceError):
    """A folder that should be a library is none, or is not what its index or its signature says."""


@dataclass(frozen=True)
class Entry:
    """One fingerprint of a library: its file's name and SHA-256, and what its document says.

    ``digest`` is of the model, by the fingerprint's maker. ``statistic`` is the one that it carries.
    """

    name: str
    file: str
    sha256: str
    digest: str
    architecture: str
    blocks: int
    parameters: int
    statistic: str


@dataclass(frozen=True)
class Library:
    """The fingerprints of a library, by their names in order."""

    entries: tuple[Entry, ...] = ()
    schema: int = SCHEMA

    def to_json(self) -> str:
        """The index; `read_library` gives back an equal `Library`."""
        return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n"


PARTS = (Library, Entry)


def is_library(folder: Path) -> bool:
    """Whether a folder has an index, be it one that cannot be read: then nothing in it is proven."""
    return os.path.lexists(folder / INDEX)


def read_library(folder: Path) -> Library:
    """Read the index of a library.

    Raises
    ------
    LibraryError
        If there is none, or it is damaged, of another schema, or says what cannot be.
    """
    place = folder / INDEX
    if not is_library(folder):
        raise LibraryError(
            f"{folder} is no library, since it holds no {INDEX}: "
            f"make one with `provenance library add {folder} MODELS`"
        )

    def damaged(what: str) -> LibraryError:
        return LibraryError(f"{place}: the index is {visible(what)}")

    return _checked(read_document(_bytes(place), adapter(Library, PARTS), SCHEMA, damaged), place)


def add(folder: Path, file: Path, name: str | None = None) -> Entry:
    """Enter a fingerprint that lies in the folder of a library; another of its name is replaced.

    Parameters
    ----------
    folder : Path
        The library; its index is made where there is none.
    file : Path
        A fingerprint in it.
    name : str, optional
        What the library calls it; what the fingerprint calls its model by default.

    Raises
    ------
    ProvenanceError
        If the file is no fingerprint, or the index cannot be read or written.
    """
    library = read_library(folder) if is_library(folder) else Library()
    entry = _entry(file, read_bundle(file), name)
    kept = [one for one in library.entries if one.name != entry.name and one.file != entry.file]
    entries = tuple(sorted((*kept, entry), key=lambda one: one.name))
    try:
        write_whole(folder / INDEX, Library(entries).to_json(), mode=0o644)
    except OSError as error:
        raise LibraryError(
            f"{folder / INDEX} cannot be written: {error.strerror or error}"
        ) from None
    return entry


def file_of(name: str) -> str:
    """The name of a file for a fingerprint of this name."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name)
    return file_name(plain.strip("-.") or "model", FINGERPRINT_SUFFIX)


def faults(folder: Path, library: Library, only: Iterable[str] | None = None) -> list[str]:
    """Say of each file that it is not what the index says, a line each; nothing of sound ones.

    Parameters
    ----------
    only : iterable of str, optional
        Names of the entries that are looked at; all by default.
    """
    wanted = None if only is None else set(only)
    looked_at = (one for one in library.entries if wanted is None or one.name in wanted)
    found = (_fault(folder, entry) for entry in looked_at)
    return [line for line in found if line is not None]


def strangers(folder: Path, library: Library) -> list[str]:
    """Names of fingerprints in the folder that the index does not have."""
    known = {entry.file for entry in library.entries}
    return sorted(one.name for one in folder.iterdir() if is_bundle(one) and one.name not in known)


def sign(folder: Path, key: Path, password: bytes | None = None) -> Path:
    """Sign the index of a library, every file of which is what it says; returns the signature's path.

    Raises
    ------
    ProvenanceError
        If the library is unsound, or the key cannot be used.
    """
    from provenance.attest import sign_payload

    wrong = faults(folder, read_library(folder))
    if wrong:
        raise LibraryError(f"{folder} is not signed: {wrong[0]}")
    signature = folder / SIGNATURE
    write_whole(signature, sign_payload(_statement(folder), key, password), mode=0o644)
    return signature


def check_signature(folder: Path, key: Path) -> None:
    """Check that the index of a library is the one that was signed with a key.

    Raises
    ------
    ProvenanceError
        If there is no signature, it is not by that key, or the index was changed since.
    """
    from provenance.attest import check_payload

    signed = check_payload(_bytes(folder / SIGNATURE), key)
    if signed != _statement(folder):
        raise LibraryError(f"{folder / INDEX} is not the index that was signed")


PREDICATE = "https://github.com/pytest-provenance/pytest-provenance/library/v1"
STATEMENT = "https://in-toto.io/Statement/v1"


def _statement(folder: Path) -> str:
    """An in-toto Statement of the index, the same for the same bytes."""
    digest = sha256(_bytes(folder / INDEX)).hexdigest()
    fields = {
        "_type": STATEMENT,
        "subject": [{"name": INDEX, "digest": {"sha256": digest}}],
        "predicateType": PREDICATE,
        "predicate": {},
    }
    return json.dumps(fields, sort_keys=True)


def _entry(file: Path, made: Bundle, name: str | None) -> Entry:
    called = visible(name or made.source)
    if not 0 < len(called) <= TEXT_LIMIT:
        raise LibraryError(f"a name has 1 to {TEXT_LIMIT} characters")
    return Entry(
        called,
        file.name,
        _digest(file),
        made.digest,
        made.architecture,
        made.blocks,
        made.parameters,
        made.statistic,
    )


def _fault(folder: Path, entry: Entry) -> str | None:
    file = folder / entry.file
    try:
        if _digest(file) != entry.sha256:
            return f"{entry.name}: {file} is not what the index says: its SHA-256 is another"
        if _entry(file, read_bundle(file), entry.name) != entry:
            return f"{entry.name}: {file} says something else of itself than the index"
    except ProvenanceError as error:
        return f"{entry.name}: {error}"
    return None


def _checked(library: Library, place: Path) -> Library:
    entries = library.entries
    wrong = {
        "too many entries": len(entries) > ENTRY_LIMIT,
        "two entries of one name": len({one.name for one in entries}) < len(entries),
        "a file that is no name of a fingerprint in this folder": any(
            Path(one.file).name != one.file or not one.file.endswith(FINGERPRINT_SUFFIX)
            for one in entries
        ),
        "a digest that is no SHA-256": not all(
            DIGEST.fullmatch(digest) for one in entries for digest in (one.sha256, one.digest)
        ),
        "a text that is too long, or has characters that are not seen": not all(
            len(text) <= TEXT_LIMIT and text == visible(text)
            for one in entries
            for text in (one.name, one.file, one.architecture, one.statistic)
        ),
        "a number that counts nothing": not all(
            0 < count <= COUNT_LIMIT for one in entries for count in (one.blocks, one.parameters)
        ),
    }
    first = first_fault(wrong)
    if first is not None:
        raise LibraryError(f"{place}: the index has {first}")
    return library


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return "sha256:" + file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise LibraryError(f"{file} cannot be read: {error.strerror or error}") from None


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > INDEX_LIMIT:
            raise LibraryError(f"{file} is larger than an index is")
        return file.read_bytes()
    except OSError as error:
        raise LibraryError(f"{file} cannot be read: {error.strerror or error}") from None
