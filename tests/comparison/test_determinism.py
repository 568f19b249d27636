"""The same question has the same answer: twice, in other batches, on other threads, in other types."""

import dataclasses

import pytest
import torch

from provenance import Executor, InputsSpec, ModelSpec, Store, compare
from provenance.evidence.decide import decide
from provenance.vocabulary import Memory

pytestmark = pytest.mark.slow

INPUTS = InputsSpec(tokens=1024, sequence_length=64)
TOLERANCE = 0.02
"""Relative, of a block's log10 p: a few units change partners where sums are rounded otherwise."""

# kinship is match_tokens and match_weights, and match where these leave doubt
statistics = pytest.mark.parametrize("statistic", ["kinship", "match", "csu", "csh"])


@pytest.fixture
def measured(family, tmp_path):
    """Measure a pair with a store of its own."""
    count = iter(range(100))

    def measured(statistic, candidate="kin", *, memory=None, inputs=INPUTS, dtype=None):
        executor = Executor(Store(tmp_path / f"store{next(count)}"), "cpu", memory=memory)
        models = [getattr(family, candidate), family.base]
        if dtype is not None:
            models = [ModelSpec(path=str(path), dtype=dtype) for path in models]
        return compare(*models, inputs=inputs, statistic=statistic, executor=executor)

    return measured


def without_time(evidence):
    return dataclasses.replace(evidence, created="").to_json()


def assert_alike(one, other, tolerance=TOLERANCE):
    assert decide(one, 1e-6) == decide(other, 1e-6)
    for a, b in zip(one.blocks, other.blocks, strict=True):
        assert a.log10_p == pytest.approx(b.log10_p, rel=tolerance, abs=0.3)


@statistics
@pytest.mark.parametrize("candidate", ["kin", "other"])
def test_twice_the_same_to_the_byte_apart_from_the_time(measured, statistic, candidate):
    one, other = measured(statistic, candidate), measured(statistic, candidate)
    assert without_time(one) == without_time(other)


@statistics
@pytest.mark.parametrize("candidate", ["kin", "other"])
def test_alike_in_other_batches_and_block_by_block_from_disk(measured, statistic, candidate):
    small = Memory(working=4 << 20, resident=0)
    assert_alike(measured(statistic, candidate), measured(statistic, candidate, memory=small))


@statistics
@pytest.mark.parametrize("candidate", ["kin", "other"])
def test_alike_on_another_number_of_threads(measured, statistic, candidate):
    threads = torch.get_num_threads()
    one = measured(statistic, candidate)
    try:
        torch.set_num_threads(threads % 2 + 1)
        assert_alike(one, measured(statistic, candidate))
    finally:
        torch.set_num_threads(threads)


@statistics
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_verdict_is_the_same_in_other_types(measured, statistic, dtype):
    for candidate in ("kin", "other"):
        one, other = measured(statistic, candidate), measured(statistic, candidate, dtype=dtype)
        assert decide(one, 1e-6) == decide(other, 1e-6)
