"""The pairs on which tools are compared: a pretrained model, its kin, strangers, and what each pair is."""

from __future__ import annotations

import itertools
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks import _real_kin, _real_models
from benchmarks._zoo import tokenizer_of
from provenance._quiet import quiet
from provenance.inputs import corpus
from provenance.recipes.settings import TrainSettings
from provenance.recipes.train import next_token_loss, one_thread, optimise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TWIN = "twin"
"""A stranger of the base's own shape and tokenizer, trained here from weights of its own."""

TRAINING = TrainSettings(steps=60, batch=4, length=128, learning_rate=1e-3, warmup=6)
SEED = 20_250_217

WHAT = {
    "finetuned": "fine-tuned on other text",
    "disguised": "units permuted and rescaled, norms folded, residual stream rotated",
    "rebranded": "no training: units permuted and rescaled, norms folded, residual stream rotated",
    "sibling": "fine-tuned on code",
    "gguf4": "read from a GGUF file, Q4_0",
    "gguf8": "read from a GGUF file, Q8_0",
    "bits3": "linear maps rounded to 3 bits",
    "narrow": "a third of the units of each MLP removed",
    "shallow": "6 of 30 blocks removed",
    "deep": "18 blocks repeated, 48 in all",
    "added_tokens": "64 tokens added",
    "renumbered": "tokens renumbered, residual stream rotated",
    "lora": "fine-tuned by a low-rank adapter, merged into the weights",
    "merged": "the mean of two fine-tunes",
    "upcycled": "each MLP copied into experts of a mixture",
    "respelled": "tokens renumbered and spelled otherwise, residual stream rotated",
    "bits8": "linear maps rounded to 8 bits",
    TWIN: "same shape and tokenizer, own initial weights",
}
"""What a candidate is to the base, for those that are made here."""


@dataclass(frozen=True)
class Pair:
    """A candidate and a reference, both folders, and their truth by how they were made."""

    candidate: Path
    reference: Path
    truth: Literal["kin", "strangers"]

    @property
    def name(self) -> str:
        """The pair's name on the command line and of its results."""
        return f"{self.candidate.name}-{self.reference.name}"

    @property
    def what(self) -> str:
        """What the candidate is to the reference."""
        if self.truth == "strangers" and self.candidate.name != TWIN:
            family = {
                folder.name.rstrip("0123456789") for folder in (self.candidate, self.reference)
            }
            return "another maker" if len(family) > 1 else "another size of one family"
        return WHAT.get(self.candidate.name, "another change")


def pairs(models: Path, twins: Path) -> Iterator[Pair]:
    """Yield the pairs of the models that a folder of `benchmarks.real` holds, kin first.

    All in its ``kin`` are the base's kin, whoever made them.
    """
    base = models / _real_models.BASE
    for kin in _all_kin(models / "kin"):
        yield Pair(kin, base, "kin")
    strangers = [models / name for name in _real_models.STRANGERS if (models / name).exists()]
    for stranger in (*(twin for twin in (twins / TWIN,) if twin.exists()), *strangers):
        yield Pair(stranger, base, "strangers")
    for a, b in itertools.combinations(strangers, 2):
        yield Pair(a, b, "strangers")


def _all_kin(folder: Path) -> list[Path]:
    """Return the kin that `benchmarks.real` makes, then others that somebody laid beside them."""
    made = list(_real_kin.kin_in(folder))
    laid = {file.parent for file in folder.glob("*/config.json")}
    return made + sorted(laid.difference(made))


def make_twin(base: Path, folder: Path, report: Callable[[str], None]) -> None:
    """Train a model of the base's configuration and tokenizer from other initial weights, once."""
    target = folder / TWIN
    if target.exists():
        return
    report(f"training {TWIN}")
    folder.mkdir(parents=True, exist_ok=True)
    with one_thread(), quiet(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        model = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(base), dtype=torch.float32
        )
        tokenizer = tokenizer_of(base)
        ids = tokenizer.encode(corpus.text("stdlib", 600_000), add_special_tokens=False)
        optimise(model, torch.tensor(ids), TRAINING, _loss)
        half = folder / f"half-{os.getpid()}"
        shutil.rmtree(half, ignore_errors=True)
        model.to(torch.bfloat16).save_pretrained(half)
        tokenizer.save_pretrained(half)
    half.rename(target)
    report(f"{TWIN}: trained for {TRAINING.steps} steps")


def _loss(model: torch.nn.Module, windows: torch.Tensor) -> torch.Tensor:
    """Return the loss with products in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        return next_token_loss(model, windows)
