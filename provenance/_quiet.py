"""Silence for libraries that print, log and draw progress bars while they load."""

from __future__ import annotations

import logging
import sys
import warnings
from contextlib import ExitStack, contextmanager
from functools import wraps
from threading import RLock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGERS = ("transformers", "huggingface_hub", "torch", "accelerate", "safetensors")

_inside = RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers and its kin from stdout and stderr, and restore everything after.

    Warnings are process-wide state: a thread waits until no other is inside.
    """
    with _inside, ExitStack() as restore, warnings.catch_warnings():
        for name in LOGGERS:
            logger = logging.getLogger(name)
            restore.callback(logger.setLevel, logger.level)
            # a child logger inherits the level
            logger.setLevel(logging.CRITICAL + 1)
        if "transformers" in sys.modules:
            _hide_bars(restore)
        _hide_plain_bars(restore)
        warnings.simplefilter("ignore")
        yield


def _hide_bars(restore: ExitStack) -> None:
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars
    from transformers.utils import logging as bars

    if not bars.is_progress_bar_enabled():
        return
    # transformers switches the hub's bars together with its own
    if are_progress_bars_disabled():
        restore.callback(disable_progress_bars)
    restore.callback(bars.enable_progress_bar)
    bars.disable_progress_bar()


def _hide_plain_bars(restore: ExitStack) -> None:
    """Hide the bars that libraries draw with tqdm itself, such as those of a GGUF file's tensors.

    A bar with a file of its own draws on no terminal, and stays.
    """
    from tqdm.std import tqdm  # type: ignore[import-untyped]

    drawn = tqdm.__init__

    @wraps(drawn)
    def hidden(self: Any, *arguments: Any, **settings: Any) -> None:
        if settings.get("file") in {None, sys.stdout, sys.stderr}:
            settings["disable"] = True
        drawn(self, *arguments, **settings)

    restore.callback(setattr, tqdm, "__init__", drawn)
    tqdm.__init__ = hidden
