"""Progress in a notebook: one line under the cell, which goes when the work is done."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from provenance._pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provenance.vocabulary import Stage


@contextmanager
def notebook_progress() -> Iterator[Callable[[Stage], None] | None]:
    """Give a function that shows each stage; None where this is no notebook.

    A notebook is IPython with a kernel behind it. IPython is never imported here: a notebook has it loaded.
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is None:
        yield None
        return
    handle: Any = import_module("IPython.display").display(_text(""), raw=True, display_id=True)
    pace = Pace()

    def show(stage: Stage) -> None:
        pace.see(stage)
        handle.update(_text(f"{stage.action} {stage.subject}  {pace.text()}"), raw=True)

    try:
        yield show
    finally:
        handle.update(_text(""), raw=True)


def _text(line: str) -> dict[str, str]:
    return {"text/plain": line}
