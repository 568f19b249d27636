"""Which tokens two models are asked about: those with the same text, in an order that a seed draws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.errors import DegenerateError
from provenance.inputs.shared_tokens import LEAST_TOKENS, SPARE, draw
from provenance.inputs.vocabulary import Vocabulary
from tests.reference import drawn_tokens

vocabularies = st.one_of(
    st.none(),
    st.dictionaries(st.binary(min_size=1, max_size=1), st.integers(0, 199), max_size=120),
)


def vocabulary(name="a", size=100, texts=None):
    return Vocabulary(name, size, texts)


def of(*texts, first=0):
    return {text.encode(): first + index for index, text in enumerate(texts)}


WORDS = [f"word{index}" for index in range(60)]


def test_tokens_meet_by_their_text_whatever_their_ids():
    ours, theirs = vocabulary(texts=of(*WORDS)), vocabulary(texts=of(*reversed(WORDS), first=30))
    found = draw(ours, theirs, 50, seed=0)
    assert (found.shared, found.note) == (60, "by their text")
    assert [89 - i for i in found.candidate] == list(found.reference)
    assert found.words() == "60 of 60 shared tokens, by their text"


def test_texts_that_one_has_alone_are_left_out():
    found = draw(vocabulary(texts=of(*WORDS)), vocabulary(texts=of(*WORDS[20:], "x")), 50, seed=0)
    assert found.shared == 40
    assert sorted(found.candidate) == list(range(20, 60))
    assert sorted(found.reference) == list(range(40))


def test_where_the_candidate_has_no_tokenizer_its_ids_are_the_references():
    found = draw(vocabulary("old", 70), vocabulary("base", 90, of(*WORDS, first=30)), 50, seed=0)
    assert found.candidate == found.reference
    assert sorted(found.candidate) == list(range(30, 70))  # of the smaller table, with a text


def test_what_the_candidates_tokens_stand_for_says_nothing_of_the_references():
    few = vocabulary("chat", 40, of(*WORDS[:5]))
    found = draw(few, vocabulary("base", 50), 50, seed=0)
    assert found.candidate == found.reference
    assert sorted(found.candidate) == list(range(40))
    assert found.note == "by id: base has no tokenizer"


def test_without_any_tokenizer_every_id_is_the_same_id():
    found = draw(vocabulary("a", 70), vocabulary("b", 50), 60, seed=0)
    assert found.candidate == found.reference
    assert sorted(found.candidate) == list(range(50))
    assert found.note == "by id: neither model has a tokenizer"


@pytest.mark.parametrize("count", [0, 1, LEAST_TOKENS - 1])
def test_too_few_are_refused_in_a_line(count):
    ours, theirs = vocabulary(texts=of(*WORDS)), vocabulary(texts=of(*WORDS[:count], "x"))
    with pytest.raises(DegenerateError, match=f"^the two vocabularies share {count} tokens; "):
        draw(ours, theirs, 50, seed=0)


def test_the_least_is_enough():
    some = vocabulary(texts=of(*WORDS[:LEAST_TOKENS]))
    assert draw(some, some, 256, seed=0).shared == LEAST_TOKENS


def test_as_many_are_drawn_as_are_asked_for_and_spare_ones():
    many = vocabulary("a", 5000)
    found = draw(many, many, 40, seed=0)
    assert len(found.candidate) == len(set(found.candidate)) == SPARE * 40
    assert found.shared == 5000
    assert found.keep(range(40)).words().startswith("40 of 5000 shared tokens, ")


def test_a_models_tokens_are_nearly_the_same_whatever_its_partner():
    """By their text, not by their place among those that are shared."""
    ours = vocabulary(texts=of(*WORDS))
    partners = [
        vocabulary(size=900, texts=of(*WORDS)),
        vocabulary(size=900, texts=of(*reversed(WORDS), first=7)),
        vocabulary(size=900, texts=of(*[w for w in WORDS if w != "word7"], "x", "y")),
    ]
    drawn = [draw(ours, partner, 20, seed=0).candidate for partner in partners]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0]) ^ set(drawn[2])) <= 2


def test_the_seed_draws_the_order_and_exchanged_models_exchange_it():
    ours, theirs = vocabulary(texts=of(*WORDS)), vocabulary(texts=of(*WORDS, first=5))
    one, again, other = (draw(ours, theirs, 20, seed) for seed in (0, 0, 1))
    assert one == again
    assert one.digest == again.digest != other.digest
    turned = draw(theirs, ours, 20, seed=0)
    assert (turned.candidate, turned.reference) == (one.reference, one.candidate)


def test_places_are_kept_together():
    found = draw(vocabulary(texts=of(*WORDS)), vocabulary(texts=of(*WORDS, first=5)), 20, seed=0)
    kept = found.keep([3, 0, 7])
    assert kept.candidate == tuple(found.candidate[i] for i in (3, 0, 7))
    assert kept.reference == tuple(found.reference[i] for i in (3, 0, 7))
    assert (kept.shared, kept.note) == (found.shared, found.note)


@given(vocabularies, vocabularies, st.integers(1, 60), st.integers(0, 3))
def test_the_draw_is_that_of_the_slow_twin(ours, theirs, most, seed):
    sides = [Vocabulary(name, 200, texts) for name, texts in (("a", ours), ("b", theirs))]
    expected = drawn_tokens(ours, theirs, 200, seed)
    if len(expected) < LEAST_TOKENS:
        with pytest.raises(DegenerateError, match=f"share {len(expected)} tokens"):
            draw(*sides, most, seed)
    else:
        found = draw(*sides, most, seed)
        pairs = list(zip(found.candidate, found.reference, strict=True))
        assert pairs == expected[: SPARE * most]
        assert found.shared == len(expected)
