"""The fixture that suites' tests, and a user's own tests, get their evidence from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provenance.plugin import options
from provenance.plugin.precompute import remember_failures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.comparison.executor import Executor


@pytest.fixture(scope="session")
def provenance(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Iterator[Executor]:
    """Executor of the pytest session, on the device and with the store of the command line.

    It loads a model and runs it forward once, keeps its activations in the store, and frees it at once::

        from provenance import assert_independent, compare


        def test_ours_is_our_own(provenance):
            evidence = compare("./checkpoints/ours", "org/theirs@1f2e3d", executor=provenance)
            assert_independent(evidence)
    """
    from provenance.errors import ProvenanceError
    from provenance.plugin.progress import Progress

    nodeids = [item.nodeid for item in request.session.items]
    progress = Progress(pytestconfig, nodeids)
    try:
        executor = options.executor_of(pytestconfig, progress)
    except ProvenanceError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    remember_failures(executor, pytestconfig, nodeids)
    yield executor
    progress.clear()
