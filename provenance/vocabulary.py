"""The words of the field and of the design, as types that need no heavy import.

A suite, a command line and a notebook all speak of the same few things: a model (`ModelSpec`), what
it is fed (`InputsSpec`), and what is claimed of a pair (`Relationship`).
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - part of a public dataclass
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, get_args

from provenance.errors import ProvenanceError

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

NEAREST: Literal["nearest"] = "nearest"
Expectation = Relationship | Literal["nearest"]
"""What a claim says: of one pair a relationship, or of many references that one of them is nearest."""
NO_KIN = "none"
"""In the place of the nearest reference: that none of them is kin."""
RELATIONSHIPS: tuple[str, ...] = get_args(Relationship)
DESCENTS = frozenset(RELATIONSHIPS) - {"independent", "unknown"}
SHAPE_KEEPING = frozenset({"finetune", "adapter", "quantized", "merge", "permuted", "identical"})
"""Descents that keep the number of blocks and the width of every MLP."""
MEASURED = (SHAPE_KEEPING | {"pruned"}) - {"identical"}
"""Descents whose kind is read off the difference of the weights."""
COPIES = (SHAPE_KEEPING | {"pruned"}) - {"merge"}
"""Descents whose blocks all come from the reference: a merge has other parents too."""
GIVEN_EXPECTATIONS = (
    *("derived", "finetune", "adapter", "quantized", "pruned", "permuted"),
    "independent",
)
"""What a claim may say of two models that is given a base of both."""

StatisticName = Literal[
    "csh",
    "csu",
    "csu_all",
    "generalized",
    "jsd",
    "kinship",
    "l2",
    "match",
    "match_cosine",
    "match_tokens",
    "match_weights",
    "mode_connectivity",
]
STATISTICS: tuple[str, ...] = get_args(StatisticName)
"""`provenance.statistics.REGISTRY` says what each is and needs."""
SAMPLED: tuple[StatisticName, ...] = ("kinship", "match_tokens", "match_weights")
"""Statistics with a part that is computed on some units of some blocks, read from weight files."""
SAMPLED_UNITS = 1024
"""Units of each of the candidate's MLPs that a sample has; they meet all of the reference's."""
FINGERPRINT_SUFFIX = ".safetensors"
TOKEN_FINGERPRINT_SIZE = 5_000_000
"""Bytes that a token fingerprint has at the most, unless its maker asks for more or fewer."""
"""Of the name of a fingerprint's file; a checkpoint is a folder."""
SKETCH = 256
"""Numbers that a fingerprint keeps of a unit and projection, by default."""
PERMUTATIONS = 99
"""PERMTEST's T by default, as in the paper: the least p-value is 1 / (T + 1)."""
BLOCK_LIMIT = 10_000
"""Most blocks of a model: building a larger one, or testing its blocks, would not end."""

DEFAULT_ALPHA = 1e-6
"""Significance level of a suite, a comparison and an audit."""
LEAST_ALPHA = 1e-300
"""Divided by the number of pairs it must stay a number above 0."""
MOST_ALPHA = 0.01
"""At more, strangers would often be called kin: at 0.999 any two models are."""
AN_ALPHA = (
    f"a number from {LEAST_ALPHA:g} to {MOST_ALPHA:g}, such as 1e-6 (at more than {MOST_ALPHA:g} too many "
    "strangers would be called kin)"
)
LEAST_SHARE = 0.1
"""Of a model's blocks that must show a descent: of fewer, a claim about the model says nothing."""
LEAST_SHARE_OF_COPY = 0.5
"""The same of a descent that keeps the blocks of its reference, all or those that were not cut out."""
Controls = Literal["all", "power", "none"]
"""Which controls a suite has: "power" alone is part of every comparison that finds nothing."""
DECIDED = -20.0
"""log10 p below which a cheap part of a statistic decides a block, so that no dearer one is measured. It is
far below any threshold of use, so that evidence does not depend on the claim. Where a claim's threshold is
lower, all parts are measured."""
DEFAULT_STATISTIC: StatisticName = "kinship"
DEFAULT_TOKENS = 4096
"""Token positions that a model is fed."""
PROBE_TOKENS = 256
"""Most token embeddings that MLPs are asked about: more make strangers alike (docs/calibration.md)."""
FEW_SHARED, FEW_EMBEDDED = "vocabularies share", "shared tokens have an embedding of their own"
"""Words of the reasons why MLPs could not be asked about tokens, by which evidence is judged later: the two
vocabularies, or what of them has embeddings, have too few in common."""
BLOCKS_OF_DIFFERENCE = 8
"""Blocks of two kin whose weights are compared number by number, by default: evenly spread."""
MOST_SHARE = 10.0
"""Of a parent in a merge, either way: task arithmetic has shares below 0 and above 1."""
SHARE_TOLERANCE = 0.02
"""How far the share of a merge's parent may be from what is claimed, by default."""
DEFAULT_SEQUENCE_LENGTH = 256
"""Token positions in a sequence."""
DEFAULT_SEED = 0
SEEDS = 2**32
"""Seeds are below it."""
"""Seed of all random choices. What concerns one pair is drawn from it and both models' digests."""


def check_alpha(alpha: float) -> float:
    """Return a significance level that tells strangers from kin.

    Raises
    ------
    ProvenanceError
        If it is no number from `LEAST_ALPHA` to `MOST_ALPHA`.
    """
    if not LEAST_ALPHA <= alpha <= MOST_ALPHA:
        raise ProvenanceError(f"alpha must be {AN_ALPHA}, not {alpha:g}")
    return alpha


@dataclass(frozen=True)
class Thresholds:
    """The threshold of a pair as a whole, and of its blocks: that of the pair, or one of their ``own``."""

    whole: float
    own: Mapping[int, float]

    def of(self, block: int) -> float:
        """The threshold of the candidate's block with this index."""
        return self.own.get(block, self.whole)

    @property
    def least(self) -> float:
        """The lowest of them."""
        return min(self.whole, *self.own.values()) if self.own else self.whole


Threshold = float | Thresholds
"""A p-value, in (0, 1): one for all, or some blocks with their own."""


def whole(threshold: Threshold) -> float:
    """Return the threshold of the pair as a whole."""
    return threshold.whole if isinstance(threshold, Thresholds) else threshold


Role = Literal["candidate", "reference"]
ROLES: tuple[Role, Role] = ("candidate", "reference")

Verdict = Literal["dependent", "independent", "not found", "inconclusive"]
"""What is decided of a pair. "not found": nothing distinguishes a sample of it from strangers, which is no
independence, since the rest was not looked at."""
Inconclusive = Literal["warn", "fail"]
KindCheck = Literal["measured", "any"]
"""Whether a claim of a kind of descent needs that kind to be seen in the weights, or any kinship does."""
Dtype = Literal["float32", "bfloat16", "float16"]
Disguise = Literal["all", "units"]

Extent = Literal["sampled", "files", "decided", "parts", "all"]
"""How much is measured of a pair. "decided": a block that a cheap part of a statistic decides is not
measured by a dearer one. "files": the parts that read weight files, in this way. "sampled": these, on some
units of a sample of blocks and experts, and nothing else. "parts": every part, on the likeliest partners
of each block. "all": every part, on every pair of blocks."""
Scope = Literal["whole", "sampled"]
"""What was looked at: whole, or sampled blocks and experts."""


NormKind = Literal["rms", "layer"]
"""A norm divides hidden states by their root mean square, or takes out their mean first."""
WITHOUT_NORM = "none"
"""What stands for the norm of MLPs that read the residual stream as it is."""


@dataclass(frozen=True)
class MLPNames:
    """The tensors of an MLP's projections, with ``{block}`` and ``{expert}`` in place of their numbers.

    Where one tensor has both, ``gate`` and ``up`` end in ``[:I]`` and ``[I:]``, or in ``[::2]`` and
    ``[1::2]``. A plain MLP has no gate.
    """

    up: str
    down: str
    gate: str | None = None


@dataclass(frozen=True)
class LayoutSpec:
    """What a person says of a model whose code is not run: which of its tensors are what.

    What is not said is found by names and shapes.

    Attributes
    ----------
    dense, shared, experts : MLPNames or None
        MLPs that take the place of those of their kind.
    norm : str or None
        The weight of the norm before the MLPs; `WITHOUT_NORM` where there is none.
    norm_kind, norm_offset
        What that norm does, and what it adds to its weight.
    embedding, router : str or None
        The table of tokens, and the matrix that chooses among experts.
    transposed : bool or None
        Whether matrices are stored as (in, out), where shapes leave that open.
    where : str or None
        File and line, for messages.
    """

    dense: MLPNames | None = None
    shared: MLPNames | None = None
    experts: MLPNames | None = None
    norm: str | None = None
    norm_kind: NormKind | None = None
    norm_offset: float | None = None
    embedding: str | None = None
    router: str | None = None
    transposed: bool | None = None
    where: str | None = field(default=None, compare=False)


COMPONENTS = ("vision", "audio", "projector", "language", "encoder", "decoder")
"""Parts of a model that have a name of their own, besides the paths of its modules."""


COMPONENT_TYPE = "component of "
"""Begins the type of a component, which transformers never knows: its code would build the whole."""


@dataclass(frozen=True)
class ModelSpec:
    """Where a model comes from: exactly one of ``recipe``, ``path``, ``repo`` and ``url``.

    Attributes
    ----------
    revision : str or None
        Belongs to ``repo``.
    dtype : str or None
        The type to load in. None: the checkpoint's own on a GPU, float32 on a CPU.
    blocks : int or None
        The number of transformer blocks, where the model is not there to be counted: a hub model that
        is not downloaded yet.
    disguised : str or None
        Names a copy of the model with the same function, made for a positive control. "units" permutes
        its hidden units; "all" changes its residual stream too.
    base : ModelSpec, str or None
        The model that an adapter belongs on, or the text that a person would write for it. None: the one
        that the adapter's configuration names.
    allow_pickle, trust_remote_code : bool
        Hold for this model's own files and for no other's.
    layout : LayoutSpec or None
        What is said of a model of a type that transformers does not know.
    component : str or None
        The part of the model that is meant: one of `COMPONENTS`, or the path of a module.
    """

    recipe: str | None = None
    path: str | None = None
    repo: str | None = None
    revision: str | None = None
    dtype: Dtype | None = None
    blocks: int | None = None
    disguised: Disguise | None = None
    url: str | None = None
    base: ModelSpec | str | None = None
    allow_pickle: bool = False
    trust_remote_code: bool = False
    layout: LayoutSpec | None = None
    component: str | None = None

    @property
    def source(self) -> str:
        """The spec as one word: ``recipe:quickstart/base``, ``path:./x``, ``repo:org/name@sha``."""
        if self.component is not None:
            return f"{replace(self, component=None).source}#{self.component}"
        if self.disguised is not None:
            kind = "disguised" if self.disguised == "all" else f"disguised-{self.disguised}"
            return f"{kind}:{replace(self, disguised=None).source}"
        if self.recipe is not None:
            return f"recipe:{self.recipe}"
        if self.path is not None:
            return f"path:{self.path}"
        if self.url is not None:
            return self.url
        return f"repo:{self.repo}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True)
class Memory:
    """How much memory may be used, in bytes.

    Attributes
    ----------
    working : int
        For what a model needs besides its weights, and for matching.
    resident : int or None
        A model whose weights take more is run block by block from disk. None: what the machine, or the
        GPU, has free besides ``working``.
    """

    working: int = 2 << 30
    resident: int | None = None


def parse_bytes(text: str) -> int:
    """A number of bytes as people write it: ``2GiB``, ``512 MB``, ``1000000``.

    Raises
    ------
    ProvenanceError
        If it is none.
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        raise ProvenanceError(f"{text!r} is no size in bytes: write 2GiB, or 512MB") from None


InputKind = Literal["text", "random", "hidden", "tokens"]


@dataclass(frozen=True)
class InputsSpec:
    """What the models are fed: ``tokens`` token positions in sequences of ``sequence_length``.

    Attributes
    ----------
    kind : str
        "text": tokenize ``text``. "random": draw ids uniformly from the vocabulary, as the paper does for
        its constrained statistics; no tokenizer is needed. "hidden": isotropic hidden states, and so the
        weights alone; no model is run, and `match` becomes `match_weights`. "tokens": the embeddings of
        tokens that both models share, at most `PROBE_TOKENS`; no model is run, and `match` becomes
        `match_tokens`.
    text : str
        "stdlib": the sources of Python's standard library. "topics": the prose of ``pydoc_data.topics``.
        Else the path of a UTF-8 file.
    """

    kind: InputKind = "text"
    text: str = "stdlib"
    tokens: int = DEFAULT_TOKENS
    sequence_length: int = DEFAULT_SEQUENCE_LENGTH
    seed: int = DEFAULT_SEED

    def within(self, *positions: int | None) -> InputsSpec:
        """The same, in sequences no longer than all tokens, and than models have ``positions`` for."""
        limits = [limit for limit in positions if limit is not None]
        return replace(self, sequence_length=min(self.sequence_length, self.tokens, *limits))


@dataclass(frozen=True)
class DistillSettings:
    """How an MLP is imitated by a gated one, on isotropic Gaussian hidden inputs (`generalized`).

    Attributes
    ----------
    width_factor : float
        Units of the proxy for each hidden dimension; one shape for both sides.
    steps, batch, learning_rate
        Of Adam, on fresh inputs at every step.
    input_scale : float
        Standard deviation of the Gaussian hidden inputs.
    held_out : int
        Fresh inputs on which the fit is measured; as many scale the outputs.
    least_fit : float
        Below this fit on either side nothing is judged: a poor imitation shows no kinship, which
        must not pass for independence.
    """

    width_factor: float = 4.0
    steps: int = 1500
    batch: int = 256
    learning_rate: float = 1e-2
    input_scale: float = 1.0
    held_out: int = 4096
    least_fit: float = 0.8

    def distribution(self) -> str:
        """The inputs of the distillation, in words."""
        return f"isotropic Gaussian hidden inputs of scale {self.input_scale:g}"

    def details(self) -> dict[str, float | int | str]:
        """The settings as evidence records them."""
        return {"distribution": self.distribution(), **asdict(self)}


Action = Literal[
    "audit",
    "identify",
    "make",
    "convert",
    "download",
    "load",
    "capture",
    "distil",
    "sketch",
    "match",
    "measure",
    "map",
    "exhibit",
    "wait",
]


@dataclass(frozen=True)
class StageNumber:
    """Which stage of how many some work is in; of the most there can be where it may end before."""

    number: int
    total: int
    at_most: bool = False

    def __str__(self) -> str:
        return f"stage {self.number} of {'up to ' if self.at_most else ''}{self.total}"


@dataclass(frozen=True)
class Stage:
    """Progress of long work: ``done`` of ``total`` steps of one action on one subject.

    ``number`` says which stage of a comparison it is, where that is known.
    """

    action: Action
    subject: str
    done: int = 0
    total: int = 0
    number: StageNumber | None = field(default=None, compare=False)
