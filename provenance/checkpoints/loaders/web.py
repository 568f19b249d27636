"""HTTP for loaders: small answers, and whole files of a known size and SHA-256."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from provenance.checkpoints.ranged.http import asked, require_success
from provenance.checkpoints.ranged.origin import BrokenError
from provenance.checkpoints.ranged.patience import patiently
from provenance.errors import SourceError, one_line
from provenance.store.files import is_disk_full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

ANSWER_LIMIT = 1 << 24
"""Bytes of a small answer: a manifest, or a list of files."""


def answer(url: str, headers: Mapping[str, str], label: str) -> bytes:
    """The body of a small answer; what breaks off is asked for again.

    Raises
    ------
    SourceError
        The server refuses, cannot be reached, or answers with more than `ANSWER_LIMIT` bytes.
    """

    def ask() -> bytes:
        with asked(url, headers, label) as response:
            require_success(response, label)
            return body_of(response, label)

    return patiently(ask)


def body_of(response: Any, label: str) -> bytes:
    """The body of an answer that is open.

    Raises
    ------
    BrokenError
        It broke off.
    SourceError
        It has more than `ANSWER_LIMIT` bytes.
    """
    data = bytearray()
    for chunk in _chunks(response, label):
        data += chunk
        if len(data) > ANSWER_LIMIT:
            raise SourceError(f"{label}: the answer has more than {ANSWER_LIMIT:,} bytes: refused")
    return bytes(data)


def parsed(data: bytes, label: str) -> dict[str, Any]:
    """The JSON object that an answer is.

    Raises
    ------
    SourceError
        It is none.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise SourceError(f"{label}: the answer is no JSON; check the address") from None
    if not isinstance(found, dict):
        raise SourceError(f"{label}: the answer is no JSON object; check the address")
    return found


def bring(
    url: str,
    headers: Mapping[str, str],
    file: Path,
    expected: tuple[int, str],
    label: str,
) -> None:
    """Write the body of an answer to a file, and prove that it is what it should be.

    What breaks off begins anew, a few times.

    Parameters
    ----------
    expected : tuple
        The size of the file in bytes, and its SHA-256 in hex.

    Raises
    ------
    SourceError
        The server refuses, cannot be reached, or gives other bytes; or the file cannot be written.
    """

    def ask() -> None:
        with asked(url, headers, label) as response:
            require_success(response, label)
            _write(response, file, expected, label)

    with written(label):
        patiently(ask)


@contextmanager
def written(label: str) -> Iterator[None]:
    """Turn what the file system raises into one line; a full disk is for the store to tell of.

    Raises
    ------
    SourceError
        A file cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise
        what = error.strerror or error
        raise SourceError(f"{label} cannot be read or written: {what}") from error


def _write(response: Any, file: Path, expected: tuple[int, str], label: str) -> None:
    size, sha256 = expected
    digest, done = hashlib.sha256(), 0
    with file.open("wb") as target:
        for chunk in _chunks(response, label):
            done += len(chunk)
            if done > size:
                raise SourceError(f"{label} is longer than the {size:,} bytes that it should have")
            digest.update(chunk)
            target.write(chunk)
    if done < size:
        raise BrokenError(f"{label} broke off after {done:,} of {size:,} bytes")
    if digest.hexdigest() != sha256:
        raise SourceError(f"{label} came damaged: its SHA-256 is not the one that was said")


def _chunks(response: Any, label: str) -> Iterator[bytes]:
    from huggingface_hub.errors import HTTPError

    try:
        yield from response.iter_raw()
    except (HTTPError, OSError) as error:
        raise BrokenError(f"{label} broke off ({one_line(error)})") from error


def told(progress: Callable[[int, int], None] | None, done: int, total: int) -> None:
    """Tell of bytes that were brought, where somebody listens."""
    if progress is not None:
        progress(done, total)
