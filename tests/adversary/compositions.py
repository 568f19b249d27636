"""Changes of a model that keep its function, and rows of them that are drawn at random.

A change is called by a name and a seed, written ``name:seed``. A composition is such a row, so that every
part of it can be made again by itself.
"""

from __future__ import annotations

import dataclasses
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fixtures import transforms
from fixtures.transforms.families import FAMILIES
from fixtures.transforms.widening import Mlp, widened
from provenance.errors import ArchitectureError
from provenance.inputs import corpus
from provenance.recipes.tokenizer import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from transformers import PreTrainedModel, PreTrainedTokenizerFast

TOLERANCE = torch.finfo(torch.float32).eps ** (1 / 3)
"""Of the logits, by their norm; `permute_traced_units` has the same."""

MOST = 12
"""Most times as many units as there were: more take long."""


@dataclass(frozen=True)
class Case:
    """A model with its tokenizer, the new id of each first one, and the tokens that are read otherwise."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    order: torch.Tensor
    traps: frozenset[int] = frozenset()

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Case:
        model.requires_grad_(requires_grad=False)
        return cls(model, tokenizer, torch.arange(len(tokenizer)))

    @property
    def units(self) -> int:
        return self.model.config.intermediate_size * getattr(
            self.model.config, "num_local_experts", 1
        )

    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        """What it says of tokens that are numbered as at first, in that order too."""
        with torch.no_grad():
            found = self.model(input_ids=self.order[ids], use_cache=False).logits
        return found[..., self.order]


@dataclass(frozen=True)
class Step:
    """One change, and the seed that draws its numbers."""

    name: str
    seed: int

    def __str__(self) -> str:
        return f"{self.name}:{self.seed}"


def parsed(text: str) -> tuple[Step, ...]:
    """The steps of a composition as it is printed."""
    return tuple(Step(name, int(seed)) for name, seed in (part.split(":") for part in text.split()))


def written(steps: Sequence[Step]) -> str:
    return " ".join(map(str, steps))


Change = "Callable[[Case, int], Case]"


def _of_model(change: Callable[[PreTrainedModel, int], PreTrainedModel]) -> Change:
    return lambda case, seed: dataclasses.replace(case, model=change(case.model, seed))


def _renumber(case: Case, seed: int) -> Case:
    if case.model.config.vocab_size != len(case.tokenizer):
        raise ArchitectureError("some ids have no token")
    model, tokenizer, order = transforms.renumber_vocabulary(case.model, case.tokenizer, seed)
    return dataclasses.replace(case, model=model, tokenizer=tokenizer, order=order[case.order])


def _set_traps(case: Case, seed: int) -> Case:
    """Some of the rarest tokens of the text that everybody knows; they are loud, or not much louder."""
    draw = random.Random(seed)
    traps, strength = draw.choice([4, 12, 24]), draw.choice([0.1, 0.3, 1.0, 3.0, 100.0])
    counts = encode(case.tokenizer, corpus.for_tokens("stdlib", 4096, 0))[:4096].bincount()
    there = (counts > 0).nonzero()[:, 0]
    rare = there[counts[there].argsort(stable=True)][: 2 * traps]
    chosen = rare[torch.randperm(len(rare), generator=_generator(seed))[:traps]]
    model = transforms.set_traps(case.model, seed, chosen.tolist(), strength=strength)
    old = {int(new): at for at, new in enumerate(case.order.tolist())}
    return dataclasses.replace(
        case, model=model, traps=case.traps | {old[int(token)] for token in chosen}
    )


def _add_idle_blocks(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    draw = random.Random(seed)
    places = draw.choices(range(model.config.num_hidden_layers + 1), k=draw.randint(1, 2))
    return transforms.add_idle_blocks(model, seed, places, draw.choice(["silent", "cancelling"]))


def _part_blocks(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    draw, blocks = random.Random(seed), range(model.config.num_hidden_layers)
    return transforms.part_blocks(model, seed, draw.sample(blocks, draw.randint(1, len(blocks))))


def _idle(kind: str) -> Change:
    return _of_model(
        lambda m, s: transforms.add_idle_units(
            m, s, kind, share=random.Random(s).choice([0.3, 1, 3])
        )
    )


def _decoys(**how: float) -> Change:
    """Decoys that imitate the model itself, whose units are the reference's."""
    return _of_model(lambda m, s: transforms.add_decoys(m, m, s, **how))


def _rewrite(share: float) -> Change:
    return _of_model(lambda m, s: transforms.rewrite_units(m, s, share=share))


def _upcycle(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    def padded(mlp: Mlp) -> Mlp:
        """Products of many experts at once want rows of 16 bytes."""
        zeros = mlp.up.new_zeros(-len(mlp.up) % 8, mlp.up.shape[1])
        return mlp + Mlp(zeros, zeros, zeros)

    experts = random.Random(seed).choice([2, 4])
    return transforms.upcycle(widened(model, padded), experts, seed)


def _family(family: str) -> Change:
    return _of_model(lambda m, s: transforms.as_family(m, family, s))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


CHANGES: Mapping[str, Change] = {
    # the same shapes
    "permute_units": _of_model(transforms.permute_mlp_units),
    "rescale_units": _of_model(lambda m, s: transforms.rescale_mlp(m, s, signs=True)),
    "permute_heads": _of_model(transforms.permute_heads),
    "permute_stream": _of_model(transforms.permute_residual_stream),
    "rotate_stream": _of_model(transforms.rotate_residual_stream),
    "rescale_stream": _of_model(transforms.rescale_stream),
    "fold_norms": _of_model(lambda m, s: transforms.fold_norms(m)),
    "rescale_norms": _of_model(lambda m, s: transforms.rescale_norms(m, s, signs=True)),
    "renumber": _renumber,
    # more units
    "duplicate": _of_model(lambda m, s: transforms.duplicate_units(m)),
    "split": _of_model(
        lambda m, s: transforms.split_units(m, s, scale=random.Random(s).choice([3.0, 10.0, 30.0]))
    ),
    "zero_units": _idle("zero"),
    "dead_units": _idle("dead"),
    "random_units": _idle("random"),
    "decoys": _decoys(),
    "cancelling_decoys": _decoys(strength=1.0, jitter=0.0),
    "rewrite": _rewrite(1.0),
    "rewrite_half": _rewrite(0.5),
    # more of all else
    "widen_stream": _of_model(
        lambda m, s: transforms.widen_stream(m, s, random.Random(s).choice([4, 16, 64]))
    ),
    "repeat_keys": _of_model(lambda m, s: transforms.repeat_keys(m)),
    "idle_blocks": _of_model(_add_idle_blocks),
    "part_blocks": _of_model(_part_blocks),
    "pad_vocabulary": _of_model(lambda m, s: transforms.pad_vocabulary(m, s, 64)),
    "traps": _set_traps,
    # other families
    **{f"as_{family}": _family(family) for family in FAMILIES},
    "upcycle": _of_model(_upcycle),
    "crumble": _of_model(
        lambda m, s: transforms.crumble(m, random.Random(s).choice([2, 8, 32]), s)
    ),
    "permute_any_units": _of_model(transforms.permute_traced_units),
    "permute_experts": _of_model(transforms.permute_experts),
}
"""Every change by its name: a case and a seed to a case. Some raise ArchitectureError for some models."""

TEXT = ("stdlib", 6000, 7)
"""What functions are compared on: its files are in another order than in training and in the test."""

LAST = re.compile(r"as_.*|upcycle|crumble|permute_any_units|permute_experts")
"""What is drawn for the end: hardly any change knows other families' parameters."""


def drawn(seed: int, most: int = 6) -> tuple[Step, ...]:
    """One to ``most`` changes in random order, in one of three followed by another family."""
    draw = random.Random(seed)
    first = [name for name in CHANGES if not LAST.fullmatch(name)]
    names = [draw.choice(first) for _ in range(draw.randint(1, most))]
    if draw.random() < 1 / 3:
        names.append(draw.choice([n for n in CHANGES if n.startswith("as_") or n in MIXTURES]))
        if names[-1] in MIXTURES and draw.random() < 0.5:
            names.append("permute_experts")
        elif draw.random() < 0.5:
            names.append("permute_any_units")
    return tuple(Step(name, draw.randrange(10**6)) for name in names)


MIXTURES = ("upcycle", "crumble")


def composed(case: Case, steps: Sequence[Step], text: str) -> tuple[Case, tuple[Step, ...]]:
    """Make the changes one after the other; return also those that were made.

    A change is left out that the model has no place for, that would make too many units, or that rounding
    does not survive: after it the logits for the text are no longer what they were, to `TOLERANCE`.
    """
    start, most, made = case, MOST * case.units, []
    for step in steps:
        try:
            changed = CHANGES[step.name](case, step.seed)
        except ArchitectureError:
            continue
        many = changed.units > most and step.name != "upcycle"
        if not many and distance(start, changed, text) <= TOLERANCE:
            case, made = changed, [*made, step]
    return case, tuple(made)


def distance(one: Case, other: Case, text: str) -> float:
    """How far two say different things of a text, as a share of what they say."""
    ids = encode(one.tokenizer, text)
    traps = torch.tensor(sorted(one.traps | other.traps), dtype=torch.int64)
    ids = ids[~torch.isin(ids, traps)][:256].view(4, -1)
    expected = one.logits(ids)
    return float((other.logits(ids) - expected).norm() / expected.norm())
