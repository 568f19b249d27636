"""provenance/checkpoints/prefixes.py: what wrappers put into names is taken out, and nothing else."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from fixtures.models import save_checkpoint, tiny_llama
from provenance import Executor, Store
from provenance.checkpoints.prefixes import left_out, plain_names, taken_away
from provenance.errors import SourceError
from provenance.loading.model import load_model
from provenance.vocabulary import ModelSpec

PLAIN = ("model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "lm_head.weight")
GPT2 = ("transformer.wte.weight", "transformer.h.0.mlp.c_fc.weight", "lm_head.weight")
HEADLESS = ("embed_tokens.weight", "layers.0.mlp.up_proj.weight")
VALUE = "v_head.summary.weight"


def every(prefix, names=PLAIN):
    return {prefix + name: name for name in names}


WRAPPED = {
    "torch.compile": every("_orig_mod."),
    "DDP": every("module."),
    "DDP of a compiled model": every("module._orig_mod."),
    "FSDP": every("_fsdp_wrapped_module."),
    "FSDP of each block": {
        "_fsdp_wrapped_module.model.layers.0._fsdp_wrapped_module.mlp.up_proj.weight": PLAIN[1],
        "_fsdp_wrapped_module.lm_head.weight": PLAIN[2],
    },
    "activation checkpointing": {
        "model.layers.0._checkpoint_wrapped_module.mlp.up_proj.weight": PLAIN[1],
        "lm_head.weight": PLAIN[2],
    },
    "one compiled block": {
        "model.layers.0._orig_mod.mlp.up_proj.weight": PLAIN[1],
        "model.layers.1.mlp.up_proj.weight": "model.layers.1.mlp.up_proj.weight",
    },
    "PEFT": every("base_model.model."),
    "a trainer's module": every("model."),
    "a trainer's module of GPT-2": every("model.", GPT2),
    "a model with a value head": every("pretrained_model.") | {VALUE: VALUE},
    "a model without a head": every("module.", HEADLESS),
}

KEPT = {
    "plain": every(""),
    "GPT-2": every("", GPT2),
    "without a head": every("", HEADLESS),
    "OPT": every("", ("model.decoder.layers.0.fc1.weight", "lm_head.weight")),
    "Mamba": every("", ("backbone.layers.0.mixer.in_proj.weight", "lm_head.weight")),
    "two tensors for one parameter": every(
        "", ("model.norm.weight", "_orig_mod.model.norm.weight")
    ),
    "two models": every("", ("model.model.norm.weight", "policy.model.norm.weight")),
}


@pytest.mark.parametrize("names", [*WRAPPED.values(), *KEPT.values()], ids=[*WRAPPED, *KEPT])
def test_the_models_own_names_are_found(names):
    assert plain_names(names, {"model_type": "llama"}) == names


def test_a_model_of_several_models_keeps_its_names():
    names = every("llm.")
    for config in ({"auto_map": {}}, {"text_config": {"model_type": "llama"}}):
        assert plain_names(names, config) == {name: name for name in names}


@pytest.mark.parametrize(
    ("adapter", "heads"),
    [
        ("base_model.model.model.layers.0.mlp.up_proj.lora_A.weight", ()),
        ("base_model.model.layers.0.mlp.up_proj.lora_A.weight", ()),
        ("module.base_model.model.score.weight", ("score",)),
        ("base_model.model._orig_mod.v_head.summary.bias", ("v_head",)),
        ("base_model.model.pretrained_model.model.norm.weight", ()),
        ("base_model.model.lm_head.lora_A.weight", ()),
        ("prompt_embeddings", ()),
    ],
)
def test_heads_that_an_adapter_has_alone_are_named(adapter, heads):
    model = ["model.layers.0.mlp.up_proj.weight", "model.embed_tokens.weight", "model.norm.weight"]
    assert left_out([adapter], model) == heads


def test_what_was_taken_away_is_named():
    assert taken_away(every("base_model.model.")) == ("base_model", "model")
    assert taken_away(WRAPPED["FSDP of each block"]) == ("_fsdp_wrapped_module",)
    assert taken_away(every("")) == ()


# --- checkpoints of wrapped models


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    return Executor(Store(tmp_path_factory.mktemp("store")), "cpu")


def wrapped(folder, rename, *, shards=1, pickled=False):
    save_checkpoint(tiny_llama(0), folder)
    tensors = {rename(name): one for name, one in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    if pickled:
        torch.save(tensors, folder / "pytorch_model.bin")
        return folder
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return folder
    index = {}
    for number in range(shards):
        file = f"model-{number}.safetensors"
        part = {name: tensors[name] for name in sorted(tensors)[number::shards]}
        save_file(part, folder / file)
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"shards": 3}, {"pickled": True}], ids=str)
@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "base_model.model."])
def test_a_wrapped_models_checkpoint_is_the_models(prefix, how, executor, tmp_path):
    folder = wrapped(tmp_path / "wrapped", lambda name: prefix + name, **how)
    spec = ModelSpec(path=str(folder), allow_pickle=how.get("pickled", False))
    checkpoint = executor.checkpoint(spec)
    plain = save_checkpoint(tiny_llama(0), tmp_path / "plain")
    assert (
        checkpoint.weights_digest == executor.checkpoint(ModelSpec(path=str(plain))).weights_digest
    )
    assert prefix.split(".")[0] in checkpoint.conversion
    ids = torch.arange(8)[None]
    torch.testing.assert_close(load_model(checkpoint, "cpu")(ids).logits, tiny_llama(0)(ids).logits)


@pytest.mark.slow
def test_a_copy_under_a_wrapped_name_beside_the_model_is_refused(executor, tmp_path):
    folder = save_checkpoint(tiny_llama(0), tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    name = "model.norm.weight"
    save_file(tensors | {f"_orig_mod.{name}": tensors[name] + 1}, folder / "model.safetensors")
    with pytest.raises(SourceError, match="two tensors for one parameter"):
        executor.checkpoint(ModelSpec(path=str(folder)))
    shutil.rmtree(folder)
