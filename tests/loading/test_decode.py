"""loading/decode.py and ranged_tensors.py: rows of quantized weights, read and dequantized alone."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from fixtures.models import save_checkpoint, tiny_llama
from fixtures.synthetic_weights import Size, Weights
from provenance import Executor, Store
from provenance.checkpoints.in_part import open_in_part
from provenance.checkpoints.ranged.reader import Meter
from provenance.errors import SourceError
from provenance.loading.decode import _table
from provenance.loading.ranged_tensors import RangedTensors
from provenance.vocabulary import ModelSpec
from tests.reference import small_float
from tests.support.quantized_weights import KINDS, write, write_mxfp4, write_quantized

SIZE = Size(blocks=1, hidden=64, units=96, vocabulary=100)
WEIGHTS = Weights(SIZE, 0)
UP = "model.layers.0.mlp.up_proj.weight"
RUNS = [range(3, 20), range(40, 90, 2), range(95, 96), range(5, 5)]
ROWS = [row for run in RUNS for row in run]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def opened(folder, store):
    return RangedTensors(open_in_part(ModelSpec(path=str(folder)), store, Meter(), folder=folder))


FORMULAS = {
    "float8_e4m3": (1, lambda code: small_float(code, 4, 3, 7)),
    "float8_e5m2": (1, lambda code: small_float(code, 5, 2, 15)),
    "int8": (1, lambda code: code - 256 if code > 127 else code),
    "offset8": (1, lambda code: code - 128),
    "offset4": (2, lambda code: code - 8),
    "float4": (2, lambda code: small_float(code, 2, 1, 1)),
}
BEYOND = {"float8_e4m3": {0x7F, 0xFF}, "float8_e5m2": {*range(0x7C, 0x80), *range(0xFC, 0x100)}}
"""Codes that are no numbers."""


@pytest.mark.parametrize("code", FORMULAS)
def test_every_byte_stands_for_what_the_formula_says(code):
    numbers, formula = FORMULAS[code]
    for byte, row in enumerate(_table(code).tolist()):
        if byte in BEYOND.get(code, ()):
            assert not math.isfinite(row[0])
            continue
        halves = [byte] if numbers == 1 else [byte & 15, byte >> 4]
        assert row == [formula(half) for half in halves]


ERRORS = {"int8": 0.01, "int4": 0.08, "mxfp4": 0.2, "nvfp4": 0.17}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_those_of_the_weight_that_was_quantized(tmp_path, store, kind):
    tensors = opened(write_quantized(tmp_path / "model", WEIGHTS, kind), store)
    whole = WEIGHTS.tensor(UP).float()
    assert tensors.shape(UP) == whole.shape
    rows = tensors.runs(UP, RUNS)
    assert rows.dtype == torch.float32
    error = ERRORS.get(kind.split()[-1], 0.04)
    assert (rows - whole[ROWS]).abs().max() <= error * whole.abs().max()
    assert torch.equal(tensors.read(UP)[ROWS], rows)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("compressed")])
def test_rows_are_those_that_compressed_tensors_makes(tmp_path, store, kind):
    pytest.importorskip("compressed_tensors")
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme

    folder = write_quantized(tmp_path / "model", WEIGHTS, kind)
    settings, _ = KINDS[kind]
    scheme = QuantizationScheme(**settings["config_groups"]["group_0"])
    home = UP.removesuffix("weight")
    state = {
        name.removeprefix(home): tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
        if name.startswith(home)
    }
    made = BaseCompressor.get_value_from_registry(settings["format"]).decompress(state, scheme)
    expected = made["weight"][ROWS]
    rows = opened(folder, store).runs(UP, RUNS)
    # it multiplies in the type of the scale
    torch.testing.assert_close(rows, expected.float(), rtol=2**-7, atol=0)


def test_rows_of_blocks_of_float8_are_those_that_transformers_makes(tmp_path, store):
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    folder = write_quantized(tmp_path / "model", WEIGHTS, "fp8 blocks")
    stored = load_file(folder / "model.safetensors")
    expected = Fp8Dequantize(None)._dequantize_one(stored[UP], stored[f"{UP}_scale_inv"])
    assert torch.equal(opened(folder, store).runs(UP, RUNS), expected[ROWS])


def test_packed_floats_with_exponents_are_those_that_transformers_makes(tmp_path, store):
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-128, 128, (96, 32), generator=generator, dtype=torch.int8)
    exponents = torch.randint(120, 130, (96, 2), generator=generator, dtype=torch.uint8)
    stored = {UP: codes, UP.replace("weight", "scale"): exponents.view(torch.float8_e8m0fnu)}
    settings = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    folder = write(tmp_path / "model", stored, SIZE.config() | {"quantization_config": settings})
    expected = Fp8Dequantize(None)._dequantize_one(codes, exponents)
    assert torch.equal(opened(folder, store).runs(UP, RUNS), expected[ROWS].float())


def test_stacks_of_mxfp4_are_those_that_transformers_makes(tmp_path, store):
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    folder = write_mxfp4(tmp_path / "model", Weights(Size(1, 64, 96, 100, experts=3), 0))
    stored = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.experts.gate_up_proj"
    expected = convert_moe_packed_tensors(stored[f"{name}_blocks"], stored[f"{name}_scales"])
    tensors = opened(folder, store)
    assert tensors.shape(name) == (3, 192, 64)
    assert torch.equal(tensors.read(name), expected.transpose(1, 2).float())
    rows = tensors.runs(name, [range(192, 300, 2), range(500, 570)])
    flat = expected.transpose(1, 2).flatten(0, 1).float()
    assert torch.equal(rows, flat[[*range(192, 300, 2), *range(500, 570)]])


@pytest.mark.parametrize("kind", ["fp8 blocks", "fp8 rows"])
def test_part_and_whole_read_the_same_weights(tmp_path, store, kind):
    base = save_checkpoint(tiny_llama(0), tmp_path / "base")
    settings, make = KINDS[kind]
    stored = {}
    for name, tensor in load_file(base / "model.safetensors").items():
        stored |= make(name, tensor.float()) if "mlp" in name else {name: tensor}
    config = json.loads((base / "config.json").read_text())
    folder = write(base, stored, config | {"quantization_config": settings})
    whole = Executor(store, "cpu").checkpoint(ModelSpec(path=str(folder)))
    expected = load_file(whole.folder / "model.safetensors")[UP]
    part = opened(folder, store).read(UP)
    assert torch.equal(part.to(expected.dtype), expected)


def test_what_is_said_with_the_language_model_inside_is_read_in_part(tmp_path, store):
    folder = write_quantized(tmp_path / "model", WEIGHTS, "compressed int4")
    config = json.loads((folder / "config.json").read_text())
    settings = config.pop("quantization_config")
    inside = {"model_type": "llava", "text_config": config | {"quantization_config": settings}}
    (folder / "config.json").write_text(json.dumps(inside))
    assert opened(folder, store).shape(UP) == (96, 64)
    with pytest.raises(
        SourceError, match=r"quantized in a part of it \(compressed-tensors\), which"
    ):
        Executor(store, "cpu").checkpoint(ModelSpec(path=str(folder)))


def test_what_is_read_of_a_quantized_weight_is_its_rows_and_their_scales(tmp_path, store):
    folder = write_quantized(tmp_path / "model", WEIGHTS, "compressed int4")
    checkpoint = open_in_part(ModelSpec(path=str(folder)), store, Meter(), folder=folder)
    before = checkpoint.ranged.record().bytes
    RangedTensors(checkpoint).runs(UP, [range(10, 20)])
    of_a_row = 64 // 2 + 2 * 2  # codes of four bits, and two scales in bfloat16
    assert checkpoint.ranged.record().bytes - before == 10 * of_a_row + 16


def test_a_shape_that_the_codes_do_not_have_is_refused(tmp_path, store):
    folder = write_quantized(tmp_path / "model", WEIGHTS, "compressed int4")
    stored = load_file(folder / "model.safetensors")
    stored[f"{UP}_shape"] = torch.tensor([96, 60])
    write(folder, stored, json.loads((folder / "config.json").read_text()))
    with pytest.raises(SourceError, match=rf"{UP}_shape says \[96, 60\], and {UP}_packed holds"):
        opened(folder, store).runs(UP, RUNS)


def test_a_checkpoint_in_part_has_the_parameters_of_the_model(tmp_path, store):
    folder = write_quantized(tmp_path / "model", WEIGHTS, "compressed int4")
    checkpoint = open_in_part(ModelSpec(path=str(folder)), store, Meter(), folder=folder)
    assert checkpoint.parameters == sum(math.prod(shape) for shape in SIZE.shapes().values())
    assert checkpoint.conversion == "compressed-tensors dequantized, as far as it was read"
