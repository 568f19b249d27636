"""Kin of the smallest pretrained model, as checkpoints in a folder, each made once by its recipe.

A change that keeps the function is checked: the kin's loss on code that nothing was fine-tuned on is its
parent's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from benchmarks._real_models import half_of
from benchmarks._zoo import tokenizer_of
from fixtures.pretrained import recipes
from provenance._quiet import quiet
from provenance.inputs import corpus
from provenance.recipes.build import build
from provenance.recipes.steps import load
from provenance.recipes.train import next_token_loss, one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KIN = recipes.KIN
KEEP = frozenset({"disguised", "rebranded", "renumbered", "respelled"})
"""Kin that have their parent's function."""

_HELD_OUT, _WINDOW = 4, 257
_TOLERANCE = 0.03
"""Nats a token by which rounding to bfloat16 may move the loss of a function that is kept."""


def name_of(recipe: str) -> str:
    """Return the name of a recipe's folder: what its name adds to the base's."""
    return recipe.removeprefix(f"{recipes.BASE}-").replace("-", "_")


def make(base: Path, folder: Path, report: Callable[[str], None]) -> None:
    """Make what the folder does not hold yet, and say each one's loss beside its parent's.

    Raises
    ------
    RuntimeError
        If a change that keeps the function moved the loss.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = {recipes.BASE: base}
    with one_thread(), quiet():
        for kin in KIN:
            target = places[kin.name] = folder / name_of(kin.name)
            if target.exists():
                continue
            parent, half = places[str(kin.parent)], half_of(target)
            build(kin, half, parent, others={other: places[other] for other in kin.others})
            before, after = loss(parent), loss(half)
            report(f"{target.name}: loss {after:.3f}, its parent's {before:.3f}")
            if target.name in KEEP and abs(after - before) > _TOLERANCE:
                raise RuntimeError(
                    f"{target.name} was to keep the function: {before:.3f} to {after:.3f}"
                )
            half.rename(target)


def loss(folder: Path) -> float:
    """Return the loss on the standard library's sources, in nats a token of the folder's tokenizer."""
    text = corpus.text("stdlib", 16_000)
    tokens = torch.tensor(tokenizer_of(folder).encode(text, add_special_tokens=False))
    with torch.no_grad():
        windows = tokens[: _HELD_OUT * _WINDOW].view(_HELD_OUT, _WINDOW)
        return next_token_loss(load(folder).eval(), windows).item()


def kin_in(folder: Path) -> Iterator[Path]:
    """Yield the kin that a folder holds, in the order in which they are made."""
    for name in (name_of(kin.name) for kin in KIN):
        if (folder / name).exists():
            yield folder / name
