"""The fixture that suites' tests, and a user's own tests, get their evidence from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provenance.plugin import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.execute import Executor


@pytest.fixture(scope="session")
def provenance(pytestconfig: pytest.Config) -> Iterator[Executor]:
    """Executor of the pytest session, on the device and with the store of the command line.

    A model is loaded and run forward once, its activations kept in the store, and let go at once::

        from provenance import compare


        def test_ours_is_our_own(provenance):
            evidence = compare("./checkpoints/ours", "org/theirs@1f2e3d", executor=provenance)
            assert evidence.log10_p > -3
    """
    from provenance.execute import Executor
    from provenance.plugin.progress import Progress
    from provenance.store import Store

    progress = Progress(pytestconfig)
    yield Executor(
        Store(options.store_folder(pytestconfig)),
        pytestconfig.getoption("--provenance-device"),
        progress,
        memory=options.memory(pytestconfig),
    )
    progress.clear()
