"""The same changes of a pretrained model, made on the way and not kept."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM

from benchmarks._curve_changes import brief
from benchmarks._curve_judge import HELD_OUT, LENGTH, Judged, compared, judged, likeness, loss
from benchmarks._real_models import BASE
from benchmarks._zoo import tokenizer_of
from fixtures import transforms
from provenance.inputs import corpus
from provenance.recipes.steps import load
from provenance.vocabulary import DEFAULT_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transformers import PreTrainedModel

    from benchmarks._curve_changes import Size
    from benchmarks._curve_judge import Kept
    from provenance.vocabulary import StatisticName

    Change = Callable[[PreTrainedModel], PreTrainedModel]

OF_WEIGHTS: tuple[StatisticName, ...] = ("match_tokens", "match_weights")
WINDOWS = 4
SEED = 1
NAMES = {BASE: "SmolLM2-135M"}
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class RealCurve:
    """One kind of change of a pretrained model; see `benchmarks._curve_changes.Curve`."""

    picture: str
    series: str
    population: str
    changes: dict[str, Change]


def real_curves(size: Size, name: str) -> Iterator[RealCurve]:
    """Yield the curves of a model of that name."""
    merged = {
        brief(share): lambda model, share=share: transforms.merge_linear(
            model, _untrained(model), 1 - share / 100
        )
        for share in size.merged
        if share
    }
    sentence = f"{name} and its merge with random weights of its shape, {{}} % of it in the merge"
    yield RealCurve("merging", name, sentence, merged)
    sparse = {
        brief(kept): lambda model, kept=kept: transforms.prune_magnitude(model, 1 - kept / 100)
        for kept in size.weights
    }
    sentence = f"{name} and itself with the largest {{}} % of the weights, the others zero"
    yield RealCurve("pruning", f"{name}, weights by magnitude", sentence, sparse)
    noisy = {
        brief(noise): lambda model, noise=noise: transforms.add_noise(model, SEED, noise)
        for noise in size.noises
    }
    sentence = f"{name} and itself with noise of {{}} standard deviations on every matrix"
    yield RealCurve("noise", name, sentence, noisy)


def _untrained(model: PreTrainedModel) -> PreTrainedModel:
    """Return a model of the same shape with weights drawn anew: a stranger that was never trained."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        drawn: PreTrainedModel = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32)
    return drawn


class RealModel:
    """A pretrained checkpoint, its weights in float32, and the text that losses are measured on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.name = NAMES.get(folder.name, folder.name)
        self._model = load(folder).eval()
        text = corpus.text("stdlib", 16_000)
        ids = tokenizer_of(folder).encode(text, add_special_tokens=False)
        self._ids = torch.tensor(ids[: WINDOWS * LENGTH])
        self.loss = loss(self._model, self._ids)
        self.vocabulary = int(self._model.config.vocab_size)

    def judge(self, curve: RealCurve, strength: str, kept: Kept) -> Judged:
        """Change the model, and compare the result with it by the weight files alone."""
        place = curve.picture, curve.series, strength, self.name
        return kept.once("/".join(place), lambda: self._judge(curve.changes[strength], place))

    def _judge(self, change: Change, place: tuple[str, str, str, str]) -> Judged:
        with tempfile.TemporaryDirectory() as scratch:
            changed = change(self._model).eval()
            folder = Path(scratch)
            changed.save_pretrained(folder)
            for name in _TOKENIZER:
                shutil.copyfile(self.folder / name, folder / name)
            losses = {HELD_OUT: loss(changed, self._ids)}
            alike = likeness(changed, self._model)
            del changed
            evidence, found = compared(
                folder, self.folder, DEFAULT_TOKENS, OF_WEIGHTS, extent="files"
            )
        return judged(place, evidence, found, losses, alike)
