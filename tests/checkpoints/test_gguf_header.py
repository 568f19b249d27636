"""checkpoints/gguf_header.py: what a GGUF file says, as its own library reads it, and what is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch

from fixtures.synthetic_weights import Size, Weights, write_checkpoint
from provenance import Executor, Store, compare
from provenance.checkpoints.gguf_header import gguf_header, plain_name
from provenance.checkpoints.in_part import open_in_part
from provenance.checkpoints.ranged.reader import Meter
from provenance.errors import SourceError
from provenance.evidence.decide import decide
from provenance.inputs.vocabulary import read_vocabulary
from provenance.loading.ranged_tensors import RangedTensors
from provenance.vocabulary import ModelSpec

gguf = pytest.importorskip("gguf")

DENSE = Size(blocks=3, hidden=64, units=96, vocabulary=400)
MIXTURE = Size(blocks=2, hidden=64, units=96, vocabulary=400, experts=20)
TOKENS = ["<unk>", "<s>", *(f"Ġtoken{i}" for i in range(398))]


def names(size):
    """Tensors of GGUF by their names, each with those of a checkpoint that it is made of."""
    yield "token_embd.weight", ["model.embed_tokens.weight"]
    yield "output_norm.weight", ["model.norm.weight"]
    for block in range(size.blocks):
        at = f"model.layers.{block}"
        yield f"blk.{block}.ffn_norm.weight", [f"{at}.post_attention_layernorm.weight"]
        if size.experts:
            yield f"blk.{block}.ffn_gate_inp.weight", [f"{at}.mlp.gate.weight"]
        for one in ("gate", "up", "down"):
            if not size.experts:
                yield f"blk.{block}.ffn_{one}.weight", [f"{at}.mlp.{one}_proj.weight"]
                continue
            shared = f"{at}.mlp.shared_experts.{one}_proj.weight"
            yield f"blk.{block}.ffn_{one}_shexp.weight", [shared]
            listed = [f"{at}.mlp.experts.{e}.{one}_proj.weight" for e in range(size.experts)]
            yield f"blk.{block}.ffn_{one}_exps.weight", listed


def write_gguf(file, weights, kind="Q8_0", tokens=TOKENS):
    size = weights.size
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_block_count(size.blocks)
    writer.add_embedding_length(size.hidden)
    writer.add_expert_count(size.experts)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, *[1] * (len(tokens) - 2)])
    quantization = gguf.GGMLQuantizationType[kind]
    for name, sources in names(size):
        stacked = [weights.tensor(source).float().numpy() for source in sources]
        array = np.stack(stacked) if len(stacked) > 1 else stacked[0]
        if array.ndim == 1:
            writer.add_tensor(name, array)
        else:
            writer.add_tensor(
                name, gguf.quants.quantize(array, quantization), raw_dtype=quantization
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def read_header(file):
    data = file.read_bytes()
    return gguf_header(lambda start, stop: data[start:stop], len(data), file, "it")


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "model.gguf", Weights(DENSE, 0, disguise=7))


def test_the_header_is_what_the_library_reads(dense):
    found, known = read_header(dense), gguf.GGUFReader(dense)
    assert {(t.name, t.start, t.stop - t.start, t.shape) for t in found.tensors} == {
        (plain_name(t.name), t.data_offset, t.n_bytes, tuple(reversed(t.shape.tolist())))
        for t in known.tensors
    }
    assert found.setting("block_count") == DENSE.blocks
    assert found.config()["hidden_size"] == DENSE.hidden


def test_rows_are_dequantized_alone(dense, tmp_path):
    store = Store(tmp_path / "store")
    opened = open_in_part(ModelSpec(path=str(dense)), store, Meter(), folder=dense)
    tensors, name = RangedTensors(opened), "model.layers.1.mlp.gate_proj.weight"
    whole = Weights(DENSE, 0, disguise=7).tensor(name).float()
    rows = tensors.runs(name, [range(3, 5), range(90, 91)])
    assert rows.dtype == torch.float32
    assert torch.allclose(rows, whole[[3, 4, 90]], atol=0.02)
    assert opened.conversion == "model.gguf dequantized, as far as it was read"


def test_tokens_stand_for_the_text_that_they_stand_for(dense, tmp_path):
    store = Store(tmp_path / "store")
    opened = open_in_part(ModelSpec(path=str(dense)), store, Meter(), folder=dense)
    texts = read_vocabulary(opened, 400).texts
    assert texts[b" token5"] == 7
    assert b"<s>" not in texts


@pytest.mark.parametrize("size", [DENSE, MIXTURE], ids=["dense", "mixture"])
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1", "F16"])
def test_a_quantized_copy_is_found_in_a_sample(tmp_path, size, kind):
    copy = write_gguf(tmp_path / "copy.gguf", Weights(size, 0, disguise=7), kind)
    base = write_checkpoint(tmp_path / "base", Weights(size, 0))
    executor = Executor(Store(tmp_path / "store"), "cpu")
    found = compare(str(copy), str(base), sample=2, executor=executor)
    assert decide(found, 1e-6) == "dependent"
    assert found.details["measured"] == "match_tokens"


def cut(data):
    return data[:100]


def torn(data):
    return data[:-40]


def other(data):
    return b"GGML" + data[4:]


def old(data):
    return data[:4] + struct.pack("<I", 1) + data[8:]


def many(data):
    return data[:8] + struct.pack("<Q", 2**40) + data[16:]


def long_key(data):
    return data[:24] + struct.pack("<Q", 40 * 10**9) + data[32:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "its header is longer than the file"),
        (torn, "it was cut off"),
        (other, "it does not begin as one"),
        (old, "it is of version 1"),
        (many, "it says to have 1,099,511,627,776 tensors"),
        (long_key, "its header is longer than"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(dense, tmp_path, damage, message):
    file = tmp_path / "bad.gguf"
    file.write_bytes(damage(dense.read_bytes()))
    with pytest.raises(SourceError, match=message) as caught:
        read_header(file)
    assert "\n" not in str(caught.value)


def test_every_bit_of_a_header_may_flip(dense, tmp_path):
    """Nothing but the one error, whatever is flipped."""
    data, end = dense.read_bytes(), read_header(dense).tensors[0].start
    refused = 0
    for place in range(0, end, 97):
        flipped = bytearray(data)
        flipped[place] ^= 0x55
        try:
            gguf_header(
                lambda start, stop, data=bytes(flipped): data[start:stop], len(data), dense, "it"
            )
        except SourceError:
            refused += 1
    assert refused > 0  # what is not refused was a letter of a token
