"""Recipes as data, and the table of them by name, which a suite's conftest.py can extend."""

from __future__ import annotations

import functools
import hashlib
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from provenance._text import closest
from provenance.errors import SourceError
from provenance.recipes.steps import FirstStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provenance.recipes.settings import CorpusSettings
    from provenance.recipes.steps import Step

__all__ = ["CODE_VERSION", "RECIPES", "Recipe", "get", "register", "with_ancestors"]

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
        Name of the recipe whose result the steps begin with. None: the first step is a `FirstStep`, such
        as `Initialise`.
    steps
        What is done, in order.

    Raises
    ------
    ValueError
        If the recipe has neither a parent nor a `FirstStep`, or both, or a parent and no step.
    """

    name: str
    description: str
    blocks: int
    parent: str | None
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        begins = [isinstance(step, FirstStep) for step in self.steps]
        if not begins or begins != [self.parent is None] + [False] * (len(begins) - 1):
            raise ValueError(
                f"recipe {self.name!r} must begin with Initialise or another FirstStep, and once, if it "
                "has no parent, and have at least one other step if it has one"
            )

    @property
    def others(self) -> tuple[str, ...]:
        """Names of the recipes besides the parent whose models the steps need, each once."""
        return tuple(dict.fromkeys(name for step in self.steps for name in step.needs))

    @property
    def ancestors(self) -> tuple[str, ...]:
        """Names of the recipes whose models must be there first: the parent, then the others."""
        return (*([] if self.parent is None else [self.parent]), *self.others)

    def fields(self) -> dict[str, Any]:
        """Return everything that determines the result, as JSON, without importing torch.

        It holds the digests of the texts, because distributions patch their standard library.

        Raises
        ------
        InputError
            If a text that the recipe needs is not there.
        SourceError
            If there is no recipe of an ancestor's name.
        """
        return {
            "name": self.name,
            "steps": [_plain(step) for step in self.steps],
            "texts": [_digest(text) for text in self.texts()],
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
        return tuple(text for step in self.steps for text in step.texts)


_recipes: dict[str, Recipe] = {}

RECIPES: Mapping[str, Recipe] = MappingProxyType(_recipes)
"""Every recipe by name: those of the quickstart, then the registered ones."""


def register(recipes: Iterable[Recipe]) -> None:
    """Add recipes to `RECIPES`; a second registration of the same recipe changes nothing.

    Raises
    ------
    ValueError
        If another recipe of the same name is there, or an ancestor is neither there nor among the
        recipes.
    """
    table = dict(RECIPES)
    for recipe in recipes:
        if table.setdefault(recipe.name, recipe) != recipe:
            raise ValueError(f"two different recipes are called {recipe.name!r}")
    for recipe in table.values():
        for name in recipe.ancestors:
            if name not in table:
                raise ValueError(
                    f"recipe {recipe.name!r} needs {name!r}, and no recipe is called so"
                )
    _recipes.update(table)


def get(name: str) -> Recipe:
    """Return a recipe by name.

    Raises
    ------
    SourceError
        If no recipe has that name; the message lists them, the likeliest first.
    """
    if name in RECIPES:
        return RECIPES[name]
    near = closest(name, RECIPES)
    hint = f" did you mean {near!r}?" if near else ""
    raise SourceError(
        f"no recipe is called {name!r};{hint} recipes are: {', '.join(RECIPES)}; "
        "a suite's conftest.py can register more"
    )


def with_ancestors(names: Iterable[str]) -> tuple[Recipe, ...]:
    """Return the known recipes among these names and all their ancestors, each once."""
    found: dict[str, Recipe] = {}
    waiting = [name for name in names if name in RECIPES]
    while waiting:
        recipe = RECIPES[waiting.pop()]
        found[recipe.name] = recipe
        waiting.extend(name for name in recipe.ancestors if name not in found)
    return tuple(found.values())


def _plain(step: Step) -> dict[str, Any]:
    """Return a step's class and fields as JSON would give them back: lists, not tuples."""
    kind = f"{type(step).__module__}.{type(step).__qualname__}"
    values = asdict(step)  # type: ignore[call-overload]
    return {"step": kind, **{key: _listed(value) for key, value in values.items()}}


def _listed(value: Any) -> Any:
    return [_listed(each) for each in value] if isinstance(value, tuple) else value


@functools.lru_cache(maxsize=16)
def _digest(text: CorpusSettings) -> str:
    return hashlib.sha256(text.read().encode()).hexdigest()
