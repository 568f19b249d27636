"""Bytes of strangers: what once broke a reader, and a few hundred mutations of what it reads.

``python -m tests.fuzz.run TARGET`` goes on for as long as one likes.
"""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS, attempt

KEPT = sorted((Path(__file__).parent / "corpus").glob("*/*"))


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_is_read(name):
    assert SEEDS[name]
    assert all(attempt(name, seed) for seed in SEEDS[name])


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_broke_a_reader_is_refused_or_read(path):
    assert attempt(path.parent.name, path.read_bytes()) in {True, False}


@st.composite
def mutated(draw, seeds):
    """A seed with some of its bytes removed, doubled or replaced."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.integers(0, 12)))
        piece = draw(
            st.binary(max_size=8) | st.sampled_from(TOKENS) | st.just(bytes(data[begin:end]) * 2)
        )
        data[begin:end] = piece
    return bytes(data)


TOKENS = [
    b"null",
    b"-1",
    b"1e999",
    b"[]",
    b"{}",
    b'"',
    b"\x00",
    b"\xff",
    b"&a ",
    b"*a",
    b"<<: ",
    b"9" * 30,
]


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60)
@given(data=st.data())
def test_mutations_are_refused_or_read(name, data):
    assert attempt(name, data.draw(mutated(SEEDS[name]))) in {True, False}
