"""Writes an attestation of the run, and beside it the results that it has the digest of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from provenance.plugin import options
from provenance.plugin.outputs.write import write

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provenance.evidence.results import Results


@pytest.hookimpl
def pytest_provenance_results(config: pytest.Config, results: Results) -> Iterable[str]:
    """Digest the checkpoints and write the Statement; a complaint says why it cannot be written."""
    path = options.attestation(config)
    if path is None:
        return ()
    from provenance.errors import ProvenanceError

    results = _of_suites(config, results)
    try:
        text = _statement(config, results)
    except ProvenanceError as error:
        return (f"no attestation was written: {error}",)
    beside = path.with_suffix(".results.json")
    return [*write(path, text), *write(beside, results.to_json() + "\n")]


def _of_suites(config: pytest.Config, results: Results) -> Results:
    """The results without what tests in Python assert: only a suite says which models it is of."""
    suites = tuple(suite for suite in results.suites if options.is_suite(suite.path, config))
    known = {suite.path for suite in suites}
    claims = tuple(result for result in results.claims if result.suite in known)
    return replace(results, suites=suites, claims=claims)


def _statement(config: pytest.Config, results: Results) -> str:
    from provenance.attest import make_statement, subjects_of
    from provenance.comparison.executor import Executor

    suites = {
        suite.path: options.read_suite(config.rootpath / suite.path, config)
        for suite in results.suites
    }
    executor = Executor(options.store_of(config))
    return make_statement(
        results, subjects_of(results, suites, executor.checkpoint), results.run.url
    )
