"""Trained models to begin with, and what the default statistic finds of a pair."""

from __future__ import annotations

import functools
import itertools
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transformers import AutoModelForCausalLM, AutoTokenizer

from fixtures.models import save_checkpoint
from provenance._quiet import quiet
from provenance.comparison.executor import Executor
from provenance.comparison.plan import Comparison
from provenance.errors import ProvenanceError
from provenance.evidence.decide import aggregate, decide, decide_blocks
from provenance.recipes import Recipe
from provenance.recipes.build import build
from provenance.recipes.settings import CorpusSettings, TokenizerSettings, TrainSettings
from provenance.recipes.steps import Initialise, Train
from provenance.statistics.pvalues import bonferroni
from provenance.store.store import Store
from provenance.vocabulary import InputsSpec, ModelSpec
from tests.adversary.compositions import Case

if TYPE_CHECKING:
    from pathlib import Path

    from provenance.evidence.records import Evidence

THRESHOLD = 1e-6
INPUTS = InputsSpec(tokens=1024, sequence_length=128)
CODE = CorpusSettings("stdlib", characters=60_000, seed=1)
PROSE = CorpusSettings("topics", characters=20_000, seed=0)
TOKENIZER = TokenizerSettings(512, CorpusSettings(characters=40_000))
ACTIVATIONS = ("silu", "gelu_pytorch_tanh", "relu")


def base_recipe(seed: int, activation: str, blocks: int = 2, units: int = 96) -> Recipe:
    """The quickstart's base, smaller and trained for less long, with grouped heads."""
    configuration = {"hidden_act": activation, "num_key_value_heads": 2}
    begun = Initialise(
        seed,
        hidden=48,
        units=units,
        blocks=blocks,
        deviation=0.144,
        tokenizer=TOKENIZER,
        configuration=tuple(configuration.items()),
    )
    return Recipe(
        f"{activation}/{seed}/{blocks}/{units}",
        "",
        blocks,
        None,
        (begun, Train(CODE, TrainSettings(steps=60, warmup=10))),
    )


TUNED = (Train(PROSE, TrainSettings(steps=20, batch=4, learning_rate=1e-3, warmup=5, seed=1)),)


@dataclass(frozen=True)
class Finding:
    """What came out: the verdict, by whatever the numbers are worth, and by the numbers alone."""

    verdict: str
    numbers: str
    log10_p: float | None
    evidence: Evidence | None = None

    def __str__(self) -> str:
        p = "" if self.log10_p is None else f", log10 p {self.log10_p:.1f}"
        return f"{self.verdict} (by p-values alone {self.numbers}{p})"


class Bench:
    """A folder of models and a store, which are used again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")
        self._number = itertools.count()

    @functools.cache  # noqa: B019 - a bench lives as long as its folder
    def base(self, seed: int, activation: str = "silu", **shape: int) -> Path:
        """The folder of a trained model."""
        recipe = base_recipe(seed, activation, **shape)
        folder = self.folder / recipe.name.replace("/", "-")
        build(recipe, folder)
        return folder

    @functools.cache  # noqa: B019
    def tuned(self, seed: int, activation: str = "silu") -> Path:
        """The folder of a model that was trained on."""
        parent = self.base(seed, activation)
        folder = parent.with_name(f"{parent.name}-tuned")
        build(Recipe("tuned", "", 2, "base", TUNED), folder, parent)
        return folder

    def found(self, candidate: Case, reference: Path) -> Finding:
        """What the default statistic finds, all parts measured, as for a claim of independence."""
        folder = self.saved(candidate)
        try:
            return self.compared(folder, reference)
        finally:
            self.forget(folder)

    def saved(self, case: Case) -> Path:
        return save_checkpoint(
            case.model, self.folder / f"made-{next(self._number)}", case.tokenizer
        )

    @staticmethod
    def forget(folder: Path) -> None:
        shutil.rmtree(folder)

    def compared(self, candidate: Path, reference: Path) -> Finding:
        pair = Comparison.of(
            ModelSpec(path=str(candidate)),
            ModelSpec(path=str(reference)),
            INPUTS,
            "kinship",
            extent="parts",
        )
        try:
            evidence = Executor(self.store, "cpu").evidence(pair)
        except ProvenanceError as error:
            return Finding(f"refused: {error}", "refused", None)
        tested = [b.log10_p for b in evidence.blocks if b.log10_p is not None]
        combined = aggregate(evidence.blocks)
        least = None
        if combined is not None:
            least = bonferroni(min(combined, bonferroni(min(tested), len(tested))), 2)
        numbers = decide_blocks(evidence.blocks, THRESHOLD)
        return Finding(decide(evidence, THRESHOLD), numbers, least, evidence)


def loaded(folder: Path) -> Case:
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
    return Case.of(model, AutoTokenizer.from_pretrained(folder))
