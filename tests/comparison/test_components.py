"""Parts of models are compared: towers, projectors, encoders and decoders, gated and plain."""

import json
from dataclasses import replace

import pytest
import torch
import transformers

from fixtures.models import save_checkpoint
from provenance import Executor, InputsSpec, ModelSpec, Store, compare, decide
from provenance.cli import main
from provenance.errors import ProvenanceError
from provenance.suite.read import loads

pytestmark = pytest.mark.slow

SMALL = {"hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4}
TOWER = {**SMALL, **HEADS, "image_size": 16, "patch_size": 8}
T5 = {"d_model": 32, "d_ff": 96, "num_layers": 2, "num_heads": 4, "d_kv": 8, "vocab_size": 100}
HALVES = {
    "d_model": 32,
    "vocab_size": 100,
    "num_mel_bins": 8,
    "max_source_positions": 20,
    **{
        f"{half}_{key}": value
        for half in ("encoder", "decoder")
        for key, value in {"layers": 2, "attention_heads": 4, "ffn_dim": 96}.items()
    },
    **{f"{name}_token_id": 0 for name in ("pad", "bos", "eos", "decoder_start")},
}
SPECIAL = {f"{name}_token_id": 0 for name in ("pad", "bos", "eos", "cls", "sep")}


def llava():
    text = transformers.LlamaConfig(
        **SMALL, **HEADS, num_key_value_heads=4, vocab_size=128, pad_token_id=0
    )
    vision = transformers.SiglipVisionConfig(**TOWER)
    return transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(vision_config=vision, text_config=text, image_token_index=5)
    )


KINDS = {
    "llava": llava,
    "siglip": lambda: transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**TOWER)),
    "vit": lambda: transformers.ViTModel(transformers.ViTConfig(**TOWER)),
    "bert": lambda: transformers.BertModel(
        transformers.BertConfig(**SMALL, **HEADS, vocab_size=100)
    ),
    "modernbert": lambda: transformers.ModernBertModel(
        transformers.ModernBertConfig(**SMALL, **HEADS, vocab_size=100, **SPECIAL)
    ),
    "t5 gated": lambda: transformers.T5ForConditionalGeneration(
        transformers.T5Config(**T5, feed_forward_proj="gated-gelu")
    ),
    "clip": lambda: transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config={**SMALL, **HEADS, "vocab_size": 100}, vision_config=TOWER
        )
    ),
    "whisper": lambda: transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(**HALVES)
    ),
    "t5": lambda: transformers.T5ForConditionalGeneration(transformers.T5Config(**T5)),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints by kind and seed; a third part of the name is noise."""
    root = tmp_path_factory.mktemp("components")

    def saved(kind, seed, noise=0.0):
        folder = root / f"{kind}-{seed}-{noise}"
        if not folder.exists():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model = KINDS[kind]()
                with torch.no_grad():
                    for weight in model.parameters():
                        if weight.dim() == 2:
                            weight.add_(noise * weight.std() * torch.randn_like(weight))
            save_checkpoint(model.eval(), folder)
        return folder

    return saved


@pytest.fixture
def run(shared_store):
    executor = Executor(Store(shared_store), "cpu")
    fed = InputsSpec("random", tokens=256, sequence_length=64)

    def run(ours, theirs, component, other=None, **how):
        specs = (
            ModelSpec(path=str(place), component=part)
            for place, part in ((ours, component), (theirs, other or component))
        )
        return compare(*specs, inputs=fed, executor=executor, **how)

    return run


@pytest.mark.parametrize(
    ("kind", "component", "statistic"),
    [
        ("llava", "vision", "csu"),
        pytest.param("llava", "vision", "generalized", marks=pytest.mark.extended),
        ("llava", "projector", "csu_all"),
        ("llava", "language", "kinship"),
        ("llava", "vision_tower.encoder", "csu"),
        ("siglip", "vision", "csu"),
        ("vit", "vision", "csu"),
        ("bert", "encoder", "csu"),
        ("modernbert", "encoder", "kinship"),
        ("t5 gated", "encoder", "kinship"),
        ("t5 gated", "decoder", "match_weights"),
        ("t5", "encoder", "csu"),
        ("clip", "vision", "csu"),
        ("whisper", "audio", "csu"),
    ],
)
def test_kin_are_found_by_a_part_and_strangers_are_not(saved, run, kind, component, statistic):
    ours = saved(kind, 0, 0.05)
    found = run(ours, saved(kind, 0), component, statistic=statistic)
    assert decide(found, 1e-6) == "dependent"
    assert found.candidate.source.endswith(f"#{component}")
    stranger = run(ours, saved(kind, 1), component, statistic=statistic)
    assert decide(stranger, 1e-6) == "inconclusive"  # nothing is run: it shows no independence
    assert stranger.log10_p > -3


def test_a_tower_is_found_in_another_model_that_has_it(saved, run, tmp_path):
    vlm = KINDS["llava"]()
    tower = transformers.SiglipVisionModel.from_pretrained(saved("siglip", 0))
    own = dict(tower.named_parameters())
    with torch.no_grad():
        for name, weight in vlm.model.vision_tower.named_parameters():
            weight.copy_(own[name])
    place = save_checkpoint(vlm, tmp_path / "vlm")
    found = run(place, saved("siglip", 0), "vision", statistic="csu")
    assert decide(found, 1e-6) == "dependent"
    assert found.weights.relation == "same"
    assert found.candidate.conversion == "its part vision_tower"
    assert found.reference.conversion == "all of it, taken for its vision"


@pytest.mark.extended
def test_units_in_another_order_are_found_by_imitations(saved, run, tmp_path):
    model = transformers.ViTModel.from_pretrained(saved("vit", 0))
    with torch.no_grad():
        for seed, layer in enumerate(model.layers):
            order = torch.randperm(96, generator=torch.Generator().manual_seed(seed))
            layer.mlp.fc1.weight.copy_(layer.mlp.fc1.weight[order])
            layer.mlp.fc1.bias.copy_(layer.mlp.fc1.bias[order])
            layer.mlp.fc2.weight.copy_(layer.mlp.fc2.weight[:, order])
    place = save_checkpoint(model, tmp_path / "vit")
    assert run(place, saved("vit", 0), "vision", statistic="csu").log10_p > -6
    assert run(place, saved("vit", 0), "vision", statistic="generalized").log10_p < -6


def test_a_default_statistic_says_what_a_plain_tower_needs(saved, run):
    with pytest.raises(ProvenanceError, match="use `statistic: generalized`"):
        run(saved("siglip", 0), saved("siglip", 1), "vision")


def test_a_part_that_is_not_there_is_a_line_of_the_command(saved, capfd, shared_store):
    pair = [str(saved("llava", seed)) for seed in (0, 1)]
    where = ["--store", str(shared_store), "--device", "cpu"]
    with pytest.raises(SystemExit) as stop:
        main(["compare", *pair, "--component", "audio", *where])
    out, err = capfd.readouterr()
    assert (stop.value.code, out, err.count("\n")) == (2, "", 1)
    assert "has no component 'audio'" in err


def test_either_side_of_the_command_has_a_part_of_its_own(saved, capfd, shared_store):
    pair = [str(saved("llava", 0)), str(saved("siglip", 1))]
    parts = ["--component", "vision_tower", "--reference-component", "vision"]
    where = ["--store", str(shared_store), "--device", "cpu"]
    with pytest.raises(SystemExit) as stop:
        main(["compare", *pair, *parts, "--statistic", "csu", "--json", *where])
    fields = json.loads(capfd.readouterr().out)
    assert stop.value.code == 0
    assert fields["candidate"]["source"].endswith("#vision_tower")
    assert fields["reference"]["source"].endswith("#vision")


def test_a_suite_names_a_part_of_a_model(tmp_path):
    suite = loads(
        "version: 1\nmodels:\n  a: {path: ./a, component: vision}\n  b: {path: ./b}\n"
        "pairs:\n  - {candidate: a, reference: b, expect: derived, statistic: csu}\n",
        tmp_path / "a.suite.yaml",
    )
    assert suite.models["a"].component == "vision"
    assert replace(suite.models["a"], component=None).component is suite.models["b"].component
