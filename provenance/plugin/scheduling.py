"""How xdist hands out a suite: all tests of a pair to one worker, which has its evidence at hand."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

from provenance.plugin.options import is_suite


class PairScheduling(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Like ``--dist loadscope`` with a pair as the scope (``loadgroup`` is broken: xdist #1386).

    Any other test, in a folder that holds suites and Python files, is a scope of its own.
    """

    def _split_scope(self, nodeid: str) -> str:
        path, _, test = nodeid.partition("::")
        if not is_suite(path, self.config):
            return nodeid
        return f"{path}::{test.partition('[')[0]}"
