"""How much of a model the compared MLPs do: shares of the residual stream, and of the predictions."""

import copy

import pytest
import torch

from fixtures.models import TINY, tiny_llama, tiny_model
from provenance.architecture.trace import trace
from provenance.capture.coverage import measure_coverage
from provenance.evidence.doubts import LEAST_COVERAGE
from tests.reference import coverage_by_hand

IDS = torch.randint(128, (2, 64), generator=torch.Generator().manual_seed(3))


def covered(model, ids=IDS):
    return measure_coverage(model, trace(model), list(ids))


def less(coverage):
    """The smaller of the two shares: what a verdict looks at."""
    return min(coverage.share, coverage.effect)


def test_the_shares_of_a_llama_are_those_of_the_slow_way():
    model = tiny_llama(num_hidden_layers=3)
    found, (blocks, share, effect) = covered(model), coverage_by_hand(model, IDS)
    assert found.blocks == pytest.approx(blocks, abs=1e-4)
    assert (found.share, found.effect) == pytest.approx((share, effect), abs=1e-4)
    assert less(found) > LEAST_COVERAGE


def test_the_model_is_left_as_it_was():
    model = tiny_llama()
    before = copy.deepcopy(model.state_dict())
    covered(model)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


# what is compared does nothing


def idle(model):
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.data.zero_()


def constant(model):
    """Each MLP adds one vector, whatever it is fed: nothing that a mean does not."""
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.data.zero_()
        layer.mlp.down_proj.bias = torch.nn.Parameter(torch.randn(32))


def small(model):
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.data *= 0.02


@pytest.mark.parametrize("change", [idle, constant, small])
def test_mlps_that_do_little_cover_little(change):
    model = tiny_llama(num_hidden_layers=3)
    change(model)
    assert less(covered(model)) < LEAST_COVERAGE / 10


def test_blocks_that_do_little_do_not_hide_that_others_do_the_work():
    """Of six blocks one works, without its MLP; in the others an MLP stirs faintly, and nothing else."""
    model = tiny_llama(num_hidden_layers=6)
    for index, layer in enumerate(model.model.layers):
        if index == 3:
            layer.mlp.down_proj.weight.data.zero_()
        else:
            layer.self_attn.o_proj.weight.data.zero_()
            layer.mlp.down_proj.weight.data *= 0.01
    found = covered(model)
    assert sum(found.blocks) / 6 > 0.8
    assert less(found) < LEAST_COVERAGE


def test_blocks_that_hardly_move_the_predictions_are_not_the_model():
    """As where another list of blocks does the work: here the embedding does all of it."""
    model = tiny_llama(num_hidden_layers=3)
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.data *= 0.01
        layer.mlp.down_proj.weight.data *= 0.01
    found = covered(model)
    assert found.share > 2 * LEAST_COVERAGE
    assert found.effect < LEAST_COVERAGE / 10


def test_a_term_that_the_rest_of_a_block_takes_away_again_counts_for_nothing():
    """Two equal experts, one negated, of which only one counts as compared."""
    from transformers import MixtralConfig

    model = tiny_model(MixtralConfig(**TINY | {"num_local_experts": 2, "num_experts_per_tok": 2}))
    for layer in model.model.layers:
        experts = layer.mlp.experts
        layer.mlp.gate.weight.data.zero_()  # both get half of every token
        experts.gate_up_proj.data[1] = experts.gate_up_proj.data[0]
        experts.down_proj.data[0] *= 20
        experts.down_proj.data[1] = -experts.down_proj.data[0]
    found = trace(model)
    half = type(found)(
        **{
            **{name: getattr(found, name) for name in found.__dataclass_fields__},
            "mlps": tuple(record for record in found.mlps if record.expert == 0),
        }
    )
    assert measure_coverage(model, half, list(IDS)).share < LEAST_COVERAGE / 10


def test_blocks_without_a_compared_mlp_cover_nothing():
    from transformers import NemotronHConfig

    from fixtures.families import nemotron_h

    model = tiny_model(NemotronHConfig(**TINY | nemotron_h(4)))
    found = covered(model)
    assert found.blocks[0] == found.blocks[2] == 0.0
    assert found.blocks[1] > 0.9


def test_where_a_model_does_not_bear_to_be_looked_at_the_reason_is_kept():
    model = tiny_llama()
    model.model.layers[1].register_forward_pre_hook(lambda *_: 1 / 0)
    found = measure_coverage(model, trace(tiny_llama()), list(IDS))
    assert (found.share, found.reason) == (None, "ZeroDivisionError: division by zero")
