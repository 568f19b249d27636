"""checkpoints/coded/methods.py: which tensors are one weight, and what is refused in one line."""

from __future__ import annotations

from contextlib import suppress
from math import prod
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.checkpoints.coded.methods import coded_weights
from provenance.checkpoints.coded.weights import as_weights
from provenance.checkpoints.safetensors_header import BITS, StoredTensor
from provenance.errors import SourceError
from tests.support.quantized_weights import KINDS

GATE = "model.layers.0.mlp.gate_proj.weight"
EXPERTS = "model.layers.0.mlp.experts.gate_up_proj"
FP8 = {"quant_method": "fp8", "weight_block_size": [16, 16]}
INT4 = KINDS["compressed int4"][0]
MXFP4 = {"quant_method": "mxfp4"}


def headers(**tensors):
    """Headers by names in which two underscores stand for that of `GATE`."""
    found = {}
    for name, (dtype, *shape) in tensors.items():
        full = name.replace("__", GATE)
        size = BITS[dtype]
        for side in shape:
            size *= side
        found[full] = StoredTensor(full, dtype, tuple(shape), 0, size // 8, Path("m.safetensors"))
    return found


def found(settings, tensors):
    return coded_weights(tensors, settings, "path:./model")


def test_weights_stand_in_the_place_of_what_they_are_made_of():
    norm = "model.norm.weight"
    tensors = headers(
        __=("F8_E4M3", 40, 64),
        ___scale_inv=("F32", 3, 4),
        **{norm: ("BF16", 64)},
    )
    coded = found(FP8, tensors)
    assert as_weights(tensors, coded).keys() == {GATE, norm}
    assert coded[GATE].scales[0].sides == (16, 16)
    packed = headers(___packed=("I32", 40, 8), ___scale=("BF16", 40, 2), ___shape=("I64", 2))
    weights = as_weights(packed, found(INT4, packed))
    assert {name: tensor.shape for name, tensor in weights.items()} == {GATE: (40, 64)}
    stacks = headers(
        **{f"{EXPERTS}_blocks": ("U8", 3, 80, 2, 16), f"{EXPERTS}_scales": ("U8", 3, 80, 2)}
    )
    weights = as_weights(stacks, found(MXFP4, stacks))
    assert {name: tensor.shape for name, tensor in weights.items()} == {EXPERTS: (3, 80, 64)}


def test_scales_of_activations_are_none_of_a_weights():
    tensors = headers(
        __=("F8_E4M3", 40, 64),
        ___scale=("F32",),
        **{
            GATE.replace("weight", "input_scale"): ("F32",),
            GATE.replace("weight", "input_global_scale"): ("F32", 1),
            "model.layers.0.self_attn.k_scale": ("F32",),
        },
    )
    assert found({"quant_method": "fp8"}, tensors).keys() == {GATE}


WHOLE = "compare without --sample"
REFUSED = {
    "gptq": ({"quant_method": "gptq"}, {}, r"is quantized \(gptq\), of which no part is read"),
    "a method that nobody knows": (
        {"quant_method": "made-up"},
        {},
        r"is quantized \(made-up\), of which no part is read",
    ),
    "a format that nobody knows": (
        INT4 | {"format": "marlin-24"},
        {},
        r"\(compressed-tensors, marlin-24\), of which no part is read",
    ),
    "no scale": (
        FP8,
        {"__": ("F8_E4M3", 40, 64)},
        rf"m\.safetensors holds {GATE} in F8_E4M3, but no {GATE}_scale; download it again",
    ),
    "a scale of other blocks": (
        FP8,
        {"__": ("F8_E4M3", 40, 64), "___scale_inv": ("F32", 2, 4)},
        rf"{GATE}_scale_inv is \[2, 4\], which fits no weight of \[40, 64\]",
    ),
    "a scale of another type": (
        FP8,
        {"__": ("F8_E4M3", 40, 64), "___scale_inv": ("I64", 3, 4)},
        "is of type I64, which is none of a scale",
    ),
    "a size of blocks that is none": (
        FP8 | {"weight_block_size": [0, "x"]},
        {"__": ("F8_E4M3", 40, 64), "___scale_inv": ("F32", 3, 4)},
        "which fits no weight of",
    ),
    "a zero point": (
        KINDS["compressed int8"][0],
        {"__": ("I8", 40, 64), "___scale": ("F32", 40, 1), "___zero_point": ("I8", 40, 1)},
        rf"holds {GATE}_zero_point in I8, without which its weights are nothing.*{WHOLE}",
    ),
    "columns in another order": (
        INT4,
        {
            "___packed": ("I32", 40, 8),
            "___scale": ("BF16", 40, 2),
            "___g_idx": ("I32", 64),
        },
        rf"holds {GATE}_g_idx in I32, without which its weights are nothing",
    ),
    "a weight that is there in codes and plain": (
        INT4,
        {"__": ("BF16", 40, 64), "___packed": ("I32", 40, 8), "___scale": ("BF16", 40, 2)},
        f"holds {GATE} twice, in codes and besides; save it again",
    ),
    "a weight that is there in two codes": (
        INT4,
        {"__": ("I8", 40, 64), "___packed": ("I32", 40, 8), "___scale": ("BF16", 40, 1)},
        f"holds {GATE} twice, in codes and besides; save it again",
    ),
    "a shape that is none": (
        INT4,
        {"___packed": ("I32", 40, 8), "___scale": ("BF16", 40, 2), "___shape": ("F32", 3)},
        "is no shape of a matrix; download it again",
    ),
    "bits that are not said": (
        INT4 | {"config_groups": {"a": {"weights": {"type": "int", "num_bits": []}}, "b": 3}},
        {"___packed": ("I32", 40, 8), "___scale": ("BF16", 40, 2)},
        "its configuration says no one number of bits, 4 or 8",
    ),
    "bits that no byte holds": (
        INT4 | {"config_groups": {"a": {"weights": {"type": "int", "num_bits": 3}}}},
        {"___packed": ("I32", 40, 8), "___scale": ("BF16", 40, 2)},
        "its configuration says no one number of bits, 4 or 8",
    ),
    "groups that do not fit": (
        INT4,
        {"___packed": ("I32", 40, 8), "___scale": ("BF16", 40, 3)},
        r"is \[40, 3\], which fits no weight of \[40, 64\]",
    ),
    "blocks of another length": (
        MXFP4,
        {f"{EXPERTS}_blocks": ("U8", 3, 80, 4, 8), f"{EXPERTS}_scales": ("U8", 3, 80, 4)},
        r"is \[3, 80, 4, 8\], whose last axis is not 16 as mxfp4 has it",
    ),
    "blocks without rows": (
        MXFP4,
        {f"{EXPERTS}_blocks": ("U8", 16), f"{EXPERTS}_scales": ("U8",)},
        r"is \[16\], which holds no rows of codes",
    ),
    "blocks without scales": (
        MXFP4,
        {f"{EXPERTS}_blocks": ("U8", 3, 80, 2, 16)},
        f"but no {EXPERTS}_scales; download it again",
    ),
    "codes that nothing explains": (
        FP8,
        {"__": ("U8", 40, 32), "___scale": ("F32", 40, 1)},
        rf"\(fp8\) holds {GATE} in U8, without which its weights are nothing",
    ),
}


@pytest.mark.parametrize(("settings", "tensors", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_in_part_is_refused_in_one_line(settings, tensors, message):
    with pytest.raises(SourceError, match=message) as caught:
        found(settings, headers(**tensors))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("path:./model")


def test_what_a_stranger_wrote_is_one_short_line():
    for settings, name in (
        ({"quant_method": "a\n" * 99}, "w.weight"),
        (FP8, "a\x1b[31m\n" * 99 + ".weight"),
    ):
        codes = StoredTensor(name, "F8_E4M3", (4, 4), 0, 16, Path("m.safetensors"))
        with pytest.raises(SourceError) as caught:
            found(settings, {name: codes})
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500


NAMES = [GATE, EXPERTS, f"{EXPERTS}_blocks", f"{EXPERTS}_scales"]
ENDINGS = ("_scale", "_scale_inv", "_scale_2", "_packed", "_shape", "_global_scale", "_zero_point")
SIDES = st.sampled_from([0, 1, 2, 16, 32, 2**40, 2**62])
HEADERS = st.dictionaries(
    st.sampled_from([*NAMES, *(f"{GATE}{ending}" for ending in ENDINGS)]),
    st.tuples(st.sampled_from(sorted(BITS)), st.lists(SIDES, max_size=5)),
)
VALUES = st.sampled_from([None, 0, 4, 8, -1, "int", [16, 16], [1], {}, [], [0, "x"], 1.5])
WEIGHTS = st.dictionaries(
    st.sampled_from(["num_bits", "type", "group_size", "block_structure"]), VALUES
)
SETTINGS = st.fixed_dictionaries(
    {"quant_method": st.sampled_from(["fp8", "modelopt", "compressed-tensors", "mxfp4"])},
    optional={
        "weight_block_size": VALUES,
        "format": st.sampled_from(["pack-quantized", "naive-quantized", None, 3]),
        "config_groups": st.dictionaries(
            st.text(max_size=1), st.just(3) | WEIGHTS.map(lambda w: {"weights": w})
        )
        | VALUES,
    },
)


@given(SETTINGS, HEADERS)
def test_whatever_headers_say_there_are_weights_or_a_refusal(settings, entries):
    tensors = headers(**{name: (dtype, *shape) for name, (dtype, shape) in entries.items()})
    coded = {}
    with suppress(SourceError):
        coded = found(settings, tensors)
    for weight in coded.values():
        assert {*weight.names()} <= tensors.keys()
        for scale in weight.scales:
            cover = scale.cover(range(prod(weight.shape[:-1])))
            assert 0 <= cover.start <= cover.stop <= scale.tensor.shape[0]
