"""Small real models, made on the spot from text that every Python has.

A `Recipe` is data: the steps that make a checkpoint from nothing, or from its parent's. This
module imports no torch; `provenance.recipes.build.build` follows a recipe.

``quickstart/base`` and ``quickstart/other-seed`` have everything in common but the draw of their
initial weights: the same tokenizer, text and order of batches. By the definition of the paper
(arXiv 2502.12292) they are independent.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from provenance.errors import SourceError
from provenance.inputs import corpus
from provenance.recipes import families
from provenance.recipes.settings import (
    AddNoise,
    Beginning,
    CorpusSettings,
    Distil,
    Initialise,
    LoraSettings,
    MergeLinear,
    MergeSlerp,
    MergeTies,
    PermuteHeads,
    PermuteResidual,
    PermuteUnits,
    PruneDepth,
    PruneMagnitude,
    PruneWidth,
    RescaleNorms,
    RescaleUnits,
    RetrainMlp,
    RotateResidual,
    RoundTrip,
    Step,
    Train,
    TrainLora,
    TrainSettings,
    TransplantMlp,
    UpscaleDepth,
    named_in,
    read_by,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CODE_VERSION", "RECIPES", "Recipe", "get"]

CODE_VERSION = 1
"""Raised by hand when the code that follows recipes gives other weights for the same recipe."""

_PACKAGES = ("tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class Recipe:
    """How to make one checkpoint.

    Parameters
    ----------
    name
        As suites write it: ``quickstart/base``.
    description
        One line for people.
    blocks
        Transformer blocks of the result.
    parent
        Name of the recipe whose result the steps begin with. None: they begin with `Initialise`
        or `InitialiseFamily`.
    steps
        What is done, in order.
    """

    name: str
    description: str
    blocks: int
    parent: str | None
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        begins = [isinstance(step, Beginning) for step in self.steps]
        if not begins or begins != [self.parent is None] + [False] * (len(begins) - 1):
            raise ValueError(
                f"recipe {self.name!r} must begin with Initialise, and once, if it has no parent, "
                "and have at least one other step if it has one"
            )

    @property
    def others(self) -> tuple[str, ...]:
        """Names of the recipes besides the parent whose models the steps need, each once."""
        return tuple(dict.fromkeys(name for step in self.steps for name in named_in(step)))

    def fields(self) -> dict[str, Any]:
        """Return everything that determines the result, as JSON, without importing torch.

        The digests of the texts are in it, because distributions patch their standard library.

        Raises
        ------
        InputError
            If a text that the recipe needs is not there.
        """
        return {
            "name": self.name,
            "steps": [{"step": type(step).__name__, **_plain(step)} for step in self.steps],
            "texts": [_digest(settings) for settings in self.texts()],
            "parent": get(self.parent).fields() if self.parent else None,
            "others": [get(name).fields() for name in self.others],
            "code": CODE_VERSION,
            "versions": {
                "python": platform.python_version(),
                **{package: metadata.version(package) for package in _PACKAGES},
            },
        }

    def texts(self) -> tuple[CorpusSettings, ...]:
        """Return the texts that the steps read, in order."""
        texts = (read_by(step) for step in self.steps)
        return tuple(text for text in texts if text is not None)


def get(name: str) -> Recipe:
    """Return a recipe by name.

    Raises
    ------
    SourceError
        If there is none of that name; the message lists them, the likeliest first.
    """
    if name in RECIPES:
        return RECIPES[name]
    close = difflib.get_close_matches(name, RECIPES, n=1)
    hint = f" did you mean {close[0]!r}?" if close else ""
    raise SourceError(f"no recipe is called {name!r};{hint} recipes are: {', '.join(RECIPES)}")


def _plain(step: Step) -> dict[str, Any]:
    """Return a step's fields as JSON would give them back: lists, not tuples."""
    return {key: _listed(value) for key, value in asdict(step).items()}


def _listed(value: Any) -> Any:
    return [_listed(each) for each in value] if isinstance(value, tuple) else value


@functools.lru_cache(maxsize=16)
def _digest(settings: CorpusSettings) -> str:
    text = corpus.text(settings.name, settings.characters, settings.seed)
    return hashlib.sha256(text.encode()).hexdigest()


_CODE = CorpusSettings("stdlib", characters=600_000, seed=1)
_PROSE = CorpusSettings("topics", characters=440_000, seed=0)
_PRETRAINING = Train(_CODE, TrainSettings(steps=240))

_QUICKSTART = (
    Recipe(
        name="quickstart/base",
        description="A Llama of 1.1 million parameters, trained on the standard library's sources",
        blocks=4,
        parent=None,
        steps=(Initialise(seed=0), _PRETRAINING),
    ),
    Recipe(
        name="quickstart/finetuned",
        description="The base, trained on with prose",
        blocks=4,
        parent="quickstart/base",
        steps=(
            Train(
                _PROSE,
                TrainSettings(steps=200, batch=4, learning_rate=1e-3, warmup=10, seed=1),
            ),
        ),
    ),
    Recipe(
        name="quickstart/rebranded",
        description="The fine-tune in disguise: units and hidden dimension permuted and rescaled",
        blocks=4,
        parent="quickstart/finetuned",
        steps=(PermuteUnits(seed=11), RescaleUnits(seed=12), PermuteResidual(seed=13)),
    ),
    Recipe(
        name="quickstart/other-seed",
        description="All as for the base, but other initial weights",
        blocks=4,
        parent=None,
        steps=(Initialise(seed=1), _PRETRAINING),
    ),
    Recipe(
        name="quickstart/pruned",
        description="The base without a third of its units and its third block, then healed",
        blocks=3,
        parent="quickstart/base",
        steps=(
            PruneWidth(keep=256),
            PruneDepth(keep_blocks=(0, 1, 3)),
            Train(_CODE, TrainSettings(steps=40, learning_rate=5e-4, warmup=5, seed=2)),
        ),
    ),
)

_DISGUISES: Mapping[str, tuple[str, tuple[Step, ...]]] = {
    "units": ("MLP units in another order", (PermuteUnits(seed=21),)),
    "scales": ("up rows multiplied, down columns divided", (RescaleUnits(seed=22, signs=False),)),
    "signs": ("half of the up rows negated", (RescaleUnits(seed=23, low=1.0, high=1.0),)),
    "heads": ("attention heads in another order", (PermuteHeads(seed=24),)),
    "residual": ("hidden dimension in another order", (PermuteResidual(seed=25),)),
    "rotation": ("norms folded, hidden space rotated at random", (RotateResidual(seed=26),)),
    "norms": ("gains of norms multiplied, columns divided", (RescaleNorms(seed=27),)),
    "all": (
        "all disguises together",
        (
            PermuteUnits(seed=31),
            RescaleUnits(seed=32),
            PermuteHeads(seed=33),
            PermuteResidual(seed=34),
            RotateResidual(seed=35),
            RescaleNorms(seed=36),
        ),
    ),
}

_DISGUISED = tuple(
    Recipe(
        f"disguise/{name}", f"The fine-tune in disguise: {what}", 4, "quickstart/finetuned", steps
    )
    for name, (what, steps) in _DISGUISES.items()
)

_LORA = TrainSettings(steps=150, batch=4, learning_rate=2e-3, warmup=10, seed=3)

_LINEAGE = (
    Recipe(
        name="lineage/noise",
        description="The base, its weights noisy",
        blocks=4,
        parent="quickstart/base",
        steps=(AddNoise(seed=41, scale=0.1),),
    ),
    Recipe(
        name="lineage/int8",
        description="The base, rounded to 8 bits",
        blocks=4,
        parent="quickstart/base",
        steps=(RoundTrip(bits=8),),
    ),
    Recipe(
        name="lineage/int4",
        description="The base, rounded to 4 bits",
        blocks=4,
        parent="quickstart/base",
        steps=(RoundTrip(bits=4),),
    ),
    Recipe(
        name="lineage/magnitude",
        description="The base, the smallest half of its weights zero",
        blocks=4,
        parent="quickstart/base",
        steps=(PruneMagnitude(fraction=0.5),),
    ),
    Recipe(
        name="lineage/upscaled",
        description="The base, its two inner blocks doubled",
        blocks=6,
        parent="quickstart/base",
        steps=(UpscaleDepth(blocks=(0, 1, 2, 1, 2, 3)),),
    ),
    Recipe(
        name="lineage/transplant",
        description="A stranger to the base, with the MLP of the base's block 1",
        blocks=4,
        parent="quickstart/other-seed",
        steps=(TransplantMlp(other="quickstart/base", blocks=(1,)),),
    ),
    Recipe(
        name="lineage/merge",
        description="The fine-tune and the base, averaged",
        blocks=4,
        parent="quickstart/finetuned",
        steps=(MergeLinear(other="quickstart/base", weight=0.5),),
    ),
    Recipe(
        name="lineage/slerp",
        description="The fine-tune and the base, half-way along the arc",
        blocks=4,
        parent="quickstart/finetuned",
        steps=(MergeSlerp(other="quickstart/base", weight=0.5),),
    ),
    Recipe(
        name="lineage/lora",
        description="The base, fine-tuned with prose by a merged update of rank 8",
        blocks=4,
        parent="quickstart/base",
        steps=(TrainLora(_PROSE, LoraSettings(_LORA)),),
    ),
    Recipe(
        name="lineage/ties",
        description="What two fine-tunes of the base changed, merged by TIES",
        blocks=4,
        parent="quickstart/base",
        steps=(
            MergeTies(others=("quickstart/finetuned", "lineage/lora"), density=0.3, weight=1.0),
        ),
    ),
    Recipe(
        name="lineage/retrained",
        description="The base, the MLP of its block 1 learnt again from what it did",
        blocks=4,
        parent="quickstart/base",
        steps=(RetrainMlp(_CODE, blocks=(1,)),),
    ),
    Recipe(
        name="lineage/distilled",
        description="A student of the base's outputs, from weights of its own: no descendant",
        blocks=4,
        parent="quickstart/base",
        steps=(Distil(_CODE, seed=2, settings=TrainSettings(steps=120, batch=4)),),
    ),
)

_SECOND_FAMILY = (
    Recipe(
        name="family/chat",
        description="The base from the other seed, trained on with prose",
        blocks=4,
        parent="quickstart/other-seed",
        steps=(
            Train(
                _PROSE,
                TrainSettings(steps=120, batch=4, learning_rate=1e-3, warmup=10, seed=4),
            ),
        ),
    ),
    Recipe(
        name="family/rebranded",
        description="That fine-tune in disguise: units in another order, hidden space rotated",
        blocks=4,
        parent="family/chat",
        steps=(PermuteUnits(seed=51), RescaleUnits(seed=52), RotateResidual(seed=53)),
    ),
    Recipe(
        name="family/merge",
        description="That fine-tune and its base, averaged",
        blocks=4,
        parent="family/chat",
        steps=(MergeLinear(other="quickstart/other-seed", weight=0.5),),
    ),
)

_ARCHITECTURES = tuple(Recipe(*row) for row in families.rows())

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (*_QUICKSTART, *_DISGUISED, *_LINEAGE, *_SECOND_FAMILY, *_ARCHITECTURES)
    }
)
"""Every recipe by name; a parent stands before its children."""
