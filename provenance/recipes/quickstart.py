"""The recipes that every installation has.

``quickstart/base`` and ``quickstart/other-seed`` have everything in common but the draw of their
initial weights: the same tokenizer, text and order of batches. By the definition of the paper
(arXiv 2502.12292) they are independent.
"""

from __future__ import annotations

from provenance.recipes.recipe import Recipe
from provenance.recipes.settings import CorpusSettings, TrainSettings
from provenance.recipes.steps import (
    Initialise,
    PermuteResidual,
    PermuteUnits,
    PruneDepth,
    PruneWidth,
    RescaleUnits,
    Train,
)

__all__ = ["CODE", "PROSE", "QUICKSTART"]

CODE = CorpusSettings("stdlib", characters=600_000, seed=1)
PROSE = CorpusSettings("topics", characters=440_000, seed=0)
_PRETRAINING = Train(CODE, TrainSettings(steps=240))

QUICKSTART = (
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
            Train(PROSE, TrainSettings(steps=200, batch=4, learning_rate=1e-3, warmup=10, seed=1)),
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
            Train(CODE, TrainSettings(steps=40, learning_rate=5e-4, warmup=5, seed=2)),
        ),
    ),
)
