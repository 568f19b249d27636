"""provenance/loading/configuration.py: the kernel that ran a model is none of its weights."""

from __future__ import annotations

import json

import pytest
import torch

from fixtures.models import save_checkpoint, tiny_llama
from provenance import Executor, Store
from provenance.architecture.find import find_mlps
from provenance.loading.configuration import read_configuration
from provenance.loading.model import load_model, load_skeleton
from provenance.vocabulary import ModelSpec

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    return Executor(Store(tmp_path_factory.mktemp("store")), "cpu")


def opened(executor, folder, **settings):
    model = save_checkpoint(tiny_llama(0), folder)
    config = json.loads((model / "config.json").read_text()) | settings
    (model / "config.json").write_text(json.dumps(config))
    return executor.checkpoint(ModelSpec(path=str(model)))


@pytest.mark.parametrize(
    "asked",
    [
        {"_attn_implementation": "flash_attention_2"},
        {"_attn_implementation": "flash_attention_3"},
        {"_attn_implementation": "flex_attention"},
        {"_attn_implementation": "kernels-community/flash-attn2"},
        {"_attn_implementation": "paged|sdpa"},
        {"_attn_implementation": {"": "flash_attention_2"}},
        {"attn_implementation": "flash_attention_2"},
        {"_experts_implementation": "sonicmoe"},
        {"_flash_attn_2_enabled": True},
    ],
    ids=str,
)
def test_a_model_runs_whatever_kernel_its_configuration_asks_for(asked, executor, tmp_path):
    checkpoint = opened(executor, tmp_path / "model", **asked)
    assert len(find_mlps(load_skeleton(checkpoint)).mlps) == 2
    model = load_model(checkpoint, "cpu")
    ids = torch.arange(8)[None]
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, tiny_llama(0)(ids).logits)


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_a_kernel_of_torch_is_kept(kernel, executor, tmp_path):
    checkpoint = opened(executor, tmp_path / "model", _attn_implementation=kernel)
    assert read_configuration(checkpoint)._attn_implementation == kernel
