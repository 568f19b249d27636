"""Both models are fed the very same ids, from text where that is fair, else drawn at random."""

import dataclasses
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from provenance.errors import InputError
from provenance.inputs import tokens as inputs
from provenance.inputs.corpus import CHARACTERS_A_TOKEN
from provenance.inputs.tokens import Inputs, Reader, choose, random_ids, source_text
from provenance.vocabulary import InputsSpec

SPEC = InputsSpec(tokens=40, sequence_length=16)


def by_byte(text):
    return list(text.encode())


def by_byte_shifted(text):
    return [id_ + 1 for id_ in text.encode()]


def by_word(text):
    return [len(word) for word in text.split()]


def reader(name="a", vocabulary=256, positions=None, encode=by_byte):
    return Reader(name, vocabulary, positions, encode)


@pytest.fixture
def text(monkeypatch):
    """A text of the test's own in the place of every corpus: ``text("abc")``."""

    def text(words):
        monkeypatch.setattr(inputs.corpus, "for_tokens", lambda *_: words)

    return text


# which ids


def test_same_tokenizers_give_the_ids_of_the_text():
    found = choose(SPEC, reader("a"), reader("b"))
    assert found.ids.tolist() == by_byte(source_text(SPEC))[:40]
    assert (found.spec.kind, found.note) == ("text", None)


def test_tokenizers_may_differ_where_the_text_shows_no_difference(text):
    text("abc " * 20)
    other = reader("b", 257, encode=lambda t: [256 if b == ord("z") else b for b in t.encode()])
    assert choose(SPEC, reader("a"), other).spec.kind == "text"


def test_tokenizers_that_differ_beyond_the_ids_used_are_the_same(text):
    text("a" * 40 + "z")
    other = reader("b", 300, encode=lambda t: [299 if b == ord("z") else b for b in t.encode()])
    assert choose(SPEC, reader("a"), other).spec.kind == "text"


def test_different_tokenizers_mean_random_ids_with_a_note():
    found = choose(SPEC, reader("a"), reader("b", encode=by_byte_shifted))
    assert found.spec.kind == "random"
    assert found.note == "random ids: the two tokenizers give different ids for the text"


@pytest.mark.parametrize("swap", [False, True])
def test_a_tokenizer_that_gives_fewer_ids_is_a_different_tokenizer(text, swap):
    text("abcd " * 10)
    pair = [reader("a"), reader("b", encode=by_word)]
    found = choose(SPEC, *(reversed(pair) if swap else pair))
    assert (found.spec.kind, len(found.ids)) == ("random", 40)


@pytest.mark.parametrize("lacking", ["candidate", "reference"])
def test_one_tokenizer_serves_both_models_of_one_vocabulary(lacking):
    sides = {"candidate": reader("candidate"), "reference": reader("reference")}
    sides[lacking] = dataclasses.replace(sides[lacking], encode=None)
    found = choose(SPEC, **sides)
    having = {"candidate": "reference", "reference": "candidate"}[lacking]
    assert found.ids.tolist() == by_byte(source_text(SPEC))[:40]
    assert found.note == f"{lacking} has no tokenizer: that of {having} was used for both"


def test_one_tokenizer_does_not_serve_models_of_two_vocabularies():
    found = choose(SPEC, reader("a", 256), reader("b", 300, encode=None))
    assert found.spec.kind == "random"
    assert found.note == "random ids: b has no tokenizer and the vocabularies differ"


def test_without_any_tokenizer_ids_are_random():
    found = choose(SPEC, reader(encode=None), reader(encode=None))
    assert found.spec.kind == "random"
    assert found.note == "random ids: neither model has a tokenizer"


@pytest.mark.parametrize("vocabularies", [(256, 97), (97, 256)])
def test_ids_beyond_a_vocabulary_mean_random_ids_with_a_note(text, vocabularies):
    text("a" * 39 + "b")  # the ids 97 and 98
    found = choose(SPEC, *(reader(vocabulary=n) for n in vocabularies))
    assert found.note == "random ids: the tokenizer has ids that a model has no embedding for"
    assert int(found.ids.max()) < 97


def test_the_last_id_of_a_vocabulary_is_not_beyond_it(text):
    text("a" * 40)
    assert choose(SPEC, reader(vocabulary=98), reader(vocabulary=98)).spec.kind == "text"


def test_a_note_says_only_what_was_done(text):
    text("a" * 40)
    found = choose(SPEC, reader(vocabulary=97), reader(vocabulary=97, encode=None))
    assert found.note == "random ids: the tokenizer has ids that a model has no embedding for"


def test_random_ids_that_were_asked_for_need_no_note_and_no_text(monkeypatch):
    monkeypatch.delattr(inputs.corpus, "for_tokens")
    found = choose(dataclasses.replace(SPEC, kind="random"), reader(), reader(encode=None))
    assert (found.spec.kind, found.note) == ("random", None)


def test_the_pair_is_fed_alike_in_either_order():
    one, other = reader("a", 200, 12), reader("b", 300, 14, by_byte_shifted)
    assert choose(SPEC, one, other).digest == choose(SPEC, other, one).digest


# too little text


def test_too_little_text_is_an_error_that_says_how_much_there_is(text):
    text("a" * 39)
    with pytest.raises(InputError, match=r"^the text gives 39 tokens where 40 were asked for: low"):
        choose(SPEC, reader(), reader())


def test_no_text_at_all_is_an_error(text):
    text("")
    with pytest.raises(InputError, match=r"the text gives 0 tokens where 40 "):
        choose(SPEC, reader(), reader())


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    spec = dataclasses.replace(SPEC, text=str(tmp_path / "none.txt"))
    with pytest.raises(InputError, match=r"none\.txt"):
        choose(spec, reader(), reader())


def test_text_is_read_from_a_file(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("abcdefgh" * 40, encoding="utf-8")
    found = choose(dataclasses.replace(SPEC, text=str(path)), reader(), reader())
    assert bytes(found.ids.tolist()) == b"abcdefgh" * 5


def test_the_seed_chooses_the_text():
    texts = {source_text(dataclasses.replace(SPEC, seed=seed)) for seed in (0, 0, 1)}
    assert len(texts) == 2


def test_text_is_enough_for_the_tokens_asked_for():
    assert len(source_text(SPEC)) == 40 * CHARACTERS_A_TOKEN


# sequences


@pytest.mark.parametrize(
    ("positions", "length", "note"),
    [
        ((None, None), 16, None),
        ((16, 99), 16, None),
        ((12, None), 12, "sequences of 12, the most that a takes"),
        ((None, 12), 12, "sequences of 12, the most that b takes"),
        ((12, 8), 8, "sequences of 8, the most that b takes"),
        ((8, 12), 8, "sequences of 8, the most that a takes"),
    ],
)
def test_sequences_are_as_long_as_both_models_have_positions_for(positions, length, note):
    found = choose(SPEC, reader("a", positions=positions[0]), reader("b", positions=positions[1]))
    assert (found.spec.sequence_length, found.note) == (length, note)
    assert max(map(len, found.sequences())) == length


def test_a_sequence_is_not_longer_than_all_tokens():
    spec = dataclasses.replace(SPEC, sequence_length=1000)
    assert choose(spec, reader(positions=999), reader()).spec.sequence_length == 40


def test_two_notes_are_one_line():
    found = choose(SPEC, reader("a", positions=8), reader("b", encode=by_byte_shifted))
    assert found.note == (
        "sequences of 8, the most that a takes; "
        "random ids: the two tokenizers give different ids for the text"
    )


@given(st.integers(1, 200), st.integers(1, 200))
def test_sequences_joined_are_the_ids_and_only_the_last_is_shorter(tokens, length):
    found = Inputs(torch.arange(tokens), InputsSpec(tokens=tokens, sequence_length=length))
    *full, last = found.sequences()
    assert torch.equal(torch.cat([*full, last]), found.ids)
    assert {len(s) for s in full} <= {length}
    assert 1 <= len(last) <= length


def test_a_remainder_is_a_last_shorter_sequence():
    assert [len(s) for s in choose(SPEC, reader(), reader()).sequences()] == [16, 16, 8]


# random ids


def test_random_ids_are_below_the_smaller_vocabulary():
    spec = dataclasses.replace(SPEC, kind="random", tokens=2000)
    ids = choose(spec, reader(vocabulary=30), reader(vocabulary=10)).ids
    assert set(ids.tolist()) == set(range(10))


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


def test_no_global_random_state_is_read_or_written():
    before = (torch.get_rng_state(), random.getstate())
    first = random_ids(100, 50, seed=3)
    assert torch.equal(torch.get_rng_state(), before[0])
    torch.rand(1)
    assert torch.equal(random_ids(100, 50, seed=3), first)
    choose(SPEC, reader(), reader())
    assert random.getstate() == before[1]


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


def test_a_digest_depends_on_what_is_fed_and_not_on_what_was_asked_for():
    asked = Inputs(torch.arange(3), InputsSpec(kind="text", tokens=3, sequence_length=3))
    other = Inputs(torch.arange(3), InputsSpec("random", "topics", 3, 3, seed=7), note="why")
    assert asked.digest == other.digest
