"""The verdicts on models that differ in their first weights, counted by population."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, get_args

from benchmarks._counts import Counted
from benchmarks._judged import THRESHOLDS
from benchmarks._seed_kin import MERGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks._judged import Judged
    from benchmarks._seed_runs import Found

STATISTIC = "kinship"
DEFAULT = THRESHOLDS[0]
Group = Literal["one shape", "two shapes", "all"]
GROUPS: tuple[Group, ...] = get_args(Group)


def pairs_of(found: Found, group: Group) -> dict[tuple[int, int], Judged]:
    """Return the judged pairs of strangers of one group."""
    belongs: dict[Group, Callable[[int, int], bool]] = {
        "one shape": found.alike,
        "two shapes": lambda a, b: not found.alike(a, b),
        "all": lambda _a, _b: True,
    }
    return {pair: one for pair, one in found.strangers.items() if belongs[group](*pair)}


def strangers(found: Found, group: Group, threshold: float = DEFAULT) -> Counted:
    """Count the verdicts on strangers of one group."""
    shapes = {
        "one shape": "of one shape that differ in the seed of their first weights alone",
        "two shapes": "of different shapes and first weights, alike in all else",
        "all": "that differ in the seed of their first weights, and some in shape, alone",
    }
    return Counted(
        f"Tiny trained Llamas {shapes[group]}: one tokenizer, text and order of batches.",
        "strangers",
        disjoint(found, group),
        STATISTIC,
        threshold,
        _verdicts(pairs_of(found, group).values(), threshold),
    )


def disjoint(found: Found, group: Group) -> int:
    """Return the most pairs of the zoo that share no model."""
    sizes = Counter(member.shape for member in found.zoo).values()
    total = sum(sizes)
    return {
        "one shape": sum(size // 2 for size in sizes),
        # each pair takes one model of the largest shape at most, and one of the others at least
        "two shapes": min(total // 2, total - max(sizes)),
        "all": total // 2,
    }[group]


def kin(found: Found, kind: str, threshold: float = DEFAULT) -> Counted:
    """Count the verdicts on the copies of one kind, each against the model that it was made of."""
    judged = found.kin[kind]
    # a merge holds weights of another model, which has a copy of its own
    count = len(judged) // 2 if kind in MERGES else len(judged)
    return Counted(
        f"Tiny trained Llamas, each with one changed copy: {kind}.",
        "kin",
        max(count, 1),
        STATISTIC,
        threshold,
        _verdicts(judged.values(), threshold),
    )


def counts(found: Found) -> tuple[Counted, ...]:
    """Return the counts of every population at the default threshold of `compare`."""
    apart = [strangers(found, "one shape"), strangers(found, "two shapes")]
    rows = (*apart, *(kin(found, kind) for kind in found.kin))
    return tuple(row for row in rows if row.pairs)


def _verdicts(judged: Iterable[Judged], threshold: float) -> dict[str, int]:
    return dict(sorted(Counter(one.at(threshold) for one in judged).items()))
