"""Each model reads the same text, in its own tokens, where that is fair; else both get random ids."""

import dataclasses
import random

import pytest
import torch

from provenance.errors import InputError
from provenance.inputs import tokens as inputs
from provenance.inputs.pairs import LEAST_COMMON, choose
from provenance.inputs.tokens import random_ids, source_text
from provenance.loading.tokenizer import TokenizedText
from provenance.vocabulary import InputsSpec
from tests.support.readers import (
    behind,
    by_byte,
    by_byte_shifted,
    by_word,
    reader,
    without_ends,
)

SPEC = InputsSpec(tokens=40, sequence_length=16)
DIFFERENT = "random ids: the two tokenizers give different ids for the text"


@pytest.fixture
def text(monkeypatch):
    """A text of the test's own in the place of every corpus: ``text("abc")``."""

    def text(words):
        monkeypatch.setattr(inputs.corpus, "for_tokens", lambda *_: words)

    return text


def by_byte_but(character, token):
    """By bytes, with one character as another token."""

    def read(text):
        plain = by_byte(text)
        ids = [token if byte == ord(character) else byte for byte in plain.ids]
        return TokenizedText(ids, plain.ends)

    return read


# the same ids


def test_same_tokenizers_give_the_ids_of_the_text():
    found = choose(SPEC, reader("a"), reader("b"))
    for side in (found.candidate, found.reference):
        assert side.ids.tolist() == by_byte(source_text(SPEC)).ids[:40]
    assert (found.spec.kind, found.note, found.positions) == ("text", None, None)
    assert (found.tokens, found.digest) == (40, found.candidate.digest)


def test_tokenizers_may_differ_where_the_text_shows_no_difference(text):
    text("abc " * 20)
    found = choose(SPEC, reader("a"), reader("b", 257, read=by_byte_but("z", 256)))
    assert (found.spec.kind, found.positions) == ("text", None)


def test_tokenizers_that_differ_beyond_the_ids_used_are_the_same(text):
    text("a" * 40 + "z")
    found = choose(SPEC, reader("a"), reader("b", 300, read=by_byte_but("z", 299)))
    assert (found.spec.kind, found.positions) == ("text", None)


def test_the_references_tokenizer_serves_a_candidate_of_its_vocabulary():
    found = choose(SPEC, reader("chat", read=None), reader("base"))
    assert found.candidate.ids.tolist() == by_byte(source_text(SPEC)).ids[:40]
    assert found.candidate.digest == found.reference.digest
    assert found.note == "chat has no tokenizer: that of base was used for both"
    assert found.borrowed
    assert not choose(SPEC, reader("chat"), reader("base")).borrowed


def test_the_candidates_tokenizer_is_never_used_for_the_reference():
    found = choose(SPEC, reader("chat"), reader("base", read=None))
    assert (found.spec.kind, found.borrowed) == ("random", False)
    assert found.note == "random ids: base has no tokenizer"


def test_the_different_ids_at_the_compared_positions_are_counted(text):
    text("aab " * 20)
    found = choose(SPEC, reader("a"), reader("b", read=by_byte_shifted))
    assert found.distinct() == (3, 3)
    fewer = tuple(at[:2] for at in found.positions)
    assert dataclasses.replace(found, positions=fewer).distinct() == (1, 1)
    assert dataclasses.replace(found, positions=None).distinct() == (3, 3)


# one text in two tokenizations


def test_a_renumbered_vocabulary_is_compared_at_all_positions(text):
    text("abc " * 10)
    found = choose(SPEC, reader("a"), reader("b", read=by_byte_shifted))
    assert found.reference.ids.tolist() == [id_ + 1 for id_ in found.candidate.ids.tolist()]
    assert [at.tolist() for at in found.positions] == [list(range(40))] * 2
    assert (found.spec.kind, found.tokens) == ("text", 40)
    assert found.note == (
        "text in two tokenizations: 40 positions where both have a token that ends at the same character"
    )


@pytest.mark.parametrize("swap", [False, True])
def test_two_tokenizers_are_compared_where_their_tokens_end_together(text, swap):
    text("ab " * 80)
    pair = [reader("a", read=by_byte), reader("b", read=by_word)]
    found = choose(SPEC, *(reversed(pair) if swap else pair))
    assert (found.spec.kind, found.tokens) == ("random", 40)  # 13 words end within 40 bytes
    spec = dataclasses.replace(SPEC, tokens=240)
    text("ab " * 720)
    found = choose(spec, *(reversed(pair) if swap else pair))
    byte, word = reversed(found.positions) if swap else found.positions
    assert byte.tolist() == [1 + 3 * k for k in range(80)]
    assert word.tolist() == list(range(80))
    assert (found.spec.kind, found.tokens) == ("text", 80)
    assert [len(found.candidate.ids), len(found.reference.ids)] == [240, 240]


@pytest.mark.parametrize(("words", "kind"), [(LEAST_COMMON, "text"), (LEAST_COMMON - 1, "random")])
def test_a_text_needs_a_least_number_of_common_positions(text, words, kind):
    text("ab " * words + "c" * 1000 + " d" * 1000)
    spec = dataclasses.replace(SPEC, tokens=900)
    found = choose(spec, reader("a"), reader("b", 2000, read=by_word))
    assert found.spec.kind == kind
    if kind == "random":
        assert (
            found.note == f"{DIFFERENT}, and end a token at the same character at {words} positions"
        )


def test_of_few_tokens_half_must_be_common(text):
    text("ab" * 40)
    ids = {by: [by] * 80 for by in (1, 2)}
    for reach, kind in ((20, "text"), (19, "random")):
        ends = [*range(1, reach + 1), *range(101, 181)][:80]
        found = choose(
            SPEC,
            reader(read=lambda _: TokenizedText(ids[1], list(range(1, 81)))),
            reader(read=lambda _, ends=ends: TokenizedText(ids[2], ends)),
        )
        assert found.spec.kind == kind


def test_a_tokenizer_that_does_not_say_where_its_tokens_end_means_random_ids():
    for pair in (
        (reader("a"), reader("b", read=without_ends(by_byte_shifted))),
        (reader("a", read=without_ends(by_byte)), reader("b", read=by_byte_shifted)),
    ):
        found = choose(SPEC, *pair)
        assert found.spec.kind == "random"
        assert found.note == f"{DIFFERENT}, and one does not say where its tokens end"


def test_it_need_not_say_so_where_the_ids_are_the_same():
    found = choose(SPEC, reader("a"), reader("b", read=without_ends(by_byte)))
    assert (found.spec.kind, found.positions) == ("text", None)


def test_a_statistic_of_whole_models_gets_the_very_same_ids():
    found = choose(SPEC, reader("a"), reader("b", read=by_byte_shifted), same_ids=True)
    assert (found.spec.kind, found.note) == ("random", DIFFERENT)
    found = choose(SPEC, reader("a"), reader("b", read=behind((1,), by_byte)), same_ids=True)
    assert (found.spec.kind, found.note) == ("random", DIFFERENT)


def test_each_model_gets_what_its_own_tokenizer_puts_in_front():
    found = choose(SPEC, reader("a"), reader("b", read=behind((7, 8), by_byte)))
    assert (found.candidate.front, found.reference.front) == ((), (7, 8))
    assert (found.positions, found.tokens) == (None, 40)
    assert found.digest not in {found.candidate.digest, found.reference.digest}
    assert [len(s) for s in found.candidate.sequences()] == [16, 16, 8]
    assert [len(s) for s in found.reference.sequences()] == [16, 16, 14]


def test_the_digest_covers_what_both_are_fed_and_what_is_compared(text):
    text("abc " * 10)
    one = choose(SPEC, reader("a"), reader("b", read=by_byte_shifted))
    fewer = dataclasses.replace(one, positions=tuple(at[1:] for at in one.positions))
    other = dataclasses.replace(one, reference=one.candidate)
    crossed = dataclasses.replace(one, positions=(one.positions[0], one.positions[1].flip(0)))
    assert len({found.digest for found in (one, fewer, other, crossed)}) == 4


# random ids


def test_one_tokenizer_does_not_serve_models_of_two_vocabularies():
    found = choose(SPEC, reader("b", 300, read=None), reader("a", 256))
    assert found.spec.kind == "random"
    assert found.note == "random ids: b has no tokenizer and the vocabularies differ"


def test_without_any_tokenizer_ids_are_random():
    found = choose(SPEC, reader(read=None), reader(read=None))
    assert found.spec.kind == "random"
    assert found.note == "random ids: neither model has a tokenizer"


@pytest.mark.parametrize("vocabularies", [(256, 97), (97, 256)])
def test_ids_beyond_a_vocabulary_mean_random_ids_with_a_note(text, vocabularies):
    text("a" * 39 + "b")  # the ids 97 and 98
    found = choose(SPEC, *(reader(vocabulary=n) for n in vocabularies))
    assert found.note == "random ids: the tokenizer has ids that a model has no embedding for"
    assert int(found.candidate.ids.max()) < 97
    assert found.candidate.digest == found.reference.digest == found.digest


def test_what_is_in_front_needs_an_embedding_too(text):
    text("a" * 40)
    found = choose(SPEC, reader(vocabulary=98), reader(vocabulary=98, read=behind((98,), by_byte)))
    assert found.note == "random ids: the tokenizer has ids that a model has no embedding for"


def test_the_last_id_of_a_vocabulary_is_not_beyond_it(text):
    text("a" * 40)
    assert choose(SPEC, reader(vocabulary=98), reader(vocabulary=98)).spec.kind == "text"


def test_a_note_says_only_what_was_done(text):
    text("a" * 40)
    found = choose(SPEC, reader(vocabulary=97, read=None), reader(vocabulary=97))
    assert found.note == "random ids: the tokenizer has ids that a model has no embedding for"


def test_random_ids_that_were_asked_for_need_no_note_and_no_text(monkeypatch):
    monkeypatch.delattr(inputs.corpus, "for_tokens")
    found = choose(dataclasses.replace(SPEC, kind="random"), reader(), reader(read=None))
    assert (found.spec.kind, found.note) == ("random", None)


def test_random_ids_are_below_the_smaller_vocabulary():
    spec = dataclasses.replace(SPEC, kind="random", tokens=2000)
    found = choose(spec, reader(vocabulary=30), reader(vocabulary=10))
    assert set(found.candidate.ids.tolist()) == set(range(10))


@pytest.mark.parametrize("read", [by_byte_shifted, without_ends(by_byte_shifted)])
def test_the_pair_is_fed_alike_in_either_order(read):
    one, other = reader("a", 200, 12), reader("b", 300, 14, read)
    assert choose(SPEC, one, other).digest == choose(SPEC, other, one).digest


# too little text


def test_too_little_text_is_an_error_that_says_how_much_there_is(text):
    text("a" * 39)
    with pytest.raises(InputError, match=r"^the text gives 39 tokens where 40 were asked for: low"):
        choose(SPEC, reader(), reader())


@pytest.mark.parametrize("swap", [False, True])
def test_the_text_must_be_enough_for_both_tokenizers(text, swap):
    text("abcd " * 10)
    pair = [reader("a"), reader("b", read=by_word)]
    with pytest.raises(InputError, match=r"the text gives 11 tokens where 40 "):
        choose(SPEC, *(reversed(pair) if swap else pair))


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
    assert bytes(found.candidate.ids.tolist()) == b"abcdefgh" * 5


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
    assert max(map(len, found.reference.sequences())) == length


def test_a_sequence_is_not_longer_than_all_tokens():
    spec = dataclasses.replace(SPEC, sequence_length=1000)
    assert choose(spec, reader(positions=999), reader()).spec.sequence_length == 40


def test_two_notes_are_one_line():
    found = choose(SPEC, reader("b", 300, read=None), reader("a", positions=8))
    assert found.note == (
        "sequences of 8, the most that a takes; "
        "random ids: b has no tokenizer and the vocabularies differ"
    )


def test_no_global_random_state_is_read_or_written():
    before = (torch.get_rng_state(), random.getstate())
    first = random_ids(100, 50, seed=3)
    assert torch.equal(torch.get_rng_state(), before[0])
    torch.rand(1)
    assert torch.equal(random_ids(100, 50, seed=3), first)
    choose(SPEC, reader(), reader())
    assert random.getstate() == before[1]
