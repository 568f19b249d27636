"""Models of a type that transformers does not know, or whose code is not trusted: what their files say."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from fixtures.models import save_checkpoint, tiny_llama
from provenance import Executor, InputsSpec, Store, compare
from provenance.errors import ArchitectureError, SourceError
from provenance.evidence.decide import decide
from provenance.evidence.doubts import doubts
from provenance.evidence.records import Evidence
from provenance.vocabulary import LayoutSpec, MLPNames, ModelSpec

INPUTS = InputsSpec("random", tokens=256, sequence_length=64)
SIZES = {"vocab_size": 300, "hidden_size": 64, "intermediate_size": 96}
WEIGHTS, CONFIG = "model.safetensors", "config.json"


@pytest.fixture
def executor(tmp_path):
    return Executor(Store(tmp_path / "store"), "cpu")


@pytest.fixture
def saved(tmp_path, tiny_tokenizer):
    """A factory of folders of a type that is not known, with other names where ``renamed`` gives them."""

    def make(name, seed=0, *, noise=0.0, renamed=(), model_type="llama99", **config):
        folder = save_checkpoint(tiny_llama(seed, **SIZES), tmp_path / name, tiny_tokenizer)
        draw = torch.Generator().manual_seed(9)
        tensors = {}
        for old, tensor in load_file(folder / WEIGHTS).items():
            new = old
            for before, after in renamed:
                new = new.replace(before, after)
            moved = noise * tensor.std() * torch.randn(tensor.shape, generator=draw)
            tensors[new] = tensor + moved if tensor.dim() > 1 else tensor
        save_file(tensors, folder / WEIGHTS, {"format": "pt"})
        settings = json.loads((folder / CONFIG).read_text()) | {"model_type": model_type} | config
        (folder / CONFIG).write_text(json.dumps(settings))
        return folder

    return make


def measured(executor, candidate, reference, **settings):
    return compare(candidate, reference, inputs=INPUTS, executor=executor, **settings)


def test_kin_of_an_unknown_type_are_found_by_their_files(executor, saved, tmp_path):
    base = save_checkpoint(tiny_llama(0, **SIZES), tmp_path / "base")
    found = measured(executor, saved("odd", noise=0.01), base)
    assert decide(found, 1e-6) == "dependent"
    assert found.candidate.by_names[0].startswith("gate model.layers.{block}.mlp.gate_proj.weight")
    assert found.reference.by_names == ()
    assert Evidence.from_json(found.to_json()) == found


def test_nothing_that_is_found_of_an_unknown_type_shows_independence(executor, saved, tmp_path):
    base = save_checkpoint(tiny_llama(0, **SIZES), tmp_path / "base")
    odd = saved("odd", 1)
    found = measured(executor, odd, base)
    assert decide(found, 1e-6) == "inconclusive"
    says = " ".join(doubts(found))
    assert "match was not computed on blocks 0, 1 (a model cannot be run:" in says
    assert "does not know model_type 'llama99'" in found.details["not measured"]
    # by itself, the part that finds copies in every disguise would show independence of a known type
    alone = measured(executor, odd, base, statistic="match_tokens")
    assert decide(alone, 1e-6) == "inconclusive"
    assert "told by the names of its tensors alone" in " ".join(doubts(alone))


@pytest.mark.parametrize("statistic", ["match", "csh", "jsd"])
def test_a_statistic_that_runs_models_is_refused_with_one_that_does_not(executor, saved, statistic):
    with pytest.raises(
        SourceError, match="upgrade it, or use match_weights or match_tokens, which run"
    ):
        measured(executor, saved("odd"), saved("other", 1), statistic=statistic)


def test_code_of_a_checkpoint_is_not_run_to_find_its_mlps(executor, saved, tmp_path):
    marker = tmp_path / "marker"
    odd = saved(
        "odd", noise=0.01, auto_map={"AutoConfig": "odd.Config", "AutoModelForCausalLM": "odd.M"}
    )
    (odd / "odd.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    found = measured(executor, odd, saved("base"))
    assert decide(found, 1e-6) == "dependent"
    assert not found.candidate.remote_code
    assert not marker.exists()


def test_weights_of_unknown_types_are_compared_as_they_are_stored(executor, saved):
    base, same = saved("base"), saved("same")
    assert measured(executor, same, base).weights.relation == "same"
    wider = measured(executor, saved("eps", rms_norm_eps=0.5), base).weights
    assert (wider.relation, wider.settings) == ("same", ("rms_norm_eps",))


SYMMETRIC = (("gate_proj", "fc_a"), ("up_proj", "fc_b"), ("down_proj", "fc_c"))


def answer(where=None):
    home = "model.layers.{block}.mlp"
    names = MLPNames(f"{home}.fc_b.weight", f"{home}.fc_c.weight", f"{home}.fc_a.weight")
    return LayoutSpec(dense=names, where=where)


def test_a_choice_is_answered_by_a_layout_that_is_part_of_the_models_identity(executor, saved):
    base, odd = saved("base"), saved("odd", noise=0.01, renamed=SYMMETRIC)
    with pytest.raises(ArchitectureError, match=r"odd: the names of its tensors do not say.*fc_a"):
        measured(executor, odd, base)
    spec = ModelSpec(path=str(odd), layout=answer())
    found = measured(executor, spec, base)
    assert decide(found, 1e-6) == "dependent"
    assert found.candidate.by_names[0].startswith("gate model.layers.{block}.mlp.fc_a.weight")
    bare = executor.checkpoint(ModelSpec(path=str(odd)))
    assert executor.checkpoint(spec).digest != bare.digest
    assert executor.checkpoint(spec).weights_digest == bare.weights_digest
    moved = ModelSpec(path=str(odd), layout=answer("b.suite.yaml:3"))
    assert executor.checkpoint(moved).digest == executor.checkpoint(spec).digest


def test_a_layout_that_does_not_fit_is_named_with_its_line(executor, saved):
    spec = ModelSpec(path=str(saved("odd")), layout=answer("a.suite.yaml:7"))
    with pytest.raises(
        ArchitectureError, match=r"^a\.suite\.yaml:7: path:.*odd: layout\.up: no tensor"
    ):
        measured(executor, spec, saved("base"))


def test_a_layout_of_a_known_type_is_refused(executor, saved):
    spec = ModelSpec(path=str(saved("known", model_type="llama")), layout=answer("a.suite.yaml:7"))
    with pytest.raises(
        SourceError, match=r"^a\.suite\.yaml:7: .*'llama' tells where its MLPs are: remove"
    ):
        measured(executor, spec, saved("base"))


def test_an_unknown_norm_leaves_the_statistic_of_weights(executor, saved):
    renamed = (("post_attention_layernorm", "norm_b"), ("input_layernorm", "norm_a"))
    found = measured(executor, saved("odd", noise=0.01, renamed=renamed), saved("base"))
    assert decide(found, 1e-6) == "dependent"
    assert "the norm before the MLPs could be" in str(found.blocks[0].parts[0].reason)
    assert found.blocks[0].parts[1].log10_p < -20


def quantized(folder, name):
    """Store the weights of MLPs in float8, with a scale beside each."""
    tensors = {}
    for weight, tensor in load_file(folder / WEIGHTS).items():
        if ".mlp." in weight:
            scale = tensor.abs().max() / 400
            tensors[weight] = (tensor / scale).to(torch.float8_e4m3fn)
            tensors[f"{weight}_{name}"] = scale.reshape(1)
        else:
            tensors[weight] = tensor
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    return folder


@pytest.mark.parametrize("name", ["scale", "scale_inv"])
def test_float8_of_an_unknown_type_is_read_where_its_scales_are_beside_it(executor, saved, name):
    method = {"quantization_config": {"quant_method": "fp8"}}
    odd = quantized(saved("odd", **method), name)
    found = measured(executor, odd, saved("base"))
    assert decide(found, 1e-6) == "dependent"
    assert found.candidate.conversion == "fp8 dequantized"


def test_packed_weights_of_an_unknown_type_are_refused_in_one_line(executor, saved):
    odd = saved("odd", quantization_config={"quant_method": "gptq", "bits": 4})
    tensors = load_file(odd / WEIGHTS)
    tensors["model.layers.0.mlp.up_proj.qweight"] = torch.zeros(8, 96, dtype=torch.int32)
    save_file(tensors, odd / WEIGHTS, {"format": "pt"})
    with pytest.raises(
        SourceError, match=r"'llama99'; upgrade it, or give the model before it was quant"
    ):
        measured(executor, odd, saved("base"))
