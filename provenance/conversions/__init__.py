"""From adapters, GGUF, quantized and pickled weights to plain checkpoints.

* In: `checkpoints.formats.Contents` of a format that is not plain.
* Out: a folder that `checkpoints.contents.inspect` finds plain: a configuration, safetensors of
  floating-point numbers, and the tokenizer. Statistics of activations and of weights both use it.
* Open `adapter`, `gguf`, `pickled` or `quantized`: one format each.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from provenance._quiet import quiet
from provenance.checkpoints.folder import contained, tokenizer_files
from provenance.errors import DeviceError, ProvenanceError, SourceError, extra, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONVERSION_VERSION = 4
"""Increased whenever the same files would give other weights."""


def need(module: str, name: str, what: str) -> None:
    """Require an optional library, or say what to install.

    Raises
    ------
    SourceError
        ``module`` cannot be imported; the message names the extra ``name``.
    """
    if find_spec(module) is None:
        raise SourceError(f"{what} needs {module}: {extra(name)}")


@contextmanager
def translated(source: str, what: str) -> Iterator[None]:
    """Turn what optional libraries raise into one line."""
    try:
        with quiet():
            yield
    except ProvenanceError:
        raise
    except MemoryError:
        raise DeviceError(
            f"{source}: {what} does not fit into memory; give a smaller dtype"
        ) from None
    # readers of foreign formats raise anything on a damaged file
    except Exception as error:
        raise SourceError(
            f"{source}: {what} failed ({type(error).__name__}: {one_line(error)})"
        ) from error


def copy_tokenizer(origin: Path, folder: Path) -> bool:
    """Copy the files of a tokenizer; False where there are none."""
    import shutil

    names = tokenizer_files(origin)
    for name in names:
        shutil.copyfile(contained(origin, name), folder / name)
    return bool(names)
