"""The libraries of the extra ``attest``, or a line that says how to get them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from provenance.errors import AttestationError

if TYPE_CHECKING:
    from types import ModuleType


def need(module: str) -> ModuleType:
    """Import a module of the extra.

    Raises
    ------
    AttestationError
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise AttestationError(
            f"this needs {error.name or module}: pip install 'pytest-provenance[attest]'"
        ) from None
