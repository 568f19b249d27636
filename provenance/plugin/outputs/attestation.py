"""Writes an attestation of the run, and beside it the results that it has the digest of."""

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
    """Digest the checkpoints and write the Statement; a complaint says why it cannot be written."""
    path = options.attestation(config)
    if path is None:
        return ()
    from provenance.errors import ProvenanceError

    try:
        text = _statement(config, results)
    except ProvenanceError as error:
        return (f"no attestation was written: {error}",)
    beside = path.with_suffix(".results.json")
    return [*write(path, text), *write(beside, results.to_json() + "\n")]


def _statement(config: pytest.Config, results: Results) -> str:
    from provenance.attest import make_statement, subjects_of
    from provenance.comparison.executor import Executor

    suites = {
        path: options.read_suite(config.rootpath / path, config)
        for path in (suite.path for suite in results.suites)
    }
    executor = Executor(options.store_of(config))
    return make_statement(
        results, subjects_of(results, suites, executor.checkpoint), results.run.url
    )
