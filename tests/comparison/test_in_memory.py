"""The rows of docs/statistics.md's table for users of the paper's public code, each at work."""

import pytest
import torch
from torch.utils.data import DataLoader

from fixtures.models import tiny_llama
from provenance.assignment.solve import assign
from provenance.capture.forward import inputs, outputs
from provenance.comparison.in_memory import activations, compare_units
from provenance.errors import InputError
from provenance.statistics.match import cosine, match

GATE = "model.layers.1.mlp.gate_proj"


@pytest.fixture(scope="module")
def models():
    base, kin = tiny_llama(0, num_hidden_layers=3), tiny_llama(0, num_hidden_layers=3)
    generator = torch.Generator().manual_seed(1)
    for weight in kin.parameters():
        weight.data += 0.02 * torch.randn(weight.shape, generator=generator)
    return kin, base, tiny_llama(1, num_hidden_layers=3)


@pytest.fixture(scope="module")
def loader():
    ids = torch.randint(128, (12, 32), generator=torch.Generator().manual_seed(2))
    return DataLoader([{"input_ids": row} for row in ids], batch_size=5)


@pytest.fixture(scope="module")
def units(models, loader):
    return [activations(model, loader) for model in models]


def test_a_dataloader_of_ones_own_is_run_as_it_is(models, loader, units):
    kept = units[1].block(1).gate
    assert kept.shape == (12 * 32, 64)
    with outputs(models[1], GATE) as seen, torch.no_grad():
        for batch in loader:
            models[1](**batch)
    assert torch.allclose(torch.cat([part.flatten(0, 1) for part in seen[GATE]]), kept, atol=1e-5)


def test_what_a_module_takes_in_is_recorded_and_hooks_are_removed(models):
    ids = torch.arange(8)[None]
    with inputs(models[1], GATE) as seen, outputs(models[1], GATE) as out, torch.no_grad():
        models[1](input_ids=ids)
    gate = models[1].get_submodule(GATE)
    assert torch.allclose(gate(seen[GATE][0]), out[GATE][0], atol=1e-5)
    assert not any(module._forward_hooks for module in models[1].modules())


def test_the_gate_and_the_up_matching_of_a_block(units):
    result = match(units[0].block(0), units[1].block(0))
    for matching in (result.gate_matching, result.up_matching):
        assert matching.shape == (64, 2)
        assert (matching[:, 0] == matching[:, 1]).mean() > 0.9


def test_two_matrices_are_assigned(units):
    similarity = cosine(units[0].block(0).up, units[1].block(0).up).abs()
    assert (assign(similarity).columns == torch.arange(64).numpy()).mean() > 0.9


def test_one_block_all_blocks_and_block_i_against_block_j(units):
    kin, base, other = units
    alone = match(kin.block(2), base.block(2)).log10_p
    table = compare_units(kin, base)
    assert [block.log10_p for block in table.blocks][2] == alone < -20
    assert match(kin.block(0), base.block(2)).log10_p > -6
    assert all(block.log10_p > -6 for block in compare_units(other, base).blocks)


def test_the_map_of_blocks_is_optimal(units):
    table = compare_units(units[0], units[1], pairing="cross")
    assert [(a.candidate_block, a.reference_block) for a in table.alignment] == [
        (0, 0),
        (1, 1),
        (2, 2),
    ]
    assert len(table.cross) == len(table.cross[0]) == 3


def test_padding_is_left_out(models):
    ids = torch.arange(16).reshape(2, 8)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    kept = activations(models[1], [{"input_ids": ids, "attention_mask": mask}])
    assert kept.block(0).gate.shape == (13, 64)


@pytest.mark.parametrize(
    ("batches", "words"),
    [([], "no batch"), ([{"ids": torch.arange(3)}], "no 'input_ids'"), (["text"], "token ids")],
)
def test_batches_without_ids_are_named(models, batches, words):
    with pytest.raises(InputError, match=words):
        activations(models[1], batches)


def test_a_statistic_on_weights_is_refused(units):
    with pytest.raises(ValueError, match="not computed on activations"):
        compare_units(units[0], units[1], statistic="csu")


@pytest.mark.slow
@pytest.mark.parametrize("statistic", ["match", "match_cosine", "csh"])
def test_what_mlps_are_fed_may_be_kept_in_place_of_what_they_answer(
    models, loader, units, statistic
):
    fed = [activations(model, loader, by_input=True) for model in models]
    found, expected = (
        compare_units(sides[0], sides[1], statistic=statistic) for sides in (fed, units)
    )
    for one, two in zip(found.blocks, expected.blocks, strict=True):
        assert one.log10_p == pytest.approx(two.log10_p, rel=1e-6)
        assert one.agreeing == two.agreeing


@pytest.mark.slow
@pytest.mark.parametrize("statistic", ["match", "match_cosine", "csh"])
def test_what_mlps_are_fed_tells_what_their_answers_tell(loader, statistic):
    pair = tiny_llama(3, mlp_bias=True), tiny_llama(4, mlp_bias=True)
    tables = []
    for by_input in (True, False):
        sides = [activations(model, loader, by_input=by_input) for model in pair]
        tables.append(compare_units(*sides, statistic=statistic))
    for one, two in zip(tables[0].blocks, tables[1].blocks, strict=True):
        assert one.log10_p == pytest.approx(two.log10_p, rel=1e-6)
        assert one.agreeing == two.agreeing
