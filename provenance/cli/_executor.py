"""The options of an executor: where a command computes, in how much memory, and with what store."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import provenance
from provenance.cli._options import DEVICE, MEMORY, QUIET, RESIDENT, STORE
from provenance.cli._progress import progress
from provenance.vocabulary import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from provenance import Executor
    from provenance.vocabulary import Stage

    OpenExecutor = Callable[..., AbstractContextManager[Executor]]

Answer = TypeVar("Answer")


def with_executor(command: Callable[..., Answer]) -> Callable[..., Answer]:
    """Add the options to a command, which gets ``open_executor``: progress shows while that is open."""

    @DEVICE
    @MEMORY
    @RESIDENT
    @STORE
    @QUIET
    @wraps(command)
    def with_options(
        *arguments: Any,
        device: str,
        memory: int,
        resident: int | None,
        store: Path | str | None,
        quiet: bool,
        **options: Any,
    ) -> Answer:
        @contextmanager
        def open_executor(budget: int | None = None) -> Iterator[Executor]:
            limits = Memory(memory, resident)
            with progress(quiet=quiet) as tell, _collecting_later() as begin:

                def told(stage: Stage) -> None:
                    begin()
                    tell(stage)

                kept = provenance.Store(store)
                yield provenance.Executor(kept, device, told, memory=limits, budget=budget)

        return command(*arguments, open_executor=open_executor, **options)

    return with_options


@contextmanager
def _collecting_later() -> Iterator[Callable[[], None]]:
    """Look for no garbage until the function is called: what imports and vocabularies make stays.

    That is a tenth of the time of a short comparison.
    """

    def begin() -> None:
        if not gc.isenabled():
            gc.freeze()
            gc.enable()

    was_on = gc.isenabled()
    gc.disable()
    try:
        yield begin if was_on else lambda: None
    finally:
        if was_on:
            gc.enable()
