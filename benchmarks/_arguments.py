"""What arguments of benchmarks must be: a mistake is one line, before anything is measured or written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._real_models import BASE, MODELS

if TYPE_CHECKING:
    from collections.abc import Callable


def at_least(least: int) -> Callable[[str], int]:
    """Return an argument's type: whole numbers from a least one on."""

    def number(text: str) -> int:
        found = int(text)
        if found < least:
            raise argparse.ArgumentTypeError(f"{found} is less than {least}")
        return found

    number.__name__ = "whole number"  # argparse says it of what is none
    return number


def pretrained(text: str) -> Path:
    """Return an argument's folder of pretrained models, the base of all kin among them."""
    return _holding(text, BASE)


def some_pretrained(text: str) -> Path:
    """Return an argument's folder of pretrained models, whichever they are."""
    return _holding(text, *MODELS)


def checkpoint(text: str) -> Path:
    """Return an argument's folder of one checkpoint."""
    folder = Path(text)
    if not (folder / "config.json").is_file():
        raise argparse.ArgumentTypeError(f"{folder} holds no checkpoint: it has no config.json")
    return folder


def _holding(text: str, *names: str) -> Path:
    folder = Path(text)
    if not any((folder / name).is_dir() for name in names):
        raise argparse.ArgumentTypeError(
            f"{folder} holds no {' or '.join(names)}: make it with "
            f"`python -m benchmarks.real models {folder}`"
        )
    return folder
