"""Time the exact assignment against scipy's dense solver.

``python -m benchmarks.assignment`` prints a table for independent units and for related ones.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, TypeVar

import torch
from scipy.optimize import linear_sum_assignment

from provenance.assignment.solve import Products, assign

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Found = TypeVar("Found")
DIMENSIONS = 512
HEAD = ("units", "pair", "dense s", "ours s", "ratio", "method", "rounds", "candidates", "gap")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark as the options say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.assignment", description=__doc__)
    parser.add_argument("--sizes", default="2048,4096,11008", help="numbers of units")
    parser.add_argument("--no-dense", action="store_true", help="leave scipy's dense solver out")
    options = parser.parse_args(arguments)
    print(f"{DIMENSIONS} dimensions, {torch.get_num_threads()} threads; the matrix is given")
    print(" ".join(f"{name:>11}" for name in HEAD))
    for size in map(int, options.sizes.split(",")):
        for pair in ("independent", "|independent|", "half related", "related"):
            print(" ".join(f"{cell:>11}" for cell in _row(size, pair, dense=not options.no_dense)))


def _row(size: int, pair: str, *, dense: bool) -> list[str]:
    a, b = _units(size, pair)
    matrix = Products(a, b, absolute=pair.startswith("|")).rows(0, size)
    seconds, found = _timed(lambda: assign(matrix))
    proof = found.certificate
    cells = [str(size), pair, "-", f"{seconds:.3f}", "-", proof.method, str(proof.rounds)]
    if dense:
        cost = matrix.double().numpy()
        slow, (rows, columns) = _timed(lambda: linear_sum_assignment(cost, maximize=True))
        best = float(cost[rows, columns].sum())
        if abs(best - found.total) > 1e-6 * size:
            raise RuntimeError(f"scipy's optimum is {best}, ours {found.total}")
        cells[2], cells[4] = f"{slow:.3f}", f"{slow / seconds:.1f}"
    return [*cells, str(proof.pairs), f"{proof.gap:.1e}"]


def _units(size: int, pair: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(size)
    a, b = (torch.randn(size, DIMENSIONS, generator=generator) for _ in range(2))
    order = torch.randperm(size, generator=generator)
    if pair == "related":
        b = a[order] + 0.5 * b
    elif pair == "half related":  # half of the units have a partner, the others none
        b[: size // 2] = a[order[: size // 2]] + 0.5 * b[: size // 2]
    a, b = (side / side.norm(dim=1, keepdim=True) for side in (a, b))
    return a, b


def _timed(run: Callable[[], Found]) -> tuple[float, Found]:
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


if __name__ == "__main__":
    main()
