"""Spans of bytes: many small ones that lie near each other are brought by few large requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GAP = 64 * 2**10
"""Bytes between two spans that are brought along: a request costs as much time as they do."""
PIECE = 16 * 2**20
"""Most bytes of a request: what a broken connection costs at the most, times those that run at once."""


@dataclass(frozen=True, order=True)
class Span:
    """The bytes of a file from ``start`` up to ``stop``."""

    file: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def coalesced(spans: Iterable[Span], gap: int = GAP, most: int = PIECE) -> tuple[Span, ...]:
    """Cover spans by pieces: neighbours are joined, and what is long is cut.

    Parameters
    ----------
    spans : iterable of Span
        In any order; they may overlap. Empty ones are left out.
    gap : int
        Bytes that may lie between two spans of one piece.
    most : int
        Bytes of a piece at the most.

    Returns
    -------
    tuple of Span
        Sorted, without overlap. Every byte of every span is in one of them.
    """
    return tuple(piece for whole in _joined(spans, gap) for piece in _cut(whole, most))


def _joined(spans: Iterable[Span], gap: int) -> Iterator[Span]:
    last: Span | None = None
    for span in sorted(one for one in spans if one.start < one.stop):
        if last is not None and last.file == span.file and span.start <= last.stop + gap:
            last = Span(last.file, last.start, max(last.stop, span.stop))
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last


def _cut(span: Span, most: int) -> Iterator[Span]:
    for start in range(span.start, span.stop, most):
        yield Span(span.file, start, min(start + most, span.stop))


def without(span: Span, known: Iterable[Span]) -> tuple[Span, ...]:
    """What of a span is in none of the known ones, sorted."""
    left = [span]
    for other in known:
        if other.file != span.file:
            continue
        left = [
            part
            for one in left
            for part in (
                Span(one.file, one.start, min(one.stop, other.start)),
                Span(one.file, max(one.start, other.stop), one.stop),
            )
            if part.start < part.stop
        ]
    return tuple(sorted(left))
