"""provenance/conversions: what is no plain checkpoint is made one, and says so."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import zipfile
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from fixtures.models import save_checkpoint, tiny_llama
from fixtures.transforms import gguf_files
from provenance import Executor, InputsSpec, Store, compare
from provenance.errors import SourceError
from provenance.loading.model import load_model, quiet
from provenance.vocabulary import ModelSpec

pytestmark = pytest.mark.slow

WEIGHTS, CONFIG = "model.safetensors", "config.json"
GATE = "model.layers.0.mlp.gate_proj.weight"


@pytest.fixture
def executor(tmp_path):
    return Executor(Store(tmp_path / "store"), "cpu")


@pytest.fixture
def base(tmp_path):
    return save_checkpoint(tiny_llama(0), tmp_path / "base")


def spec_of(path, **settings):
    return ModelSpec(path=str(path), **settings)


def tensors_of(checkpoint):
    return {
        name: tensor
        for file in sorted({stored.file for stored in checkpoint.tensors.values()})
        for name, tensor in load_file(file).items()
    }


def refused(executor, spec, match):
    with pytest.raises(SourceError, match=match) as caught:
        executor.checkpoint(spec)
    assert "\n" not in str(caught.value)
    assert executor.store.size().get("checkpoint", (0, 0))[0] == 0


def change_config(folder, name=CONFIG, **changes):
    file = folder / name
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def without(monkeypatch, module):
    """Make an optional library look absent."""
    from provenance import conversions

    found = conversions.find_spec
    monkeypatch.setattr(conversions, "find_spec", lambda n: None if n == module else found(n))


# --- adapters ------------------------------------------------------------------------------------


@pytest.fixture
def adapter(base, tmp_path):
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(
        r=4, target_modules=["gate_proj", "up_proj", "q_proj"], task_type="CAUSAL_LM"
    )
    with quiet():
        torch.manual_seed(1)
        from transformers import AutoModelForCausalLM

        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
        for name, parameter in model.named_parameters():
            if "lora" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_is_merged_into_the_base_that_it_names(executor, adapter, base):
    found = executor.checkpoint(spec_of(adapter))
    lora = load_file(adapter / "adapter_model.safetensors")
    stem = "base_model." + GATE.removesuffix("weight")
    scale = 8 / 4
    change = (
        lora[f"{stem.replace('model.model', 'model.model.model')}lora_B.weight"]
        @ (lora[f"{stem.replace('model.model', 'model.model.model')}lora_A.weight"])
    )
    expected = load_file(base / WEIGHTS)[GATE] + scale * change
    torch.testing.assert_close(tensors_of(found)[GATE], expected)
    assert found.conversion == f"adapter merged into path:{base}"
    assert found.source == f"path:{adapter}"
    load_model(found, "cpu")


def test_an_adapter_is_merged_once_and_again_when_it_or_its_base_changes(executor, adapter, base):
    def made():
        return [line["kind"] for line in executor.store.journal()].count("checkpoint")

    executor.checkpoint(spec_of(adapter))
    Executor(executor.store, "cpu").checkpoint(spec_of(adapter))
    assert made() == 1
    save_checkpoint(tiny_llama(5), base)
    Executor(executor.store, "cpu").checkpoint(spec_of(adapter))
    assert made() == 2
    change_config(adapter, "adapter_config.json", lora_alpha=16)
    Executor(executor.store, "cpu").checkpoint(spec_of(adapter))
    assert made() == 3


@pytest.mark.parametrize("named", ["text", "spec"])
def test_the_base_of_a_spec_wins(executor, adapter, base, tmp_path, named):
    moved = base.rename(tmp_path / "moved")
    refused(executor, spec_of(adapter), "its base cannot be had: there is no folder")
    given = str(moved) if named == "text" else spec_of(moved)
    found = executor.checkpoint(spec_of(adapter, base=given))
    says = f"adapter merged into path:{moved}; its configuration names {base}"
    assert found.conversion == says


def test_a_base_beside_the_adapter_is_found(executor, adapter, base):
    shutil.move(base, adapter / "base")
    change_config(adapter, "adapter_config.json", base_model_name_or_path="base")
    executor.checkpoint(spec_of(adapter))


@pytest.mark.parametrize("named", [None, "", 3, "recipe:quickstart/base", "s3://bucket/x"])
def test_what_an_adapters_maker_may_not_name_as_base(executor, adapter, named):
    change_config(adapter, "adapter_config.json", base_model_name_or_path=named)
    refused(executor, spec_of(adapter), r"adapter_config\.json names .*with base:")


def test_an_adapter_on_itself(executor, adapter):
    change_config(adapter, "adapter_config.json", base_model_name_or_path=str(adapter))
    refused(executor, spec_of(adapter), "is an adapter on itself; give its base")


def test_an_adapter_on_a_base_of_another_width(executor, adapter, base):
    save_checkpoint(tiny_llama(0, intermediate_size=48), base)
    refused(executor, spec_of(adapter), r"merging it into path:\S+ failed \(RuntimeError: ")


def test_an_adapter_on_a_base_with_fewer_blocks(executor, adapter, base):
    save_checkpoint(tiny_llama(0, num_hidden_layers=1), base)
    match = "the base has a place for none of the adapter's tensors .*layers.1.* and 5 more"
    refused(executor, spec_of(adapter), match)


def test_an_adapter_that_lacks_tensors(executor, adapter):
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    del tensors[next(name for name in tensors if "gate_proj.lora_B" in name)]
    save_file(tensors, file)
    refused(executor, spec_of(adapter), "it lacks the adapter's tensors .*gate_proj.lora_B")


def test_an_adapter_that_is_not_finite(executor, adapter):
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, file)
    refused(executor, spec_of(adapter), "failed .ValueError: NaNs detected")


def test_an_adapter_that_is_torn(executor, adapter):
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    refused(executor, spec_of(adapter), r"merging it into path:\S+ failed .SafetensorError")


def test_an_adapter_that_has_no_merged_form(executor, adapter, base):
    peft = pytest.importorskip("peft")
    shutil.rmtree(adapter)
    settings = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with quiet():
        from transformers import AutoModelForCausalLM

        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
        model.save_pretrained(adapter)
    refused(executor, spec_of(adapter), "an adapter of this kind has no merged form")


def test_an_adapter_without_weights(executor, adapter):
    (adapter / "adapter_model.safetensors").unlink()
    refused(executor, spec_of(adapter), r"has adapter_config\.json but no adapter_model\.safeten")


def test_a_pickled_adapter_needs_leave(executor, adapter):
    expected = executor.checkpoint(spec_of(adapter))
    file = adapter / "adapter_model.safetensors"
    torch.save(load_file(file), adapter / "adapter_model.bin")
    file.unlink()
    other = Executor(Store(adapter.parent / "other"), "cpu")
    refused(other, spec_of(adapter), r"adapter_model\.bin is a pickle, which can run code")
    found = other.checkpoint(spec_of(adapter, allow_pickle=True))
    assert found.weights_digest == expected.weights_digest
    assert (found.pickle, expected.pickle) == (True, False)


def test_an_adapter_without_peft(executor, adapter, monkeypatch):
    without(monkeypatch, "peft")
    match = r"is an adapter, and merging it needs peft: pip install 'pytest-provenance\[peft\]'"
    refused(executor, spec_of(adapter), match)


def test_a_base_for_what_is_no_adapter(executor, base):
    refused(executor, spec_of(base, base="x"), "is no adapter, so that it has no base")


def test_an_adapter_is_a_descendant_of_its_base_by_weights_and_by_activations(
    executor, adapter, base
):
    inputs = InputsSpec("random", tokens=256, sequence_length=64)
    for statistic in ("match", "match_weights", "l2"):
        evidence = compare(
            spec_of(adapter), spec_of(base), inputs=inputs, statistic=statistic, executor=executor
        )
        assert evidence.candidate.conversion == f"adapter merged into path:{base}"
        assert evidence.reference.conversion is None
        assert statistic == "l2" or evidence.log10_p < -30


# --- GGUF ----------------------------------------------------------------------------------------


def write_gguf(model, file, **options):
    pytest.importorskip("gguf")
    return gguf_files.write_gguf(model, file, **options)


@pytest.mark.parametrize("given", ["file", "folder"])
@pytest.mark.parametrize(("kind", "error"), [("F32", 0.0), ("Q8_0", 0.005), ("Q4_0", 0.07)])
def test_gguf_is_dequantized(executor, tmp_path, kind, error, given):
    home = tmp_path / "home"
    home.mkdir()
    model = tiny_llama(0)
    file = write_gguf(model, home / "tiny.gguf", kind=kind)
    found = executor.checkpoint(spec_of(file if given == "file" else home))
    stored = tensors_of(found)
    for name, tensor in model.state_dict().items():
        assert (stored[name] - tensor).abs().max() <= error
    assert found.conversion == "tiny.gguf dequantized"
    load_model(found, "cpu")


def test_a_gguf_file_is_converted_and_draws_no_bar_of_its_own(tmp_path, capfd):
    file = write_gguf(tiny_llama(0), tmp_path / "tiny.gguf")
    stages = []
    capfd.readouterr()
    Executor(Store(tmp_path / "store"), on_stage=stages.append).checkpoint(spec_of(file))
    assert {stage.action for stage in stages} == {"convert"}
    assert capfd.readouterr() == ("", "")


def test_what_lies_beside_a_gguf_file_is_not_taken_into_account(executor, tmp_path):
    file = write_gguf(tiny_llama(0), tmp_path / "tiny.gguf")
    first = executor.checkpoint(spec_of(file))
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "x"}')
    (tmp_path / "config.json").write_text(
        '{"model_type": "evil", "auto_map": {"AutoConfig": "x.y"}}'
    )
    other = Executor(Store(tmp_path / "other"), "cpu")
    assert other.checkpoint(spec_of(file)).digest == first.digest


def test_several_gguf_files(executor, tmp_path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    refused(executor, spec_of(tmp_path), r"has 2 GGUF files; name one of them, such as \S+a\.gguf")


def test_a_part_of_a_gguf_file(executor, tmp_path):
    file = tmp_path / "a-00001-of-00002.gguf"
    file.write_bytes(b"GGUF")
    refused(executor, spec_of(file), r"is a part of a GGUF file; join its parts with")


@pytest.mark.parametrize("damage", ["data", "header", "empty", "magic"])
def test_a_gguf_file_that_is_torn(executor, tmp_path, damage):
    file = write_gguf(tiny_llama(0), tmp_path / "tiny.gguf")
    whole = file.read_bytes()
    pieces = {"data": whole[:-9], "header": whole[:100], "empty": b"", "magic": b"x" + whole[1:]}
    file.write_bytes(pieces[damage])
    refused(executor, spec_of(file), r"tiny\.gguf: reading it as GGUF failed ")


def test_a_gguf_file_that_lacks_a_tensor(executor, tmp_path):
    file = write_gguf(tiny_llama(0), tmp_path / "tiny.gguf", without=[GATE])
    refused(executor, spec_of(file), rf"weights missing: {GATE}")


def test_gguf_without_its_library(executor, tmp_path, monkeypatch):
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    without(monkeypatch, "gguf")
    match = r"is GGUF, and reading it needs gguf: pip install 'pytest-provenance\[gguf\]'"
    refused(executor, spec_of(tmp_path), match)


# --- pickles -------------------------------------------------------------------------------------


@pytest.fixture
def pickled(base):
    torch.save(load_file(base / WEIGHTS), base / "pytorch_model.bin")
    (base / WEIGHTS).rename(base.parent / WEIGHTS)
    return base


def test_a_pickle_is_converted_where_that_is_allowed(executor, pickled):
    refused(executor, spec_of(pickled), r"pickle only .*set allow_pickle: true on this model")
    found = executor.checkpoint(spec_of(pickled, allow_pickle=True))
    stored, expected = tensors_of(found), load_file(pickled.parent / WEIGHTS)
    assert stored.keys() == expected.keys()
    assert all(torch.equal(stored[name], expected[name]) for name in stored)
    assert (found.pickle, found.conversion) == (True, "converted from a pickle")
    load_model(found, "cpu")


def test_what_is_allowed_and_not_needed_is_not_said(executor, base):
    found = executor.checkpoint(spec_of(base, allow_pickle=True, trust_remote_code=True))
    assert (found.pickle, found.remote_code) == (False, False)
    assert found.digest == executor.checkpoint(spec_of(base)).digest


def test_shards_of_a_pickle_and_tensors_that_share_memory(executor, pickled):
    whole = executor.checkpoint(spec_of(pickled, allow_pickle=True))
    tensors = load_file(pickled.parent / WEIGHTS)
    (pickled / "pytorch_model.bin").unlink()
    names = sorted(tensors)
    row = torch.cat([tensors["model.norm.weight"]] * 2)
    tensors["model.norm.weight"] = row[: len(row) // 2]
    shards = {"pytorch_model-1.bin": names[:9], "pytorch_model-2.bin": names[9:]}
    for file, part in shards.items():
        torch.save({name: tensors[name] for name in part}, pickled / file)
    weight_map = {name: file for file, part in shards.items() for name in part}
    (pickled / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
    other = Executor(Store(pickled.parent / "other"), "cpu")
    found = other.checkpoint(spec_of(pickled, allow_pickle=True))
    assert found.digest == whole.digest


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("model.pt", lambda tensors: tensors),
        ("consolidated.00.pth", lambda tensors: tensors),
        ("pytorch_model-00001-of-00001.bin", lambda tensors: tensors),
        ("last.ckpt", lambda tensors: {"epoch": 3, "state_dict": tensors, "optimizer": [{}]}),
        ("step-9.pth", lambda tensors: {"model": tensors, "step": 9}),
    ],
    ids=range(5),
)
def test_a_pickle_under_another_name_is_the_same_model(executor, pickled, name, wrap):
    whole = executor.checkpoint(spec_of(pickled, allow_pickle=True))
    (pickled / "pytorch_model.bin").unlink()
    torch.save(wrap(load_file(pickled.parent / WEIGHTS)), pickled / name)
    torch.save({"lr": 1}, pickled / "optimizer.pt")
    found = Executor(Store(pickled.parent / "other")).checkpoint(
        spec_of(pickled, allow_pickle=True)
    )
    assert (found.digest, found.pickle) == (whole.digest, True)


@pytest.mark.parametrize("form", ["pickle", "safetensors"])
def test_names_of_another_format_are_called_so(executor, pickled, form):
    tensors = {f"layers.0.{n}.weight": torch.ones(2) for n in ("attention.wq", "feed_forward.w1")}
    (pickled / "pytorch_model.bin").unlink()
    if form == "pickle":
        torch.save(tensors, pickled / "consolidated.00.pth")
    else:
        save_file(tensors, pickled / WEIGHTS)
    match = r"has the names of Meta's and Mistral's own format .* convert_llama_weights_to_hf"
    refused(executor, spec_of(pickled, allow_pickle=True), match)


class Payload:
    """A pickle that, if it is run, leaves a file behind."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


@pytest.mark.parametrize("how", ["torch", "legacy", "plain"])
def test_a_pickle_with_code_is_never_run(executor, pickled, how):
    file, marker = pickled / "pytorch_model.bin", pickled / "marker"
    content = {"a": torch.ones(2), "b": Payload(marker)}
    if how == "plain":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=how == "torch")
    match = r"pytorch_model\.bin holds more than tensors, and a pickle's code is never run"
    refused(executor, spec_of(pickled, allow_pickle=True), match)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([torch.ones(2)], "holds no tensors by name"),
        ({"a": torch.ones(2), "epoch": 3}, "'epoch' is no tensor; save the state_dict alone"),
        ({"a": torch.ones(1).expand(10**12)}, "'a' claims more than the file has of it"),
        ({"a": torch.ones(2).to_sparse()}, "'a' claims more than the file has of it"),
    ],
    ids=range(4),
)
def test_a_pickle_of_something_else(executor, pickled, content, match):
    torch.save(content, pickled / "pytorch_model.bin")
    refused(executor, spec_of(pickled, allow_pickle=True), match)


def test_a_pickle_that_would_unpack_to_more_than_it_is(executor, pickled):
    file = pickled / "pytorch_model.bin"
    torch.save({"a": torch.zeros(10**6)}, file)
    with zipfile.ZipFile(file) as opened:
        entries = {name: opened.read(name) for name in opened.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in entries.items():
            opened.writestr(name, data)
    refused(executor, spec_of(pickled, allow_pickle=True), "is compressed, which torch never does")


def test_a_pickle_that_is_torn(executor, pickled):
    file = pickled / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:-100])
    match = "is not a whole pickle of torch|holds more than tensors"
    refused(executor, spec_of(pickled, allow_pickle=True), match)


def test_a_shard_of_a_pickle_that_is_missing_or_elsewhere(executor, pickled):
    index = pickled / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "gone.bin"}}))
    refused(executor, spec_of(pickled, allow_pickle=True), r"gone\.bin is missing")
    index.write_text(json.dumps({"weight_map": {"a": "../x.bin"}}))
    refused(executor, spec_of(pickled, allow_pickle=True), "outside of the folder")
    index.write_text(json.dumps({"weight_map": [3]}))
    refused(executor, spec_of(pickled, allow_pickle=True), "has no 'weight_map' of file names")


# --- quantized -----------------------------------------------------------------------------------


def quantized_bnb(base, folder, bits):
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    settings = BitsAndBytesConfig(**{f"load_in_{bits}bit": True})
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(base, quantization_config=settings)
        model.save_pretrained(folder)
    return folder


def quantized_fp8(base, folder):
    """What transformers reads as fp8: weights in float8 with a scale for each 128 x 128."""
    shutil.copytree(base, folder)
    tensors = load_file(folder / WEIGHTS)
    for name in [name for name in tensors if "proj.weight" in name]:
        scale = tensors[name].abs().max() / 448
        tensors[name] = (tensors[name] / scale).to(torch.float8_e4m3fn)
        tensors[f"{name}_scale_inv"] = scale.reshape(1, 1)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    settings = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    change_config(folder, quantization_config=settings)
    return folder


def scaled_fp8(base, folder, *, method="fp8", per="tensor", dtype=torch.float32):
    """What AutoFP8, FBGEMM and ModelOpt write: float8 with ``weight_scale``, and scales of activations."""
    shutil.copytree(base, folder)
    tensors = load_file(folder / WEIGHTS)
    for name in [name for name in tensors if "proj.weight" in name]:
        weight = tensors[name]
        rows = weight.abs().amax(1, keepdim=True) / 448
        scale = {
            "tensor": rows.max(),
            "one": rows.max().reshape(1),
            "row": rows,
            "vector": rows[:, 0],
            "block": torch.full([-(-n // 16) for n in weight.shape], float(rows.max())),
        }[per]
        divisor = rows if per in {"row", "vector"} else rows.max()
        tensors[name] = (weight / divisor).to(torch.float8_e4m3fn)
        tensors[f"{name}_scale"] = scale.to(dtype).contiguous()
        tensors[name.replace("weight", "input_scale")] = torch.tensor(0.02)
    tensors["model.layers.0.self_attn.k_scale"] = torch.tensor(0.5)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    settings = {
        "quant_method": method,
        "activation_scheme": "static",
        "weight_block_size": [16, 16],
    }
    change_config(folder, dtype="float32", quantization_config=settings)
    return folder


def quantized_compressed(base, folder):
    """What compressed-tensors writes as int-quantized: int8 with a scale for each row."""
    pytest.importorskip("compressed_tensors")
    shutil.copytree(base, folder)
    tensors = load_file(folder / WEIGHTS)
    for name in [name for name in tensors if "proj.weight" in name]:
        scale = tensors[name].abs().amax(1, keepdim=True) / 127
        tensors[name] = (tensors[name] / scale).round().to(torch.int8)
        tensors[f"{name}_scale"] = scale
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
    settings = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
    }
    change_config(folder, quantization_config=settings)
    return folder


QUANTIZED = {
    "bnb4": (lambda base, folder: quantized_bnb(base, folder, 4), 0.2),
    "bnb8": (lambda base, folder: quantized_bnb(base, folder, 8), 0.01),
    "fp8": (quantized_fp8, 0.04),
    "compressed": (quantized_compressed, 0.01),
    "autofp8": (scaled_fp8, 0.04),
    "autofp8 bfloat16": (lambda b, f: scaled_fp8(b, f, per="one", dtype=torch.bfloat16), 0.04),
    "fbgemm": (lambda b, f: scaled_fp8(b, f, method="fbgemm_fp8", per="row"), 0.04),
    "vectors": (lambda b, f: scaled_fp8(b, f, per="vector"), 0.04),
    "blocks": (lambda b, f: scaled_fp8(b, f, per="block"), 0.04),
    "modelopt": (lambda b, f: scaled_fp8(b, f, method="modelopt"), 0.04),
}


@pytest.mark.parametrize("kind", QUANTIZED)
def test_quantized_weights_are_had_back(executor, base, tmp_path, kind):
    make, error = QUANTIZED[kind]
    folder = make(base, tmp_path / "quantized")
    found = executor.checkpoint(spec_of(folder))
    stored, expected = tensors_of(found), load_file(base / WEIGHTS)
    assert stored.keys() == expected.keys()
    for name, tensor in expected.items():
        assert stored[name].is_floating_point()
        assert (stored[name].float() - tensor).abs().max() <= error
    assert found.conversion.endswith(" dequantized")
    assert "quantization_config" not in found.config
    load_model(found, "cpu")
    inputs = InputsSpec("random", tokens=256, sequence_length=64)
    for statistic in ("match", "match_weights"):
        evidence = compare(
            spec_of(folder), spec_of(base), inputs=inputs, statistic=statistic, executor=executor
        )
        assert evidence.log10_p < -30


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({f"{GATE}_scale": None}, rf"holds {GATE} in F8_E4M3, but no {GATE}_scale; download it"),
        (
            {f"{GATE}_scale": torch.ones(3)},
            rf"{GATE}_scale is \[3\], which fits no weight of \[\d+, \d+\]",
        ),
    ],
    ids=["absent", "of another shape"],
)
def test_a_scale_that_does_not_fit_its_weight(executor, base, tmp_path, change, match):
    folder = scaled_fp8(base, tmp_path / "fp8")
    tensors = load_file(folder / WEIGHTS) | change
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, folder / WEIGHTS, {"format": "pt"})
    refused(executor, spec_of(folder), match)


@pytest.mark.parametrize("name", ["weight_scales", "weight_zero_point", "scale_2"])
def test_scales_that_transformers_leaves_unread_are_named(executor, base, tmp_path, name):
    folder = quantized_fp8(base, tmp_path / "fp8")
    tensors = load_file(folder / WEIGHTS)
    extra = f"model.layers.0.mlp.gate_proj.{name}"
    save_file(tensors | {extra: torch.ones(1)}, folder / WEIGHTS, {"format": "pt"})
    refused(executor, spec_of(folder), rf"transformers leaves {extra} unread, and its weights are")


@pytest.mark.parametrize("keys", [["quantization"], ["quantization", "quantization_config"]])
@pytest.mark.parametrize("bits", [4, 8])
def test_what_mlx_quantized_is_called_by_its_name(executor, base, keys, bits):
    tensors = load_file(base / WEIGHTS)
    rows, columns = tensors[GATE].shape
    tensors[GATE] = torch.zeros(rows, columns * bits // 32, dtype=torch.uint32)
    for name in ("scales", "biases"):
        tensors[GATE.replace("weight", name)] = torch.ones(rows, 1)
    save_file(tensors, base / WEIGHTS, {"format": "mlx"})
    change_config(base, **{key: {"group_size": 32, "bits": bits} for key in keys})
    refused(executor, spec_of(base), f"is quantized by MLX to {bits} bits, which only MLX reads")


@pytest.mark.parametrize("method", ["fp8", "mxfp4", "bitsandbytes", "gptq", "made-up"])
def test_a_claim_of_quantization_over_plain_weights(executor, base, method):
    change_config(base, quantization_config={"quant_method": method, "load_in_4bit": True})
    match = (
        rf"config\.json says '{method}', but no weight is quantized; remove 'quantization_config'"
    )
    refused(executor, spec_of(base), match)


@pytest.mark.parametrize("settings", [{}, [], "fp8", {"quant_method": 3}])
def test_a_claim_of_quantization_that_names_no_method(executor, base, settings):
    change_config(base, quantization_config=settings)
    refused(executor, spec_of(base), "has a 'quantization_config' without 'quant_method'")


def test_an_unknown_method_over_packed_weights(executor, base, tmp_path):
    folder = quantized_fp8(base, tmp_path / "fp8")
    change_config(folder, quantization_config={"quant_method": "made-up"})
    refused(executor, spec_of(folder), "this transformers knows no quantization 'made-up'")


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.int8, torch.uint8, torch.int32])
def test_packed_weights_without_a_word_on_how_to_read_them(executor, base, kind):
    tensors = load_file(base / WEIGHTS)
    tensors[GATE] = tensors[GATE].to(kind)
    save_file(tensors, base / WEIGHTS, {"format": "pt"})
    refused(
        executor, spec_of(base), rf"model\.safetensors: {GATE} is of type \w+, but config\.json"
    )


@pytest.mark.parametrize(
    ("method", "module", "name"),
    [
        ("gptq", "gptqmodel", "gptqmodel"),
        ("awq", "gptqmodel", "gptqmodel"),
        ("bitsandbytes", "bitsandbytes", "bitsandbytes"),
        ("compressed-tensors", "compressed_tensors", "compressed-tensors"),
    ],
)
def test_an_absent_reader_is_named_with_its_extra(
    executor, base, tmp_path, monkeypatch, method, module, name
):
    folder = quantized_fp8(base, tmp_path / "quantized")
    change_config(folder, quantization_config={"quant_method": method, "bits": 4})
    without(monkeypatch, module)
    match = rf"is quantized \({method}\), which needs {module}: pip install 'pytest-provenance\[{name}\]'"
    refused(executor, spec_of(folder), match)


def test_a_quantized_linear_map_is_read_back_from_its_answers():
    from provenance.conversions.quantized import _read_back

    linear = torch.nn.Linear(5, 3)
    found = _read_back(linear, "weight", torch.empty(3, 5), torch.float32)
    torch.testing.assert_close(found, linear.weight)
    assert _read_back(linear, "bias", torch.empty(3), torch.float32) is None


# --- code of a checkpoint ------------------------------------------------------------------------

CODE = """
from transformers import LlamaConfig, LlamaForCausalLM
open({marker!r}, "a").close()
class OddConfig(LlamaConfig):
    model_type = "odd"
class OddForCausalLM(LlamaForCausalLM):
    config_class = OddConfig
"""


@pytest.fixture
def odd(base, tmp_path, monkeypatch):
    from transformers import dynamic_module_utils
    from transformers.utils import hub

    modules = str(tmp_path / "modules")
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", modules)
    monkeypatch.setattr(hub, "HF_MODULES_CACHE", modules)
    monkeypatch.setattr(sys, "path", [modules, *sys.path])
    (base / "modeling_odd.py").write_text(CODE.format(marker=str(tmp_path / "marker")))
    names = {"AutoConfig": "OddConfig", "AutoModelForCausalLM": "OddForCausalLM"}
    auto_map = {key: f"modeling_odd.{name}" for key, name in names.items()}
    change_config(base, model_type="odd", auto_map=auto_map)
    yield base
    for name in [name for name in sys.modules if name.startswith("transformers_modules")]:
        del sys.modules[name]


def test_code_runs_where_it_is_trusted_and_nowhere_else(executor, odd, tmp_path):
    plain = executor.checkpoint(spec_of(odd))
    with pytest.raises(SourceError, match="set trust_remote_code: true on this model"):
        load_model(plain, "cpu")
    assert not (tmp_path / "marker").exists()
    trusted = executor.checkpoint(spec_of(odd, trust_remote_code=True))
    assert (plain.remote_code, trusted.remote_code) == (False, True)
    model = load_model(trusted, "cpu")
    assert type(model).__name__ == "OddForCausalLM"
    assert (tmp_path / "marker").exists()
    inputs = InputsSpec("random", tokens=256, sequence_length=64)
    evidence = compare(
        trusted.spec, replace(trusted.spec, dtype="float32"), inputs=inputs, executor=executor
    )
    assert evidence.candidate.remote_code


def test_code_is_part_of_the_digest(executor, odd):
    spec = spec_of(odd, trust_remote_code=True)
    before = executor.checkpoint(spec)
    (odd / "helper.py").write_text("x = 1\n")
    after = Executor(executor.store, "cpu").checkpoint(spec)
    assert after.digest != before.digest
    assert after.weights_digest == before.weights_digest


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("other/repo--modeling_odd.OddConfig", "asks for code of another repository"),
        ("gone.OddConfig", r"gone\.py is missing"),
        ("../odd.OddConfig", "outside of the folder|is missing"),
    ],
)
def test_code_from_elsewhere_is_refused_even_where_it_is_trusted(executor, odd, name, match):
    change_config(odd, auto_map={"AutoConfig": name})
    refused(executor, spec_of(odd, trust_remote_code=True), match)
