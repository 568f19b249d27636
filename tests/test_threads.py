"""Jobs side by side: their order, their errors, how many at once, and torch's threads."""

import itertools
import threading
import time
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance import _threads
from provenance._threads import spread, usable_cores


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A process on so many cores, told this of torch, OpenMP, xdist and a container's quota."""

    def machine(cores, *, torch_threads=None, omp=None, workers=None, quota=None):
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
        monkeypatch.setattr(_threads, "_limit_torch", lambda _: torch_threads)
        for name, value in (("OMP_NUM_THREADS", omp), ("PYTEST_XDIST_WORKER_COUNT", workers)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)
        file = tmp_path / "cpu.max"
        if quota is not None:
            file.write_text(quota)
        monkeypatch.setattr(_threads, "QUOTA", file)
        return usable_cores()

    return machine


@pytest.mark.parametrize(
    ("told", "cores"),
    [
        ({}, 16),
        ({"omp": "4"}, 4),
        ({"omp": "4,2"}, 4),
        ({"omp": "many"}, 16),
        ({"omp": "0"}, 16),
        ({"omp": "64"}, 16),
        ({"torch_threads": 8, "omp": "4"}, 8),
        ({"torch_threads": 1}, 1),
        ({"workers": "4"}, 4),
        ({"workers": "4", "torch_threads": 16}, 4),
        ({"workers": "32"}, 1),
        ({"quota": "200000 100000\n"}, 2),
        ({"quota": "150000 100000\n"}, 2),
        ({"quota": "50000 100000\n"}, 1),
        ({"quota": "max 100000\n"}, 16),
        ({"quota": "nonsense"}, 16),
        ({"quota": "6400000 100000\n"}, 16),
    ],
    ids=str,
)
def test_the_cores_that_a_process_may_keep_busy(machine, told, cores):
    assert machine(16, **told) == cores


@given(st.lists(st.integers(), max_size=40), st.integers(1, 5))
@settings(deadline=None)
def test_results_come_in_the_order_of_the_jobs(jobs, threads):
    assert list(spread(lambda job: job * 2, jobs, threads)) == [job * 2 for job in jobs]


def test_results_come_in_order_where_later_jobs_end_first():
    def sleep(seconds):
        time.sleep(seconds)
        return seconds

    waits = [0.05, 0.0, 0.02, 0.0]
    assert list(spread(sleep, waits, 4)) == waits


def test_no_more_jobs_run_at_once_than_threads_and_few_are_taken_ahead():
    running, most, taken = 0, 0, 0
    lock = threading.Lock()

    def jobs():
        nonlocal taken
        for job in range(50):
            taken += 1
            yield job

    def work(job):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001)
        with lock:
            running -= 1
        return job

    for given_back, _ in enumerate(spread(work, jobs(), 3), start=1):
        assert taken - given_back <= 2 * 3
    assert most <= 3


def test_the_error_of_the_first_job_that_failed_is_raised_and_the_rest_is_dropped():
    begun = []

    def work(job):
        begun.append(job)
        if job in {2, 3}:
            raise ValueError(job)
        return job

    results = spread(work, range(1000), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match=r"^2$"):
        next(results)
    assert max(begun) < 20


def test_what_interrupts_the_caller_leaves_no_thread_behind():
    before = threading.active_count()
    results = spread(lambda job: time.sleep(0.001), range(1000), 2)
    next(results)
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt)
    assert threading.active_count() == before


def test_a_caller_who_wants_no_more_ends_it():
    before = threading.active_count()
    results = spread(lambda job: job, itertools.count(), 2)
    next(results)
    results.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_every_job_has_one_thread_of_torch_and_afterwards_it_has_all(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        jobs = [1] * 8
        assert set(spread(lambda _: torch.get_num_threads(), jobs, threads)) == {1}
        assert torch.get_num_threads() == 3
        assert list(spread(lambda _: torch.get_num_threads(), [1], threads)) == [3]
    finally:
        torch.set_num_threads(before)


def test_numbers_do_not_depend_on_how_many_run_at_once():
    matrices = [torch.randn(97, 301, generator=torch.Generator().manual_seed(i)) for i in range(6)]

    def work(matrix):
        return (matrix @ matrix.T).softmax(dim=0)

    one, many = (list(spread(work, matrices, threads)) for threads in (1, 4))
    assert all(torch.equal(a, b) for a, b in zip(one, many, strict=True))


def too_large_for_two(failed):
    """A job that fails where another runs beside it; it waits for one where there may be one."""
    running, lock, second = set(), threading.Lock(), threading.Event()

    def work(job):
        with lock:
            running.add(job)
            if len(running) > 1:
                second.set()
        try:
            if threading.current_thread() is not threading.main_thread():
                assert second.wait(60)
                failed.append(job)
                raise MemoryError(f"job {job}")
            assert running == {job}
            return job, torch.get_num_threads()
        finally:
            with lock:
                running.remove(job)

    return work


def test_jobs_that_are_too_much_at_once_are_done_one_by_one():
    failed, asked = [], []

    def too_much(error):
        asked.append(str(error))
        return isinstance(error, MemoryError)

    jobs = iter(range(7))
    found = spread(too_large_for_two(failed), jobs, 2, too_much=too_much)
    assert list(found) == [(job, 1) for job in range(7)]
    assert 0 in failed
    assert asked == ["job 0"]


def test_a_job_that_is_too_much_by_itself_raises_its_error():
    def work(job):
        if job == 2:
            raise MemoryError(f"job {job}")
        return job

    found = spread(work, range(5), 2, too_much=lambda error: isinstance(error, MemoryError))
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(MemoryError, match=r"^job 2$"):
        next(found)


def test_what_is_done_again_keeps_nothing_of_the_first_try():
    kept = []

    class Large:
        pass

    def work(job):
        large = Large()
        kept.append(weakref.ref(large))
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError
        return sum(ref() is not None for ref in kept)

    found = spread(work, range(4), 2, too_much=lambda error: isinstance(error, MemoryError))
    assert list(found) == [1, 1, 1, 1]


def test_another_error_is_raised_at_once():
    def work(job):
        raise ValueError(job)

    with pytest.raises(ValueError, match=r"^0$"):
        list(spread(work, range(5), 2, too_much=lambda error: isinstance(error, MemoryError)))
