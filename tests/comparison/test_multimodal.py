"""The language model inside a multimodal one is read as the text model that it was made from."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from benchmarks._tiny import tiny
from provenance import Executor, InputsSpec, ModelSpec, Store, compare
from provenance.architecture.auto_class import auto_class
from provenance.architecture.trace import skeleton
from provenance.errors import SourceError
from provenance.loading.model import load_model, load_skeleton
from provenance.loading.streaming import DISK, device_map
from provenance.vocabulary import Memory

pytestmark = pytest.mark.slow

RANDOM = InputsSpec("random", tokens=256, sequence_length=64)

FAMILIES = {
    "gemma3": "gemma3_text",
    "idefics3": "llama",
    "internvl": "qwen2",
    "llava": "llama",
    "llava_next": "llama",
    "mistral3": "mistral",
    "paligemma": "gemma",
    "qwen2_5_vl": "qwen2",
    "qwen2_vl": "qwen2",
    "qwen3_vl": "qwen3",
    "smolvlm": "llama",
    "voxtral": "llama",
}
"""Of multimodal types, the text type of the same blocks."""

SIZES = (
    "head_dim",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "vocab_size",
)


def multimodal(model_type, seed=0):
    config = tiny(model_type)
    config.get_text_config().tie_word_embeddings = config.tie_word_embeddings = False
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return auto_class(config).from_config(config).eval()


def text_model(text_type, whole, seed=1):
    """A text model of the sizes of a multimodal one's, of numbers of its own."""
    text = whole.config.get_text_config()
    sizes = {key: getattr(text, key) for key in SIZES if getattr(text, key, None)}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(CONFIG_MAPPING[text_type](**sizes)).eval()


def inside(text_type, whole):
    """The text model whose blocks are those of the language model inside."""
    made = text_model(text_type, whole)
    missing, _ = made.model.load_state_dict(whole.get_decoder().state_dict(), strict=False)
    assert not missing
    return made


def saved(folder, **models):
    for name, model in models.items():
        model.save_pretrained(folder / name)
    return [folder / name for name in models]


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_text_model_is_found_in_what_was_made_of_it(model_type, tmp_path):
    whole, text_type = multimodal(model_type), FAMILIES[model_type]
    text, stranger = inside(text_type, whole), text_model(text_type, whole)
    whole, text, stranger = saved(tmp_path, whole=whole, text=text, stranger=stranger)
    executor = Executor(Store(tmp_path / "store"))
    how = {"statistic": "match_weights", "executor": executor}
    kin, other = compare(whole, text, **how), compare(stranger, whole, **how)
    assert all(block.units == (block.agreeing,) * 2 for block in kin.blocks)
    assert kin.log10_p < -50
    assert other.log10_p > -6


@pytest.mark.parametrize("model_type", ["llava", "qwen2_5_vl", "idefics3"])
def test_a_multimodal_model_is_run_on_text_alone(model_type, tmp_path):
    whole, text_type = multimodal(model_type), FAMILIES[model_type]
    text = inside(text_type, whole)
    whole, text = saved(tmp_path, whole=whole, text=text)
    for number, memory in enumerate((None, Memory(resident=1))):
        executor = Executor(Store(tmp_path / str(number)), memory=memory)
        found = compare(whole, text, inputs=RANDOM, statistic="match", executor=executor)
        assert [block.agreeing for block in found.blocks] == [96] * 4


def test_a_configuration_without_a_part_for_text_is_one_of_a_language_model_too(tmp_path):
    """Qwen2-VL's first configurations have the sizes of the language model at the top."""
    whole, text = saved(tmp_path, whole=(m := multimodal("qwen2_vl")), text=inside("qwen2", m))
    config = json.loads((whole / "config.json").read_text())
    text_config = config.pop("text_config")
    config["vision_config"].pop("model_type")
    (whole / "config.json").write_text(
        json.dumps({**text_config, **config, "model_type": "qwen2_vl"})
    )
    executor = Executor(Store(tmp_path / "store"))
    checkpoint = executor.checkpoint(ModelSpec(path=str(whole)))
    assert (checkpoint.blocks, checkpoint.vocabulary) == (4, 128)
    found = compare(whole, text, inputs=RANDOM, executor=executor)
    assert found.log10_p < -50


@pytest.mark.parametrize("model_type", ["llava", "llava_next", "mistral3", "qwen2_vl"])
def test_files_under_either_names_are_the_same_model(model_type, tmp_path):
    """transformers saves the names of its first versions (``language_model.model``), and reads both."""
    whole = multimodal(model_type)
    (folder,) = saved(tmp_path, whole=whole)
    shutil.copytree(folder, tmp_path / "new")
    names = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    assert names.keys() != load_file(folder / "model.safetensors").keys()
    save_file(names, tmp_path / "new" / "model.safetensors", {"format": "pt"})
    executor = Executor(Store(tmp_path / "store"))
    for place in (folder, tmp_path / "new"):
        model = load_model(executor.checkpoint(ModelSpec(path=str(place))), "cpu")
        assert all(torch.equal(names[name], found) for name, found in model.state_dict().items())
    found = compare(folder, tmp_path / "new", statistic="match_weights", executor=executor)
    assert found.log10_p < -50


def test_the_tower_is_loaded_and_the_language_model_runs_from_disk(tmp_path):
    """Also where the tower is the larger one."""
    config = tiny("llava")
    config.vision_config.num_hidden_layers = 12
    model = skeleton(config)
    places = device_map(model, "cpu")
    on_disk = {name for name, place in places.items() if place == DISK}
    blocks = {f"model.language_model.layers.{block}" for block in range(4)}
    assert on_disk == blocks | {"lm_head"}


@pytest.mark.parametrize("model_type", ["florence2", "pix2struct", "t5gemma2"])
def test_a_model_that_encodes_its_text_is_not_read(model_type, tmp_path):
    (folder,) = saved(tmp_path, whole=multimodal("llava"))
    CONFIG_MAPPING[model_type]().save_pretrained(folder)
    checkpoint = Executor(Store(tmp_path / "store")).checkpoint(ModelSpec(path=str(folder)))
    match = rf"'{model_type}' is not a causal language model, and none is inside of it"
    with pytest.raises(SourceError, match=match):
        load_skeleton(checkpoint)


def test_a_disguised_copy_has_its_units_hidden_where_its_tower_is_not_known(tmp_path):
    (folder,) = saved(tmp_path, whole=multimodal("llava"))
    executor = Executor(Store(tmp_path / "store"))
    disguised = ModelSpec(path=str(folder), disguised="all")
    found = compare(disguised, folder, statistic="match_weights", executor=executor)
    assert found.log10_p < -50


def test_weights_of_a_multimodal_model_that_nothing_reads_are_refused(tmp_path):
    (folder,) = saved(tmp_path, whole=multimodal("llava"))
    file = folder / "model.safetensors"
    save_file(load_file(file) | {"model.extra.weight": torch.ones(2)}, file, {"format": "pt"})
    checkpoint = Executor(Store(tmp_path / "store")).checkpoint(ModelSpec(path=str(folder)))
    with pytest.raises(SourceError, match=r"no place for: model\.extra\.weight"):
        load_model(checkpoint, "cpu")
