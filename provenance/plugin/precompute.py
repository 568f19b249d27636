"""Computes the evidence of all collected tests before the first one runs, where a cluster does it.

Without xdist this happens after collection. With xdist, the process that reports to the user collects
nothing: it reads from node ids what its workers collected, before it hands out the first test.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from provenance.plugin import options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provenance.comparison.executor import Executor
    from provenance.comparison.plan import Comparison, Plan
    from provenance.errors import ProvenanceError
    from provenance.suite.claims import Claim, Suite

FAILURES = "provenance_failures"
"""Name of the worker input that holds the path of the file of failures."""

_FAILURES = pytest.StashKey[dict[str, "ProvenanceError"]]()


class Precompute:
    """A plugin object of the process that reports to the user."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._folder = tempfile.TemporaryDirectory(prefix="provenance-")
        self._done = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Run the plan of what this process collected, unless pytest will run no test of it."""
        if _runs_tests(session):
            self._run(session.config, [item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of xdist where the failures will be."""
        node.workerinput[FAILURES] = str(self._file)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """Run the plan of what the workers of xdist collected, all of them the same.

        They run their tests even where some files could not be collected.
        """
        self._run(node.config, ids)

    def pytest_unconfigure(self) -> None:
        """Remove the file of failures."""
        self._folder.cleanup()

    @property
    def _file(self) -> Path:
        return Path(self._folder.name) / "failures.json"

    def _run(self, config: pytest.Config, ids: list[str]) -> None:
        if self._done:
            return
        self._done = True
        from provenance.cluster import run_plan
        from provenance.errors import ProvenanceError
        from provenance.plugin.progress import Progress

        progress = Progress(config)
        try:
            errors = run_plan(
                plan_of(config, ids), options.executor_of(config, None), self._backend, progress
            )
        except ProvenanceError as error:
            raise pytest.UsageError(str(error)) from None
        finally:
            progress.clear()
        failures = {_key(comparison): error for comparison, error in errors.items()}
        config.stash[_FAILURES] = failures
        written = {key: [type(error).__name__, str(error)] for key, error in failures.items()}
        self._file.write_text(json.dumps(written), encoding="utf-8")


def remember_failures(executor: Executor, config: pytest.Config, ids: Iterable[str]) -> None:
    """Let an executor remember what could not be computed for the tests with these ids."""
    failures = _failures(config)
    if not failures:
        return
    for comparison in plan_of(config, ids).comparisons:
        error = failures.get(_key(comparison))
        if error is not None:
            executor.remember(comparison, error)


def _failures(config: pytest.Config) -> dict[str, ProvenanceError]:
    """Errors of this process, or from the file that a worker of xdist is told of, by `_key`."""
    file: str | None = getattr(config, "workerinput", {}).get(FAILURES)
    if file is None:
        return config.stash.get(_FAILURES, {})
    from provenance.errors import retold

    try:
        written: dict[str, tuple[str, str]] = json.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError:  # a worker on another machine: it meets them by itself
        return {}
    return {key: retold(kind, text) for key, (kind, text) in written.items()}


def _key(comparison: Comparison) -> str:
    """Digest of a comparison, which names it in the file of failures."""
    from provenance.store.store import digest_of

    return digest_of(asdict(comparison))


def _runs_tests(session: pytest.Session) -> bool:
    """Whether pytest goes on to tests: not for a list of them, nor after mistakes in collected files."""
    option = session.config.option
    mistaken = session.testsfailed and not option.continue_on_collection_errors
    return not (option.collectonly or mistaken)


def plan_of(config: pytest.Config, ids: Iterable[str]) -> Plan:
    """The comparisons that tests with these ids need, in their order, controls included."""
    from provenance.comparison.plan import Plan, needs
    from provenance.plugin.cases import tested_claims

    suites: dict[str, tuple[Suite, dict[str, Claim]]] = {}

    def comparisons() -> Iterator[Comparison]:
        for nodeid in ids:
            path, _, test = nodeid.partition("::")
            if not options.is_suite(path, config):
                continue
            if path not in suites:
                suite = options.read_suite(config.rootpath / path, config)
                suites[path] = suite, tested_claims(suite)
            name, _, part = test.partition("[")
            suite, claims = suites[path]
            yield from needs(suite, claims[name], part.removesuffix("]")).comparisons()

    return Plan.of(comparisons())
