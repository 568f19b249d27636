"""Keeps a user's name out of what is shown to others: a home folder is written ``~``."""

from __future__ import annotations

import os
from pathlib import Path


def without_home(text: str) -> str:
    """The text with every path below the user's home folder shortened to ``~``."""
    home = str(Path.home())
    if home == Path(home).anchor:
        return text
    return text.replace(home + os.sep, "~" + os.sep)
