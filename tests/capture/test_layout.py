"""Where MLPs lie in files: found once for equal configurations, the same as a model says."""

import dataclasses
import subprocess
import sys

import pytest
import torch

from fixtures.models import save_checkpoint, tiny_llama
from provenance.capture.layout import Layout, find_layout, known_layout, layout_fields
from provenance.capture.units import find_in_skeleton
from provenance.comparison.executor import Executor
from provenance.errors import SourceError
from provenance.loading.model import load_model, load_skeleton
from provenance.loading.parameters import ModelTensors
from provenance.store.store import Store
from provenance.vocabulary import ModelSpec
from tests.loading.test_parameters import saved, tiny


@pytest.mark.parametrize("family", ["llama", "mixtral", "phi3", "gpt2", "qwen3_moe"])
def test_a_layout_is_the_trace_and_the_names_of_what_is_stored(family, tmp_path):
    checkpoint = saved(tiny(family), tmp_path)
    layout = find_layout(checkpoint)
    assert layout.trace == find_in_skeleton(checkpoint, load_skeleton(checkpoint), gated=False)
    loaded = dict(load_model(checkpoint, "cpu").named_parameters(remove_duplicate=False))
    tensors = ModelTensors(checkpoint)
    assert layout.stored
    for parameter, stored in layout.stored.items():
        assert torch.equal(tensors._tensors[stored], loaded[parameter]), parameter


@pytest.mark.parametrize("family", ["mixtral", "gpt2"])
def test_a_layout_reads_what_it_wrote(family, tmp_path):
    layout = find_layout(saved(tiny(family), tmp_path))
    assert Layout.from_json(layout.to_json()) == layout


def test_a_known_family_has_the_layout_that_would_be_found(tmp_path):
    checkpoint = saved(tiny_llama(), tmp_path)
    known, found = known_layout(checkpoint), find_layout(checkpoint)
    assert known.trace == found.trace
    assert known.stored == {name: name for name in checkpoint.tensors}
    assert known.stored.items() <= found.stored.items()


def test_code_of_a_checkpoints_own_is_never_known(tmp_path):
    checkpoint = saved(tiny_llama(), tmp_path)
    assert known_layout(dataclasses.replace(checkpoint, remote_code=True)) is None


def test_a_layout_depends_on_names_and_shapes_and_not_on_numbers(tmp_path):
    one, other = (saved(tiny_llama(seed), tmp_path / str(seed)) for seed in (0, 1))
    assert one.digest != other.digest
    assert layout_fields(one) == layout_fields(other)
    wider = saved(tiny_llama(intermediate_size=40), tmp_path / "wider")
    assert layout_fields(wider) != layout_fields(one)
    trusted = [dataclasses.replace(each, remote_code=True) for each in (one, other)]
    assert len({str(layout_fields(each)) for each in (one, *trusted)}) == 3


def test_a_fine_tunes_layout_is_its_bases(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    executor = Executor(store, "cpu")
    models = [saved(tiny("phi3"), tmp_path / name) for name in ("base", "tuned")]
    first = executor.work.layout(models[0])
    monkeypatch.setattr("provenance.loading.model.load_skeleton", pytest.fail)
    assert executor.work.layout(models[1]) == first
    assert [record["kind"] for record in store.journal()] == ["layouts"]


def test_what_no_model_can_be_built_of_is_refused_as_before(tmp_path):
    save_checkpoint(tiny_llama(), tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(
        config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 90')
    )
    executor = Executor(Store(tmp_path / "store"), "cpu")
    checkpoint = executor.checkpoint(ModelSpec(path=str(tmp_path / "model")))
    with pytest.raises(SourceError, match="claims 90 blocks"):
        executor.work.layout(checkpoint)


@pytest.mark.slow
def test_weights_of_plain_families_are_compared_without_transformers(tmp_path):
    folders = [save_checkpoint(tiny_llama(seed), tmp_path / str(seed)) for seed in (0, 1)]
    code = (
        "import sys, provenance; a, b, store = sys.argv[1:]\n"
        "run = provenance.Executor(provenance.Store(store), 'cpu')\n"
        "provenance.compare(a, b, statistic='match_weights', executor=run)\n"
        "assert not {'transformers', 'tokenizers', 'accelerate'} & sys.modules.keys()"
    )
    command = [sys.executable, "-c", code, *map(str, folders), str(tmp_path / "store")]
    subprocess.run(command, check=True)
