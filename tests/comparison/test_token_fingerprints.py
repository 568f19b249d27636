"""Token fingerprints: kin are found by a few kilobytes, strangers are not, and faults are one line."""

import json
import math
import random
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fixtures import transforms
from fixtures.models import save_checkpoint, tiny_llama
from provenance import Evidence, Executor, InputsSpec, ModelSpec, Store, compare, fingerprint
from provenance.architecture.units import LinearMap, MLPFactors
from provenance.checkpoints.token_fingerprint_file import KEY, read_token_fingerprint
from provenance.cli import main
from provenance.comparison.make_token_fingerprint import fingerprint_tokens
from provenance.comparison.token_fingerprints import (
    HEADER,
    PROBE_VERSION,
    _sketch,
    pack,
    share_out,
    unpack,
)
from provenance.errors import BundleError, InputError, ProvenanceError
from provenance.inputs.listed_tokens import ids_of, list_digest, listed_texts
from provenance.inputs.vocabulary import Vocabulary
from provenance.statistics import default_statistic
from provenance.vocabulary import TOKEN_FINGERPRINT_SIZE
from tests import reference

pytestmark = pytest.mark.slow

NUMBERS = Path(__file__).parents[1] / "data" / "token_probe.json"
"""What a version of the token probe stores of `OneMLP`."""


@pytest.fixture(scope="module")
def executor(shared_store):
    return Executor(Store(shared_store), "cpu")


@pytest.fixture(scope="module")
def marks(tmp_path_factory, family, executor):
    """Token fingerprints of the family's models, by name."""
    folder = tmp_path_factory.mktemp("marks")

    def mark(name):
        file = folder / f"{name}.safetensors"
        if not file.exists():
            fingerprint_tokens(getattr(family, name), file, executor=executor)
        return file

    return mark


def measured(executor, candidate, other, **how):
    return compare(candidate, other, executor=executor, **how)


# the numbers


@given(st.integers(1, 6), st.integers(2, 21), st.integers(0, 10**6))
def test_two_bits_are_what_the_slow_way_says(units, tokens, seed):
    rows = torch.randn(units, tokens, generator=torch.Generator().manual_seed(seed))
    found = unpack(pack(rows), tokens)
    assert pack(rows).shape == (units, -(-tokens // 4))
    assert np.allclose(found.numpy(), reference.two_bits(rows.double().numpy()), atol=1e-6)


def test_two_bits_keep_most_of_a_normal_row():
    rows = torch.randn(50, 256, generator=torch.Generator().manual_seed(1))
    cosine = torch.nn.functional.cosine_similarity(rows, unpack(pack(rows), 256))
    assert float(cosine.min()) > 0.9


def test_the_list_is_the_published_one():
    texts = listed_texts()
    assert len(texts) == len(set(texts)) == 256
    assert {bytes([c]) for c in range(33, 127)} <= set(texts)
    assert b" the" in texts
    assert list_digest() == (
        "sha256:9d098d85bd1f06880a2feab3b14b1ecaf59b859f6b6aafab72270db49749febd"
    )
    held = ids_of(Vocabulary("m", 300, {b"!": 7, b" the": 9, b"unlisted": 1}))
    assert [texts[place] for place in held] == [b"!", b" the"]
    assert list(held.values()) == [7, 9]


def test_a_file_for_7b_has_room_for_a_thousand_units_of_every_block():
    blocks, most = share_out(dict.fromkeys(range(32), 1), 256, TOKEN_FINGERPRINT_SIZE)
    assert len(blocks) == 32
    assert most > 1000
    assert 32 * most * (2 * 64 + 8) + HEADER <= TOKEN_FINGERPRINT_SIZE
    some, each = share_out(dict.fromkeys(range(60), 256), 256, TOKEN_FINGERPRINT_SIZE)
    assert (len(some), each >= 64) == (2, True)  # 256 experts a block
    with pytest.raises(BundleError, match="too small"):
        share_out({0: 1}, 256, HEADER + 1000)


# who is kin


@pytest.mark.parametrize("sides", ["candidate", "reference", "both"])
def test_kin_are_found_and_strangers_are_not(family, marks, executor, sides):
    for name, kin in (("kin", True), ("other", False)):
        ours = getattr(family, name) if sides == "reference" else marks(name)
        theirs = family.base if sides == "candidate" else marks("base")
        evidence = measured(executor, ours, theirs)
        assert evidence.statistic == "match_tokens"
        assert len(evidence.tested()) == 3
        assert evidence.log10_p < -60 if kin else evidence.log10_p > -3


def test_a_disguised_copy_is_found_whose_residual_stream_is_in_another_order(
    family, marks, executor, tmp_path, tiny_tokenizer
):
    model = transformers.AutoModelForCausalLM.from_pretrained(family.kin)
    model = transforms.permute_residual_stream(transforms.permute_mlp_units(model, seed=1), seed=3)
    copy = save_checkpoint(model, tmp_path / "copy", tiny_tokenizer)
    assert measured(executor, copy, marks("base")).log10_p < -60


def test_a_file_of_fewer_units_of_a_shorter_model_finds_its_parent(family, executor, tmp_path):
    file = tmp_path / "short.safetensors"
    wide = tiny_llama(4, vocab_size=300, intermediate_size=256, num_hidden_layers=4)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(family.base)
    parent = save_checkpoint(wide, tmp_path / "parent", tokenizer)
    short = save_checkpoint(transforms.prune_depth(wide, [0, 2, 3]), tmp_path / "short", tokenizer)
    said = fingerprint_tokens(short, file, size=HEADER + 20_000, executor=executor)
    assert file.stat().st_size <= HEADER + 20_000
    assert {mlp.live for _, _, mlp in said.places()} < {*range(64, 256)}
    evidence = measured(executor, parent, file)
    assert evidence.pairing == "best-of-reference"
    best = {block.candidate_block: block for block in evidence.blocks}
    assert [best[i].reference_block for i in (0, 2, 3)] == [0, 1, 2]
    assert all(best[i].log10_p < -20 for i in (0, 2, 3))


def test_renumbered_units_give_the_same_rows(family, executor, tmp_path, tiny_tokenizer):
    model = transformers.AutoModelForCausalLM.from_pretrained(family.base)
    copy = save_checkpoint(
        transforms.permute_mlp_units(model, seed=1), tmp_path / "copy", tiny_tokenizer
    )
    rows = []
    for number, place in enumerate((family.base, copy)):
        file = tmp_path / f"{number}.safetensors"
        fingerprint_tokens(place, file, executor=executor)
        tensors = load_file(file)
        rows.append(sorted(map(tuple, tensors["1.0.gate"].tolist())))
    same = sum(a == b for a, b in zip(*rows, strict=True))
    assert same >= 0.9 * len(rows[0])  # a number on a bound may round to either side


def test_p_values_of_strangers_are_as_small_as_chance_makes_them(
    executor, tmp_path, tiny_tokenizer
):
    files = []
    for seed in range(6):
        place = save_checkpoint(
            tiny_llama(100 + seed, vocab_size=300, num_hidden_layers=3),
            tmp_path / str(seed),
            tiny_tokenizer,
        )
        files.append(tmp_path / f"{seed}.safetensors")
        fingerprint_tokens(place, files[-1], executor=executor)
    ps = []
    for i, ours in enumerate(files):
        for theirs in files[:i]:
            evidence = measured(executor, ours, theirs, cross=True, exhaustive=True, control=False)
            ps += [10**p for row in evidence.cross for p in row]
    assert len(ps) == 135
    below = sum(p <= 0.05 for p in ps) / len(ps)
    assert below <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / len(ps))
    assert 0.35 < float(np.mean(ps)) < 0.65


# what evidence says


def test_evidence_says_what_was_compared_and_whose_word_it_is(family, marks, executor):
    evidence = measured(executor, family.kin, marks("base"))
    base = executor.checkpoint(ModelSpec(path=str(family.base)))
    assert evidence.reference.claimed == base.digest
    assert evidence.inputs.kind == "tokens"
    assert "of the published list" in evidence.inputs.note
    said = evidence.details["reference_fingerprint"]
    assert said.startswith("192 of 192 units on ")
    assert said.endswith(f"said to be of {base.digest}")
    assert Evidence.from_json(evidence.to_json()) == evidence


def test_what_a_fingerprint_carries_is_the_default_statistic(family, marks, tmp_path):
    mark, model = ModelSpec(path=str(marks("base"))), ModelSpec(path=str(family.kin))
    assert default_statistic(model, mark) == "match_tokens"
    assert default_statistic(mark, model) == "match_tokens"
    for content in (b"", b"no safetensors"):
        (tmp_path / "x.safetensors").write_bytes(content)
        assert default_statistic(model, ModelSpec(path=str(tmp_path / "x.safetensors"))) == "match"


# what is refused


def changed(file, target, **said):
    """A copy of a fingerprint that says something else."""
    with safe_open(file, "pt") as opened:
        document = json.loads(opened.metadata()[KEY])
    save_file(load_file(file), target, metadata={KEY: json.dumps(document | said)})
    return target


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"listed": "sha256:" + "0" * 64}, "is a fingerprint of another list of tokens"),
        ({"serves": {}}, "for version None of token probe"),
        ({"serves": {"token probe": 999}}, "for version 999 of token probe"),
        ({"tokens": [3, 2, 1]}, "its tokens are no places in a list"),
        ({"tokens": []}, "its tokens are no places in a list"),
        ({"tokens": list(range(300))}, "is not the one that it says it has"),
        ({"digest": "none"}, "a digest is no SHA-256"),
        ({"blocks": 2}, "it has MLPs of blocks that there are not"),
        ({"schema": 99}, "schema"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_fingerprint_that_cannot_be_compared_is_refused_in_a_line(
    family, marks, tmp_path, said, message, shared_store
):
    wrong = changed(marks("base"), tmp_path / "wrong.safetensors", **said)
    with pytest.raises(BundleError, match=message) as refused:
        compare(family.kin, wrong, executor=Executor(Store(shared_store), "cpu"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("version", [None, 1, 999])
def test_another_version_of_the_test_leaves_a_fingerprint_valid(
    family, marks, tmp_path, executor, version
):
    """Files of before have the version of `match_tokens` as well: what they hold did not change."""
    serves = {"token probe": PROBE_VERSION} | ({} if version is None else {"match_tokens": version})
    file = changed(marks("base"), tmp_path / "older.safetensors", serves=serves)
    assert measured(executor, family.kin, file).log10_p < -60


def test_what_is_stored_is_what_this_version_of_the_probe_stored_before():
    """Where this fails the numbers are others: raise PROBE_VERSION, and write the file of numbers anew."""
    kept = json.loads(NUMBERS.read_text())
    assert kept["probe"] == PROBE_VERSION
    made = _sketch(OneMLP(), 0, 0, 40)
    assert made.live.tolist() == kept["live"]
    for part, rows in (("gate", made.gate), ("up", made.up)):
        before = torch.tensor(list(bytes.fromhex(kept[part])), dtype=torch.uint8)
        codes = unpack(before.reshape(len(rows), -1), 96)
        # a number on a bound may round to either side
        assert float((unpack(pack(rows), 96) == codes).float().mean()) > 0.995


class OneMLP:
    """Units of one gated MLP of 48, all of whose numbers follow from one seed, in any version of torch."""

    def block(self, index, place):
        draws = random.Random(7)

        def drawn(*shape):
            normal = statistics.NormalDist().inv_cdf
            numbers = [normal(draws.random()) for _ in range(math.prod(shape))]
            return torch.tensor(numbers).reshape(shape)

        gate, up = (LinearMap(drawn(48, 32)) for _ in range(2))
        down = drawn(48, 32)
        return MLPFactors(drawn(96, 32), gate, up, lambda: down, "silu")


def test_numbers_that_no_model_gives_are_refused(family, marks, tmp_path, executor):
    tensors = load_file(marks("base"))
    tensors["1.0.live"] = tensors["1.0.live"].flip(0).contiguous()
    with safe_open(marks("base"), "pt") as opened:
        metadata = opened.metadata()
    wrong = tmp_path / "wrong.safetensors"
    save_file(tensors, wrong, metadata=metadata)
    with pytest.raises(BundleError, match="damaged at block 1: its live units are in no order"):
        compare(family.kin, wrong, executor=executor)


def test_a_fingerprint_of_answers_to_text_does_not_meet_one_of_tokens(
    family, marks, tmp_path, executor
):
    file = tmp_path / "text.safetensors"
    inputs = InputsSpec(tokens=256, sequence_length=64)
    fingerprint(family.kin, file, inputs=inputs, executor=executor)
    with pytest.raises(ProvenanceError, match=r"use the statistic match$"):
        compare(file, marks("base"), executor=executor)
    with pytest.raises(ProvenanceError, match=r"use the statistic match_tokens$"):
        compare(family.kin, marks("base"), statistic="match", executor=executor)


def test_a_model_without_a_tokenizer_is_refused(marks, tmp_path, executor):
    place = save_checkpoint(tiny_llama(0), tmp_path / "bare")
    with pytest.raises(InputError, match="has no tokenizer: token embeddings need one"):
        fingerprint_tokens(place, tmp_path / "x.safetensors", executor=executor)
    with pytest.raises(BundleError, match="is a fingerprint already"):
        fingerprint_tokens(marks("base"), tmp_path / "z.safetensors", executor=executor)


# the command


def test_the_command_says_what_the_file_holds(family, tmp_path, capfd, shared_store):
    file = tmp_path / "base.safetensors"
    where = ["--store", str(shared_store), "--device", "cpu"]
    with pytest.raises(SystemExit) as stop:
        main(["fingerprint", str(family.base), "-o", str(file), "--size", "1MB", *where])
    out, err = capfd.readouterr()
    assert (stop.value.code, err) == (0, "")
    assert "3 blocks, 192 of 192 units on " in out
    assert set(read_token_fingerprint(file).mlps) == {"0", "1", "2"}
    with pytest.raises(SystemExit) as stop:
        main(["fingerprint", str(family.base), "-o", str(file), "--size", "9", *where])
    out, err = capfd.readouterr()
    assert stop.value.code == 2
    assert err.count("\n") == 1
