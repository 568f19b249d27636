"""Attacks: what the author of a copy can do to it, so that it passes for independent."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from benchmarks._evasion import evade
from benchmarks._zoo import Scale, Zoo, members, tokenizer_of
from fixtures import transforms
from fixtures.recipes.distil import distil
from fixtures.recipes.retrain import retrain_mlp
from fixtures.recipes.steps import RetrainSettings
from provenance.inputs import corpus
from provenance.recipes.settings import TrainSettings
from provenance.recipes.steps import Train, load
from provenance.recipes.train import train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from transformers import PreTrainedModel

FULL = Scale(steps=1500, characters=450_000)


class Scene:
    """The reference, a fine-tune of it that is to be hidden, a stranger, and texts."""

    def __init__(self, folder: Path, scale: Scale) -> None:
        self.scale = scale
        zoo = Zoo(folder, scale)
        first, second = members(2, scale)
        self.paths = {"reference": zoo.member(first), "stranger": zoo.member(second)}
        settings = TrainSettings(scale.steps // 8, 8, scale.length, 1e-3, 10, seed=1)
        steps = (Train(zoo.text("code-1"), settings),)
        self.paths["copy"] = zoo.checkpoint("tuned", steps, self.paths["reference"])
        self.reference, self.stranger, self.copy = (
            load(self.paths[name]) for name in ("reference", "stranger", "copy")
        )
        tokenizer = tokenizer_of(self.paths["reference"])
        self.tokenizer = tokenizer
        text = corpus.text(zoo.text("code-1").name, scale.characters)
        self.tokens = torch.tensor(tokenizer.encode(text, add_special_tokens=False))
        self.held_out = zoo.held_out(scale.tokens)
        self._made: dict[tuple[object, ...], PreTrainedModel] = {}

    def once(self, key: tuple[object, ...], make: Callable[[], PreTrainedModel]) -> PreTrainedModel:
        """Return a copy of a model that several attacks begin with, trained for the first of them."""
        if key not in self._made:
            self._made[key] = make()
        return copy.deepcopy(self._made[key])

    def loss(self, model: PreTrainedModel) -> float:
        """Return the mean cross-entropy on held-out code, in nats a token."""
        ids = self.held_out[: len(self.held_out) // 128 * 128].view(-1, 128)
        with torch.no_grad():
            return float(model(input_ids=ids, labels=ids).loss)

    def training(self, steps: int, rate: float = 1e-3) -> TrainSettings:
        """Return the settings of further training."""
        return TrainSettings(steps, 8, self.scale.length, rate, 10, seed=5)

    @property
    def steps(self) -> int:
        """Steps of a thorough training."""
        return self.scale.steps


@dataclass(frozen=True)
class Attack:
    """One attack. One with ``bounds`` has a strength between them, chosen by what it costs the model."""

    kind: str
    make: Callable[[Scene, float], PreTrainedModel]
    bounds: tuple[float, float] | None = None
    random_ids: bool = False


def _fixed(kind: str, make: Callable[[Scene], PreTrainedModel], **more: bool) -> Attack:
    return Attack(kind, lambda scene, _: make(scene), **more)


def disguises() -> Iterator[Attack]:
    """Yield attacks with other weights and the same function."""
    changes: dict[str, Callable[[PreTrainedModel], PreTrainedModel]] = {
        "units permuted": lambda m: transforms.permute_mlp_units(m, 31),
        "up rows rescaled, signs flipped": lambda m: transforms.rescale_mlp(m, 32, signs=True),
        "heads permuted": lambda m: transforms.permute_heads(m, 33),
        "residual stream permuted": lambda m: transforms.permute_residual_stream(m, 34),
        "residual stream rotated": lambda m: transforms.rotate_residual_stream(m, 35),
        "norms folded": transforms.fold_norms,
        "norms rescaled": lambda m: transforms.rescale_norms(m, 36, signs=True),
        "all of these": all_disguises,
    }
    for kind, change in changes.items():
        yield _fixed(kind, lambda scene, change=change: change(scene.copy))


def all_disguises(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy with every disguise, one after the other."""
    model = transforms.permute_mlp_units(model, 31)
    model = transforms.rescale_mlp(model, 32, signs=True)
    model = transforms.permute_heads(model, 33)
    model = transforms.rotate_residual_stream(transforms.permute_residual_stream(model, 34), 35)
    return transforms.rescale_norms(model, 36, signs=True)


def paddings() -> Iterator[Attack]:
    """Yield attacks with more units and the same function."""
    idle = transforms.add_idle_units
    yield _fixed("units duplicated", lambda s: transforms.duplicate_units(s.copy))
    yield _fixed("units split in two", lambda s: transforms.split_units(s.copy, 41))
    yield _fixed("as many units of zeros", lambda s: idle(s.copy, 42, "zero"))
    yield _fixed("as many dead units", lambda s: idle(s.copy, 43, "dead"))
    yield _fixed("as many idle random units", lambda s: idle(s.copy, 44, "random"))
    yield _fixed("idle decoys", lambda s: transforms.add_decoys(s.copy, s.reference, 45))
    yield _fixed(
        "decoys in pairs that cancel",
        lambda s: transforms.add_decoys(s.copy, s.reference, 46, strength=1.0, jitter=0.0),
    )
    yield _fixed(
        "written otherwise by identities of SiLU", lambda s: transforms.rewrite_units(s.copy, 47)
    )
    yield _fixed(
        "written otherwise by identities of SiLU, then all disguises",
        lambda s: all_disguises(transforms.rewrite_units(s.copy, 47)),
    )
    yield _fixed(
        "units split in two, then all disguises",
        lambda s: all_disguises(transforms.split_units(s.copy, 41)),
    )
    yield _fixed(
        "idle decoys, then all disguises",
        lambda s: all_disguises(transforms.add_decoys(s.copy, s.reference, 45)),
    )


def dials() -> Iterator[Attack]:
    """Yield attacks that cost the model something, at any strength."""
    yield Attack(
        "Gaussian noise (deviations)",
        lambda s, x: transforms.add_noise(s.copy, 51, x),
        (0.01, 4.0),
    )
    yield Attack(
        "smallest weights zero (share)",
        lambda s, x: transforms.prune_magnitude(s.copy, x),
        (0.05, 0.99),
    )
    yield Attack(
        "random rank-8 update (deviations)",
        lambda s, x: transforms.lora_merge(s.copy, 52, 8, x),
        (0.01, 4.0),
    )
    yield Attack(
        "merge with a stranger (its share)",
        lambda s, x: transforms.merge_linear(s.copy, s.stranger, x),
        (0.01, 0.99),
    )
    yield Attack(
        "units split, gates jittered (deviations)",
        lambda s, x: transforms.split_units(s.copy, 53, scale=1.0, jitter=x),
        (0.01, 2.0),
    )
    yield Attack(
        "decoys that do something (deviations)",
        lambda s, x: transforms.add_decoys(s.copy, s.reference, 54, strength=x),
        (0.01, 10.0),
    )
    yield Attack(
        "decoys that nearly cancel (deviations)",
        lambda s, x: transforms.add_decoys(s.copy, s.reference, 55, strength=1.0, jitter=x),
        (0.01, 2.0),
    )
    yield Attack(
        "units split, gates jittered; residual stream rotated",
        lambda s, x: transforms.rotate_residual_stream(
            transforms.split_units(s.copy, 53, scale=1.0, jitter=x), 35
        ),
        (0.01, 2.0),
    )


def _swapped(scene: Scene, *, healed: int = 0) -> PreTrainedModel:
    """Replace half of the units by decoys, and train on for ``healed`` steps."""
    width = scene.copy.config.intermediate_size
    half = transforms.prune_width(scene.copy, width // 2)
    like = transforms.prune_width(scene.reference, width // 2)
    model = transforms.add_decoys(half, like, 61, strength=0.0)
    if healed:
        train(model, scene.tokens, scene.training(healed))
    return model


def _again(scene: Scene) -> PreTrainedModel:
    blocks = range(scene.copy.config.num_hidden_layers)
    settings = RetrainSettings(steps=scene.steps)
    return scene.once(("again",), lambda: retrain_mlp(scene.copy, scene.tokens, blocks, settings))


def _again_and_on(scene: Scene) -> PreTrainedModel:
    model = _again(scene)
    train(model, scene.tokens, scene.training(scene.steps // 4))
    return model


def trainings() -> Iterator[Attack]:
    """Yield attacks that need text and an accelerator."""
    yield _fixed("half of the units decoys, equal width", _swapped)
    yield _fixed(
        "the same, trained on for an eighth of the steps",
        lambda s: _swapped(s, healed=s.steps // 8),
    )
    yield _fixed("every MLP retrained from scratch", _again)
    yield _fixed("every MLP retrained, then all trained on", _again_and_on)
    yield _fixed(
        "every MLP retrained; residual stream rotated",
        lambda s: transforms.rotate_residual_stream(_again(s), 35),
    )
    for weight in (1.0, 10.0, 100.0):
        for on_random in (False, True):
            where = "random ids" if on_random else "text"
            yield _fixed(
                f"trained to evade on {where}, weight {weight:g}; residual stream rotated",
                lambda s, weight=weight, on_random=on_random: _evading(
                    s, weight, on_random=on_random
                ),
            )
    yield _fixed(
        "trained to evade on random ids, weight 10; rotated; judged on random ids",
        lambda s: _evading(s, 10.0, on_random=True),
        random_ids=True,
    )


def _evading(scene: Scene, weight: float, *, on_random: bool) -> PreTrainedModel:
    settings = scene.training(scene.steps // 4)
    sides = scene.copy, scene.reference
    evading = scene.once(
        ("evading", weight, on_random),
        lambda: evade(*sides, scene.tokens, settings, weight, on_random=on_random),
    )
    return transforms.rotate_residual_stream(evading, 35)


def independents() -> Iterator[Attack]:
    """Yield models that are independent, and must be called so."""
    yield _fixed(
        "distilled from the copy (independent by definition)",
        lambda s: distil(s.copy, 99, s.tokens, s.training(s.steps // 4, 3e-3)),
    )
    yield _fixed("a stranger", lambda s: copy.deepcopy(s.stranger))
    yield _fixed(
        "a stranger, units split and disguised",
        lambda s: all_disguises(transforms.split_units(s.stranger, 41)),
    )
    yield _fixed(
        "a stranger with decoys of the reference",
        lambda s: transforms.add_decoys(s.stranger, s.reference, 45),
    )
