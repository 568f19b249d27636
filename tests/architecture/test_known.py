"""What is known of plain families is what the trace finds, or nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig

from provenance._quiet import quiet
from provenance.architecture.known import FAMILIES, known_trace
from provenance.architecture.trace import skeleton, trace

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ACTS = ("silu", "gelu", "gelu_pytorch_tanh")
LLAMA = {"model_type": "llama", "hidden_act": "silu", **SIZES}


def built(family, **settings):
    """The model on the meta device, its configuration as a file has it, and its tensors' shapes."""
    with quiet():
        config = AutoConfig.for_model(family, **{**SIZES, **settings})
        model = skeleton(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return model, config.to_dict(), shapes


def llama_tensors():
    return built("llama")[2]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_known_of_a_family_is_its_trace(family, act):
    key = "hidden_activation" if family.startswith("gemma") else "hidden_act"
    model, config, shapes = built(family, **{key: act})
    assert known_trace(config, shapes) == trace(model)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_known_as_its_own_class_alone(family):
    _, config, shapes = built(family)
    assert known_trace({**config, "architectures": [FAMILIES[family]]}, shapes)
    assert known_trace({**config, "architectures": ["OtherForCausalLM"]}, shapes) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"model_type": "mixtral"},
        {"model_type": ["llama"]},
        {"hidden_act": "linear"},
        {"hidden_act": None},
        {"mlp_bias": True},
        {"auto_map": {"AutoModelForCausalLM": "code.Model"}},
        {"quantization_config": {"quant_method": "gptq"}},
        {"text_config": {"model_type": "llama"}},
        {"num_hidden_layers": 2},
        {"num_hidden_layers": 4},
        {"num_hidden_layers": True},
        {"num_hidden_layers": "3"},
        {"intermediate_size": [24, 24, 24]},
        {"intermediate_size": 25},
        {"hidden_size": 24},
    ],
    ids=str,
)
def test_another_configuration_is_traced(changed):
    shapes = llama_tensors()
    assert known_trace(LLAMA, shapes) is not None
    assert known_trace({**LLAMA, **changed}, shapes) is None


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.3.mlp.up_proj.weight",
        "model.layers.0.mlp.up_proj.bias",
        "model.layers.0.mlp.experts.0.up_proj.weight",
        "model.layers.00.self_attn.q_proj.weight",
        "model.layers.0.self_attn.q_proj.lora_A.weight",
        "other.weight",
        f"model.layers.{'9' * 5000}.input_layernorm.weight",
    ],
)
def test_a_tensor_that_is_not_expected_is_a_reason_to_trace(name):
    assert known_trace(LLAMA, {**llama_tensors(), name: (4,)}) is None


@given(st.data())
def test_a_missing_or_misshapen_matrix_is_a_reason_to_trace(data):
    shapes = llama_tensors()
    name = data.draw(st.sampled_from([name for name in shapes if ".mlp." in name]))
    others = {other: shape for other, shape in shapes.items() if other != name}
    assert known_trace(LLAMA, others) is None
    assert known_trace(LLAMA, {**others, name: shapes[name][::-1]}) is None


def test_a_model_of_another_depth_or_width_is_known_as_such():
    model, config, shapes = built("qwen2", num_hidden_layers=11, intermediate_size=40)
    known = known_trace(config, shapes)
    assert known == trace(model)
    assert replace(known, mlps=()).blocks == 11
