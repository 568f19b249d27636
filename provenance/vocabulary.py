"""The words of the field and of the design, as types that need no heavy import.

A suite, a command line and a notebook all speak of the same few things: a model (`ModelSpec`), what
it is fed (`InputsSpec`), and what is claimed of a pair (`Relationship`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

Relationship = Literal[
    "independent",
    "finetune",
    "adapter",
    "quantized",
    "merge",
    "pruned",
    "permuted",
    "identical",
    "derived",
    "unknown",
]
"""What a suite claims of a (candidate, reference) pair, in the hub's model-card words for descent."""

RELATIONSHIPS: tuple[str, ...] = get_args(Relationship)
DESCENTS = frozenset(RELATIONSHIPS) - {"independent", "unknown"}
SHAPE_KEEPING = frozenset({"finetune", "adapter", "quantized", "merge", "permuted", "identical"})
"""Descents that keep the number of blocks and the width of every MLP."""

StatisticName = Literal[
    "csh",
    "csu",
    "csu_all",
    "jsd",
    "kinship",
    "l2",
    "match",
    "match_cosine",
    "match_weights",
    "mode_connectivity",
]
STATISTICS: tuple[str, ...] = get_args(StatisticName)
PAIR_STATISTICS = frozenset({"csu_all", "jsd", "l2", "mode_connectivity"})
"""Statistics of two whole models; the others are of two blocks."""
DISTANCES = frozenset({"l2", "mode_connectivity"})
"""Statistics without a null distribution of their own: PERMTEST gives them a p-value."""
WITHOUT_P = frozenset({"jsd"})
"""Statistics that no permutation moves: they have no p-value, and decide no claim."""
PERMUTATIONS = 99
"""PERMTEST's T where nothing is said, as in the paper: the least p-value is 1 / (T + 1)."""

Verdict = Literal["dependent", "independent", "inconclusive"]
Dtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class ModelSpec:
    """Where a model comes from: exactly one of ``recipe``, ``path``, ``repo`` and ``url``.

    ``revision`` belongs to ``repo``. ``dtype`` is the type to load in (None: the checkpoint's own
    on a GPU, float32 on a CPU). ``blocks`` states the number of transformer blocks where it cannot
    be read before the model is there (a hub model that is not downloaded yet). ``disguised`` is not
    the model but a copy of it with the same function, made on the spot: a positive control.

    ``base`` is what an adapter belongs on, if not what its own configuration names: a model, or the text
    that a person would write for one. ``allow_pickle`` and ``trust_remote_code`` hold for this model's own
    files and for no other's.
    """

    recipe: str | None = None
    path: str | None = None
    repo: str | None = None
    revision: str | None = None
    dtype: Dtype | None = None
    blocks: int | None = None
    disguised: bool = False
    url: str | None = None
    base: ModelSpec | str | None = None
    allow_pickle: bool = False
    trust_remote_code: bool = False

    @property
    def source(self) -> str:
        """The spec as one word: ``recipe:quickstart/base``, ``path:./x``, ``repo:org/name@sha``."""
        if self.disguised:
            return f"disguised:{replace(self, disguised=False).source}"
        if self.recipe is not None:
            return f"recipe:{self.recipe}"
        if self.path is not None:
            return f"path:{self.path}"
        if self.url is not None:
            return self.url
        return f"repo:{self.repo}" + (f"@{self.revision}" if self.revision else "")


InputKind = Literal["text", "random", "hidden"]


@dataclass(frozen=True)
class InputsSpec:
    """What the models are fed: ``tokens`` token positions in sequences of ``sequence_length``.

    ``kind`` "text" tokenizes ``text`` ("stdlib": the sources of Python's standard library;
    "topics": the prose of ``pydoc_data.topics``; else the path of a UTF-8 file); "random" draws ids
    uniformly from the vocabulary, as the paper does for its constrained statistics, and needs no
    tokenizer; "hidden" stands for isotropic hidden states, and so for the weights alone: no model is
    run, and `match` becomes `match_weights`.
    """

    kind: InputKind = "text"
    text: str = "stdlib"
    tokens: int = 4096
    sequence_length: int = 256
    seed: int = 0
