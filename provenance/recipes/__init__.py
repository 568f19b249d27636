"""Small real models, made on the spot from text that every Python has.

* In: a recipe's name in a suite or on a command line.
* Out: `build.build` writes a checkpoint folder like any other.

A `Recipe` is data: the steps that make a checkpoint from nothing, or from its parent's. Open `quickstart`
first, then `steps`. A suite's conftest.py adds recipes through the hook ``pytest_provenance_recipes``,
which hands them to `register`. This package imports no torch before a model is made.
"""

from provenance.recipes.quickstart import QUICKSTART
from provenance.recipes.recipe import (
    CODE_VERSION,
    RECIPES,
    Recipe,
    get,
    register,
    with_ancestors,
)
from provenance.recipes.settings import CorpusSettings, TokenizerSettings, TrainSettings
from provenance.recipes.steps import (
    Context,
    FirstStep,
    Initialise,
    Step,
    TokenizerStep,
    Train,
    Transform,
)

__all__ = [
    "CODE_VERSION",
    "RECIPES",
    "Context",
    "CorpusSettings",
    "FirstStep",
    "Initialise",
    "Recipe",
    "Step",
    "TokenizerSettings",
    "TokenizerStep",
    "Train",
    "TrainSettings",
    "Transform",
    "get",
    "register",
    "with_ancestors",
]

register(QUICKSTART)
