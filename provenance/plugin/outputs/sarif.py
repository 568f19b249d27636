"""Writes SARIF where ``--provenance-sarif`` asks for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from provenance.plugin import options
from provenance.plugin.outputs.github import prefix_in_repository
from provenance.plugin.outputs.write import write

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provenance.evidence.results import Results


@pytest.hookimpl
def pytest_provenance_results(config: pytest.Config, results: Results) -> Iterable[str]:
    """Write what does not hold as SARIF."""
    path = options.sarif_file(config)
    if path is None:
        return ()
    from provenance.gate.links import Links
    from provenance.gate.sarif import sarif

    links = Links.of_github(os.environ, prefix_in_repository(config))
    return write(path, sarif(results, links))
