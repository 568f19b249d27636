"""How xdist hands out a suite: all tests of a pair to one worker, which has its evidence at hand."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling


class PairScheduling(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Like ``--dist loadscope`` with a pair as the scope (``loadgroup`` is broken: xdist #1386)."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("[")[0]
