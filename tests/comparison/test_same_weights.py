"""provenance/comparison/same_weights.py: a copy is found out whatever its files say around the weights."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from fixtures.models import save_checkpoint, tiny_llama
from provenance import Executor, Store
from provenance.comparison.same_weights import common_type, compare_weights
from provenance.evidence.weights import WeightsRecord
from provenance.vocabulary import ModelSpec

pytestmark = pytest.mark.slow

WEIGHTS, CONFIG = "model.safetensors", "config.json"
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
NORM = "model.norm.weight"


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    return Executor(Store(tmp_path_factory.mktemp("store")), "cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_checkpoint(tiny_llama(0), tmp_path_factory.mktemp("models") / "base")


def changed(source, folder, weights=lambda tensors: tensors, **settings):
    """A copy with other tensors, or another configuration; a setting of None is taken out."""
    shutil.copytree(source, folder)
    tensors = weights(load_file(folder / WEIGHTS))
    save_file(
        {name: one.clone() for name, one in tensors.items()}, folder / WEIGHTS, {"format": "pt"}
    )
    config = json.loads((folder / CONFIG).read_text()) | settings
    kept = {key: value for key, value in config.items() if value is not None}
    (folder / CONFIG).write_text(json.dumps(kept))
    return folder


def found(executor, candidate, reference):
    return compare_weights(
        *(executor.checkpoint(ModelSpec(path=str(path))) for path in (candidate, reference))
    )


def cast(dtype):
    return lambda tensors: {name: one.to(dtype) for name, one in tensors.items()}


OLDER = {
    "rope_parameters": None,
    "dtype": None,
    "torch_dtype": "float32",
    "rope_theta": 10000.0,
    "use_cache": False,
    "a_trainer_s_own": 1,
}

COPIES = {
    "another version's configuration": (lambda t: t, OLDER, WeightsRecord("same")),
    "widened": (cast(torch.float64), {}, WeightsRecord("same")),
    "rounded to bfloat16": (cast(torch.bfloat16), {}, WeightsRecord("rounded", ("bfloat16",))),
    "rounded to float16": (cast(torch.float16), {}, WeightsRecord("rounded", ("float16",))),
    "rounded, and stored as before": (
        lambda t: cast(torch.float32)(cast(torch.bfloat16)(t)),
        {},
        WeightsRecord("rounded", ("bfloat16",)),
    ),
    "without its head": (
        lambda t: {name: one for name, one in t.items() if name != HEAD},
        {},
        WeightsRecord("same", alone=(HEAD,)),
    ),
    "under the names of the model without a head": (
        lambda t: {name.removeprefix("model."): one for name, one in t.items() if name != HEAD},
        {"architectures": ["LlamaModel"]},
        WeightsRecord("same", alone=(HEAD,)),
    ),
    "with buffers of an older version": (
        lambda t: t | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)},
        {},
        WeightsRecord("same"),
    ),
    "with other positions": (
        lambda t: t,
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
        WeightsRecord("same", settings=("rope_parameters",)),
    ),
    "one number changed": (
        lambda t: t | {NORM: t[NORM] + torch.eye(32)[0] * 1e-3},
        OLDER,
        WeightsRecord("other"),
    ),
    "one number changed, and rounded": (
        lambda t: cast(torch.bfloat16)(t | {NORM: t[NORM] + torch.eye(32)[0] * 0.1}),
        {},
        WeightsRecord("other"),
    ),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_told_from_a_model_that_was_trained(kind, base, executor, tmp_path):
    weights, settings, expected = COPIES[kind]
    copy = changed(base, tmp_path / "copy", weights, **settings)
    assert found(executor, copy, base) == expected
    assert found(executor, base, copy) == expected


def test_a_tied_head_is_the_same_whether_or_not_it_is_stored(executor, tmp_path):
    tied = save_checkpoint(tiny_llama(0, tie_word_embeddings=True), tmp_path / "tied")
    both = changed(
        tied,
        tmp_path / "both",
        lambda t: t | {HEAD: t[EMBEDDING]},
        tie_word_embeddings=False,
    )
    assert found(executor, both, tied) == WeightsRecord("same")


def test_strangers_and_other_shapes_are_others(base, executor, tmp_path):
    stranger = save_checkpoint(tiny_llama(1), tmp_path / "stranger")
    wider = save_checkpoint(tiny_llama(0, vocab_size=130), tmp_path / "wider")
    assert found(executor, stranger, base) == WeightsRecord("other")
    assert found(executor, wider, base) == WeightsRecord("other")


def test_numbers_are_the_same_only_where_one_side_was_rounded():
    exact = torch.tensor([1.0, 1.0 + 2**-20])
    near = torch.tensor([1.0, 1.0 + 2**-19])
    assert common_type(exact, exact.double()) == ""
    assert common_type(exact, exact.bfloat16()) == "bfloat16"
    assert common_type(exact, near) is None  # though they are one number in bfloat16
    assert common_type(exact, exact[:1]) is None
