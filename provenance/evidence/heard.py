"""Who hears of the claims that a test in Python asserts; light, since every pytest run imports it."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provenance.evidence.results import ClaimResult

_LISTENER: ContextVar[Callable[[ClaimResult], None] | None] = ContextVar("asserted", default=None)


@contextmanager
def listening(listener: Callable[[ClaimResult], None]) -> Iterator[None]:
    """Hand every claim that is asserted inside the context to the listener, before it may fail."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def tell(result: ClaimResult) -> None:
    """Tell whoever listens of a claim."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(result)
