"""Two models that share nothing, whose structure could make them look like kin."""

from __future__ import annotations

import copy
import functools
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from fixtures import transforms
from fixtures.models import tiny_llama
from fixtures.transforms.widening import Mlp, widened
from provenance.inputs import corpus
from provenance.recipes.tokenizer import train_tokenizer
from provenance.vocabulary import ROLES
from tests.adversary.bench import TOKENIZER, Bench, Finding, loaded
from tests.adversary.compositions import (
    CHANGES,
    LAST,
    TEXT,
    Case,
    Step,
    composed,
    parsed,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from provenance.vocabulary import Role

    Structure = Callable[[PreTrainedModel, int], PreTrainedModel]

POOL = 4
"""How many trained models strangers are taken from."""

BYTES = 257
"""The least vocabulary of a byte-level tokenizer."""

UNTRAINED = ("random", "random", "bytes", "unlike")
"""Random weights: as they are, with a tiny vocabulary, and with two vocabularies and hidden sizes."""


def _grouped(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Groups of units read groups of coordinates."""
    groups = random.Random(seed).choice([2, 4, 8])

    def masked(mlp: Mlp) -> Mlp:
        units, hidden = mlp.gate.shape
        of = [torch.arange(size) * groups // size for size in (units, hidden)]
        mask = of[0][:, None] == of[1]
        return Mlp(mlp.gate * mask, mlp.up * mask, mlp.down)

    return widened(model, masked)


def _repeated(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    times = random.Random(seed).choice([2, 4])

    def several(mlp: Mlp) -> Mlp:
        rows = (mlp.gate, mlp.up, mlp.down / times)
        return Mlp(*(x.repeat(times, 1) for x in rows))

    return widened(model, several)


def _looped(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    draw = random.Random(seed)
    block = draw.randrange(model.config.num_hidden_layers)
    return transforms.arrange_blocks(model, [block] * draw.choice([4, 8]))


def _stacked(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    blocks = list(range(model.config.num_hidden_layers))
    return transforms.arrange_blocks(model, blocks * random.Random(seed).choice([2, 3]))


def _interleaved(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    blocks = range(model.config.num_hidden_layers)
    times = random.Random(seed).choice([2, 3])
    return transforms.arrange_blocks(model, [block for block in blocks for _ in range(times)])


def _low_rank(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Gate and up of few dimensions, which the two may share."""
    draw = random.Random(seed)
    rank, shared = draw.choice([2, 4, 12]), draw.random() < 0.5

    def cut(mlp: Mlp) -> Mlp:
        rows = torch.linalg.svd(mlp.gate, full_matrices=False).Vh[:rank]
        other = rows if shared else torch.linalg.svd(mlp.up, full_matrices=False).Vh[:rank]
        return Mlp(mlp.gate @ rows.T @ rows, mlp.up @ other.T @ other, mlp.down)

    return widened(model, cut)


def _gate_alike(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """A share of the units have ups that say nearly what their gates say."""
    draw = random.Random(seed)
    share, mix = draw.choice([0.02, 0.2, 1.0]), draw.choice([0.2, 0.5, 0.8, 1.0])

    def mixed(mlp: Mlp) -> Mlp:
        alike = torch.rand(len(mlp.gate), 1, generator=_generator(seed)) < share
        up = mix * mlp.gate + (1 - mix**2) ** 0.5 * mlp.up
        return Mlp(mlp.gate, torch.where(alike, up, mlp.up), mlp.down)

    return widened(model, mixed)


def _each(change: Callable[[torch.Tensor, random.Random], torch.Tensor]) -> Structure:
    """One change of every gate and up matrix."""

    def changed(model: PreTrainedModel, seed: int) -> PreTrainedModel:
        made = copy.deepcopy(model)
        for name, weight in made.named_parameters():
            if "gate_proj" in name or "up_proj" in name:
                weight.data = change(weight.data, random.Random(seed))
        return made

    return changed


def _ternary(weight: torch.Tensor, draw: random.Random) -> torch.Tensor:
    """Minus one, zero and one; few or many of them zero."""
    size = weight.abs()
    kept = size > size.quantile(draw.choice([0.33, 0.9, 0.97]))
    return weight.sign() * kept * weight.std()


def _few_values(weight: torch.Tensor, draw: random.Random) -> torch.Tensor:
    step = weight.std() * draw.choice([0.5, 1.0, 2.0])
    return (weight / step).round() * step


def _heavy(weight: torch.Tensor, draw: random.Random) -> torch.Tensor:
    """A few weights, and a few columns that all units read, are far larger than the others."""
    wide = weight * (weight.abs() / weight.std()) ** draw.choice([1, 2])
    wide[:, : draw.choice([1, 3])] *= draw.choice([5, 30])
    return wide


def _same_rows(weight: torch.Tensor, draw: random.Random) -> torch.Tensor:
    """All rows have one direction in common, as strong as what they have each for itself, or stronger."""
    mean = weight[:1] * draw.choice([1, 3])
    return weight + mean


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


STRUCTURES: Mapping[str, Structure] = {
    "grouped": _grouped,
    "repeated": _repeated,
    "looped": _looped,
    "stacked": _stacked,
    "interleaved": _interleaved,
    "low_rank": _low_rank,
    "gate_alike": _gate_alike,
    "ternary": _each(_ternary),
    "few_values": _each(_few_values),
    "heavy": _each(_heavy),
    "same_rows": _each(_same_rows),
    "rounded": lambda m, s: transforms.round_trip(m, random.Random(s).choice([4, 8])),
    "pruned": lambda m, s: transforms.prune_magnitude(m, random.Random(s).choice([0.5, 0.9])),
}
"""What makes units, or blocks, of one model alike; each with a seed that draws how much."""

DISGUISES = tuple(name for name in CHANGES if not LAST.fullmatch(name))


@dataclass(frozen=True)
class Pair:
    """Two strangers: where each begins, and what is done to both and to the candidate alone.

    ``begin`` is ``trained`` (numbers from the pool), or one of `UNTRAINED` (seeds of weights). Structures
    come to both sides, with one seed, as two teams would choose them alike; then disguises come to the
    candidate.
    ``framed``: the candidate also has idle units that imitate the reference.
    """

    begin: str
    numbers: tuple[int, int]
    structures: tuple[Step, ...]
    disguises: tuple[Step, ...]
    framed: bool

    def __str__(self) -> str:
        parts = (
            f"{self.begin}:{self.numbers[0]},{self.numbers[1]}",
            "framed" if self.framed else "",
            written(self.structures),
            "| " + written(self.disguises) if self.disguises else "",
        )
        return " ".join(part for part in parts if part)

    @property
    def command(self) -> str:
        """What repeats it."""
        return f"python -m tests.adversary.run stranger '{self}'"


def pair(text: str) -> Pair:
    """A pair as it is printed."""
    before, _, disguises = text.partition("|")
    first, *words = before.split()
    begin, _, numbers = first.partition(":")
    one, two = (int(number) for number in numbers.split(","))
    framed = words[:1] == ["framed"]
    structures = parsed(" ".join(words[framed:]))
    return Pair(begin, (one, two), structures, parsed(disguises), framed)


def drawn_pair(seed: int, *, trained: float = 0.4) -> Pair:
    """The pair of one seed; ``trained`` is the share of those that were."""
    draw = random.Random(seed)
    begin = "trained" if draw.random() < trained else draw.choice(UNTRAINED)
    numbers = draw.sample(range(POOL), 2) if begin == "trained" else [2 * seed, 2 * seed + 1]
    structures, disguises = (
        tuple(Step(draw.choice(names), draw.randrange(10**6)) for _ in range(draw.randint(*count)))
        for names, count in ((tuple(STRUCTURES), (1, 2)), (DISGUISES, (0, 2)))
    )
    framed = draw.random() < 0.2
    return Pair(begin, (numbers[0], numbers[1]), structures, disguises, framed)


def tried(bench: Bench, what: Pair) -> tuple[Finding, Pair]:
    """What is found of a pair, and the pair with the disguises that could be made."""
    candidate, reference = (
        _begun(bench, what.begin, number, role)
        for role, number in zip(ROLES, what.numbers, strict=True)
    )
    for step in what.structures:
        structure = STRUCTURES[step.name]
        candidate, reference = (
            replace(side, model=structure(side.model, step.seed)) for side in (candidate, reference)
        )
    made: tuple[Step, ...] = ()
    if what.framed and _alike(candidate, reference):
        model = transforms.add_decoys(candidate.model, reference.model, what.numbers[0])
        candidate = replace(candidate, model=model)
    candidate, made = composed(candidate, what.disguises, corpus.text(*TEXT))
    other = bench.saved(reference)
    try:
        return bench.found(candidate, other), replace(what, disguises=made)
    finally:
        bench.forget(other)


def _alike(one: Case, other: Case) -> bool:
    return one.model.config.hidden_size == other.model.config.hidden_size


@functools.cache
def _tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    return train_tokenizer(replace(TOKENIZER, vocabulary=vocabulary))


def _begun(bench: Bench, begin: str, number: int, role: Role) -> Case:
    if begin == "trained":
        return loaded(bench.base(100 + number))
    unlike = begin == "unlike" and role == "candidate"
    tokenizer = _tokenizer(BYTES if unlike or begin == "bytes" else TOKENIZER.vocabulary)
    model = tiny_llama(
        number + 10_000,
        vocab_size=len(tokenizer),
        hidden_size=48 if unlike else 32,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return Case.of(model, tokenizer)


def smallest(what: Pair, still: Callable[[Pair], bool]) -> Pair:
    """The pair without everything that it does as well without."""
    for name in ("disguises", "structures"):
        for step in getattr(what, name):
            rest = replace(what, **{name: tuple(s for s in getattr(what, name) if s is not step)})
            what = rest if still(rest) else what
    rest = replace(what, framed=False)
    return rest if what.framed and still(rest) else what
