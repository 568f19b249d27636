"""Attempts to hide a copy: where it begins, and what is done to it."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provenance.inputs import corpus
from tests.adversary.bench import ACTIVATIONS, Bench, Finding, loaded
from tests.adversary.compositions import TEXT, Step, composed, drawn, parsed, written

if TYPE_CHECKING:
    from collections.abc import Callable

REFERENCE = 0
"""The seed of the reference's weights."""


@dataclass(frozen=True)
class Attempt:
    """A copy of the reference or of its fine-tune (``tuned``), and the changes that hide it."""

    activation: str
    tuned: bool
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return (
            f"{self.activation}/{'tuned' if self.tuned else 'base'} {written(self.steps)}".strip()
        )

    @property
    def command(self) -> str:
        """What repeats it."""
        return f"python -m tests.adversary.run copy '{self}'"


def attempt(text: str) -> Attempt:
    """An attempt as it is printed."""
    begin, _, steps = text.partition(" ")
    activation, _, which = begin.partition("/")
    return Attempt(activation, which == "tuned", parsed(steps))


def drawn_attempt(seed: int, activations: tuple[str, ...] = ACTIVATIONS) -> Attempt:
    """The attempt of one seed."""
    draw = random.Random(-1 - seed)
    return Attempt(draw.choice(activations), draw.random() < 0.5, drawn(seed))


def tried(bench: Bench, what: Attempt) -> tuple[Finding, Attempt]:
    """What is found of an attempt, and the attempt with the changes that were made."""
    base = bench.base(REFERENCE, what.activation)
    start = loaded(bench.tuned(REFERENCE, what.activation) if what.tuned else base)
    copy, made = composed(start, what.steps, corpus.text(*TEXT))
    return bench.found(copy, base), replace(what, steps=made)


def smallest(what: Attempt, still: Callable[[Attempt], bool]) -> Attempt:
    """The attempt without every change that it does as well without."""
    for step in what.steps:
        rest = replace(what, steps=tuple(other for other in what.steps if other is not step))
        if still(rest):
            what = rest
    return what
