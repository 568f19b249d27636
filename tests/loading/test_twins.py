"""Two stored tensors for one parameter are refused: a test could read the one that does not run."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from fixtures.models import TINY, save_checkpoint, tiny_llama, tiny_model
from provenance.capture.layout import find_layout, known_layout
from provenance.checkpoints.checkpoint import open_checkpoint
from provenance.checkpoints.contents import inspect
from provenance.conversions.pickled import convert_pickle
from provenance.errors import SourceError
from provenance.loading.model import load_model
from provenance.vocabulary import ModelSpec

GATE = "model.layers.0.mlp.gate_proj.weight"
WEIGHTS = "model.safetensors"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def opened(folder):
    return open_checkpoint(inspect(folder), ModelSpec(path=str(folder)), sha256)


def changed(model, folder, change):
    """The folder of a model whose stored tensors were changed."""
    save_checkpoint(model, folder)
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    return folder


@pytest.mark.parametrize(
    "other",
    [
        "layers.0.mlp.gate_proj.weight",
        f"_orig_mod.{GATE}",
        f"module.{GATE}",
        f"base_model.model.{GATE}",
    ],
)
def test_names_that_differ_by_wrappers_alone_are_refused_with_both(tmp_path, other):
    def double(tensors):
        tensors[other] = torch.randn_like(tensors[GATE])

    folder = changed(tiny_llama(), tmp_path / "model", double)
    with pytest.raises(SourceError, match="two tensors for one parameter") as error:
        opened(folder)
    assert GATE in str(error.value)
    assert other in str(error.value)


def test_the_same_tensor_in_a_second_shard_by_another_name_is_refused(tmp_path):
    folder = save_checkpoint(tiny_llama(), tmp_path / "model")
    tensors = load_file(folder / WEIGHTS)
    shards = {"a.safetensors": tensors, "b.safetensors": {GATE[6:]: tensors[GATE].clone()}}
    for file, part in shards.items():
        save_file(part, folder / file, {"format": "pt"})
    (folder / WEIGHTS).unlink()
    names = {name: file for file, part in shards.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(SourceError, match="two tensors for one parameter"):
        opened(folder)


def test_a_pickle_with_two_names_is_refused_once_it_is_converted(tmp_path):
    folder = save_checkpoint(tiny_llama(), tmp_path / "model")
    tensors = load_file(folder / WEIGHTS)
    torch.save(tensors | {GATE[6:]: torch.ones_like(tensors[GATE])}, folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    made = tmp_path / "made"
    made.mkdir()
    convert_pickle(inspect(folder, allow_pickle=True), made, "./model")
    with pytest.raises(SourceError, match="two tensors for one parameter"):
        opened(made)


def experts():
    from transformers import MixtralConfig

    return tiny_model(MixtralConfig(**TINY | {"num_local_experts": 3, "num_experts_per_tok": 2}))


def beside_its_parts(tensors):
    """What transformers makes of the experts' parts, stored as well."""
    prefix = "model.layers.0.mlp.experts"
    tensors[f"{prefix}.down_proj"] = torch.randn(3, 32, 64)


def with_an_old_name(tensors):
    """A name of an older version, which transformers renames to the same."""
    new = next(name for name in tensors if name.endswith("experts.1.w1.weight"))
    old = new.replace("block_sparse_moe", "mlp") if "block_sparse" in new else new
    other = old if old != new else new.replace(".mlp.", ".block_sparse_moe.")
    tensors[other] = torch.randn_like(tensors[new])


@pytest.mark.parametrize("change", [beside_its_parts, with_an_old_name])
def test_what_renamings_of_a_family_bring_together_is_refused(tmp_path, change):
    checkpoint = opened(changed(experts(), tmp_path / "model", change))
    assert known_layout(checkpoint) is None
    for read in (find_layout, lambda one: load_model(one, "cpu")):
        with pytest.raises(SourceError, match="two tensors are stored for parameter"):
            read(checkpoint)


def test_tensors_that_nothing_loads_are_refused_before_anything_is_run(tmp_path):
    def add(tensors):
        tensors["model.layers.7.mlp.gate_proj.weight"] = torch.randn_like(tensors[GATE])

    checkpoint = opened(changed(tiny_llama(), tmp_path / "model", add))
    with pytest.raises(SourceError, match="no place for"):
        find_layout(checkpoint)


def leftovers(tensors):
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    tensors["model.layers.1.attn.masked_bias"] = torch.ones(1)


def a_head_beside_a_tied_embedding(tensors):
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()


@pytest.mark.parametrize("change", [leftovers, a_head_beside_a_tied_embedding])
def test_what_people_have_is_read(tmp_path, change):
    checkpoint = opened(changed(tiny_llama(tie_word_embeddings=True), tmp_path / "model", change))
    layout = known_layout(checkpoint) or find_layout(checkpoint)
    assert layout.trace.mlps
    assert load_model(checkpoint, "cpu")


def test_experts_and_their_parts_are_no_twins(tmp_path):
    checkpoint = opened(save_checkpoint(experts(), tmp_path / "model"))
    assert find_layout(checkpoint).trace.mlps
