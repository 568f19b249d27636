"""The errors that a user can meet, each for one situation that a caller may handle.

All are a `ProvenanceError`. A message is one line that says what was wrong, where, and what to do;
`SuiteError` has a line for each mistake.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provenance._text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class ProvenanceWarning(UserWarning):
    """A claim could be decided neither way, and its suite says ``inconclusive: warn``."""


class ProvenanceError(Exception):
    """Base of every error that is the user's to mend; its text needs no traceback."""

    def _render_traceback_(self) -> list[str]:
        """What IPython and notebooks print in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a suite file; ``line`` and ``column`` count from 1."""

    line: int
    column: int
    message: str


class SuiteError(ProvenanceError):
    """All the mistakes of one suite file, ordered by position."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        self.path = path
        # messages quote the file, which may hold anything
        printable = (replace(problem, message=visible(problem.message)) for problem in problems)
        self.problems = tuple(sorted(printable))
        super().__init__(
            "\n".join(f"{path}:{p.line}:{p.column}: {p.message}" for p in self.problems)
        )


class SourceError(ProvenanceError):
    """A checkpoint cannot be found, read or trusted."""


class ArchitectureError(ProvenanceError):
    """A model has nothing that the statistic can be computed on; the message names what it has."""


class InputError(ProvenanceError):
    """Text, tokenizer or token ids do not fit the models."""


class DegenerateError(ProvenanceError):
    """Activations on which no test is defined: NaN or infinity, constant, or too few live units.

    ``live`` counts the live units of the candidate and of the reference, (0, 0) where they were not
    counted; ``fits`` says how well MLPs were imitated, where they were.
    """

    def __init__(
        self,
        message: str,
        live: tuple[int, int] = (0, 0),
        fits: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(message)
        self.live = live
        self.fits = fits


class InapplicableError(DegenerateError):
    """MLPs that such a test is not made for, whatever their weights are: other tests are."""


class DeviceError(ProvenanceError):
    """The device that was asked for is not there, or its memory is too small."""


class StoreError(ProvenanceError):
    """The store cannot be used: not writable, not a store, locked for too long."""


class BundleError(ProvenanceError):
    """A fingerprint bundle is damaged, or cannot be made, or does not fit what it is compared with."""


class AttestationError(ProvenanceError):
    """Nothing can be attested of a run, or what is attested does not hold."""


def retold(kind: str, text: str) -> ProvenanceError:
    """Return the error that another process raised, from the name of its class and its message."""
    named = globals().get(kind)
    if isinstance(named, type) and issubclass(named, ProvenanceError) and named is not SuiteError:
        return named(text)
    return ProvenanceError(text)


def one_line(error: BaseException, limit: int = 240) -> str:
    """Return the message of `error` as one line of at most `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


def extra(name: str) -> str:
    """Return the command that installs an optional library."""
    return f"pip install 'pytest-provenance[{name}]'"


def release_frames(error: BaseException) -> None:
    """Clear the frames that an error and its causes came through.

    An error that is kept would keep its frames, and the models and device memory in them. Frames that are
    still running are left alone; tracebacks still name files and lines.
    """
    cleared: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        raised = left.pop()
        if raised is not None and id(raised) not in cleared:
            cleared.add(id(raised))
            traceback.clear_frames(raised.__traceback__)
            left += [raised.__cause__, raised.__context__]
