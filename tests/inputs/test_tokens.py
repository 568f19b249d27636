"""What one model is fed: a text by its tokenizer, or ids drawn at random; and the digest of it."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from provenance.errors import InputError
from provenance.inputs import tokens as inputs
from provenance.inputs.corpus import CHARACTERS_A_TOKEN
from provenance.inputs.tokens import Inputs, alone, random_ids, source_text
from provenance.vocabulary import InputsSpec
from tests.support.readers import behind, by_byte, reader

SPEC = InputsSpec(tokens=40, sequence_length=16)


# of one model


def test_a_model_alone_is_fed_the_text_in_its_own_tokens():
    found = alone(SPEC, reader(read=behind((5,), by_byte)))
    assert found.ids.tolist() == by_byte(source_text(SPEC)).ids[:40]
    assert (found.front, found.spec.kind, found.note) == ((5,), "text", None)


def test_a_model_alone_that_cannot_read_is_fed_random_ids_with_a_note():
    assert alone(SPEC, reader(read=None)).note == "random ids: the model has no tokenizer"
    found = alone(SPEC, reader(vocabulary=9))
    assert found.note == "random ids: the tokenizer has ids that a model has no embedding for"
    assert (found.spec.kind, found.front) == ("random", ())
    assert int(found.ids.max()) < 9


def test_nothing_is_in_front_of_random_ids(monkeypatch):
    monkeypatch.delattr(inputs.corpus, "for_tokens")
    found = alone(dataclasses.replace(SPEC, kind="random"), reader(read=behind((5,), by_byte)))
    assert (found.front, found.note) == ((), None)


def test_sequences_of_a_model_alone_fit_its_positions():
    found = alone(SPEC, reader("a", positions=8))
    assert found.note == "sequences of 8, the most that a takes"
    assert max(map(len, found.sequences())) == 8


def test_sequences_must_have_room_behind_what_is_in_front():
    spec = dataclasses.replace(SPEC, sequence_length=2)
    with pytest.raises(InputError, match=r"^sequences of 2 have no room .* of a puts 2 tokens in"):
        alone(spec, reader("a", read=behind((1, 2), by_byte)))
    assert len(alone(spec, reader(read=behind((1,), by_byte))).sequences()) == 40


def test_the_seed_chooses_the_text():
    texts = {source_text(dataclasses.replace(SPEC, seed=seed)) for seed in (0, 0, 1)}
    assert len(texts) == 2


def test_text_is_enough_for_the_tokens_asked_for():
    assert len(source_text(SPEC)) == 40 * CHARACTERS_A_TOKEN


# sequences


@given(st.integers(1, 200), st.integers(1, 200))
def test_sequences_joined_are_the_ids_and_only_the_last_is_shorter(tokens, length):
    found = Inputs(torch.arange(tokens), InputsSpec(tokens=tokens, sequence_length=length))
    *full, last = found.sequences()
    assert torch.equal(torch.cat([*full, last]), found.ids)
    assert {len(s) for s in full} <= {length}
    assert 1 <= len(last) <= length


def test_a_remainder_is_a_last_shorter_sequence():
    assert [len(s) for s in alone(SPEC, reader()).sequences()] == [16, 16, 8]


@given(st.integers(1, 200), st.integers(4, 200), st.lists(st.integers(0, 9), max_size=3))
def test_each_sequence_begins_with_what_is_in_front_which_its_length_counts(tokens, length, front):
    spec = InputsSpec(tokens=tokens, sequence_length=length)
    found = Inputs(torch.arange(tokens), spec, front=tuple(front)).sequences()
    assert all(sequence[: len(front)].tolist() == front for sequence in found)
    assert torch.cat([sequence[len(front) :] for sequence in found]).tolist() == list(range(tokens))
    assert {len(sequence) for sequence in found[:-1]} <= {length}
    assert len(found[-1]) <= length


# random ids


def test_random_ids_are_uniform():
    counts = torch.bincount(random_ids(80_000, 8, seed=0), minlength=8)
    chi_squared = float(((counts - 10_000) ** 2 / 10_000).sum())
    assert chi_squared < 24.32  # the 0.999 quantile with 7 degrees of freedom, R: qchisq(.999, 7)


@given(st.integers(1, 300), st.integers(1, 200_000), st.integers(0, 2**40))
def test_random_ids_are_int64_and_below_the_vocabulary(tokens, vocabulary, seed):
    ids = random_ids(tokens, vocabulary, seed)
    assert (ids.shape, ids.dtype) == ((tokens,), torch.int64)
    assert 0 <= int(ids.min()) <= int(ids.max()) < vocabulary


def test_a_seed_gives_the_same_random_ids_again():
    assert torch.equal(random_ids(100, 50, seed=3), random_ids(100, 50, seed=3))


def test_another_seed_gives_other_random_ids():
    assert not torch.equal(random_ids(100, 50, seed=3), random_ids(100, 50, seed=4))


# digest


def digest(ids, length=16):
    return Inputs(torch.tensor(ids), InputsSpec(tokens=len(ids), sequence_length=length)).digest


def test_equal_ids_have_one_digest():
    assert digest([1, 2, 3]) == digest([1, 2, 3])


def test_a_digest_is_named_and_hexadecimal():
    assert digest([1, 2, 3]).startswith("sha256:")
    assert len(bytes.fromhex(digest([1, 2, 3]).removeprefix("sha256:"))) == 32


@pytest.mark.parametrize("ids", [[1, 2, 4], [1, 3, 2], [1, 2], [1, 2, 3, 0]])
def test_other_ids_have_another_digest(ids):
    assert digest(ids) != digest([1, 2, 3])


def test_another_sequence_length_has_another_digest():
    assert digest([1, 2, 3], length=2) != digest([1, 2, 3], length=3)


def test_what_is_in_front_is_part_of_the_digest():
    asked = InputsSpec(tokens=3, sequence_length=8)
    fronts = [(), (1,), (2,), (1, 2), (12,)]
    assert len({Inputs(torch.arange(3), asked, front=front).digest for front in fronts}) == 5


def test_a_digest_depends_on_what_is_fed_and_not_on_what_was_asked_for():
    asked = Inputs(torch.arange(3), InputsSpec(kind="text", tokens=3, sequence_length=3))
    other = Inputs(torch.arange(3), InputsSpec("random", "topics", 3, 3, seed=7), note="why")
    assert asked.digest == other.digest
