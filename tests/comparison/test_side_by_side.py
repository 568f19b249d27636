"""Tests that share a GPU: products are made while assignments are solved, and nothing else changes.

No GPU is needed: what is asked of one is asked of the CPU.
"""

import dataclasses
import threading

import pytest
import torch

from provenance import Executor, InputsSpec, Store, compare
from provenance.architecture.units import MLPActivations, MLPShape
from provenance.assignment import apart, solver
from provenance.assignment import solve as assignment
from provenance.assignment.apart import solving_apart
from provenance.assignment.similarity import Products
from provenance.capture.units import Shape
from provenance.comparison import side_by_side
from provenance.comparison.blocks import compare_blocks
from provenance.comparison.side_by_side import beside, pairs_at_once
from provenance.comparison.sides import Component
from provenance.errors import ArchitectureError
from provenance.statistics.match import match

pytestmark = pytest.mark.slow

UNITS = 270  # the dense solver takes fewer
BLOCKS = 4


@pytest.fixture
def cores(monkeypatch):
    """A machine of so many cores."""
    return lambda count: monkeypatch.setattr(side_by_side, "usable_cores", lambda: count)


class Stack:
    """Blocks of random answers; what ``fails`` says of a block is done when it is read."""

    def __init__(self, seed, fails=None):
        self._seed, self._fails = seed, fails
        mlps = dict.fromkeys(range(BLOCKS), (MLPShape("MLP", UNITS),))
        self.shape = Shape("Stack", BLOCKS, mlps, {}, "float32")

    def block(self, index, place=0):
        if self._fails is not None:
            self._fails(index)
        draw = torch.Generator().manual_seed(100 * self._seed + index)
        return MLPActivations(*(torch.randn(64, UNITS, generator=draw) for _ in range(2)))


def compared(threads, fails=None):
    component = Component("match", match, Stack(1, fails), Stack(2))
    return compare_blocks([component], "same-index", 0, threads=threads)


def overlaps(monkeypatch, threads, patience):
    """Whether another thread makes products before the first assignment, which waits for that, ends."""
    products, lock = [], threading.Condition()
    rows, solve = Products.rows, solver.least

    def made(self, start, stop):
        with lock:
            products.append(threading.get_ident())
            lock.notify_all()
        return rows(self, start, stop)

    begun, found = [], []

    def slow(problem):
        me = threading.get_ident()
        with lock:
            begun.append(me)
            if len(begun) == 1:
                before = len(products)
                found.append(lock.wait_for(lambda: {me} < {me, *products[before:]}, patience))
        return solve(problem)

    monkeypatch.setattr(Products, "rows", made)
    monkeypatch.setattr(solver, "least", slow)
    compared(threads)
    assert len(begun) == 2 * BLOCKS  # of gates and of ups
    return found == [True]


def test_products_of_a_block_begin_before_the_assignment_of_another_has_ended(monkeypatch, cores):
    cores(16)
    assert overlaps(monkeypatch, pairs_at_once("cuda:0"), patience=120)


def test_blocks_that_are_tested_in_turn_overlap_in_nothing(monkeypatch):
    assert not overlaps(monkeypatch, 1, patience=0.05)


@pytest.mark.parametrize(
    ("device", "count", "at_once"),
    [("cpu", 16, None), ("cuda:0", 16, 3), ("cuda:1", 2, 2), ("cuda:0", 1, 1)],
)
def test_as_many_at_once_as_the_caller_lets_threads_run(cores, device, count, at_once):
    cores(count)
    assert pairs_at_once(device) == at_once
    with beside(device):
        (solvers,) = apart._open
        assert solvers._most == (0 if at_once in {None, 1} else at_once)
    assert not apart._open


def test_the_threads_that_torch_was_told_are_the_most(monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    monkeypatch.setattr("provenance._threads._cores", lambda: 16)
    before = torch.get_num_threads()
    try:
        for told, at_once in ((1, 1), (2, 2), (8, 3)):
            torch.set_num_threads(told)
            assert pairs_at_once("cuda:0") == at_once
    finally:
        torch.set_num_threads(before)


def test_the_table_is_the_same_to_the_bit_for_any_number_of_threads_and_solvers():
    one = compared(1)
    assert all(block.log10_p is not None for block in one.blocks)
    for threads in (2, 3, 8):
        assert compared(threads) == one
        with solving_apart(threads):
            assert compared(threads) == one
    with solving_apart(1):
        assert compared(1) == one


def test_where_memory_is_too_small_for_several_blocks_they_are_tested_one_by_one():
    def crowded(_index):
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError

    assert compared(3, crowded) == compared(1)


def test_a_block_that_is_too_large_by_itself_is_an_error():
    def large(index):
        if index == 2:
            raise MemoryError("of block 2")

    with pytest.raises(MemoryError, match=r"^of block 2$"):
        compared(3, large)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_error_of_the_first_block_that_fails_is_raised(threads):
    def broken(index):
        if index >= 1:
            raise ArchitectureError(f"block {index} cannot be read")

    with (
        solving_apart(threads),
        pytest.raises(ArchitectureError, match=r"^block 1 cannot be read$"),
    ):
        compared(threads, broken)


def test_a_comparison_finds_the_same_evidence_where_tests_share_a_device(
    monkeypatch, family, tmp_path
):
    monkeypatch.setattr(assignment, "DENSE_ENTRIES", 100)
    inputs = InputsSpec(tokens=512, sequence_length=64)

    def measured(name):
        executor = Executor(Store(tmp_path / name), "cpu")
        evidence = compare(
            family.other, family.base, inputs=inputs, statistic="match", executor=executor
        )
        return dataclasses.replace(evidence, created="")

    alone = measured("alone")
    monkeypatch.setattr(side_by_side, "pairs_at_once", lambda device: 3)
    asked = []
    solve = apart.Solvers.solve
    monkeypatch.setattr(
        apart.Solvers, "solve", lambda self, problem: asked.append(problem) or solve(self, problem)
    )
    assert measured("side by side") == alone
    assert len(asked) >= 2 * len(alone.blocks)
