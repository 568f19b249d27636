"""Count how often it is told rightly which of two kin came first, on small models.

``python -m benchmarks.direction --folder DIR --output docs/kinds.md``

The base models are those of `benchmarks.kinds`. Of each, pairs are made of which one came first by the
making, and read in both orders; then pairs that are made to fool the reading. ``--large`` makes a few of a
pretrained model instead: SmolLM2-135M, as ``python -m benchmarks.real models`` makes it.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from benchmarks._arguments import checkpoint
from benchmarks._direction_page import (
    COUNTS,
    LARGE,
    Between,
    DirectionCounts,
    Told,
    with_large,
    with_tables,
)
from benchmarks._kind_change import SEED, tuned, two_of_four
from benchmarks._kind_changes import GROUP
from benchmarks._kind_schemes import SCHEMES
from benchmarks._kinds_command import parser, publish
from benchmarks._page import about_machine
from benchmarks._zoo import Scale, Zoo, members
from benchmarks.kinds import BASES, FEW, NO_TEXT, SCALE, Workshop, read_text
from fixtures import transforms
from fixtures.transforms.weights import inner_linears
from provenance.comparison.executor import Executor
from provenance.differences.measure import measure
from provenance.evidence.direction import direction_of
from provenance.recipes.steps import load
from provenance.recipes.train import one_thread
from provenance.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from transformers import PreTrainedModel

    from provenance.differences.side import Side

    Make = Callable[[PreTrainedModel, PreTrainedModel, torch.Tensor], PreTrainedModel]

COMMAND = "python -m benchmarks.direction --folder models --output docs/kinds.md"
LARGE_COMMAND = (
    "python -m benchmarks.direction --folder models --large smollm2 --output docs/kinds.md"
)
OF_LARGE = (
    "a low rank added",
    "noise of 0.01 deviations",
    "rounded to 4 bits, a scale a row",
    "rounded to 8 bits, a scale a row",
    "half of it zero",
)
"""What is done to a pretrained model."""
SLIGHT = 1e-5
"""A learning rate at which two steps change hardly anything."""


@dataclass(frozen=True)
class Descent:
    """A pair: how the earlier and the later model are made of a base, its fine-tune, and ids of a text.

    ``fools`` says that the pair was made to be read wrongly: the two are no parent and child, or the later
    one took the earlier one's losses back.
    """

    what: str
    earlier: Make
    later: Make
    fools: bool = False


def descents() -> Iterator[Descent]:
    """Yield every pair."""
    base: Make = lambda b, _f, _i: b  # noqa: E731 - all others are written like it
    for what, later in _of_base().items():
        yield Descent(what, base, later)
    for bits in (4, 8):
        for steps, rate in ((5, 1e-4), (20, 1e-3)):
            yield Descent(
                f"a copy of {bits} bits, and it trained on ({steps} steps at {rate:g})",
                lambda b, _f, _i, n=bits: transforms.round_trip(b, n),
                lambda b, _f, i, n=bits, s=steps, r=rate: tuned(
                    transforms.round_trip(b, n), i, s, r
                ),
            )
    yield Descent(
        "half of it zero, and it trained on",
        lambda b, _f, _i: transforms.prune_magnitude(b, 0.5),
        lambda b, _f, i: tuned(transforms.prune_magnitude(b, 0.5), i),
    )
    yield from _foolers()


def _of_base() -> dict[str, Make]:
    return {
        "a fine-tune": lambda _b, f, _i: f,
        "a low rank added": lambda b, _f, _i: transforms.lora_merge(b, SEED, 4, 0.1),
        "merged with a fine-tune": lambda b, f, _i: transforms.merge_linear(b, f, 0.5),
        "noise of 0.01 deviations": lambda b, _f, _i: transforms.add_noise(b, SEED, 0.01),
        "rounded to 4 bits, a scale a row": lambda b, _f, _i: transforms.round_trip(b, 4),
        "rounded to 8 bits, a scale a row": lambda b, _f, _i: transforms.round_trip(b, 8),
        f"rounded to 3 bits in groups of {GROUP}": lambda b, _f, _i: transforms.round_groups(
            b, 3, GROUP
        ),
        f"rounded to 4 bits in groups of {GROUP}": lambda b, _f, _i: transforms.round_groups(
            b, 4, GROUP
        ),
        "half of it zero": lambda b, _f, _i: transforms.prune_magnitude(b, 0.5),
        "two of every four zero": lambda b, _f, _i: two_of_four(b),
        "trained on, then rounded to 4 bits": lambda _b, f, _i: transforms.round_trip(f, 4),
        "trained on, then half of it zero": lambda _b, f, _i: transforms.prune_magnitude(f, 0.5),
    }


def _foolers() -> Iterator[Descent]:
    """Yield pairs whose later model has back what the earlier one lost, and cousins."""
    four: Make = lambda b, _f, _i: transforms.round_trip(b, 4)  # noqa: E731
    yield Descent("a copy of 4 bits, filled up within its steps", four, _filled, fools=True)
    yield Descent(
        "a copy with half of it zero, its zeros filled up",
        lambda b, _f, _i: transforms.prune_magnitude(b, 0.5),
        lambda b, _f, _i: _regrown(b),
        fools=True,
    )
    yield Descent(
        "a copy of 4 bits, and a slight fine-tune: both of one base",
        four,
        lambda b, _f, i: tuned(b, i, 2, SLIGHT),
        fools=True,
    )


def large_descents() -> Iterator[Descent]:
    """Yield pairs of a pretrained model, without training."""
    base: Make = lambda b, _f, _i: b  # noqa: E731 - all others are written like it
    of_base = _of_base()
    for what in OF_LARGE:
        yield Descent(what, base, of_base[what])
    yield Descent("rounded to NF4", base, lambda b, _f, _i: SCHEMES["NF4"](b))
    yield next(_foolers())


def _filled(base: PreTrainedModel, _fine: PreTrainedModel, _ids: torch.Tensor) -> PreTrainedModel:
    """Return a rounded copy, its numbers drawn anew from the whole of their steps."""
    copy = transforms.round_trip(base, 4)
    generator = torch.Generator().manual_seed(SEED)
    for _, linear in inner_linears(copy):
        weights = linear.weight.data
        # a scale a row: the largest number of a row is 7 steps from zero
        steps = weights.abs().amax(dim=1, keepdim=True) / 7
        weights += steps * (torch.rand(weights.shape, generator=generator) - 0.5)
    return copy


def _regrown(base: PreTrainedModel) -> PreTrainedModel:
    """Return a pruned copy with small random numbers in the place of its zeros."""
    copy = transforms.prune_magnitude(base, 0.5)
    generator = torch.Generator().manual_seed(SEED)
    for _, linear in inner_linears(copy):
        weights = linear.weight.data
        drawn = torch.randn(weights.shape, generator=generator) * weights.std() / 4
        weights += torch.where(weights == 0, drawn, 0.0)
    return copy


def count(folder: Path, scale: Scale, bases: int) -> Iterator[Told]:
    """Yield what was told of each pair, in both orders."""
    zoo = Zoo(folder, scale)
    for member in members(bases, scale):
        path = zoo.member(member)
        base = load(path).eval()
        ids = read_text(zoo, path, "prose")
        fine = tuned(base, ids)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            shop = Workshop(Executor(Store(Path(place) / "store"), "cpu"), Path(place))
            yield from _told(shop, tuple(descents()), (base, fine, ids), member.name)


def count_large(folder: Path, source: Path) -> Iterator[Told]:
    """Yield what was told of pairs of a pretrained model, in both orders; four blocks are looked at."""
    base = load(source).eval()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        shop = Workshop(Executor(Store(Path(place) / "store"), "cpu"), Path(place), FEW)
        yield from _told(shop, tuple(large_descents()), (base, base, NO_TEXT), source.name)


def _told(
    shop: Workshop,
    pairs: Sequence[Descent],
    of: tuple[PreTrainedModel, PreTrainedModel, torch.Tensor],
    name: str,
) -> Iterator[Told]:
    orders: tuple[Literal["later", "earlier"], ...] = ("later", "earlier")
    blocks = {i: i for i in range(of[0].config.num_hidden_layers)}
    made: dict[Make, tuple[PreTrainedModel, Side]] = {}
    for pair in pairs:
        for make in (pair.earlier, pair.later):
            if make not in made:
                model = make(*of)
                made[make] = model, shop.side(model, str(len(made)), narrow=False)
        models, sides = zip(made[pair.earlier], made[pair.later], strict=True)
        for candidate in orders:
            both = sides if candidate == "earlier" else sides[::-1]
            found = direction_of(measure(*both, blocks, most=shop.most))
            said = None if found is None else found.sign
            print(f"{name} {pair.what}, {candidate}: {said}", file=sys.stderr)
            yield Told(pair.what, candidate, said, _growth(*models), fools=pair.fools)


def between(folder: Path, scale: Scale, bases: int) -> Iterator[Between]:
    """Yield whether the middle of three models lies between the others, merges and others."""
    zoo = Zoo(folder, scale)
    for member in members(bases, scale):
        path = zoo.member(member)
        base = load(path).eval()
        first, second = (tuned(base, read_text(zoo, path, text)) for text in ("prose", "code-1"))
        for weight in (0.5, 0.1):
            merged = transforms.merge_linear(first, second, weight)
            yield _lies(f"a merge, {weight:g} of the second", merged, first, second, is_merge=True)
        yield _lies("the base of two fine-tunes", base, first, second)
        child = tuned(first, read_text(zoo, path, "code-1"))
        yield _lies("a fine-tune, of its parent and its child", first, base, child)
        rounded = transforms.round_trip(first, 4)
        yield _lies("a fine-tune, of its base and its rounded copy", first, base, rounded)


def _lies(
    what: str,
    middle: PreTrainedModel,
    first: PreTrainedModel,
    second: PreTrainedModel,
    *,
    is_merge: bool = False,
) -> Between:
    apart = _distance(first, second)
    lies = max(_distance(middle, first), _distance(middle, second)) < apart
    return Between(what, is_merge, lies)


def _distance(one: PreTrainedModel, other: PreTrainedModel) -> float:
    pairs = zip(inner_linears(one), inner_linears(other), strict=True)
    moved = ((a.weight.detach() - b.weight.detach()).double() for (_, a), (_, b) in pairs)
    return sum(float(one.square().sum()) for one in moved) ** 0.5


def _growth(earlier: PreTrainedModel, later: PreTrainedModel) -> float:
    """The size of the later model's matrices over that of the earlier one's."""
    sizes = [
        sum(
            float(linear.weight.detach().double().square().sum())
            for _, linear in inner_linears(model)
        )
        for model in (earlier, later)
    ]
    return (sizes[1] / sizes[0]) ** 0.5


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    options = parser("direction", __doc__, COUNTS, BASES)
    options.add_argument(
        "--large", type=checkpoint, help="count on this checkpoint of a pretrained model alone"
    )
    given = options.parse_args(arguments)
    if given.large is not None:
        given.counts = given.counts.with_name(LARGE.name)
        with one_thread():
            rows = tuple(count_large(given.folder, given.large))
        made = DirectionCounts(LARGE_COMMAND, **about_machine(), bases=1, told=rows)
        publish(given, made, with_large)
        return
    with one_thread():
        rows = tuple(count(given.folder, SCALE, given.bases))
        middle = tuple(between(given.folder, SCALE, given.bases))
    made = DirectionCounts(COMMAND, **about_machine(), bases=given.bases, told=rows, between=middle)
    publish(given, made, with_tables)


if __name__ == "__main__":
    main()
