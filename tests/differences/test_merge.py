"""The shares of a merge's parents: against plain least squares, disguised merges, and what is no merge."""

import json
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fixtures import transforms
from fixtures.models import save_checkpoint, tiny_llama
from fixtures.transforms import Parts
from provenance import Executor, Store, decompose
from provenance.cli import main
from provenance.comparison.plan import comparison
from provenance.differences.merge import Fit
from provenance.errors import DegenerateError, InputError, SourceError
from provenance.evidence.decomposition import Decomposition
from provenance.evidence.verdict import judge_pair
from provenance.suite.read import loads
from tests import reference
from tests.differences.test_measure import SIZES

pytestmark = pytest.mark.slow


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_shares_are_those_of_plain_least_squares(others, seed):
    rng = np.random.default_rng(seed)
    parents = rng.normal(size=(len(others) + 1, 12, 9))
    shares = np.array([1 - sum(others), *others])
    model = np.tensordot(shares, parents, 1) + 0.1 * rng.normal(size=(12, 9))
    fit = Fit.of(torch.from_numpy(model), [torch.from_numpy(one) for one in parents])
    found = fit.shares()
    told, left = reference.shares_of_parents(model, parents)
    assert found == pytest.approx(told, abs=1e-8)
    assert fit.left_over(found) == pytest.approx(left, abs=1e-8)


def test_parents_that_are_one_model_have_no_shares():
    one = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    assert Fit.of(one, [one, one]).shares() is None
    other = one + 1
    assert Fit.of(one, [one, other, other]).shares() is None


def test_nothing_is_left_over_of_a_copy():
    one, other = (torch.randn(8, 8, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    fit = Fit.of(other, [one, other])
    assert fit.shares() == pytest.approx([0, 1])
    assert fit.left_over(fit.shares()) == 0.0


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_huge_number_hides_nothing_that_is_left_over(place):
    """Of the model, of the first parent, and of another; of least squares without it nothing is left."""
    first, second = (torch.randn(8, 8, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    three = [0.7 * first + 0.3 * second, first, second]
    assert Fit.of(three[0], three[1:]).left_over(np.array([0.7, 0.3])) < 1e-6
    three[place][0, 0] = 1e38
    fit = Fit.of(three[0], three[1:])
    assert fit.left_over(fit.shares()) == pytest.approx(1, abs=0.05)


def test_shares_and_what_is_left_over_are_written_as_people_write_them():
    found = Decomposition(("a", "b"), (-4e-10, 1.0), (0, 1), (0, 1), 1.0, (), 2)
    assert found.words().endswith(
        "0 x a + 1 x b; 100% of the distance to the nearest is left over."
    )


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    return Executor(Store(tmp_path_factory.mktemp("store")), "cpu")


@pytest.fixture(scope="module")
def models():
    base = tiny_llama(**SIZES)
    first, second = (transforms.add_noise(base, seed, 0.2) for seed in (1, 2))
    return base, first, second


@pytest.fixture(scope="module")
def folders(models, tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    names = ("base", "first", "second")
    return [save_checkpoint(m, place / name) for m, name in zip(models, names, strict=True)]


def everything(model):
    for disguise in (
        lambda m: transforms.permute_mlp_units(m, 1),
        lambda m: transforms.permute_heads(m, 3),
        lambda m: transforms.rescale_norms(m, 5, signs=True),
        lambda m: transforms.rotate_residual_stream(m, 6),
    ):
        model = disguise(model)
    return model


@pytest.mark.parametrize("hide", [lambda m: m, everything], ids=["plain", "disguised"])
def test_a_linear_merge_is_taken_apart(executor, models, folders, tmp_path, hide):
    merged = hide(transforms.merge_linear(models[1], models[2], 0.3))
    folder = save_checkpoint(merged, tmp_path / "merged")
    found = decompose(folder, folders[1:], executor=executor)
    assert found.shares == pytest.approx((0.7, 0.3), abs=1e-4)
    assert found.is_explained
    assert found.left_over < 1e-3
    assert found.matrices == 3 * 7
    assert [block.block for block in found.blocks] == [0, 1, 2]
    assert all(block.shares == pytest.approx((0.7, 0.3), abs=1e-3) for block in found.blocks)
    assert sum(found.shares) == pytest.approx(1)
    assert "0.7 x" in found.words()


def test_shares_of_each_block_are_its_own(executor, models, folders, tmp_path):
    merged = transforms.merge_linear(models[1], models[2], 0.3)
    other = transforms.merge_linear(models[1], models[2], 0.8)
    merged.model.layers[2].load_state_dict(other.model.layers[2].state_dict())
    folder = save_checkpoint(merged, tmp_path / "merged")
    found = decompose(folder, folders[1:], executor=executor)
    assert [round(block.shares[1], 3) for block in found.blocks] == [0.3, 0.3, 0.8]
    assert found.low[1] < found.shares[1] - 0.05 < found.shares[1] + 0.05 < found.high[1]


def test_what_is_no_merge_of_the_parents_is_not_said_to_be_one(executor, models, folders, tmp_path):
    third = transforms.add_noise(models[0], 9, 0.2)
    merged = transforms.merge_linear(models[1], third, 0.5)
    folder = save_checkpoint(merged, tmp_path / "merged")
    found = decompose(folder, folders[:2], executor=executor)
    assert not found.is_explained
    assert found.words().startswith("Not of these parents alone")
    assert 0.3 < found.left_over <= 1


def test_parents_are_kin_are_several_and_differ(executor, folders, tmp_path):
    stranger = save_checkpoint(tiny_llama(seed=7, **SIZES), tmp_path / "stranger")
    with pytest.raises(InputError, match="two parents or more"):
        decompose(folders[0], folders[1:2], executor=executor)
    with pytest.raises(DegenerateError, match="are not found kin"):
        decompose(folders[0], [folders[1], stranger], executor=executor)
    with pytest.raises(DegenerateError, match="are one model"):
        decompose(folders[0], [folders[1], folders[1]], executor=executor)


def test_a_broken_parent_is_named_though_its_blocks_are_kin(executor, models, folders, tmp_path):
    broken = deepcopy(models[2])
    broken.model.layers[1].mlp.down_proj.weight.data[0, 0] = float("nan")
    folder = save_checkpoint(broken, tmp_path / "broken")
    for model, parents in ((folder, folders[:2]), (folders[0], [folders[1], folder])):
        with pytest.raises(SourceError, match=r"broken: .*down_proj.weight holds NaN or infinity"):
            decompose(model, parents, executor=executor)


def test_what_could_not_be_mapped_is_named_beside_the_shares(executor, models, folders, tmp_path):
    blind = deepcopy(models[1])
    for layer in blind.model.layers:
        layer.self_attn.q_proj.weight.data.zero_()
    merged = save_checkpoint(transforms.merge_linear(models[1], models[2], 0.3), tmp_path / "m")
    parents = [save_checkpoint(blind, tmp_path / "blind"), folders[2]]
    found = decompose(merged, parents, executor=executor)
    assert found.matrices == 3 * 3
    assert {f"model.layers.1.self_attn.{one}_proj.weight" for one in "qkvo"} <= {*found.left_out}
    assert found.words().endswith("self_attn.k_proj.weight and 11 more could not be mapped.")
    assert decompose(merged, folders[1:], executor=executor).left_out == ()


def orders(model):
    shuffled = transforms.permute_heads(transforms.permute_mlp_units(model, 1), 3)
    return transforms.permute_residual_stream(shuffled, 6)


TIES = Parts((0.75, 0.25), 0.5, "largest", elected=True, mean=True)
DARE = Parts((0.6, 0.4), 0.5, rescaled=True)


@pytest.mark.parametrize("hide", [lambda m: m, orders], ids=["plain", "in-other-orders"])
@pytest.mark.parametrize(
    ("parts", "method", "shares"),
    [(TIES, "TIES", (0, 0.75, 0.25)), (DARE, "DARE", (0, 0.6, 0.4))],
    ids=["ties", "dare"],
)
def test_a_merge_that_leaves_changes_out_is_taken_apart(
    executor, models, folders, tmp_path, hide, parts, method, shares
):
    merged = hide(transforms.merge_parts(models[0], models[1:], parts))
    found = decompose(save_checkpoint(merged, tmp_path / "merged"), folders, executor=executor)
    assert found.left_over > 0.3
    assert found.is_explained
    assert (found.sparse.method, found.sparse.base) == (method, 0)
    assert found.sparse.shares == pytest.approx(shares, abs=0.03)
    assert found.sparse.densities[1:] == pytest.approx((0.5, 0.5), abs=0.03)
    assert [block.block for block in found.sparse.blocks] == [0, 1, 2]
    assert all(block.fits > 0.99 for block in found.sparse.blocks)


def test_nothing_is_read_number_by_number_where_the_stream_is_turned(
    executor, models, folders, tmp_path
):
    merged = everything(transforms.merge_parts(models[0], models[1:], TIES))
    found = decompose(save_checkpoint(merged, tmp_path / "merged"), folders, executor=executor)
    assert found.sparse is None
    assert not found.is_explained


PARTS_SUITE = """\
version: 1
inputs: {{tokens: 64, sequence_length: 16}}
models: {{merged: {{path: merged}}, base: {{path: {0}}}, first: {{path: {1}}}, second: {{path: {2}}}}}
pairs:
  - {{candidate: merged, reference: first, id: true,
      expect: {{merge: {{base: 0, first: 0.75, second: 0.25}}}}}}
  - {{candidate: merged, reference: first, id: alone, expect: merge, parents: [base, first, second]}}
  - {{candidate: merged, reference: first, id: exchanged,
      expect: {{merge: {{base: 0, first: 0.25, second: 0.75}}}}}}
  - {{candidate: merged, reference: first, id: no-base, expect: merge, parents: [first, second]}}
"""
"""The last names no base, so that nothing is read number by number."""


def test_claims_of_a_merge_that_leaves_changes_out_are_judged_by_its_numbers(
    executor, models, folders, tmp_path
):
    save_checkpoint(transforms.merge_parts(models[0], models[1:], TIES), tmp_path / "merged")
    suite = loads(PARTS_SUITE.format(*folders), tmp_path / "a.suite.yaml")
    found = {
        claim.id: judge_pair(claim, executor.evidence(comparison(suite, claim)))
        for claim in suite.claims
    }
    assert {name: (judged.state, judged.verdict) for name, judged in found.items()} == {
        "true": ("holds", "dependent"),
        "alone": ("holds", "dependent"),
        "exchanged": ("fails", "dependent"),
        "no-base": ("fails", "inconclusive"),
    }
    assert "TIES: the largest changes of each parent are kept" in found["exchanged"].meaning


SUITE = """\
version: 1
inputs: {{tokens: 64, sequence_length: 16}}
models:
  merged: {{path: merged}}
  base: {{path: {0}}}
  first: {{path: {1}}}
  second: {{path: {2}}}
  third: {{path: third}}
  stranger: {{path: stranger}}
pairs:
  - {{candidate: merged, reference: first, id: true, expect: {{merge: {{first: 0.7, second: 0.3}}}}}}
  - {{candidate: merged, reference: second, id: alone, expect: merge, parents: [first, second]}}
  - {{candidate: merged, reference: first, id: exchanged, expect: {{merge: {{first: 0.3, second: 0.7}}}}}}
  - {{candidate: merged, reference: first, id: near, tolerance: 0.1,
      expect: {{merge: {{first: 0.65, second: 0.35}}}}}}
  - {{candidate: merged, reference: first, id: with-a-stranger, expect: merge, parents: [first, stranger]}}
  - {{candidate: merged, reference: first, id: with-a-third, expect: merge, parents: [first, base, third]}}
  - {{candidate: merged, reference: first, id: twice, expect: merge, parents: [first, copy]}}
"""
TOLD = {
    "true": "holds",
    "alone": "holds",
    "exchanged": "fails",
    "near": "holds",
    "with-a-stranger": "fails",
    "with-a-third": "fails",
    "twice": "fails",
}


@pytest.mark.parametrize("hide", [lambda m: m, everything], ids=["plain", "disguised"])
def test_claims_of_a_merge_are_judged_by_the_shares(executor, models, folders, tmp_path, hide):
    merged = hide(transforms.merge_linear(models[1], models[2], 0.3))
    save_checkpoint(merged, tmp_path / "merged")
    save_checkpoint(transforms.add_noise(models[0], 9, 0.2), tmp_path / "third")
    save_checkpoint(tiny_llama(seed=7, **SIZES), tmp_path / "stranger")
    text = SUITE.replace("  stranger:", "  copy: {{path: {1}}}\n  stranger:").format(*folders)
    suite = loads(text, tmp_path / "a.suite.yaml")
    found = {}
    for claim in suite.claims:
        evidence = executor.evidence(comparison(suite, claim))
        assert [one.digest for one in evidence.merge.parents] == [
            executor.checkpoint(suite.models[name]).digest for name, _ in claim.parents
        ]
        found[claim.id] = judge_pair(claim, evidence)
    assert {name: judged.state for name, judged in found.items()} == TOLD
    assert "merged has 0.7 of first (0.7 to 0.7)" in found["exchanged"].meaning
    assert "whether merged is kin to stranger is open (p = " in found["with-a-stranger"].meaning
    assert "merged takes nothing of third: " in found["with-a-third"].meaning
    assert "two of the parents are one model" in found["twice"].meaning
    # what was compared for one claim serves the others
    measured = executor.evidence(comparison(suite, suite.claims[0]))
    assert measured == replace(
        executor.evidence(comparison(suite, suite.claims[2])), merge=measured.merge
    )


def test_the_command_prints_a_table_or_json(models, folders, tmp_path, capsys):
    merged = save_checkpoint(
        transforms.merge_linear(models[1], models[2], 0.3), tmp_path / "merged"
    )
    asked = ["decompose", *map(str, [merged, *folders[1:]]), "--store", str(tmp_path / "store")]
    with pytest.raises(SystemExit) as stop:
        main(asked)
    assert stop.value.code == 0
    assert "A combination of these parents: 0.7 x" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        main([*asked, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["explained"], told["method"]) == (True, None)
    assert told["shares"] == pytest.approx([0.7, 0.3], abs=1e-4)


def test_the_command_prints_what_each_number_shows(models, folders, tmp_path, capsys):
    made = transforms.merge_parts(models[0], models[1:], TIES)
    merged = save_checkpoint(made, tmp_path / "merged")
    asked = ["decompose", *map(str, [merged, *folders]), "--store", str(tmp_path / "store")]
    with pytest.raises(SystemExit) as stop:
        main(asked)
    assert stop.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "TIES, number by number: share (density)" in printed
    assert "A merge of parts onto" in printed
    with pytest.raises(SystemExit):
        main([*asked, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["explained"], told["method"]) == (True, "TIES")
    assert told["sparse"]["shares"] == pytest.approx([0, 0.75, 0.25], abs=1e-3)
