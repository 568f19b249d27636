"""A model as a combination of parents that are found kin to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance._threads import in_turn
from provenance.comparison.difference import kin_of
from provenance.comparison.executor import Executor, as_spec
from provenance.comparison.parents import decomposed
from provenance.errors import InputError
from provenance.vocabulary import BLOCKS_OF_DIFFERENCE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from provenance.evidence.decomposition import Decomposition
    from provenance.vocabulary import ModelSpec, StatisticName

__all__ = ["decompose"]


@in_turn
def decompose(
    model: str | PathLike[str] | ModelSpec,
    parents: Sequence[str | PathLike[str] | ModelSpec],
    *,
    statistic: StatisticName | None = None,
    blocks: int | None = BLOCKS_OF_DIFFERENCE,
    seed: int = 0,
    executor: Executor | None = None,
) -> Decomposition:
    """Find the share that each parent has in a merge.

    Every parent is compared with the model, as by `compare`, and mapped onto it, as by `difference`.

    Parameters
    ----------
    model : str, path or ModelSpec
        As for `compare`; no fingerprint, like the parents.
    parents : sequence of str, path or ModelSpec
        Two or more. For task arithmetic, the base is one of them.
    statistic, blocks, seed, executor
        As for `difference`.

    Raises
    ------
    ProvenanceError
        One line: a model cannot be had, a parent is not found kin, or two parents are one model.

    Examples
    --------
    >>> found = decompose("./merged", ["./chat", "./code"])  # doctest: +SKIP
    >>> found.shares, found.left_over  # doctest: +SKIP
    """
    if len(parents) < 2:
        raise InputError("a merge has two parents or more: name them all")
    run = executor or Executor()
    spec = as_spec(model)
    ours = run.checkpoint(spec)
    compared = [
        (run.checkpoint(parent), kin_of(spec, parent, statistic, seed, run))
        for parent in map(as_spec, parents)
    ]
    return decomposed(ours, compared, run.work, blocks, seed)
