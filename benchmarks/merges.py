"""Hold the shares that are found of a merge's parents against those that it was made with, on small models.

``python -m benchmarks.merges --folder DIR --output docs/kinds.md``

The base models are those of `benchmarks.kinds`. Each gets two fine-tunes, which are merged in known ways.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable  # noqa: TC003 - a dataclass has it
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks._kind_change import tuned
from benchmarks._kind_changes import everything
from benchmarks._kinds_command import Counting
from benchmarks._merge_page import COUNTS, MergeCount, MergeCounts, with_tables
from benchmarks._zoo import Scale, Zoo, members
from benchmarks.kinds import BASES, SCALE, Workshop, read_text
from fixtures import transforms
from fixtures.transforms import Parts
from provenance.comparison.executor import Executor
from provenance.differences.merge import decompose_into
from provenance.recipes.steps import load
from provenance.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

    from provenance.evidence.sparse_merge import Method

    Merge = Callable[[PreTrainedModel, PreTrainedModel, PreTrainedModel], PreTrainedModel]

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
    yield "the base alone, with noise", None, lambda b, _f, _s: transforms.add_noise(b, SEED, 0.02)


@dataclass(frozen=True)
class Made:
    """A merge in parts: what it is called, of how many parents beside the base, how, and its disguise."""

    method: Method | None
    what: str
    parents: int
    parts: Parts
    narrow: bool = False
    then: Callable[[PreTrainedModel], PreTrainedModel] | None = None

    def shares(self) -> tuple[float, ...]:
        """The shares of the base and of the others that it was made with."""
        weights = [self.parts.factor * weight for weight in self.parts.weights]
        if self.parts.mean:
            weights = [weight / sum(self.parts.weights) for weight in weights]
        return (1 - sum(weights), *weights)


def in_parts() -> Iterator[Made]:
    """Yield merges that leave changes out, and what is done to some afterwards."""
    two, three = (0.6, 0.4), (0.5, 0.3, 0.2)
    for density in (0.5, 0.1):
        dare = Parts(two, density, rescaled=True)
        yield Made("DARE", f"DARE, {1 - density:g} dropped", 2, dare)
        elected = replace(dare, elected=True)
        yield Made("DARE-TIES", f"DARE-TIES, {1 - density:g} dropped", 2, elected)
    for density in (0.2, 0.3, 0.5, 0.8):
        for factor in (1.0, 0.7):
            ties = Parts(two, density, "largest", elected=True, mean=True, factor=factor)
            yield Made("TIES", f"TIES, density {density:g}, lambda {factor:g}", 2, ties)
    dare = Parts(two, 0.5, rescaled=True)
    ties = Parts(two, 0.5, "largest", elected=True, mean=True)
    yield Made("DARE", "DARE of one, 0.5 dropped", 1, Parts((1.0,), 0.5, rescaled=True))
    yield Made("DARE", "DARE of three, 0.5 dropped", 3, replace(dare, weights=three))
    yield Made("TIES", "TIES of three, density 0.5", 3, replace(ties, weights=three))
    for name, parts in (("DARE", dare), ("TIES", ties)):
        method: Method = "DARE" if name == "DARE" else "TIES"
        what = f"{name}, as with density 0.5"
        yield Made(method, f"{what}, in other orders", 2, parts, then=orders)
        yield Made(method, f"{what}, its stream turned", 2, parts, then=everything)
        yield Made(method, f"{what}, in bfloat16", 2, parts, narrow=True)
    low = replace(ties, density=0.2)
    yield Made("TIES", "TIES, density 0.2, in bfloat16", 2, low, narrow=True)
    yield Made("DARE", "DARE of three, in bfloat16", 3, replace(dare, weights=three), narrow=True)
    graded = Parts(two, 0.5, "graded", elected=True, mean=True)
    yield Made("sparse", "DELLA, density 0.5", 2, graded)
    yield Made("sparse", "breadcrumbs, density 0.5", 2, Parts(two, 0.5, "middle"))
    plain = Parts(two, 1.0)
    for name, parts in (("linear", plain), ("DARE", dare), ("TIES", ties)):
        for what, then in AFTERWARDS.items():
            yield Made(None, f"{name}, then {what}", 2, parts, then=then)
    yield Made(None, "linear, 0.6 and 0.4, in bfloat16", 2, plain, narrow=True)
    yield Made(
        None, "task arithmetic, 0.7 and 0.6, in bfloat16", 2, Parts((0.7, 0.6), 1.0), narrow=True
    )


AFTERWARDS: dict[str, Callable[[PreTrainedModel], PreTrainedModel]] = {
    "half of it zero": lambda m: transforms.prune_magnitude(m, 0.5),
    "noise of 0.02 deviations": lambda m: transforms.add_noise(m, SEED, 0.02),
    "rounded to 8 bits": lambda m: transforms.round_trip(m, 8),
}
"""What nobody calls a merge in parts any more. What is trained on afterwards is done by `count`."""


def orders(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy with its units and heads, and the coordinates of its stream, in other orders."""
    shuffled = transforms.permute_heads(transforms.permute_mlp_units(model, SEED), SEED)
    return transforms.permute_residual_stream(shuffled, SEED)


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
        texts = [read_text(zoo, path, text) for text in TEXTS]
        base = load(path).eval()
        fine = [tuned(base, ids, seed=3 + i) for i, ids in enumerate([*texts, texts[0]])]
        with tempfile.TemporaryDirectory(dir=folder) as place:
            at = _At(Path(place), member.name, member.blocks, [base, *fine])
            for name, shares, merge in merges():
                yield at.counted(name, shares, merge(*map(_copy, (base, *fine[:2]))))
            for one in in_parts():
                yield at.in_parts(one)
            for name, parts in (("DARE", DARE), ("TIES", TIES)):
                made = transforms.merge_parts(base, fine[:2], parts)
                made = tuned(made, texts[0], 2, 1e-4, seed=9)
                yield at.counted(f"{name}, then trained on for 2 steps", None, made)


DARE = Parts((0.6, 0.4), 0.5, rescaled=True)
TIES = Parts((0.6, 0.4), 0.5, "largest", elected=True, mean=True)


def _copy(model: PreTrainedModel) -> PreTrainedModel:
    return transforms.add_noise(model, 0, 0.0)


class _At:
    """Where merges of one base are saved and taken apart: its parents are opened once for all of them."""

    def __init__(self, folder: Path, name: str, blocks: int, models: list[PreTrainedModel]) -> None:
        self._name = name
        self._blocks = {i: i for i in range(blocks)}
        self._folder = folder
        self._models = models
        shop = Workshop(Executor(Store(folder / "store"), "cpu"), folder)
        self._sides = {
            narrow: [
                shop.side(_copy(model), f"{i}-{narrow}", narrow=narrow)
                for i, model in enumerate(models)
            ]
            for narrow in (False, True)
        }

    def in_parts(self, one: Made) -> MergeCount:
        """What is found of a merge in parts; of one parent alone, a second is named too."""
        parents = [_copy(model) for model in self._models[: 1 + one.parents]]
        if one.narrow:
            parents = [parent.to(torch.bfloat16) for parent in parents]
        made = transforms.merge_parts(parents[0], parents[1:], one.parts)
        shares = (*one.shares(), *(0.0 for _ in range(2 - one.parents)))
        is_told = one.method is not None or one.what.startswith(("linear", "task"))
        made = made if one.then is None else one.then(made)
        return self.counted(one.what, shares if is_told else None, made, one)

    def counted(
        self,
        what: str,
        shares: tuple[float, ...] | None,
        made: PreTrainedModel,
        how: Made | None = None,
    ) -> MergeCount:
        """What is found of a merge."""
        narrow = how is not None and how.narrow
        parents = self._sides[narrow][: 1 + max(2, 2 if how is None else how.parents)]
        with tempfile.TemporaryDirectory(dir=self._folder) as place:
            shop = Workshop(Executor(Store(Path(place) / "store"), "cpu"), Path(place))
            side = shop.side(made, "made", narrow=narrow)
            found = decompose_into(side, [(parent, self._blocks) for parent in parents])
        told, sparse = found.told, found.sparse
        named = None if sparse is None else sparse.method
        print(f"{self._name} {what}: {named}, {told.shares}, {told.left_over:.3g}", file=sys.stderr)
        return MergeCount(
            what,
            shares,
            told.shares,
            told.low,
            told.high,
            told.left_over,
            method=None if how is None else how.method,
            named=named,
            densities=None if sparse is None else sparse.densities,
            fits=None if sparse is None else sparse.fits,
        )


COUNTING = Counting("merges", __doc__, count, MergeCounts, with_tables, COUNTS, BASES)


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    COUNTING.run(SCALE, arguments)


if __name__ == "__main__":
    main()
