"""provenance/loading/heads.py: what stands behind the blocks is none of them."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from fixtures.models import save_checkpoint, tiny_llama
from provenance import Executor, InputsSpec, Store, compare
from provenance.errors import SourceError
from provenance.vocabulary import DistillSettings, Memory, ModelSpec

pytestmark = pytest.mark.slow

WEIGHTS, CONFIG, HEAD = "model.safetensors", "config.json", "lm_head.weight"
FED = InputsSpec(kind="random", tokens=256, sequence_length=32)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_checkpoint(tiny_llama(0), tmp_path_factory.mktemp("models") / "base")


def changed(source, folder, change, **settings):
    shutil.copytree(source, folder)
    tensors = {name: one.clone() for name, one in change(load_file(folder / WEIGHTS)).items()}
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    config = json.loads((folder / CONFIG).read_text()) | settings
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


def beheaded(tensors):
    return {name: one for name, one in tensors.items() if name != HEAD}


KINDS = {
    "an embedding model": lambda t: {k.removeprefix("model."): v for k, v in beheaded(t).items()},
    "a reward": lambda t: beheaded(t) | {"score.weight": torch.ones(1, 32)},
    "a reward of an embedding model": lambda t: (
        {k.removeprefix("model."): v for k, v in beheaded(t).items()}
        | {"value_head.weight": torch.ones(1, 32), "value_head.bias": torch.ones(1)}
    ),
    "a value beside the head": lambda t: (
        t | {"v_head.summary.weight": torch.ones(1, 32), "v_head.summary.bias": torch.ones(1)}
    ),
    "a wrapped head": lambda t: beheaded(t) | {"lm_head.0.weight": t[HEAD]},
    "several": lambda t: t | {f"medusa_head.{i}.0.linear.weight": torch.ones(32, 32) for i in "01"},
    "a head of other tokens": lambda t: t | {HEAD: torch.ones(7, 32)},
    "a head with a bias": lambda t: t | {"lm_head.bias": torch.ones(128)},
}


NAMED = {
    "an embedding model": (),
    "a reward": ("score",),
    "a reward of an embedding model": ("value_head",),
    "a value beside the head": ("v_head",),
    "a wrapped head": ("lm_head",),
    "several": ("medusa_head",),
    "a head of other tokens": ("lm_head",),
    "a head with a bias": ("lm_head",),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("statistic", ["match", "match_weights", "match_tokens"])
def test_no_statistic_of_blocks_needs_a_head(kind, statistic, base, store, tmp_path):
    model = changed(base, tmp_path / "model", KINDS[kind])
    executor = Executor(store, "cpu")
    inputs = InputsSpec(kind="tokens") if statistic == "match_tokens" else FED
    found = compare(model, base, statistic=statistic, executor=executor, inputs=inputs)
    assert found.log10_p < -10
    assert (found.candidate.heads, found.reference.heads) == (NAMED[kind], ())


def test_an_imitated_model_names_its_other_heads(base, store, tmp_path):
    model = changed(base, tmp_path / "model", KINDS["a value beside the head"])
    few = DistillSettings(steps=2, batch=32, least_fit=-9.0)
    executor = Executor(store, "cpu", distillation=few)
    found = compare(model, base, statistic="generalized", executor=executor)
    assert (found.candidate.heads, found.reference.heads) == (("v_head",), ())


@pytest.mark.parametrize("tied", [True, False])
def test_a_head_that_is_the_embedding_is_none_that_is_left_out(tied, store, tmp_path):
    base = save_checkpoint(tiny_llama(0, tie_word_embeddings=tied), tmp_path / "base")
    table = "model.embed_tokens.weight"
    model = changed(base, tmp_path / "model", lambda t: t | {HEAD: t[table]}, architectures=["X"])
    for statistic in ("match", "match_weights"):
        found = compare(
            model, base, statistic=statistic, executor=Executor(store, "cpu"), inputs=FED
        )
        assert (found.candidate.heads, found.reference.heads) == ((), ())


def test_a_model_without_a_head_is_run_from_disk(base, store, tmp_path):
    model = changed(base, tmp_path / "model", beheaded)
    executor = Executor(store, "cpu", memory=Memory(resident=1))
    found = compare(model, base, statistic="match", executor=executor, inputs=FED)
    assert found.log10_p < -10


def test_a_model_without_a_head_is_covered_and_reads_no_text_badly(base, store, tmp_path):
    model = changed(base, tmp_path / "model", beheaded)
    again = changed(model, tmp_path / "again", lambda t: t, use_cache=False)
    first, second = (
        compare(one, base, statistic="match", executor=Executor(store, "cpu"), inputs=FED)
        for one in (model, again)
    )
    assert first.coverage["candidate"].share == first.coverage["reference"].share
    assert first.coverage == second.coverage  # no random number stands in
    assert "candidate_loss" not in first.details


@pytest.mark.parametrize("disguise", ["units", "all"])
def test_a_model_without_a_head_is_disguised_without_one(disguise, base, store, tmp_path):
    model = changed(base, tmp_path / "model", beheaded)
    spec = ModelSpec(path=str(model), disguised=disguise)
    checkpoint = Executor(store, "cpu").checkpoint(spec)
    assert checkpoint.tensors.keys() == load_file(model / WEIGHTS).keys()
    assert compare(spec, model, statistic="match_weights", executor=Executor(store, "cpu"))


def test_what_needs_the_head_says_so(base, store, tmp_path):
    model = changed(base, tmp_path / "model", beheaded)
    with pytest.raises(SourceError, match=r"saved without the head .* a statistic of blocks"):
        compare(model, base, statistic="jsd", executor=Executor(store, "cpu"), inputs=FED)


@pytest.mark.parametrize(
    "name", ["mtp.layers.0.mlp.up_proj.weight", "transformer.h.0.w", "norm2.w"]
)
def test_more_blocks_are_no_head(name, base, store, tmp_path):
    stored = f"model.{name}" if name == "norm2.w" else name
    model = changed(base, tmp_path / "model", lambda t: t | {stored: torch.ones(2, 2)})
    with pytest.raises(SourceError, match="no place for"):
        compare(model, base, statistic="match", executor=Executor(store, "cpu"), inputs=FED)
