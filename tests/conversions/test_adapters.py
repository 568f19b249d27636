"""provenance/conversions/adapter.py: the merged model says what the adapted one says."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from fixtures.models import save_checkpoint, tiny_llama
from provenance import Executor, Store
from provenance._quiet import quiet
from provenance.comparison.same_weights import compare_weights
from provenance.errors import SourceError
from provenance.loading.model import load_model
from provenance.vocabulary import ModelSpec

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.slow

FILE, HEAD, EMBEDDING = "adapter_model.safetensors", "lm_head", "embed_tokens"
LAYERS = ["q_proj", "up_proj"]
IDS = torch.arange(100)[None]


@pytest.fixture
def executor(tmp_path):
    return Executor(Store(tmp_path / "store"), "cpu")


def trained(model, folder, **settings):
    """Save an adapter of a model, and return what the adapted model says."""
    with quiet():
        settings = {"target_modules": LAYERS, **settings}
        tuned = peft.get_peft_model(model, peft.LoraConfig(r=4, **settings))
        source = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in tuned.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn(weight.shape, generator=source) * 0.05)
        tuned.save_pretrained(folder)
        tuned.eval()
        with torch.no_grad():
            return tuned(input_ids=IDS)


def renamed(folder, rename):
    tensors = {rename(name): one for name, one in load_file(folder / FILE).items()}
    save_file(tensors, folder / FILE)


def merged(executor, folder, base):
    checkpoint = executor.checkpoint(ModelSpec(path=str(folder), base=str(base)))
    return load_model(checkpoint, "cpu"), checkpoint


def agrees(model, output):
    with torch.no_grad():
        torch.testing.assert_close(model(IDS).logits, output.logits, atol=1e-4, rtol=1e-4)


TIED = {
    "blocks alone": {},
    "head": {"target_modules": [*LAYERS, HEAD]},
    "embedding": {"target_modules": [*LAYERS, EMBEDDING]},
    "head and embedding": {"target_modules": [*LAYERS, HEAD, EMBEDDING]},
    "head in full": {"modules_to_save": [HEAD]},
    "embedding in full": {"modules_to_save": [EMBEDDING]},
    "replicated layers": {"layer_replication": [[0, 2], [1, 2]]},
}


@pytest.mark.parametrize("kind", TIED)
def test_an_adapter_of_a_tied_model_changes_what_it_was_put_on_alone(kind, executor, tmp_path):
    base = save_checkpoint(tiny_llama(0, tie_word_embeddings=True), tmp_path / "base")
    output = trained(tiny_llama(0, tie_word_embeddings=True), tmp_path / "adapter", **TIED[kind])
    model, checkpoint = merged(executor, tmp_path / "adapter", base)
    agrees(model, output)
    parted = kind not in {"blocks alone", "replicated layers"}
    assert (f"{HEAD}.weight" in checkpoint.tensors) == parted
    if kind == "head":
        before = load_file(base / "model.safetensors")["model.embed_tokens.weight"]
        assert torch.equal(model.get_input_embeddings().weight, before)


KINDS = {
    "DoRA": {"use_dora": True},
    "DoRA on head and embedding": {"use_dora": True, "target_modules": [*LAYERS, HEAD, EMBEDDING]},
    "DoRA beside an embedding in full": {"use_dora": True, "modules_to_save": [EMBEDDING]},
    "DoRA of replicated layers": {"use_dora": True, "layer_replication": [[0, 2], [0, 1]]},
    "replicated layers, embedding in full": {
        "layer_replication": [[0, 2], [1, 2]],
        "modules_to_save": [EMBEDDING],
    },
    "replicated layers, and the head": {
        "layer_replication": [[0, 1], [0, 1], [1, 2]],
        "target_modules": [*LAYERS, HEAD],
    },
    "head and embedding in full": {"modules_to_save": [EMBEDDING, HEAD]},
    "head and embedding kept tied": {"modules_to_save": [EMBEDDING], "ensure_weight_tying": True},
    "a few tokens": {"trainable_token_indices": [1, 2]},
    "a few tokens of each": {"trainable_token_indices": {EMBEDDING: [1, 2], HEAD: [3]}},
    "norms in full": {"modules_to_save": ["norm", "input_layernorm"]},
    "biases of its own": {"bias": "all"},
    "ranks of its own": {"use_rslora": True, "rank_pattern": {"q_proj": 2}},
}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_model_says_what_the_adapted_one_says(kind, tied, executor, tmp_path):
    base = save_checkpoint(tiny_llama(0, tie_word_embeddings=tied), tmp_path / "base")
    plain = tiny_llama(0, tie_word_embeddings=tied)
    with torch.no_grad():
        before = plain(IDS).logits
    output = trained(plain, tmp_path / "adapter", **KINDS[kind])
    model, checkpoint = merged(executor, tmp_path / "adapter", base)
    agrees(model, output)
    assert "head" not in checkpoint.conversion
    assert not torch.allclose(before, output.logits, atol=1e-2)  # else it would say nothing


def test_a_bias_that_the_base_has_no_place_for_is_refused_in_a_line(executor, tmp_path):
    base = save_checkpoint(tiny_llama(0), tmp_path / "base")
    trained(tiny_llama(0), tmp_path / "adapter", lora_bias=True)
    with pytest.raises(SourceError, match="because the base layer has no bias") as refused:
        merged(executor, tmp_path / "adapter", base)
    assert "\n" not in str(refused.value)


UNTRAINED = {
    "LoRA": {},
    "DoRA": {"use_dora": True},
    "DoRA on all": {"use_dora": True, "target_modules": [*LAYERS, HEAD, EMBEDDING]},
    "embedding in full": {"modules_to_save": [EMBEDDING]},
    "a few tokens": {"trainable_token_indices": [1, 2]},
    "the same layers": {"layer_replication": [[0, 2]]},
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("kind", UNTRAINED)
def test_an_adapter_that_was_never_trained_is_its_base(kind, dtype, executor, tmp_path):
    number = getattr(torch, dtype)
    base = save_checkpoint(tiny_llama(0).to(number), tmp_path / "base")
    settings = {"target_modules": LAYERS, **UNTRAINED[kind]}
    with quiet():
        tuned = peft.get_peft_model(tiny_llama(0).to(number), peft.LoraConfig(r=4, **settings))
        tuned.save_pretrained(tmp_path / "adapter")
    ours = executor.checkpoint(ModelSpec(path=str(tmp_path / "adapter"), base=str(base)))
    theirs = executor.checkpoint(ModelSpec(path=str(base)))
    assert compare_weights(ours, theirs).relation == "same"


def test_magnitudes_alone_can_be_trained(executor, tmp_path):
    base = save_checkpoint(tiny_llama(0).to(torch.bfloat16), tmp_path / "base")
    with quiet():
        config = peft.LoraConfig(r=4, target_modules=LAYERS, use_dora=True)
        peft.get_peft_model(tiny_llama(0).to(torch.bfloat16), config).save_pretrained(
            tmp_path / "adapter"
        )
    tensors = load_file(tmp_path / "adapter" / FILE)
    tensors = {
        name: one * 1.05 if "magnitude" in name and "q_proj" in name else one
        for name, one in tensors.items()
    }
    save_file(tensors, tmp_path / "adapter" / FILE)
    _, found = merged(executor, tmp_path / "adapter", base)
    after = load_file(found.folder / "model.safetensors")
    changed = {
        name
        for name, one in load_file(base / "model.safetensors").items()
        if not torch.equal(one, after[name])
    }
    assert changed == {f"model.layers.{i}.self_attn.q_proj.weight" for i in (0, 1)}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("saved", [[EMBEDDING, HEAD], [EMBEDDING]])
def test_a_base_is_grown_to_the_adapters_vocabulary(tied, saved, executor, tmp_path):
    base = save_checkpoint(tiny_llama(0, tie_word_embeddings=tied), tmp_path / "base")
    grown = tiny_llama(0, tie_word_embeddings=tied)
    with quiet():
        grown.resize_token_embeddings(136, mean_resizing=False)
    output = trained(grown, tmp_path / "adapter", modules_to_save=saved)
    model, _ = merged(executor, tmp_path / "adapter", base)
    assert model.get_input_embeddings().weight.shape[0] == 136
    with torch.no_grad():
        known = slice(None), slice(None), slice(0, 128)
        torch.testing.assert_close(
            model(IDS).logits[known], output.logits[known], atol=1e-4, rtol=1e-4
        )


NAMES = {
    "compiled": lambda name: name.replace("base_model.model.", "base_model.model._orig_mod."),
    "DDP": lambda name: f"module.{name}",
    "without peft's prefix": lambda name: name.removeprefix("base_model.model."),
    "with its own name": lambda name: name.replace(".lora_A.", ".lora_A.default.").replace(
        ".lora_B.", ".lora_B.default."
    ),
    "of the model without a head": lambda name: name.replace(".model.model.", ".model."),
}


@pytest.mark.parametrize("kind", NAMES)
def test_an_adapter_is_read_under_other_names(kind, executor, tmp_path):
    base = save_checkpoint(tiny_llama(0), tmp_path / "base")
    output = trained(tiny_llama(0), tmp_path / "adapter")
    renamed(tmp_path / "adapter", NAMES[kind])
    model, checkpoint = merged(executor, tmp_path / "adapter", base)
    agrees(model, output)
    assert checkpoint.conversion == f"adapter merged into path:{base}"


def test_an_adapter_of_a_classifier_is_merged_without_its_head(executor, tmp_path):
    from transformers import AutoModelForSequenceClassification

    base = save_checkpoint(tiny_llama(0), tmp_path / "base")
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    trained(model, tmp_path / "adapter", task_type="SEQ_CLS")
    found, checkpoint = merged(executor, tmp_path / "adapter", base)
    assert checkpoint.conversion == f"adapter merged into path:{base}, without its head score"
    name = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(found.state_dict()[name], load_file(base / "model.safetensors")[name])
    assert torch.equal(found.lm_head.weight, tiny_llama(0).lm_head.weight)


def test_an_adapter_on_a_model_without_a_head(executor, tmp_path):
    base = save_checkpoint(tiny_llama(0), tmp_path / "base")
    trained(tiny_llama(0), tmp_path / "adapter")
    tensors = load_file(base / "model.safetensors")
    del tensors["lm_head.weight"]
    headless = shutil.copytree(base, tmp_path / "headless")
    save_file(tensors, headless / "model.safetensors", {"format": "pt"})
    spec = ModelSpec(path=str(tmp_path / "adapter"), base=str(headless))
    assert executor.checkpoint(spec).tensors.keys() == tensors.keys()
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["target_modules"]


def test_the_command_line_names_a_base_for_whichever_is_the_adapter(tmp_path):
    from provenance.cli._base import on_base

    base = str(save_checkpoint(tiny_llama(0), tmp_path / "base"))
    trained(tiny_llama(0), tmp_path / "adapter")
    adapter = str(tmp_path / "adapter")
    for models in ((adapter, base), (base, adapter)):
        specs = on_base(models, base)
        assert [spec.base is not None for spec in specs] == [one == adapter for one in models]
    first, second = on_base(("org/adapter", base), base)
    assert (first.base, second.base) == (ModelSpec(path=base), None)
    assert all(spec.base is None for spec in on_base((adapter, base), None))


def test_a_base_on_the_trainers_machine_is_said_to_be_given(executor, tmp_path):
    trained(tiny_llama(0), tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"base_model_name_or_path": "/somewhere/llama"}))
    with pytest.raises(SourceError, match=r"no folder '/somewhere/llama'; give it .* --base"):
        executor.checkpoint(ModelSpec(path=str(tmp_path / "adapter")))
