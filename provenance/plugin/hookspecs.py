"""The hooks that this plugin adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provenance.evidence.results import Results
    from provenance.recipes import Recipe


@pytest.hookspec
def pytest_provenance_recipes(config: pytest.Config) -> Iterable[Recipe]:  # type: ignore[empty-body]
    """Return recipes that suites can name, besides ``quickstart/*``; called once, before collection."""


@pytest.hookspec
def pytest_provenance_results(config: pytest.Config, results: Results) -> Iterable[str]:  # type: ignore[empty-body]
    """Take what a run found, once, when all its tests are done.

    Called in the process that reports to the user, where at least one claim was run. What is returned
    are complaints, a line each: they are printed, and a run that would have passed fails.
    """
