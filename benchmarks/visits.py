"""List the files that one pair visits from YAML to verdict: ``python -m benchmarks.visits``.

A file is visited where one of its named functions runs while pytest judges a suite of one claim. Code that
runs as a module is imported does not count. ``PYTHONPATH=OTHER python benchmarks/visits.py`` lists the
files of another checkout.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

import provenance
from fixtures.models import save_checkpoint, tiny_llama

PACKAGE = Path(provenance.__file__).parent
SUITE = """\
version: 1
inputs: {tokens: 512, sequence_length: 64}
models: {candidate: {path: candidate}, reference: {path: reference}}
pairs: [{candidate: candidate, reference: reference, expect: independent}]
"""


def visited(suite: Path) -> list[str]:
    """Files of the package whose functions run while pytest judges the suite, in order of first visit."""
    files: dict[str, None] = {}

    def note(frame: Any, event: str, _: object) -> None:
        code = frame.f_code
        is_function = code.co_flags & inspect.CO_OPTIMIZED  # modules and bodies of classes are not
        if event == "call" and is_function and not code.co_name.startswith("<"):
            path = Path(code.co_filename)
            if path.is_relative_to(PACKAGE):
                files.setdefault(path.relative_to(PACKAGE).as_posix())

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        code = pytest.main(
            [
                str(suite),
                "-q",
                "-p",
                "no:cacheprovider",
                "--provenance-store",
                str(suite.parent / "s"),
            ]
        )
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]  # None takes it away, as sys.setprofile's
    if code:
        raise SystemExit(f"the suite did not pass: pytest ended with {code}")
    return list(files)


def main() -> None:
    """Make two strangers and print the files that their claim visits."""
    with tempfile.TemporaryDirectory() as folder:
        for seed, name in enumerate(("candidate", "reference")):
            save_checkpoint(tiny_llama(seed), Path(folder) / name)
        suite = Path(folder) / "one.suite.yaml"
        suite.write_text(SUITE, encoding="utf-8")
        files = visited(suite)
    print(*files, sep="\n")
    print(f"{len(files)} files")


if __name__ == "__main__":
    main()
