"""Parameters by the model's names: the same bits as transformers loads, whatever the files call them."""

import hashlib
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from fixtures.families import LATENT, nemotron_h
from fixtures.models import TINY, save_checkpoint, tiny_llama, tiny_model
from provenance._quiet import quiet
from provenance.checkpoints.checkpoint import open_checkpoint
from provenance.checkpoints.contents import inspect
from provenance.errors import SourceError
from provenance.loading.model import load_model, load_skeleton
from provenance.loading.parameters import ModelTensors
from provenance.vocabulary import ModelSpec

EXPERTS = {"num_local_experts": 12, "num_experts": 12, "num_experts_per_tok": 2}
MIXED = {"moe_intermediate_size": 12, "shared_expert_intermediate_size": 20}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}

# 12 experts: as text, 10 comes before 2
SETTINGS = {
    "deepseek_v3": {
        **LATENT,
        **MIXED,
        "n_routed_experts": 12,
        "num_experts_per_tok": 2,
        "first_k_dense_replace": 1,
        "n_group": 1,
        "topk_group": 1,
    },
    "ernie4_5_moe": {"moe_num_experts": 12, "moe_k": 2, "moe_intermediate_size": 12},
    "gemma3_text": {"head_dim": 8},
    "gpt2": GPT,
    "gpt_neox": {},
    "gpt_oss": {**EXPERTS, "head_dim": 8},
    "granitemoe": EXPERTS,
    "hrm_text": {},
    "jamba": {
        **EXPERTS,
        "attn_layer_offset": 1,
        "attn_layer_period": 2,
        "expert_layer_offset": 1,
        "expert_layer_period": 2,
        "use_mamba_kernels": False,
    },
    "jetmoe": {**EXPERTS, "kv_channels": 8, "num_key_value_heads": 2},
    "llama": {},
    "llama4_text": {**EXPERTS, "intermediate_size_mlp": 20, "head_dim": 8, "moe_layers": [1]},
    "minimax_m2": {**EXPERTS, "head_dim": 8},
    "mixtral": EXPERTS,
    "nemotron_h": nemotron_h(12),
    "olmoe": EXPERTS,
    "phi3": {},
    "phimoe": EXPERTS,
    "qwen2_moe": {**EXPERTS, **MIXED, "mlp_only_layers": [0]},
    "qwen3_moe": {**EXPERTS, **MIXED, "head_dim": 8},
}


def tiny(model_type, **overrides):
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    with quiet():
        settings = TINY | SETTINGS.get(model_type, {}) | overrides
        return tiny_model(CONFIG_MAPPING[model_type](**settings))


def opened(folder):
    def sha256(file):
        return hashlib.sha256(file.read_bytes()).hexdigest()

    return open_checkpoint(inspect(folder), ModelSpec(path=str(folder)), sha256)


def saved(model, folder):
    return opened(save_checkpoint(model, folder))


def check(checkpoint, tensors):
    """Hold every parameter against the loaded model's, bit for bit."""
    with torch.no_grad():
        loaded = load_model(checkpoint, "cpu")
        for name, parameter in loaded.named_parameters(remove_duplicate=False):
            read = tensors.read(name)
            assert read.dtype == parameter.dtype, name
            assert torch.equal(read, parameter), name


def change(folder, rename):
    """Save the tensors of a folder again under other names; None leaves one out."""
    file = folder / "model.safetensors"
    tensors = {rename(name): tensor for name, tensor in load_file(file).items()}
    tensors.pop(None, None)
    save_file(tensors, file, metadata={"format": "pt"})
    return opened(folder)


@pytest.fixture
def no_skeleton(monkeypatch):
    def fail(checkpoint):
        raise AssertionError("a skeleton is built")

    monkeypatch.setattr("provenance.loading.model.load_skeleton", fail)


# the same as transformers loads


@pytest.mark.slow
@pytest.mark.parametrize("given", [False, True], ids=["lazy", "given"])
@pytest.mark.parametrize("model_type", sorted(SETTINGS))
def test_every_parameter_is_what_transformers_loads(model_type, given, tmp_path):
    checkpoint = saved(tiny(model_type), tmp_path)
    check(checkpoint, ModelTensors(checkpoint, load_skeleton(checkpoint) if given else None))


FUSED = "model.layers.0.mlp.experts.gate_up_proj"


def test_mixtral_is_stored_expert_by_expert_and_read_fused(tmp_path):
    checkpoint = saved(tiny("mixtral"), tmp_path)
    stored = [
        f"model.layers.0.block_sparse_moe.experts.11.{name}.weight" for name in ("w1", "w2", "w3")
    ]
    assert set(stored) <= set(checkpoint.tensors)
    assert FUSED not in checkpoint.tensors
    assert ModelTensors(checkpoint)(FUSED).shape == (12, 128, 32)


def test_what_was_converted_is_kept_until_two_others_are(tmp_path):
    tensors = ModelTensors(saved(tiny("mixtral"), tmp_path))
    first = tensors(FUSED)
    down = tensors(FUSED.replace("gate_up", "down"))
    assert tensors(FUSED) is first
    assert tensors(FUSED.replace("gate_up", "down")) is down
    tensors(FUSED.replace("layers.0", "layers.1").replace("gate_up", "down"))
    tensors(FUSED.replace("layers.0", "layers.1"))
    again = tensors(FUSED)
    assert again is not first
    assert torch.equal(again, first)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_parameters_keep_the_dtype_that_they_are_stored_in(dtype, tmp_path):
    model = tiny("mixtral").to(dtype)
    tensors = ModelTensors(saved(model, tmp_path))
    for name, parameter in model.named_parameters():
        assert tensors(name).dtype == dtype
        assert torch.equal(tensors(name), parameter)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["gpt2", "llama", "mixtral", "phi3", "qwen2_moe"])
def test_a_base_model_saved_without_its_heads_prefix(model_type, tmp_path):
    model = tiny(model_type, tie_word_embeddings=True)
    save_checkpoint(model.base_model, tmp_path)
    checkpoint = opened(tmp_path)
    assert not [
        name for name in checkpoint.tensors if name.startswith(f"{model.base_model_prefix}.")
    ]
    check(checkpoint, ModelTensors(checkpoint))


@pytest.mark.slow
def test_a_multimodal_model_nests_its_language_model(tmp_path):
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    with quiet():
        config = Gemma3Config(
            text_config=TINY | {"head_dim": 8}, vision_config=vision, mm_tokens_per_image=4
        )
        model = Gemma3ForConditionalGeneration(config).eval()
    checkpoint = saved(model, tmp_path)
    assert set(dict(model.named_parameters())) - set(checkpoint.tensors)
    check(checkpoint, ModelTensors(checkpoint))


def test_one_stored_tensor_of_several_parameters_is_read_once(tmp_path, monkeypatch):
    checkpoint = saved(tiny("hrm_text"), tmp_path)
    mlp = "model.L_module.layers.0.mlp"
    assert f"{mlp}.gate_up_proj.weight" in checkpoint.tensors
    tensors = ModelTensors(checkpoint)
    gate = tensors(f"{mlp}.gate_proj.weight")
    monkeypatch.setattr("provenance.loading.lazy_tensors.LazyTensors.__getitem__", None)
    up = tensors(f"{mlp}.up_proj.weight")
    assert up.untyped_storage().data_ptr() == gate.untyped_storage().data_ptr()


# tied weights


@pytest.mark.slow
@pytest.mark.parametrize("stored", ["model.embed_tokens.weight", "lm_head.weight"])
def test_tied_weights_are_read_under_the_name_that_is_stored(stored, tmp_path):
    model = tiny_llama(tie_word_embeddings=True)
    saved(model, tmp_path)
    checkpoint = change(
        tmp_path,
        lambda name: stored if name in {"model.embed_tokens.weight", "lm_head.weight"} else name,
    )
    check(checkpoint, ModelTensors(checkpoint))


def test_an_untied_head_is_its_own(tmp_path):
    checkpoint = change(
        saved(tiny_llama(), tmp_path).folder,
        lambda name: None if name == "lm_head.weight" else name,
    )
    refused(checkpoint, "lm_head.weight", "the files have no tensor")


# the direct way


def test_what_is_there_as_it_is_needs_no_skeleton(tmp_path, no_skeleton):
    model = tiny_llama()
    tensors = ModelTensors(saved(model, tmp_path))
    for name, parameter in model.named_parameters():
        assert torch.equal(tensors(name), parameter)


def test_a_base_models_parameters_need_no_skeleton(tmp_path, no_skeleton):
    model = tiny("gpt2")
    tensors = ModelTensors(saved(model.base_model, tmp_path))
    for name, parameter in model.base_model.named_parameters():
        assert torch.equal(tensors(f"transformer.{name}"), parameter)


def test_what_of_a_moe_is_not_converted_needs_no_skeleton(tmp_path, no_skeleton):
    model = tiny("mixtral")
    tensors = ModelTensors(saved(model, tmp_path))
    name = "model.layers.1.self_attn.q_proj.weight"
    assert torch.equal(tensors(name), model.get_parameter(name))
    with pytest.raises(AssertionError, match="a skeleton is built"):
        tensors(FUSED)


def test_a_skeleton_that_is_given_is_not_built_again(tmp_path, monkeypatch):
    checkpoint = saved(tiny("mixtral"), tmp_path)
    skeleton = load_skeleton(checkpoint)
    monkeypatch.setattr("provenance.loading.model.load_skeleton", None)
    assert ModelTensors(checkpoint, skeleton)(FUSED).shape == (12, 128, 32)


def test_importing_it_loads_no_torch():
    code = "import sys, provenance.loading.parameters\n"
    code += "assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# what the files do not have


def refused(checkpoint, parameter, match):
    with pytest.raises(SourceError, match=match) as caught:
        ModelTensors(checkpoint).read(parameter)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{checkpoint.source}: ")
    assert parameter in message


def test_a_missing_tensor_is_named_in_one_line(tmp_path):
    gone = "model.layers.1.mlp.up_proj.weight"
    folder = saved(tiny_llama(), tmp_path).folder
    checkpoint = change(folder, lambda name: None if name == gone else name)
    refused(checkpoint, gone, "the files have no tensor")
    refused(checkpoint, "model.nothing", "the files have no tensor")


def test_a_missing_block_of_experts_is_named(tmp_path):
    folder = saved(tiny("mixtral"), tmp_path).folder
    checkpoint = change(folder, lambda name: None if "layers.0.block_sparse" in name else name)
    refused(checkpoint, FUSED, "the files have no tensor")


def test_a_missing_expert_is_refused(tmp_path):
    folder = saved(tiny("mixtral"), tmp_path).folder
    checkpoint = change(
        folder, lambda name: None if "layers.0" in name and ".3.w" in name else name
    )
    refused(checkpoint, FUSED, r"is \[11, 128, 32\], not \[12, 128, 32\]")


def test_experts_that_do_not_fit_together_are_refused(tmp_path):
    folder = saved(tiny("mixtral"), tmp_path).folder
    checkpoint = change(
        folder,
        lambda name: None if name.endswith("0.block_sparse_moe.experts.3.w1.weight") else name,
    )
    refused(checkpoint, FUSED, "cannot be made of the files' tensors")


def test_codes_of_a_quantization_are_refused(tmp_path):
    folder = saved(tiny_llama(), tmp_path).folder
    file = folder / "model.safetensors"
    name, norm = "model.layers.0.mlp.up_proj.weight", "model.norm.weight"
    stored = load_file(file)
    save_file(stored | {name: stored[name].to(torch.int8)}, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes"}
    (folder / "config.json").write_text(json.dumps(config))
    checkpoint = opened(folder)
    refused(checkpoint, name, r"is quantized \(I8\); dequantize the checkpoint first")
    assert torch.equal(ModelTensors(checkpoint).read(norm), stored[norm])
