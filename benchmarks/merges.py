"""Hold the shares that are found of a merge's parents against those that it was made with, on small models.

``python -m benchmarks.merges --folder DIR --output docs/kinds.md``

The base models are those of `benchmarks.kinds`. Each gets two fine-tunes, which are merged in known ways.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks._kind_change import tuned
from benchmarks._kind_changes import everything
from benchmarks._kinds_command import parser, publish
from benchmarks._merge_page import COUNTS, MergeCount, MergeCounts, with_tables
from benchmarks._page import about_machine
from benchmarks._zoo import Scale, Zoo, members
from benchmarks.kinds import BASES, SCALE, Workshop, read_text
from fixtures import transforms
from provenance.comparison.executor import Executor
from provenance.differences.merge import decompose_into
from provenance.recipes.steps import load
from provenance.recipes.train import one_thread
from provenance.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transformers import PreTrainedModel

    Merge = Callable[[PreTrainedModel, PreTrainedModel, PreTrainedModel], PreTrainedModel]

COMMAND = "python -m benchmarks.merges --folder models --output docs/kinds.md"
SEED = 5
TEXTS = ("prose", "code-1")
"""What the two fine-tunes are trained on."""


def merges() -> Iterator[tuple[str, tuple[float, ...] | None, Merge]]:
    """Yield ways to merge: their names, the shares of (base, first, second), None of no such shares."""
    for weight in (0.5, 0.3, 0.1, 0.02):
        shares = (0.0, 1 - weight, weight)
        yield (
            f"linear, {1 - weight:g} and {weight:g}",
            shares,
            lambda _b, f, s, w=weight: transforms.merge_linear(f, s, w),
        )
    yield "task arithmetic, 0.7 and 0.6", (-0.3, 0.7, 0.6), arithmetic
    yield (
        "linear, 0.7 and 0.3, in all disguises",
        (0.0, 0.7, 0.3),
        lambda _b, f, s: everything(transforms.merge_linear(f, s, 0.3)),
    )
    yield (
        "linear, 0.7 and 0.3, rounded to 8 bits",
        (0.0, 0.7, 0.3),
        lambda _b, f, s: transforms.round_trip(transforms.merge_linear(f, s, 0.3), 8),
    )
    yield (
        "linear, 0.7 and 0.3, then noise of 0.02 deviations",
        (0.0, 0.7, 0.3),
        lambda _b, f, s: transforms.add_noise(transforms.merge_linear(f, s, 0.3), SEED, 0.02),
    )
    yield "SLERP, 0.7 and 0.3", (0.0, 0.7, 0.3), lambda _b, f, s: transforms.merge_slerp(f, s, 0.3)
    yield "TIES, density 0.3", None, lambda b, f, s: transforms.merge_ties(b, [f, s], 0.3, 1.0)
    yield "the base alone, with noise", None, lambda b, _f, _s: transforms.add_noise(b, SEED, 0.02)


def arithmetic(
    base: PreTrainedModel, first: PreTrainedModel, second: PreTrainedModel
) -> PreTrainedModel:
    """Return the base plus 0.7 and 0.6 of what two fine-tunes changed."""
    merged = transforms.add_noise(base, 0, 0.0)
    others = dict(first.named_parameters()), dict(second.named_parameters())
    with torch.no_grad():
        for name, parameter in merged.named_parameters():
            moved = (one[name].double() - parameter.double() for one in others)
            step = sum(weight * move for weight, move in zip((0.7, 0.6), moved, strict=True))
            parameter.copy_((parameter.double() + step).to(parameter.dtype))
    return merged


def count(folder: Path, scale: Scale, bases: int) -> Iterator[MergeCount]:
    """Yield what was found of each merge of each base model."""
    zoo = Zoo(folder, scale)
    for member in members(bases, scale):
        path = zoo.member(member)
        parents = [
            load(path).eval(),
            *(tuned(load(path).eval(), read_text(zoo, path, t)) for t in TEXTS),
        ]
        for name, shares, merge in merges():
            with tempfile.TemporaryDirectory(dir=folder) as place:
                shop = Workshop(Executor(Store(Path(place) / "store"), "cpu"), Path(place))
                made = merge(*(transforms.add_noise(one, 0, 0.0) for one in parents))
                sides = [
                    shop.side(one, str(i), narrow=False) for i, one in enumerate([made, *parents])
                ]
                blocks = {i: i for i in range(member.blocks)}
                found = decompose_into(sides[0], [(side, blocks) for side in sides[1:]])
            print(f"{member.name} {name}: {found.shares}, {found.left_over:.3g}", file=sys.stderr)
            yield MergeCount(name, shares, found.shares, found.low, found.high, found.left_over)


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    given = parser("merges", __doc__, COUNTS, BASES).parse_args(arguments)
    with one_thread():
        rows = tuple(count(given.folder, SCALE, given.bases))
    made = MergeCounts(COMMAND, **about_machine(), counted=rows)
    publish(given, made, with_tables)


if __name__ == "__main__":
    main()
