"""The pytest plugin: `*.suite.yaml` files become ordinary test functions.

* In: pytest's options, and suite files.
* Out: a test for each part of a claim, and `evidence.results.Results` for all that is written of a run.
* Open `collection` first, then `cases` and `checks`, then `results`.

Every pytest run imports this module where provenance is installed. So it imports pytest and the standard
library alone; collecting a suite imports the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provenance.plugin import asserted, folding, hookspecs, options
from provenance.plugin.collected import CollectedSuites
from provenance.plugin.fixtures import provenance
from provenance.plugin.hub import HubClaims
from provenance.plugin.outputs import (
    attestation,
    github,
    junit,
    lock,
    report,
    results_json,
    sarif,
)
from provenance.plugin.precompute import Precompute
from provenance.plugin.results import Gatherer

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from xdist.remote import Producer
    from xdist.scheduler import Scheduling
    from xdist.workermanage import WorkerController

__all__ = ["provenance"]

OUTPUTS = (results_json, attestation, report, junit, github, sarif, lock)
"""What writes something from the results of a run; each implements `pytest_provenance_results`."""

_DISTRIBUTION_GIVEN = pytest.StashKey[bool]()


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hooks of `provenance.plugin.hookspecs`."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the group "provenance"."""
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark that every claim carries, and what gathers results."""
    options.validate(config)
    _register_recipes(config)
    config.addinivalue_line(
        "markers",
        "relation(kind, candidate, reference, base): the claim that a suite's test checks; "
        "`base` is another word for `reference`.",
    )
    config.pluginmanager.register(asserted, "provenance-asserted")
    config.pluginmanager.register(HubClaims(), "provenance-hub")
    config.pluginmanager.register(CollectedSuites(), "provenance-collected")
    if not hasattr(config, "workerinput"):  # xdist's workers send what they find
        lock.validate(config)
        if options.plans(config):
            from provenance.plugin.planning import Planning

            config.pluginmanager.register(Planning(config), "provenance-planning")
        elif options.backend(config) != options.LOCAL:
            config.pluginmanager.register(
                Precompute(options.backend(config)), "provenance-precompute"
            )
        config.pluginmanager.register(Gatherer(config), "provenance-gatherer")
        folds = folding.Folding()
        config.pluginmanager.register(folds, "provenance-folding")
        config.pluginmanager.register(folding.Unfolding(folds), "provenance-unfolding")
        for output in OUTPUTS:
            config.pluginmanager.register(output, output.__name__)


def _register_recipes(config: pytest.Config) -> None:
    """Register what conftest files and plugins bring; where they bring nothing, import nothing."""
    answers = config.hook.pytest_provenance_recipes(config=config)
    recipes = [recipe for answer in answers for recipe in answer]
    if recipes:
        from provenance.recipes import register

        try:
            register(recipes)
        except ValueError as error:
            raise pytest.UsageError(f"pytest_provenance_recipes: {error}") from None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the report of a test that failed begin with what was measured."""
    report = yield
    folding.retell(item, report)
    return report


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect suite files, and no other YAML."""
    if not options.is_suite(file_path, parent.config):
        return None
    from provenance.plugin.collection import SuiteFile

    collector: pytest.Collector = SuiteFile.from_parent(parent, path=file_path)
    return collector


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Show what workers are at, where there is a terminal that is not quiet."""
    plugins, config = node.config.pluginmanager, node.config
    terminal = plugins.getplugin("terminalreporter")
    if terminal is None or config.get_verbosity() < 0 or plugins.hasplugin("provenance-relay"):
        return
    from provenance.plugin.relay import Relay

    relay = Relay(terminal)
    plugins.register(relay, "provenance-relay")
    relay.pytest_configure_node(node)  # pluggy called this hook before it knew of the relay


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """Note whether ``--dist`` was given, or ``-d``: xdist fills it in here where it was not."""
    option = config.option
    given = getattr(option, "dist", "no") != "no" or getattr(option, "distload", False)
    config.stash[_DISTRIBUTION_GIVEN] = given
    return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Keep the tests of a pair on one worker, where a run is of suites and asks for nothing else."""
    if config.stash.get(_DISTRIBUTION_GIVEN, False) or not options.only_suites(config):
        return None
    from provenance.plugin.scheduling import PairScheduling

    return PairScheduling(config, log)
