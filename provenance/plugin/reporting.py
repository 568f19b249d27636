"""Writes the report on a run, where a file for it is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provenance.plugin import options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provenance.results import Results


@pytest.hookimpl
def pytest_provenance_results(config: pytest.Config, results: Results) -> Iterable[str]:
    """Write the page that ``--provenance-report`` asks for, also of a run that failed."""
    file = options.report_file(config)
    if file is None:
        return ()
    from provenance.report import render_report

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(render_report(results), encoding="utf-8")
    except OSError as error:
        return (f"the report cannot be written to {file}: {error.strerror}",)
    return ()
