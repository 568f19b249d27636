"""Writes the report on a run, where a file for it is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provenance.plugin import options
from provenance.plugin.outputs.write import write

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provenance.evidence.results import Results


@pytest.hookimpl
def pytest_provenance_results(config: pytest.Config, results: Results) -> Iterable[str]:
    """Write the page that ``--provenance-report`` asks for, also of a run that failed."""
    file = options.report_file(config)
    if file is None:
        return ()
    from provenance.report import render_report

    return write(file, render_report(results))
