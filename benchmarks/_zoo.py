"""Small models trained independently of each other, and their descendants, kept in a folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import AutoTokenizer

from provenance._quiet import quiet
from provenance.inputs import corpus
from provenance.recipes import CODE_VERSION, Recipe
from provenance.recipes.build import build
from provenance.recipes.settings import CorpusSettings, TokenizerSettings, TrainSettings
from provenance.recipes.steps import Initialise, Step, Train

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

_SECONDS = "seconds.txt"

CODE_TEXTS = 4
"""Disjoint training texts of code: code-0, code-1, ..."""


@dataclass(frozen=True)
class Scale:
    """The size of the models, the length of their training, and the number of tokens that compare them."""

    hidden: int = 96
    units: int = 256
    blocks: int = 4
    steps: int = 200
    batch: int = 8
    length: int = 64
    vocabulary: int = 1024
    characters: int = 300_000
    tokens: int = 4096
    longest: int = 16_384


FULL = Scale()
SMALL = Scale(32, 64, 2, 40, 8, 32, 320, 60_000, 1024, 4096)


@dataclass(frozen=True)
class Member:
    """One model of the zoo. ``order`` is the seed that draws the batches."""

    name: str
    seed: int
    text: str
    order: int
    units: int
    hidden: int
    blocks: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """The hidden size, the units of a block, and the blocks."""
        return self.hidden, self.units, self.blocks


# text, order of the batches, units and hidden size (times the scale's), blocks (fewer than the scale's)
_TABLE: tuple[tuple[str, int, float, float, int], ...] = (
    ("code-0", 0, 1, 1, 0),  # the base of all descendants
    ("code-0", 0, 1, 1, 0),  # as the base in all but its initial weights
    ("code-0", 1, 1, 1, 0),
    ("code-1", 0, 1, 1, 0),
    ("prose", 0, 1, 1, 0),
    ("code-0", 0, 1.5, 1, 0),
    ("code-2", 2, 1.5, 1, 1),
    ("code-0", 0, 1, 1, 1),
    ("code-0", 0, 1, 1.5, 0),
    ("prose", 3, 1, 1, 0),
    ("code-1", 1, 1.5, 1, 0),
    ("code-0", 0, 2, 1, 1),
    ("code-0", 0, 1, 1, 0),
    ("code-3", 4, 1, 1, 0),
    ("code-1", 0, 1, 1.5, 1),
    ("code-0", 5, 1, 1, 0),
)


# units and hidden size (times the scale's), blocks (fewer than the scale's)
_SHAPES: tuple[tuple[float, float, int], ...] = ((1, 1, 0), (4 / 3, 1, 0), (1, 1.5, 1))


def members(count: int, scale: Scale) -> tuple[Member, ...]:
    """Return the first ``count`` models; past the table it begins again, with other seeds."""
    rows = (_TABLE[index % len(_TABLE)] for index in range(count))
    return tuple(
        _member(f"m{index:02}", index, text, order, shape, scale)
        for index, (text, order, *shape) in enumerate(rows)
    )


def twins(count: int, scale: Scale) -> tuple[Member, ...]:
    """Return models of three shapes in turn; those of one shape differ in their initial weights alone."""
    return tuple(
        _member(f"s{index:02}", index, "code-0", 0, _SHAPES[index % len(_SHAPES)], scale)
        for index in range(count)
    )


def _member(
    name: str, seed: int, text: str, order: int, shape: Sequence[float], scale: Scale
) -> Member:
    units, hidden, fewer = shape
    return Member(
        name,
        seed=seed,
        text=text,
        order=order,
        units=int(units * scale.units),
        hidden=int(hidden * scale.hidden),
        blocks=scale.blocks - int(fewer),
    )


class Zoo:
    """Checkpoints in a folder, each made once: a second run with the same settings loads them."""

    def __init__(self, folder: Path, scale: Scale) -> None:
        self.folder = folder.resolve()
        self.scale = scale
        self.made = 0
        self.folder.mkdir(parents=True, exist_ok=True)
        self._texts = _write_texts(self.folder / f"texts-{scale.characters}", scale.characters)

    def text(self, name: str) -> CorpusSettings:
        """Return a training text; no model is trained on "held-out"."""
        return CorpusSettings(str(self._texts / f"{name}.txt"), self.scale.characters)

    def begin(self, member: Member) -> Initialise:
        """Return the step that draws the initial weights of a model."""
        scale = self.scale
        tokenizer = TokenizerSettings(
            scale.vocabulary, CorpusSettings(self.text("code-0").name, scale.characters // 3)
        )
        return Initialise(
            seed=member.seed,
            hidden=member.hidden,
            units=member.units,
            blocks=member.blocks,
            deviation=round(member.hidden**-0.5, 4),
            tokenizer=tokenizer,
        )

    def member(self, member: Member) -> Path:
        """Return the checkpoint of an independently trained model."""
        scale = self.scale
        settings = TrainSettings(scale.steps, scale.batch, scale.length, seed=member.order)
        steps = self.begin(member), Train(self.text(member.text), settings)
        return self.checkpoint(member.name, steps)

    def checkpoint(
        self,
        name: str,
        steps: tuple[Step, ...],
        parent: Path | None = None,
        others: Mapping[str, Path] | None = None,
    ) -> Path:
        """Return the folder of a checkpoint; make it by the steps if it is not there."""
        others = others or {}
        key = [steps, parent, sorted(others.items()), CODE_VERSION, torch.__version__]
        plain = repr(key).replace(str(self.folder), "")
        digest = hashlib.sha256(plain.encode()).hexdigest()[:12]
        target = next(self.folder.glob(f"*-{digest}"), self.folder / f"{name}-{digest}")
        if not target.exists():
            half = self.folder / f"half-{os.getpid()}"
            shutil.rmtree(half, ignore_errors=True)
            recipe = Recipe(name, name, 0, None if parent is None else parent.name, steps)
            begun = time.process_time()
            build(recipe, half, parent, None, others)
            (half / _SECONDS).write_text(f"{time.process_time() - begun:.1f}")
            half.rename(target)
            self.made += 1
        return target

    def seconds(self, checkpoint: Path) -> float:
        """Return the processor seconds that a checkpoint took to make, in whichever run that was."""
        return float((checkpoint / _SECONDS).read_text())

    def held_out(self, tokens: int, reader: Member | None = None) -> torch.Tensor:
        """Return ids of code that no model was trained on, int64 (tokens,); all members read it alike."""
        ids = tokenizer_of(self.member(reader or members(1, self.scale)[0]))
        text = corpus.text(self.text("held-out").name, self.scale.characters)
        return torch.tensor(ids.encode(text, add_special_tokens=False)[:tokens])


def tokenizer_of(folder: Path) -> PreTrainedTokenizerFast:
    """Load a checkpoint's tokenizer."""
    with quiet():
        return AutoTokenizer.from_pretrained(folder)


def _write_texts(folder: Path, characters: int) -> Path:
    """Cut the standard library's sources, in one order, into texts that share no character."""
    if folder.exists():
        return folder
    code = corpus.text("stdlib", characters * (CODE_TEXTS + 1), seed=1)
    pieces = [code[i * characters : (i + 1) * characters] for i in range(CODE_TEXTS + 1)]
    texts = {f"code-{i}": piece for i, piece in enumerate(pieces[:-1])}
    texts |= {"held-out": pieces[-1], "prose": corpus.text("topics", characters)}
    half = folder.with_name(f"half-{os.getpid()}")
    half.mkdir()
    for name, text in texts.items():
        (half / f"{name}.txt").write_text(text, encoding="utf-8")
    half.rename(folder)
    return folder
