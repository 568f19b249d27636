"""The check of names and shapes against traces: it agrees where it should, and sees what it should."""

from dataclasses import replace

import pytest
import torch

from benchmarks._by_names import as_saved, in_memory
from fixtures.models import tiny_llama
from provenance.architecture.trace import trace
from tests.loading.test_parameters import tiny


def with_own_numbers(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.1)
    return model


@pytest.mark.parametrize("family", ["mixtral", "phi3", "gpt2", "gpt_oss"])
def test_files_and_parameters_agree_with_the_trace(family):
    model = with_own_numbers(tiny(family))
    seen = trace(model)
    assert in_memory(model, seen) == "agrees"
    assert as_saved(model, seen) == "agrees"


def test_a_trace_of_other_tensors_does_not_agree():
    model = with_own_numbers(tiny_llama(tie_word_embeddings=False))
    seen = trace(model)
    first, *others = seen.mlps
    swapped = replace(first, gate=first.up, up=first.gate)
    other = replace(seen, mlps=(swapped, *others))
    for check in (as_saved, in_memory):
        assert check(model, other) == (
            "1 MLPs not found, as dense in block 0; 1 MLPs none by its data, as dense in block 0"
        )
        assert check(model, replace(seen, mlps=tuple(others))).startswith("1 MLPs none by its data")
        shared = replace(seen, mlps=(replace(first, role="shared"), *others))
        assert check(model, shared) == "dense where it is shared"
        norm = replace(first, input=replace(first.input, norm="model.layers.0.input_layernorm"))
        assert check(model, replace(seen, mlps=(norm, *others))) == "another norm in 1 blocks"
        head = replace(seen.embedding, parameter="lm_head.weight")
        assert check(model, replace(seen, embedding=head)) == "another table of tokens"


def test_a_choice_is_told_as_one():
    model = with_own_numbers(tiny("llama4_text"))
    assert as_saved(model, trace(model)).startswith(
        "ambiguous: 'model.layers.1.feed_forward.experts.gate_up"
    )
