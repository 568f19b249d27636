"""Exhibits of models: measured where they are asked for, and a reason where there are none."""

import pytest

from fixtures.models import save_checkpoint, tiny_llama
from provenance import Executor, Store, compare, fingerprint
from provenance.comparison.exhibits import NO_WEIGHTS
from provenance.comparison.plan import Comparison, Plan, comparison
from provenance.evidence.exhibits import EXHIBIT_NAMES
from provenance.suite.read import loads
from provenance.vocabulary import InputsSpec, ModelSpec

pytestmark = pytest.mark.slow

SUITE = """
version: 1
{exhibits}
models: {{base: {{path: ./base}}, other: {{path: ./other}}, part: {{path: ./part}}}}
pairs:
- {{candidate: other, reference: base, expect: independent}}
- {{candidate: part, reference: base, expect: finetune, sample: 2}}
"""


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    return Executor(Store(tmp_path_factory.mktemp("store")), "cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    shapes = {
        "base": (0, {"num_hidden_layers": 4}),
        "other": (1, {"num_hidden_layers": 4}),
        "wide": (2, {"num_hidden_layers": 6, "hidden_size": 48, "vocab_size": 160}),
        "shallow": (3, {}),
    }
    return {
        name: save_checkpoint(tiny_llama(seed, **more), folder / name)
        for name, (seed, more) in shapes.items()
    }


@pytest.fixture(scope="module")
def measured(models, executor):
    def measured(candidate, reference, *, exhibits=True, statistic="match_tokens"):
        found = compare(
            models[candidate],
            models[reference],
            statistic=statistic,
            control=False,
            exhibits=exhibits,
            executor=executor,
        )
        return {one.name: one for one in found.exhibits}

    return measured


def test_a_model_has_all_of_itself(measured):
    found = measured("base", "base")
    assert list(found) == list(EXHIBIT_NAMES)
    assert [found[name].value for name in ("norms", "deviations", "configuration")] == (
        pytest.approx([1, 1, 1])
    )
    assert found["norms"].compared == 9  # two a block, and the last
    assert found["deviations"].compared == 32  # four a block, of either side
    assert found["units"].value == 64


def test_strangers_agree_on_few_units_though_their_configurations_are_equal(measured):
    found = measured("other", "base")
    assert found["configuration"].value == 1
    assert found["norms"].value > 0.9
    assert found["units"].value < 10


def test_other_widths_and_depths_are_compared_as_far_as_both_go(measured):
    found = measured("wide", "base")
    assert found["norms"].compared == 13
    assert -1 <= found["deviations"].value < 1
    assert 0 < found["configuration"].value < 1


def test_what_two_models_have_not_says_why(measured):
    found = measured("shallow", "base", statistic="match_weights")
    assert found["deviations"].reason.endswith("under one name in 3 blocks")
    assert found["tokenizer"].reason.endswith("has no tokenizer")
    assert found["units"].reason.startswith("no blocks were tested by match_tokens")
    assert found["norms"].value is not None


def test_none_is_measured_where_none_is_asked_for(measured):
    assert measured("other", "base")
    assert measured("other", "base", exhibits=False) == {}


def test_a_fingerprint_has_none(models, executor, tmp_path):
    file = tmp_path / "base.safetensors"
    fingerprint(models["base"], file, inputs=InputsSpec(tokens=256), executor=executor)
    found = compare(models["other"], file, control=False, exhibits=True, executor=executor)
    assert {one.reason for one in found.exhibits} == {NO_WEIGHTS}
    assert len(found.exhibits) == len(EXHIBIT_NAMES)


@pytest.mark.parametrize(("line", "asked"), [("", False), ("exhibits: true", True)])
def test_a_suite_asks_for_them_of_all_its_pairs_but_samples(line, asked, tmp_path):
    suite = loads(SUITE.format(exhibits=line), tmp_path / "a.suite.yaml")
    assert suite.exhibits is asked
    whole, sample = (comparison(suite, claim) for claim in suite.claims)
    assert (whole.exhibits, sample.exhibits) == (asked, False)


def test_what_files_alone_are_asked_for_is_one_comparison_with_exhibits_and_without():
    specs = ModelSpec(path="/a"), ModelSpec(path="/b")
    made = [Comparison.of(*specs, InputsSpec(), "kinship", exhibits=each) for each in (True, False)]
    assert len(Plan.of(one.of_files() for one in made).comparisons) == 1
