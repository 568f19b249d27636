"""Tries again what broke off, after waits that grow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from provenance.checkpoints.ranged.origin import BrokenError
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

TRIES = 5
PAUSE = 0.5
"""Seconds before the second try; each wait after it is twice as long."""
LONGEST = 60.0
"""Most seconds that a server may ask for."""

Result = TypeVar("Result")


def patiently(ask: Callable[[], Result]) -> Result:
    """Return what ``ask`` does, which may break off a few times.

    Raises
    ------
    SourceError
        It broke off at every try; or what it raises itself.
    """
    for tried in range(TRIES):
        try:
            return ask()
        except BrokenError as error:
            if tried + 1 == TRIES:
                raise SourceError(f"{error}; {TRIES} tries failed: run again to go on") from error
            wait_for(tried, error)
    raise AssertionError


def read_patiently(read: Callable[[int, int], bytes], start: int, stop: int) -> bytes:
    """Read a range; after a break, what is left of it.

    Raises
    ------
    SourceError
        As `patiently`.
    """
    data = bytearray()
    tried = 0
    while len(data) < stop - start:
        try:
            data += read(start + len(data), stop)
        except BrokenError as error:
            data += error.data
            tried += 1
            if tried == TRIES and len(data) < stop - start:
                raise SourceError(f"{error}; {TRIES} tries failed: run again to go on") from error
            wait_for(tried - 1, error)
    return bytes(data)


def wait_for(tried: int, error: BrokenError) -> None:
    """Wait before the next try."""
    asked = 0.0 if error.wait is None else min(error.wait, LONGEST)
    time.sleep(max(asked, PAUSE * 2**tried))
