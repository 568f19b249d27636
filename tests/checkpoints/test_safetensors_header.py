"""checkpoints/safetensors_header.py: what safetensors takes for a file, hashed without loading it."""

from __future__ import annotations

import hashlib
import json
import struct
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from safetensors.torch import save as save_torch
from safetensors.torch import save_file

from provenance.checkpoints import safetensors_header as _tensors
from provenance.checkpoints.safetensors_header import hash_tensors, stored_tensors
from provenance.errors import SourceError

WEIGHTS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, dtype=np.float16)}


def refused(file, match):
    with pytest.raises(SourceError, match=match) as caught:
        stored_tensors(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_tensors_are_where_safetensors_finds_them(tmp_path):
    file = tmp_path / "x.safetensors"
    tensors = {
        name: torch.ones(3, 2).to(getattr(torch, name))
        for name in ["bfloat16", "float16", "float64", "int8", "bool", "float8_e4m3fn"]
    }
    save_file(tensors | {"scalar": torch.tensor(1.0), "none": torch.zeros(0, 4)}, file)
    with safe_open(file, "pt") as opened:
        found = {
            name: (opened.get_slice(name).get_dtype(), tuple(opened.get_slice(name).get_shape()))
            for name in opened.keys()  # noqa: SIM118 - not a mapping
        }
    assert {t.name: (t.dtype, t.shape) for t in stored_tensors(file)} == found
    assert sum(t.elements for t in stored_tensors(file)) == 37


def test_every_tensor_is_hashed_by_its_bytes(tmp_path):
    file = tmp_path / "x.safetensors"
    file.write_bytes(save(WEIGHTS))
    assert hash_tensors(file) == {
        name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in WEIGHTS.items()
    }


@pytest.mark.slow
def test_a_large_tensor_is_hashed_in_little_memory(tmp_path):
    file = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(2**24), "b": torch.zeros(2**24)}, file)
    tracemalloc.start()
    try:
        hash_tensors(file)
        assert tracemalloc.get_traced_memory()[1] < 4 * _tensors.CHUNK
    finally:
        tracemalloc.stop()


def header(value, data=b"", length=None):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape=(2,), offsets=(0, 8), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


TWICE = json.dumps({"a": entry()})[:-1] + ", " + json.dumps({"a": entry()})[1:]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "it has 0 bytes, too few for a header"),
        (b"<!doctype html><html>not found</html>", "its header is longer than the file"),
        (save(WEIGHTS)[:-1], "it was cut off: it has 1[0-9]+ bytes of 1[0-9]+"),
        (save(WEIGHTS) + b"x", "it has 1 bytes more than its tensors"),
        (header(b"{"), "its header is no JSON"),
        (header(b"\xff\xff"), "its header is no JSON"),
        (header(b"[" * 100_000), "its header is no JSON"),
        (header([]), "its header is no JSON object"),
        (header(TWICE.encode(), bytes(8)), "names a tensor twice"),
        (header({"a": entry(dtype="F99")}, bytes(8)), "'a' has no type"),
        (header({"a": 3}), "'a' has no type"),
        (header({"a": entry([True], [0, 4])}, bytes(4)), "'a' has no shape or no place"),
        (header({"a": entry([-1])}, bytes(8)), "'a' has no shape or no place"),
        (header({"a": entry([2**70])}, bytes(8)), "'a' has no shape or no place"),
        (header({"a": entry([2**40])}, bytes(8)), "'a' has not the bytes that its shape takes"),
        (
            header({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12)),
            "'b' overlaps the one before",
        ),
        (
            header({"a": entry(), "b": entry(offsets=[12, 20])}, bytes(20)),
            "'b' leaves a gap after the one before",
        ),
    ],
    ids=range(17),
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path, content, match):
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    refused(file, match)


def test_a_shape_of_a_million_sides_is_refused_before_they_are_multiplied(tmp_path):
    file = tmp_path / "x.safetensors"
    sides = ",".join(["9"] * 1_000_000)  # their product takes minutes
    header = f'{{"a":{{"dtype":"U8","shape":[{sides}],"data_offsets":[0,1]}}}}'.encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + b"x")
    refused(file, "no shape or no place")


def test_a_header_that_is_too_long_is_not_read(tmp_path):
    file = tmp_path / "x.safetensors"
    length = _tensors.HEADER_LIMIT + 1
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", length))
        opened.truncate(length + 8)
    refused(file, "its header has 33,554,433 bytes, more than 33,554,432")


@pytest.mark.slow
@given(st.integers(0, 120), st.integers(0, 255))
def test_what_is_taken_here_is_taken_by_safetensors(tmp_path_factory, position, byte):
    file = tmp_path_factory.mktemp("flipped") / "x.safetensors"
    whole = bytearray(save_torch({"a": torch.arange(3.0), "b": torch.ones(2, 2).half()}))
    whole[position] = byte
    file.write_bytes(whole)
    try:
        found = stored_tensors(file)
    except SourceError:
        return
    try:
        with safe_open(file, "pt") as opened:
            assert {tensor.name for tensor in found} == set(opened.keys())
    except SafetensorError as error:
        pytest.fail(f"taken here alone: {error}")
