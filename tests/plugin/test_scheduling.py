"""Which scheduler of xdist hands out the tests: ours for suites alone, unless --dist says another."""

import pytest
import torch  # noqa: F401 - pytester would forget it after each run, and it loads but once

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.usefixtures("warm_python"),
]

SUITE = """\
version: 1
models:
  base: {path: ./gone, blocks: 3}
  kin: {path: ./away, blocks: 3}
pairs:
  - {candidate: kin, reference: base, expect: finetune}
"""


class Watch:
    """Notes the scheduler of a run, and ends it before a test."""

    scheduler = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_xdist_make_scheduler(self):
        scheduler = yield
        self.scheduler = type(scheduler).__name__
        return scheduler


@pytest.fixture
def scheduler(pytester):
    """The name of the scheduler of a run of these arguments beside a suite."""

    def scheduler(*arguments, addopts=""):
        pytester.path.joinpath("a.suite.yaml").write_text(SUITE)
        pytester.path.joinpath("mixed").mkdir()
        pytester.path.joinpath("mixed", "b.suite.yaml").write_text(SUITE)
        pytester.makepyfile(**{"mixed/test_one": "def test_one(): pass"})
        pytester.makeini(f"[pytest]\naddopts = {addopts}")
        watch = Watch()
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments, plugins=[watch])
        assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
        return watch.scheduler

    return scheduler


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("-n1 a.suite.yaml", "PairScheduling"),
        ("-n1", "PairScheduling"),
        ("-n1 mixed", "PairScheduling"),
        ("-n1 mixed/test_one.py a.suite.yaml", "LoadScheduling"),
        ("-n1 a.suite.yaml --dist each", "EachScheduling"),
        ("-n1 a.suite.yaml --dist=loadfile", "LoadFileScheduling"),
        ("-n1 a.suite.yaml --dist load", "LoadScheduling"),
        ("-n1 a.suite.yaml --dist loadscope", "LoadScopeScheduling"),
        ("-n1 a.suite.yaml --dist loadgroup", "LoadGroupScheduling"),
        ("-n1 a.suite.yaml --dist worksteal", "WorkStealingScheduling"),
        ("-d --tx popen a.suite.yaml", "LoadScheduling"),
        ("--tx popen --dist each a.suite.yaml", "EachScheduling"),
        ("a.suite.yaml", ""),
    ],
)
def test_what_the_command_line_asks_for_is_left_as_asked(scheduler, arguments, expected):
    assert scheduler(*arguments.split()) == expected


def test_what_the_ini_file_asks_for_is_left_as_asked(scheduler):
    assert scheduler("-n1", "a.suite.yaml", addopts="--dist=worksteal") == "WorkStealingScheduling"


def test_tests_beside_suites_are_handed_out_one_by_one(pytester):
    from provenance.plugin.scheduling import PairScheduling

    split = PairScheduling(pytester.parseconfig("--tx", "popen"))._split_scope
    assert split("a/b.suite.yaml::chat-vs-base[block0]") == "a/b.suite.yaml::chat-vs-base"
    assert split("a/test_b.py::test_c[one]") == "a/test_b.py::test_c[one]"


def test_each_worker_runs_a_whole_suite_where_that_is_asked_for(pytester, family, shared_store):
    text = SUITE.replace("./gone", str(family.base)).replace("./away", str(family.kin))
    pytester.path.joinpath("a.suite.yaml").write_text(text)
    how = ("--tx", "2*popen", "--dist", "each", f"--provenance-store={shared_store}")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *how)
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(["kin is a fine-tune of base *dependent * 3 of 3 * holds"])
