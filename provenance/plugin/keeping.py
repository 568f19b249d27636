"""Keeps the results of a run: beside the evidence where a folder is named, and for `explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provenance.plugin import options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provenance.results import Results

RESULTS = "results.json"


@pytest.hookimpl
def pytest_provenance_results(config: pytest.Config, results: Results) -> Iterable[str]:
    """Write ``results.json`` into the folder of evidence, and into pytest's cache."""
    text = results.to_json() + "\n"
    folders = [options.evidence_folder(config)]
    cache = getattr(config, "cache", None)
    if cache is not None:
        folders.append(cache.mkdir("provenance"))
    for folder in folders:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / RESULTS).write_text(text, encoding="utf-8")
    return ()
