"""Compares a run with its lock file, or writes that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from provenance.plugin import options
from provenance.plugin.outputs.write import write

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from provenance.evidence.results import Results
    from provenance.gate.lock import Lock


def validate(config: pytest.Config) -> None:
    """Refuse a lock file that cannot be read, before anything is run.

    Raises
    ------
    pytest.UsageError
        In one line.
    """
    path = options.lock_file(config)
    if path is not None:
        _read(path, missing_is_fine=options.updates_lock(config))


@pytest.hookimpl
def pytest_provenance_results(config: pytest.Config, results: Results) -> Iterable[str]:
    """Return what drifted, or pin what was found."""
    path = options.lock_file(config)
    if path is None:
        return ()
    from provenance.gate.drift import drift
    from provenance.gate.lock import dump, merge

    update = options.updates_lock(config)
    lock = _read(path, missing_is_fine=update)  # once more: a test may have changed it
    gone = _gone(config, lock)
    if update:
        return write(path, dump(merge(lock, results, gone)))
    assert lock is not None
    shown = os.path.relpath(path, config.invocation_params.dir)
    return [difference.line(shown) for difference in drift(lock, results, gone)]


def _gone(config: pytest.Config, lock: Lock | None) -> set[str]:
    """The pinned suites whose files are no more."""
    pinned = set() if lock is None else {claim.suite for claim in lock.claims}
    return {suite for suite in pinned if not (config.rootpath / suite).exists()}


def _read(path: Path, *, missing_is_fine: bool) -> Lock | None:
    from provenance.gate.lock import LockError, read_lock

    try:
        lock = read_lock(path)
    except LockError as error:
        raise pytest.UsageError(str(error)) from None
    if lock is None and not missing_is_fine:
        raise pytest.UsageError(
            f"provenance lock {path}: there is no such file; --update-lock makes it"
        )
    return lock
