"""Keeps the results of a run: in the folder of evidence, and in pytest's cache for `explain`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from provenance.plugin import options
from provenance.plugin.outputs.write import write

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provenance.evidence.results import Results


@pytest.hookimpl
def pytest_provenance_results(config: pytest.Config, results: Results) -> Iterable[str]:
    """Write ``results.json`` into the folder of evidence, and into pytest's cache."""
    from provenance.evidence.read import RESULTS

    text = results.to_json() + "\n"
    cache = getattr(config, "cache", None)
    if cache is not None:
        # only `explain` reads it, and can be given a file instead: no reason to fail a run
        with suppress(OSError):
            write(cache.mkdir("provenance") / RESULTS, text)
    folder = options.evidence_folder(config)
    return () if folder is None else write(folder / RESULTS, text)
