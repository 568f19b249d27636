"""checkpoints/ranged/spans.py: near spans become few, and none of their bytes is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from provenance.checkpoints.ranged.spans import Span, coalesced, without
from tests.reference import bytes_of_spans

spans = st.builds(
    lambda file, start, length: Span(file, start, start + length),
    st.sampled_from(["a", "b"]),
    st.integers(0, 200),
    st.integers(0, 60),
)


@given(st.lists(spans, max_size=12), st.integers(0, 20), st.integers(1, 40))
def test_every_byte_is_in_one_piece(wanted, gap, most):
    pieces = coalesced(wanted, gap, most)
    assert bytes_of_spans(wanted) <= bytes_of_spans(pieces)
    assert sum(map(len, pieces)) == len(bytes_of_spans(pieces))
    assert all(0 < len(piece) <= most for piece in pieces)
    assert list(pieces) == sorted(pieces)


@given(st.lists(spans, max_size=12), st.integers(0, 20))
def test_no_more_than_a_gap_is_brought_along(wanted, gap):
    extra = bytes_of_spans(coalesced(wanted, gap)) - bytes_of_spans(wanted)
    runs = bytes_of_spans(wanted)
    for file, place in extra:
        near = [p for f, p in runs if f == file and p < place]
        after = [p for f, p in runs if f == file and p > place]
        assert min(after) - max(near) - 1 <= gap


@given(spans, st.lists(spans, max_size=6))
def test_what_is_left_is_what_is_not_known(span, known):
    left = without(span, known)
    assert bytes_of_spans(left) == bytes_of_spans([span]) - bytes_of_spans(known)
    assert sum(map(len, left)) == len(bytes_of_spans(left))
