"""A model that is written otherwise by the identities of its activation is the model that it was."""

import pytest
import torch

from fixtures import transforms
from fixtures.models import save_checkpoint, tiny_llama
from provenance import compare
from provenance.comparison.executor import Executor
from provenance.store.store import Store
from provenance.vocabulary import InputsSpec

pytestmark = pytest.mark.slow

INPUTS = InputsSpec("random", tokens=512, sequence_length=64)


@pytest.mark.parametrize("activation", ["silu", "gelu_pytorch_tanh", "relu", "relu2", "sigmoid"])
def test_every_part_of_kinship_sees_a_model_that_is_written_otherwise(activation, tmp_path):
    base = tiny_llama(hidden_act=activation)
    kin = transforms.add_noise(base, seed=2, scale=0.1)
    written = transforms.rewrite_units(kin, 1, share=0.7)
    ids = torch.arange(40).view(2, 20)
    with torch.no_grad():
        torch.testing.assert_close(written(ids).logits, kin(ids).logits, rtol=1e-3, atol=1e-4)
    folders = [save_checkpoint(x, tmp_path / name) for x, name in ((written, "w"), (base, "b"))]
    evidence = compare(
        *folders, inputs=INPUTS, exhaustive=True, executor=Executor(Store(tmp_path / "store"))
    )
    for block in evidence.blocks:
        assert block.candidate_block == block.reference_block
        assert all(part.log10_p < -50 for part in block.parts)
        assert block.untested == ()


@pytest.mark.parametrize("short", [False, True])
def test_a_rotated_model_with_negated_gates_is_seen(short, tmp_path):
    base = tiny_llama()
    written = transforms.rewrite_units(base, 1, short=short)
    turned = transforms.rotate_residual_stream(written, seed=5)
    folders = [save_checkpoint(x, tmp_path / name) for x, name in ((turned, "w"), (base, "b"))]
    evidence = compare(*folders, inputs=INPUTS, executor=Executor(Store(tmp_path / "store")))
    assert all(block.log10_p < -50 for block in evidence.blocks)
