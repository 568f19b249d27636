"""Ranges over HTTP: one request, and everything about its answer that must be as it was asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provenance.checkpoints.ranged.origin import BrokenError, ChangedError, RefusedError
from provenance.errors import SourceError, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT = 30.0
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same request may succeed."""


@dataclass(frozen=True)
class Answer:
    """What a server says of a file: its size, its state, whether it answers ranges, and where it is."""

    size: int
    etag: str
    ranges: bool
    location: str


def look(url: str, headers: Mapping[str, str], label: str) -> Answer | None:
    """Ask for the first byte of a file; None where there is none.

    Raises
    ------
    SourceError
        The server refuses, or cannot be reached.
    BrokenError
        It has trouble.
    """
    with asked(url, {**headers, "Range": "bytes=0-0"}, label) as response:
        if response.status_code == 404:
            return None
        whole = response.status_code == 200
        if response.status_code == 416:
            return Answer(0, _state(response), ranges=True, location=url)
        if not whole:
            require_success(response, label)
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        size = response.headers.get("Content-Length") if whole else found and found[3]
        if size is None or not str(size).isdecimal():
            raise SourceError(f"{label}: the server does not say how large it is")
        return Answer(int(size), _state(response), ranges=not whole, location=str(response.url))


def get_range(
    url: str, span: tuple[int, int], size: int, headers: Mapping[str, str], label: str
) -> tuple[bytes, str]:
    """Get the bytes from ``span[0]`` up to ``span[1]`` of a file.

    Parameters
    ----------
    url : str
        Redirects are followed; a header of authorization is not sent to another host.
    size : int
        Bytes that the file is known to have.
    label : str
        What the file is called in errors.

    Returns
    -------
    bytes
        As many as asked for.
    str
        What tells a change of the file; empty where the server says nothing.

    Raises
    ------
    BrokenError
        The connection broke, or the server has trouble.
    SourceError
        The server answers no ranges, or other bytes than it was asked for, or refuses.
    """
    start, stop = span
    of_range = {**headers, "Range": f"bytes={start}-{stop - 1}"}
    with asked(url, of_range, label) as response:
        if response.status_code == 412:
            raise ChangedError(label)
        require_success(response, label)
        _require_range(response, span, size, label)
        return _body(response, stop - start, label), _state(response)


def asked(url: str, headers: Mapping[str, str], label: str) -> _Response:
    """Ask for a file: a context in which its answer is open, and its body is not read yet.

    Redirects are followed; a header of authorization is not sent to another host.

    Raises
    ------
    BrokenError
        The server cannot be reached.
    SourceError
        HF_HUB_OFFLINE is set.
    """
    return _Response(url, {"Accept-Encoding": "identity", **headers}, label)


class _Response:
    """The answer to a request, whose body is not read yet; closed when the ``with`` ends."""

    def __init__(self, url: str, headers: Mapping[str, str], label: str) -> None:
        self._request = url, headers, label
        self._stream: Any = None

    def __enter__(self) -> Any:
        from huggingface_hub import get_session
        from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

        url, headers, label = self._request
        try:
            # the library's own session: proxies, certificates and whatever its user has set up
            self._stream = get_session().stream(
                "GET", url, headers=dict(headers), timeout=TIMEOUT, follow_redirects=True
            )
            return self._stream.__enter__()
        except OfflineModeIsEnabled:
            raise SourceError(f"{label}: HF_HUB_OFFLINE is set; unset it to download") from None
        except (HTTPError, OSError) as error:
            raise BrokenError(f"{label} cannot be reached ({one_line(error)})") from error

    def __exit__(self, *error: object) -> None:
        self._stream.__exit__(*error)


def require_success(response: Any, label: str) -> None:
    """Refuse an answer that has no body to read.

    Raises
    ------
    BrokenError
        The server has trouble, which may pass.
    SourceError
        It refuses, or knows no such file.
    """
    status = response.status_code
    if status in _PASSING:
        wait = response.headers.get("Retry-After", "")
        raise BrokenError(
            f"{label}: the server answers {status}; try again later",
            wait=float(wait) if wait.isdecimal() else None,
        )
    if status in {401, 403}:
        raise RefusedError(
            f"{label}: access is refused ({status}); log in, or check the address",
            response.headers.get("WWW-Authenticate", ""),
        )
    if status == 404:
        raise SourceError(f"{label} is not there; check the address")
    if status not in {200, 206}:
        raise SourceError(f"{label}: the server answers {status}; check the address")


def _require_range(response: Any, span: tuple[int, int], size: int, label: str) -> None:
    """Refuse an answer that is of other bytes than those that were asked for."""
    start, stop = span
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise SourceError(
            f"{label}: the server packs what it sends, so that no range is what it says"
        )
    if response.status_code == 200:
        if (start, stop) != (0, size):
            raise SourceError(
                f"{label}: the server answers no ranges, so that all {size:,} bytes of the file would be "
                "moved: compare without --sample, or put the files on a server that answers ranges"
            )
        return
    text = response.headers.get("Content-Range", "")
    found = _RANGE.fullmatch(text)
    if found is None or (int(found[1]), int(found[2]) + 1) != span:
        raise SourceError(
            f"{label}: asked for bytes {start}-{stop - 1}, the server answers {text[:80]!r}; it cannot be "
            "relied on"
        )
    if found[3] not in {"*", str(size)}:
        raise SourceError(
            f"{label}: the server says now {int(found[3]):,} bytes and before {size:,}; it cannot be "
            "relied on"
        )


def _body(response: Any, length: int, label: str) -> bytes:
    """The body, which has to be so many bytes."""
    from huggingface_hub.errors import HTTPError

    data = bytearray()
    try:
        for chunk in response.iter_raw():
            data += chunk
            if len(data) > length:
                raise SourceError(
                    f"{label}: the server sends more than the {length:,} bytes that were asked for; it "
                    "cannot be relied on"
                )
    except (HTTPError, OSError) as error:
        raise BrokenError(f"{label} broke off ({one_line(error)})", bytes(data)) from error
    if len(data) < length:
        raise BrokenError(f"{label} broke off after {len(data):,} bytes", bytes(data))
    return bytes(data)


def _state(response: Any) -> str:
    """What tells a change: the ETag, else the time of the last one."""
    headers = response.headers
    return str(headers.get("ETag") or headers.get("Last-Modified") or "")
