"""A model that does not run on token ids alone is compared by the language model inside of it."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from benchmarks._tiny import tiny
from provenance import Executor, InputsSpec, ModelSpec, Store, compare
from provenance._quiet import quiet
from provenance.architecture.auto_class import auto_class
from provenance.architecture.part import part_of
from provenance.checkpoints.checkpoint import peek_blocks
from provenance.checkpoints.contents import BLOCK_KEYS, setting
from provenance.errors import ArchitectureError, ProvenanceError, SourceError
from provenance.loading.model import load_model, load_skeleton
from provenance.vocabulary import Memory

pytestmark = pytest.mark.slow

RANDOM = InputsSpec("random", tokens=256, sequence_length=64)
TOWERS = ("language_projection", "qformer", "query_tokens", "vision_model")
FAMILIES = {
    "blip-2": ("opt", "language_model", "OPTForCausalLM", TOWERS),
    "instructblip": ("llama", "language_model", "LlamaForCausalLM", TOWERS),
    "qwen2_5_omni": (
        "qwen2",
        "thinker",
        "Qwen2_5OmniThinkerForConditionalGeneration",
        ("talker", "token2wav"),
    ),
    "qwen3_omni_moe": (
        "qwen3_moe",
        "thinker",
        "Qwen3OmniMoeThinkerForConditionalGeneration",
        ("code2wav", "talker"),
    ),
}
"""Of a type: the text type inside, where it is, what class runs, and what is beside it in the files."""


def whole_config(model_type, text_type=None):
    config = tiny(model_type)
    if text_type is not None:
        config.text_config = tiny(text_type)
        config.use_decoder_only_language_model = text_type != "t5"
    if model_type == "qwen2_5_omni":
        config.token2wav_config.bigvgan_config.upsample_initial_channel = 64
    if model_type == "qwen3_omni_moe":
        config.code2wav_config.decoder_dim = 64
    if hasattr(config, "thinker_config"):
        config.thinker_config.vision_config.depth = 1
    return config


def made(config, seed, loader=AutoModelForCausalLM):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return loader.from_config(config).eval()


def pair(model_type, seed=0):
    """A whole, and a language model from whose numbers the one inside of it was fine-tuned."""
    text_type = FAMILIES[model_type][0]
    config = whole_config(
        model_type, text_type if model_type in {"blip-2", "instructblip"} else None
    )
    whole = made(config, seed, auto_class(config))
    base = made(text_config(config, text_type), seed=1)
    inner = whole.get_submodule(FAMILIES[model_type][1])
    decoder = getattr(inner.model, "language_model", inner.model)
    loaded = decoder.load_state_dict(base.model.state_dict(), strict=False)
    assert not loaded.missing_keys
    with torch.random.fork_rng():
        torch.manual_seed(2)
        for parameter in decoder.parameters():
            parameter.data += 0.002 * torch.randn_like(parameter)
    return whole, base


def text_config(config, text_type):
    """A plain configuration of the language model inside."""
    described, kind = config.get_text_config(), CONFIG_MAPPING[text_type]
    known = kind().to_dict().keys() - {"model_type", "architectures", "rope_parameters"}
    sizes = {key: getattr(described, key) for key in known if hasattr(described, key)}
    experts = {"num_experts": described.num_experts} if "num_experts_per_tok" in known else {}
    return kind(**sizes, **experts)


def saved(folder, **models):
    for name, model in models.items():
        model.save_pretrained(folder / name)
    return [folder / name for name in models]


def opened(folder, tmp_path):
    return Executor(Store(tmp_path / "store")).checkpoint(ModelSpec(path=str(folder)))


@pytest.mark.parametrize("model_type", FAMILIES)
def test_what_was_made_of_a_language_model_depends_on_it(model_type, tmp_path):
    text_type, path, runs, beside = FAMILIES[model_type]
    whole, base = pair(model_type)
    stranger = made(base.config, seed=3)
    name = type(whole).__name__
    whole, base, stranger = saved(tmp_path, whole=whole, base=base, stranger=stranger)
    (whole / "spk_dict.pt").write_bytes(b"no pickle is read")
    is_plain = text_type == "opt"
    how = {"statistic": "csh", "inputs": RANDOM} if is_plain else {"statistic": "match_weights"}
    executor = Executor(Store(tmp_path / "store"))
    kin, other = (compare(whole, one, executor=executor, **how) for one in (base, stranger))
    assert kin.log10_p < -50
    assert other.log10_p > -6
    assert kin.candidate.architecture == f"{runs} ({path} of {name})"
    assert kin.candidate.heads == beside


@pytest.mark.parametrize("model_type", ["instructblip", "qwen3_omni_moe"])
def test_the_part_that_runs_in_the_whole_is_the_part_that_is_read(model_type, tmp_path):
    """In memory, from disk, and saved again, with experts that the files hold one by one."""
    whole, _ = pair(model_type)
    inner = whole.get_submodule(FAMILIES[model_type][1])
    (folder,) = saved(tmp_path, whole=whole)
    checkpoint, ids = opened(folder, tmp_path), torch.arange(8)[None]
    wanted = inner(input_ids=ids).logits
    for memory in (None, Memory(resident=1)):
        model = load_model(checkpoint, "cpu", memory=memory)
        torch.testing.assert_close(model(input_ids=ids).logits, wanted)
    model = load_model(checkpoint, "cpu")
    model.save_pretrained(tmp_path / "again")
    again = load_model(opened(tmp_path / "again", tmp_path), "cpu")
    assert part_of(again) is None
    torch.testing.assert_close(again(input_ids=ids).logits, wanted)


def test_blocks_and_vocabulary_are_those_of_the_language_model_at_any_depth(tmp_path):
    config = whole_config("qwen2_5_omni")
    config.thinker_config.text_config.num_hidden_layers = 3
    config.thinker_config.audio_config.encoder_layers = 1
    config.talker_config.num_hidden_layers = 2
    config.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert setting(written, BLOCK_KEYS) == 3
    assert setting(written, ("vocab_size",)) == 128
    assert peek_blocks(ModelSpec(path=str(tmp_path))) == 3


@pytest.mark.parametrize("model_type", ["blip-2", "instructblip"])
def test_a_language_model_inside_that_encodes_its_text_is_one_line(model_type, tmp_path):
    """BLIP-2 says so in its own configuration, InstructBLIP in that of its language model alone."""
    config = whole_config(model_type, "t5")
    (folder,) = saved(tmp_path, whole=made(config, 0, AutoModelForImageTextToText))
    with pytest.raises(
        ProvenanceError, match=r"(?i)t5.* encodes its text.*: use csu_all"
    ) as caught:
        load_skeleton(opened(folder, tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model_type", ["idefics", "voxtral_realtime"])
def test_a_model_no_part_of_which_runs_on_text_says_what_to_do(model_type, tmp_path):
    config = tiny(model_type)
    (folder,) = saved(tmp_path, whole=made(config, 0, auto_class(config)))
    executor = Executor(Store(tmp_path / "store"))
    for statistic in ("kinship", "jsd"):
        with pytest.raises(
            ArchitectureError, match=r"on token ids alone .*: use csu_all"
        ) as caught:
            compare(folder, folder, inputs=RANDOM, statistic=statistic, executor=executor)
        assert "\n" not in str(caught.value)
    assert compare(folder, folder, statistic="csu_all", executor=executor).log10_p < -50


def test_gaps_and_extras_inside_are_refused_and_others_are_not(tmp_path):
    (folder,) = saved(tmp_path, whole=pair("instructblip")[0])
    file = folder / "model.safetensors"
    tensors = load_file(file)
    up = "language_model.model.layers.0.mlp.up_proj.weight"
    for change, expected in (
        ({up: None}, r"weights missing: model\.layers\.0\.mlp\.up_proj\.weight"),
        ({"language_model.model.layers.9.up": torch.ones(2)}, r"no place for: .*layers\.9\.up"),
        ({"vision_model.extra": torch.ones(2), "qformer.extra": torch.ones(2)}, None),
    ):
        changed = {k: v for k, v in (tensors | change).items() if v is not None}
        save_file(changed, file, {"format": "pt"})
        checkpoint = opened(folder, tmp_path)
        if expected is None:
            assert load_model(checkpoint, "cpu")
        else:
            with pytest.raises(SourceError, match=expected):
                load_model(checkpoint, "cpu")


def test_a_part_without_a_head_is_compared_by_its_blocks_alone(tmp_path):
    """And so is a disguised copy, which the power control makes."""
    config = tiny("pi0")
    (folder,) = saved(tmp_path, whole=made(config, 0, auto_class(config)))
    executor = Executor(Store(tmp_path / "store"))
    disguised = ModelSpec(path=str(folder), disguised="all")
    found = compare(disguised, folder, statistic="match_weights", executor=executor)
    assert found.log10_p < -50
    with pytest.raises(SourceError, match=r"model\.vlm of PI0.* has no head of its own"):
        compare(folder, folder, inputs=RANDOM, statistic="jsd", executor=executor)


def test_the_same_language_models_are_the_same_weights_but_for_what_is_beside_them(tmp_path):
    model = pair("instructblip")[0]
    whole, other = saved(tmp_path, whole=model, other=model)
    tensors = load_file(other / "model.safetensors")
    del tensors["query_tokens"]
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    found = compare(
        whole, other, statistic="match_weights", executor=Executor(Store(tmp_path / "s"))
    )
    assert found.weights.relation == "same"
    assert found.weights.alone == ("query_tokens",)


@pytest.mark.parametrize("modules", [["q_proj"], r"language_model\..*\.(q|v)_proj"])
def test_an_adapter_of_the_whole_is_merged_into_the_part(modules, tmp_path):
    peft = pytest.importorskip("peft")
    whole, _ = pair("instructblip")
    (folder,) = saved(tmp_path, whole=whole)
    with quiet():
        settings = peft.LoraConfig(r=4, target_modules=modules, init_lora_weights=False)
        tuned = peft.get_peft_model(whole, settings)
        tuned.save_pretrained(tmp_path / "adapter")
        merged = tuned.merge_and_unload().language_model.state_dict()
    spec = ModelSpec(path=str(tmp_path / "adapter"), base=ModelSpec(path=str(folder)))
    found = Executor(Store(tmp_path / "store")).checkpoint(spec)
    assert json.loads((found.folder / "config.json").read_text())["model_type"] == "llama"
    for name, tensor in load_model(found, "cpu").state_dict().items():
        torch.testing.assert_close(tensor, merged[name])
