"""HTTP for loaders: small answers, and whole files of a known size and SHA-256."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from provenance.checkpoints.loaders.copying import copied, written
from provenance.checkpoints.ranged.http import asked, require_success
from provenance.checkpoints.ranged.origin import BrokenError
from provenance.checkpoints.ranged.patience import patiently
from provenance.errors import SourceError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

ANSWER_LIMIT = 1 << 24
"""Bytes of a small answer: a manifest, or a list of files."""
_NONE = frozenset({400, 404})
STALLED, TRICKLE = 60.0, 1024
"""Seconds after which a body is given up that came at fewer bytes a second."""


def answer(
    url: str,
    headers: Mapping[str, str],
    label: str,
    told: Callable[[bytes], str | None] = lambda _body: None,
) -> bytes:
    """The body of a small answer; what breaks off is asked for again.

    Parameters
    ----------
    told : callable
        What the server says in the body of an answer that there is no such thing; None by default.

    Raises
    ------
    SourceError
        The server refuses, cannot be reached, or answers with more than `ANSWER_LIMIT` bytes.
    """

    def ask() -> bytes:
        with asked(url, headers, label) as response:
            reason = told(body_of(response, label)) if response.status_code in _NONE else None
            if reason is not None:
                raise SourceError(f"{label} is not there ({reason})")
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


def listed_in(said: Mapping[str, Any], key: str, label: str) -> list[dict[str, Any]]:
    """The objects that an answer lists under a key; none where it has no such key.

    Raises
    ------
    SourceError
        It has something else there.
    """
    listed = said.get(key, [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise SourceError(f"{label}: the answer has no list of {key}; check the address")
    return listed


def bring(
    url: str,
    headers: Mapping[str, str],
    file: Path,
    expected: tuple[int, str | None],
    label: str,
) -> None:
    """Write the body of an answer to a file, and prove that it is what it should be.

    What breaks off begins anew, a few times.

    Parameters
    ----------
    expected : tuple
        The size of the file in bytes, and its SHA-256 in hex, where it is known.

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


def _write(response: Any, file: Path, expected: tuple[int, str | None], label: str) -> None:
    size, sha256 = expected
    done, found = copied(_chunks(response, label), file, size)
    if done > size:
        raise SourceError(f"{label} is longer than the {size:,} bytes that it should have")
    if done < size:
        raise BrokenError(f"{label} broke off after {done:,} of {size:,} bytes")
    if sha256 not in {None, found}:
        raise SourceError(f"{label} came damaged: its SHA-256 is not the one that was said")


def _chunks(response: Any, label: str) -> Iterator[bytes]:
    """The pieces of a body, as long as they come faster than a trickle."""
    from huggingface_hub.errors import HTTPError

    begun, done = time.monotonic(), 0
    try:
        for piece in response.iter_raw():
            yield piece
            done += len(piece)
            if time.monotonic() - begun > STALLED:
                if done < TRICKLE * STALLED:
                    raise BrokenError(f"{label} comes at less than {TRICKLE} bytes a second")
                begun, done = time.monotonic(), 0
    except (HTTPError, OSError) as error:
        raise BrokenError(f"{label} broke off ({one_line(error)})") from error
