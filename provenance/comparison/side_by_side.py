"""How many pairs of blocks are tested side by side on a device, and where their assignments are solved."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from provenance._threads import usable_cores
from provenance.assignment.apart import solving_apart

if TYPE_CHECKING:
    from collections.abc import Iterator

ON_GPU = 3
"""So many pairs are tested at once on a GPU, which makes the products of one while others are solved.

Each pair has its own weights and products' factors on the device: by their sizes 3 GB at the width of
Llama-2-7B. The number is a guess: no GPU was there to measure it on."""


def pairs_at_once(device: str) -> int | None:
    """As `provenance._threads.spread` takes it: on a CPU as many as there are cores to use."""
    return None if device == "cpu" else min(ON_GPU, usable_cores())


@contextmanager
def beside(device: str) -> Iterator[None]:
    """Let processes solve assignments while the ``with`` lasts, where tests share a GPU.

    A thread that solves would keep the others from feeding it. On a CPU, and where there is one core to
    use, assignments are solved in the threads that have them.
    """
    at_once = pairs_at_once(device) or 1
    with solving_apart(at_once if at_once > 1 else 0):
        yield
