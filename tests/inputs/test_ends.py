"""Positions at which two tokenizers have read the same characters."""

from hypothesis import given
from hypothesis import strategies as st

from provenance.inputs.ends import common_ends, last_ends
from tests import reference
from tests.support.readers import by_byte, by_word

texts = st.text(st.sampled_from("ab é\n€"), max_size=30)
in_order = st.lists(st.integers(0, 12), max_size=20).map(sorted)
in_any_order = st.lists(st.integers(0, 12), max_size=20)


def found(first, second):
    return [at.tolist() for at in common_ends(last_ends(first), last_ends(second))]


@given(in_order | in_any_order, in_order | in_any_order)
def test_common_ends_are_those_of_every_pair_of_tokens_tried(first, second):
    assert list(zip(*found(first, second), strict=True)) == reference.common_ends(first, second)


@given(texts)
def test_one_tokenizer_has_all_in_common_with_itself_but_split_characters(text):
    ends = by_byte(text).ends
    whole = [k for k, end in enumerate(ends) if end]
    assert [at.tolist() for at in common_ends(ends, ends)] == [whole, whole]
    assert len(whole) == len(text)


@given(texts)
def test_both_have_read_the_same_text_at_a_common_end(text):
    words, encoded = by_word(text), text.encode()
    for word, byte in zip(*common_ends(words.ends, by_byte(text).ends), strict=True):
        assert text[: words.ends[word]] == encoded[: byte + 1].decode()


def test_the_last_token_of_a_split_character_has_read_it():
    assert last_ends([1, 2, 2, 2, 3]) == [1, 0, 0, 2, 3]
    assert found([1, 2, 2, 3], [2, 3]) == [[2, 3], [0, 1]]


def test_a_token_of_no_text_is_at_no_end():
    assert found([0, 3], [0, 3]) == [[1], [1]]


def test_texts_of_two_lengths_have_in_common_what_both_have_read():
    assert found([2, 4, 6, 8], [4]) == [[1], [0]]
    assert found([], [4]) == [[], []]
