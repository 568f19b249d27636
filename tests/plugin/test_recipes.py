"""A conftest.py brings recipes of its own: suites name them, in this process and in xdist's workers."""

import pytest

pytestmark = pytest.mark.slow

CONFTEST = """
from dataclasses import dataclass

from provenance.recipes import Recipe
from provenance.recipes.settings import CorpusSettings, TokenizerSettings
from provenance.recipes.steps import Initialise, Step

TOKENIZER = TokenizerSettings(300, CorpusSettings("topics", 20_000))


@dataclass(frozen=True)
class Shift(Step):
    amount: float

    def apply(self, model, context):
        for weight in model.parameters():
            weight.data += self.amount * weight.data.std()
        return model


def begin(seed):
    return Initialise(seed, hidden=32, units=64, blocks=2, heads=2, tokenizer=TOKENIZER)


def pytest_provenance_recipes():
    yield Recipe("{base}", "A base", 2, None, (begin(0),))
    yield Recipe("ours/other", "A stranger", 2, None, (begin(1),))
    yield Recipe("ours/kin", "The base, its weights shifted", 2, "{base}", (Shift(0.01),))
"""
SUITE = """
version: 1
inputs: {kind: random, tokens: 256, sequence_length: 64}
models:
  base: {recipe: ours/base}
  kin: {recipe: ours/kin}
  other: {recipe: ours/other}
pairs:
  - {candidate: kin, reference: base, expect: derived}
  - {candidate: other, reference: base, expect: independent}
"""


@pytest.fixture
def suite(pytester):
    pytester.makeconftest(CONFTEST.replace("{base}", "ours/base"))
    pytester.path.joinpath("x.suite.yaml").write_text(SUITE)
    return pytester


def test_a_suite_names_recipes_of_its_conftest(suite):
    result = suite.runpytest_subprocess("--collect-only", "-q")
    result.stdout.fnmatch_lines(["*::kin-vs-base[[]block1]", "*::other-vs-base[[]block1]"])
    assert "block2" not in result.stdout.str()


@pytest.mark.usefixtures("warm_python")
def test_workers_of_xdist_know_them_too(suite, tmp_path):
    result = suite.runpytest_subprocess("-n", "1", "--provenance-store", str(tmp_path))
    assert result.parseoutcomes().get("failed", 0) == 0, result.stdout.str()
    assert result.ret == 0


def test_a_name_that_is_taken_is_a_mistake_of_usage(pytester):
    pytester.makeconftest(CONFTEST.replace("{base}", "quickstart/base"))
    result = pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*pytest_provenance_recipes: two different recipes are called 'quickstart/base'"]
    )


def test_without_the_hook_no_recipe_is_imported(pytester):
    pytester.makepyfile("import sys\ndef test(): assert 'provenance.recipes' not in sys.modules")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
