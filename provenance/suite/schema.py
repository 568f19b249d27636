"""What a suite or a registry of models may say, as pydantic documents: the one source of checks and words.

Descriptions are what an editor shows as help. `Words` say what a value must be where its type does not say
it; `provenance.suite.messages` reads them. A rule that takes two fields is in `provenance.suite.rules`.
"""

import keyword
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import TypeAliasType

from provenance.suite.alphas import BLOCK_ALPHA_PATTERN
from provenance.vocabulary import (
    AN_ALPHA,
    BLOCK_LIMIT,
    DEFAULT_ALPHA,
    DEFAULT_SEED,
    DEFAULT_SEQUENCE_LENGTH,
    DEFAULT_STATISTIC,
    DEFAULT_TOKENS,
    LEAST_ALPHA,
    LEAST_SHARE,
    LEAST_SHARE_OF_COPY,
    MOST_ALPHA,
    MOST_SHARE,
    NEAREST,
    SEEDS,
    SHARE_TOLERANCE,
    Controls,
    Dtype,
    Expectation,
    Inconclusive,
    InputKind,
    KindCheck,
    NormKind,
    Relationship,
    StatisticName,
)

A_NAME = "made of letters, digits, '.', '_' and '-', and begin with a letter or digit"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
URL_PATTERN = r"^[a-z][a-z0-9]+:\S+$"
TAG_PATTERN = r"^[A-Za-z][A-Za-z0-9_]*$"
RESERVED_TAGS = (
    "filterwarnings",
    "parametrize",
    "relation",
    "skip",
    "skipif",
    "usefixtures",
    "xfail",
)
NO_REASON = ("", "yes", "no", "on", "off", "y", "n")
"""What YAML 1.1 would read as true or false: never why a pair is skipped."""

VERBATIM = frozenset(
    {
        *("revision", "candidate", "reference", "parents", "given", "repo", "path", "recipe"),
        *("id", "tags", "url", "base", "nearest", "among", "library"),
    }
)
"""Keys under which a plain scalar is text, whatever it looks like."""
NAMED = ("expect", "merge")
"""Where the keys are names of models: a number under ``base`` is a share there."""
REGISTRY_VERBATIM = VERBATIM | {"folder", "pair"}
"""The same keys of a registry."""

UNION_TAGS = (
    *("<all>", "<list>", "<share>", "<one>", "<several>", "<level>", "<levels>"),
    *("<word>", "<shares>", "<nearest>"),
)
_AS_WRITTEN = ["string", "number", "boolean"]


@dataclass(frozen=True)
class Words:
    """What a value must be, as a message says it.

    ``called`` names a value that has no key of its own; ``{key}`` in it is the key that it has.
    """

    must_be: str
    called: str = ""


def _check_tag(tag: str) -> str:
    if keyword.iskeyword(tag) or tag in RESERVED_TAGS:
        raise ValueError(tag)
    return tag


def _check_reason(reason: str) -> str:
    if reason.strip().lower() in NO_REASON:
        raise ValueError(reason)
    return reason


def _controls_of_bool(value: Any) -> Any:
    return ("none", "all")[value] if isinstance(value, bool) else value


WhichControls = Annotated[
    Controls,
    BeforeValidator(_controls_of_bool),
    WithJsonSchema({"enum": ["all", "power", "none", True, False]}),
    Words("all, power or none"),
]


def _kind_of_blocks(value: Any) -> str | None:
    if isinstance(value, list):
        return "<list>"
    if isinstance(value, dict):
        return "<share>"
    return "<all>" if value in ("all", "cross") else None


# An editor's YAML reader makes a number of `revision: 12345678`, which is text here.
Written = Annotated[str, Field(min_length=1), WithJsonSchema({"type": _AS_WRITTEN, "minLength": 1})]
Name = Annotated[
    str,
    Field(pattern=NAME_PATTERN),
    WithJsonSchema({"type": _AS_WRITTEN, "pattern": NAME_PATTERN}),
]
ModelName = Annotated[str, Field(pattern=NAME_PATTERN)]
TagName = Annotated[
    str,
    Field(pattern=TAG_PATTERN),
    AfterValidator(_check_tag),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": TAG_PATTERN,
            "not": {"enum": sorted({*RESERVED_TAGS, *keyword.kwlist})},
        }
    ),
    Words(
        "made of ASCII letters, digits and '_', begin with a letter, and be no word of Python's and "
        f"no mark of pytest's ({', '.join(RESERVED_TAGS)})",
        "a tag",
    ),
]
Reason = Annotated[str, Field(pattern=r"\S"), AfterValidator(_check_reason)]
# Not `Literal[1]`, which takes true and 1.0 for 1.
Version = Annotated[int, Field(ge=1, le=1), WithJsonSchema({"const": 1}), Words("1")]
_Level = Annotated[float, Field(ge=LEAST_ALPHA, le=MOST_ALPHA, allow_inf_nan=False)]
Alpha = Annotated[_Level, Words(AN_ALPHA)]
AlphasDocument = Annotated[
    Annotated[Alpha, Tag("<level>")]
    | Annotated[
        dict[str, Annotated[_Level, Words(AN_ALPHA, "alpha of {key}")]],
        Field(min_length=1),
        WithJsonSchema(
            {
                "type": "object",
                "minProperties": 1,
                "patternProperties": {
                    BLOCK_ALPHA_PATTERN: {
                        "type": "number",
                        "minimum": LEAST_ALPHA,
                        "maximum": MOST_ALPHA,
                    }
                },
                "additionalProperties": False,
            }
        ),
        Tag("<levels>"),
    ],
    Discriminator(lambda value: "<levels>" if isinstance(value, dict) else "<level>"),
]
BlockIndex = Annotated[int, Field(ge=0), Words("a whole number, 0 or more", "a block number")]


class StrictMapping(BaseModel):
    """A mapping of a file without unknown keys, whose values are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ShareDocument(StrictMapping):
    """A share of the blocks."""

    at_least: Annotated[float, Words(f"a number from {LEAST_SHARE:g} to 1, such as 0.9")] = Field(
        ge=LEAST_SHARE,
        le=1,
        allow_inf_nan=False,
        description=f"Share of the blocks that must show the claim: from {LEAST_SHARE:g} for a merge and "
        f"for derived, from {LEAST_SHARE_OF_COPY:g} for other descents.",
    )


BlocksDocument = Annotated[
    Annotated[Literal["all", "cross"], Tag("<all>")]
    | Annotated[
        list[BlockIndex],
        Field(min_length=1, json_schema_extra={"uniqueItems": True}),
        Tag("<list>"),
    ]
    | Annotated[ShareDocument, Tag("<share>")],
    Discriminator(_kind_of_blocks),
    Words("all, a list of block numbers such as [0, 1], {at_least: 0.9}, or cross"),
]


StatisticsDocument = Annotated[
    Annotated[StatisticName, Tag("<one>")]
    | Annotated[
        list[StatisticName],
        Field(min_length=1, json_schema_extra={"uniqueItems": True}),
        Tag("<several>"),
    ],
    Discriminator(lambda value: "<several>" if isinstance(value, list) else "<one>"),
]


Share = Annotated[
    float,
    Field(ge=-MOST_SHARE, le=MOST_SHARE, allow_inf_nan=False),
    Words(f"a number from {-MOST_SHARE:g} to {MOST_SHARE:g}, such as 0.6", "the share of {key}"),
]


class SharesDocument(StrictMapping):
    """A merge with the share of each of its parents."""

    merge: Annotated[
        dict[str, Share], Words("a mapping of models to shares, such as {a: 0.6, b: 0.4}")
    ] = Field(
        description="Names under models: with the share that each has in the candidate; the shares sum to "
        "1, as those of a linear merge do, and those of task arithmetic with the base among them.",
        json_schema_extra={"minProperties": 2, "propertyNames": {"pattern": NAME_PATTERN}},
    )


class NearestDocument(StrictMapping):
    """That one of many references is the candidate's nearest kin, or that none is kin."""

    nearest: Annotated[
        Written, Words("the name of a model under models:, of an entry of the library, or none")
    ] = Field(
        description="Which of the references is the nearest kin: a model of the suite, or an entry of the "
        "library. none: no reference is kin."
    )


def kind_of_expectation(value: object) -> str:
    """The branch of `ExpectDocument` that a value of ``expect`` is read as."""
    if not isinstance(value, dict):
        return "<word>"
    return "<shares>" if "merge" in value else "<nearest>"


ExpectDocument = Annotated[
    Annotated[Relationship, Tag("<word>")]
    | Annotated[SharesDocument, Tag("<shares>")]
    | Annotated[NearestDocument, Tag("<nearest>")],
    Discriminator(kind_of_expectation),
]


class InputsDocument(StrictMapping):
    """What the models are fed."""

    kind: InputKind = Field(
        "text",
        description="text: tokenized prose or source. random: ids drawn uniformly from the "
        "vocabulary, which needs no tokenizer. hidden: no model is run, weights alone are read. tokens: "
        "no model is run, MLPs are asked about the embeddings of shared tokens.",
    )
    text: Annotated[
        str, Field(min_length=1), Words("stdlib, topics, or a file relative to the suite")
    ] = Field(
        "stdlib",
        description="stdlib: sources of Python's standard library. topics: prose of Python's "
        "manual. Else a UTF-8 file, relative to the suite; ~ is the home folder.",
    )
    tokens: int = Field(DEFAULT_TOKENS, ge=16, le=10_000_000, description="Token positions in all.")
    sequence_length: int = Field(
        DEFAULT_SEQUENCE_LENGTH, ge=2, le=1_000_000, description="Token positions in a sequence."
    )
    seed: int = Field(
        DEFAULT_SEED,
        ge=0,
        lt=SEEDS,
        description="Seed of everything that is drawn at random; what concerns one pair alone is drawn "
        "from both models' digests too.",
    )


class Choices(StrictMapping):
    """What a pair may say for itself and `defaults` may say for all."""

    statistic: StatisticsDocument | None = Field(
        None,
        description="Statistic that is computed (kinship, or match where a side is a fingerprint, where "
        "nothing is said), or a list of them: "
        "each is then a claim of its own.",
    )
    permutations: (
        Annotated[
            int, Field(ge=19, le=100_000), Words("a whole number from 19 to 100000, such as 99")
        ]
        | None
    ) = Field(
        None,
        description="Random permutations of the reference for l2 and mode_connectivity (99, where "
        "nothing is said): the least p-value is 1 / (permutations + 1).",
    )
    alpha: Alpha | None = Field(
        None,
        description="Significance level of the file, 0.01 at the most (1e-6, where nothing is said); "
        "the threshold of a claim is this divided by the number of pairs.",
    )
    blocks: BlocksDocument | None = Field(
        None,
        description="Blocks that must show the claim: all (where nothing is said), a list of "
        "block numbers from 0, {at_least: 0.9}, or cross: all, each against every block of the "
        "reference, wherever it has been moved.",
    )
    inconclusive: Inconclusive | None = Field(
        None,
        description="What becomes of a claim that could be decided neither way: fail (where nothing is "
        "said), or warn.",
    )
    kind: KindCheck | None = Field(
        None,
        description="measured (where nothing is said): a claim of finetune, adapter, quantized, merge, "
        "pruned or permuted needs that kind to be seen in the weights. any: kinship and shapes will do.",
    )
    exhaustive: Annotated[bool, Words("true or false")] | None = Field(
        None,
        description="Measure every part of the statistic on every pair of blocks, though less decides "
        "the claim (false, where nothing is said).",
    )
    sample: (
        Annotated[int, Field(ge=1, le=BLOCK_LIMIT), Words("a whole number, such as 4")] | None
    ) = Field(
        None,
        description="Blocks of the candidate, and experts of each, that are compared, read in part from "
        "wherever the files lie (all, read whole, where nothing is said).",
    )
    scope: Annotated[Literal["sampled"], Words("sampled")] | None = Field(
        None,
        description="sampled: no more is claimed than of the sample. A claim of independence with a sample "
        "has to say so.",
    )
    tags: Annotated[list[TagName], Words("a list of words, such as [nightly, gpu]")] | None = Field(
        None, description="Marks of the tests, for pytest -m. A pair's own replace the defaults."
    )


class DefaultsDocument(Choices):
    """What holds for every pair that does not say otherwise."""


Pattern = Annotated[
    str,
    Field(min_length=1),
    Words('the name of a tensor, such as "model.layers.{block}.mlp.up_proj.weight"'),
]


class MLPDocument(StrictMapping):
    """The tensors of an MLP: {block} and {expert} stand for numbers."""

    gate: Pattern | None = Field(
        None,
        description="The projection that the activation is applied to; none of a plain MLP. It and up may "
        "end in [:I] and [I:], or [::2] and [1::2], where one tensor has both.",
    )
    up: Pattern = Field(description="The other projection of what the MLP is fed.")
    down: Pattern = Field(description="The projection back.")


class LayoutDocument(StrictMapping):
    """Which tensors are what, of a model of a type that transformers does not know."""

    gate: Pattern | None = Field(
        None,
        description="As of an MLP, {block} for the block's number: the weight of the gate; see shared for "
        "what all three of gate, up and down may be.",
    )
    up: Pattern | None = Field(None, description="The weight of the up projection.")
    down: Pattern | None = Field(None, description="The weight of the down projection.")
    shared: (
        Annotated[MLPDocument, Words("a mapping of gate, up and down to names of tensors")] | None
    ) = Field(None, description="The MLP beside the experts that every token goes through.")
    experts: (
        Annotated[MLPDocument, Words("a mapping of gate, up and down to names of tensors")] | None
    ) = Field(
        None,
        description="The experts: {expert} for their number where they are listed; none where one tensor "
        "stacks them.",
    )
    norm: Pattern | None = Field(
        None, description="The weight of the norm before the MLPs; none where they have none."
    )
    norm_kind: NormKind | None = Field(
        None, description="rms: over their root mean square. layer: their mean taken out first."
    )
    norm_offset: Annotated[float, Words("a number, such as 1")] | None = Field(
        None,
        ge=-10,
        le=10,
        allow_inf_nan=False,
        description="What the norm adds to its weight: 1 for Gemma, else 0.",
    )
    embedding: Pattern | None = Field(None, description="The table of tokens, a row for each.")
    router: Pattern | None = Field(
        None, description="The matrix that chooses among the experts, a row for each."
    )
    transposed: bool | None = Field(
        None,
        description="Whether matrices are stored as (in, out), where their shapes leave that open.",
    )


class ModelDocument(StrictMapping):
    """Where a model comes from: one of recipe, path, repo and url."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [source]} for source in ("recipe", "path", "repo", "url")],
            "dependentRequired": {"revision": ["repo"]},
        }
    )

    recipe: Annotated[Written, Words("the name of a recipe, such as quickstart/base")] | None = (
        Field(None, description="A small model made on the spot, such as quickstart/base.")
    )
    path: Annotated[Written, Words("a folder or file, as a text")] | None = Field(
        None,
        description="A folder of a checkpoint or of an adapter, a GGUF file, or a fingerprint, "
        "relative to the suite; ~ is the home folder.",
    )
    repo: Annotated[Written, Words("a repository of the hub, such as org/name")] | None = Field(
        None, description="A repository of the Hugging Face hub, such as meta-llama/Llama-2-7b-hf."
    )
    revision: Annotated[Written, Words("a commit, tag or branch, as a text")] | None = Field(
        None, description="Commit, tag or branch of the repo; a full commit pins the weights."
    )
    url: (
        Annotated[str, Field(pattern=URL_PATTERN), Words("an address such as s3://bucket/model")]
        | None
    ) = Field(
        None,
        description="A folder or GGUF file in an object store, such as s3://bucket/model; or a model "
        "elsewhere: oci://registry/model:tag, ollama:name:tag, models:/name/1 or modelscope:org/name.",
    )
    base: (
        Annotated[
            Written,
            Words("a name under models:, or a folder, repository, URL or recipe, as a text"),
        ]
        | None
    ) = Field(
        None,
        description="What an adapter is on, if not what its own configuration names: a name under "
        "models:, or a folder, repository, URL or recipe, as on the command line.",
    )
    allow_pickle: bool = Field(
        default=False,
        description="Read pickled weights where there are no safetensors, by torch's weights-only "
        "loader. Of this model alone.",
    )
    trust_remote_code: bool = Field(
        default=False,
        description="Run the code that the checkpoint brings, with your rights. Of this model alone.",
    )
    dtype: Dtype | None = Field(
        None, description="Type to load the weights in, if not the one that suits the device."
    )
    blocks: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Number of transformer blocks, for a model that is not downloaded yet."
    )
    component: Annotated[Written, Words("vision, audio, ..., or the path of a module")] | None = (
        Field(
            None,
            description="The part of the model that is meant: vision, audio, projector, language, encoder, "
            "decoder, or the path of a module, such as model.vision_tower.",
        )
    )
    layout: (
        Annotated[LayoutDocument, Words("a mapping of gate, up, down, ... to names of tensors")]
        | None
    ) = Field(
        None,
        description="Which of its tensors are what, of a model that transformers has no code of, where "
        "their names and shapes do not say so.",
    )


OF_ONE_PAIR = (
    *("reference", "blocks", "permutations", "kind", "sample", "scope"),
    *("parents", "tolerance", "given"),
)
"""Keys that a claim on many references does not have."""
OF_MANY = ("among", "library")
"""Keys that only such a claim has."""


_NO_KEY: dict[str, Any] = {"not": {}}
_OF_ONE: dict[str, Any] = {"expect": {"anyOf": [{"type": "string"}, {"required": ["merge"]}]}}
_OF_MANY: dict[str, Any] = {
    "expect": {"type": "object", "required": ["nearest"]},
    "alpha": {"type": "number"},
}


class PairDocument(Choices):
    """One claim: what the candidate is to the reference, or which of many is its nearest kin."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["reference"],
                    "properties": _OF_ONE | dict.fromkeys(OF_MANY, _NO_KEY),
                },
                {"properties": _OF_MANY | dict.fromkeys(OF_ONE_PAIR, _NO_KEY)},
            ]
        }
    )

    candidate: Annotated[Name, Words("the name of a model under models:")] = Field(
        description="A name under models: the model that is asked about."
    )
    reference: Annotated[Name, Words("the name of a model under models:")] | None = Field(
        None,
        description="A name under models: what it is compared with. Required, save by a claim of the "
        "nearest kin.",
    )
    expect: ExpectDocument = Field(
        description="What the candidate is to the reference. independent: trained from another "
        "start. derived: a descendant of any kind. unknown: report, claim nothing. {merge: {a: 0.6, "
        "b: 0.4}}: a merge in which these have these shares. {nearest: NAME}: of many references this one "
        "is its nearest kin."
    )
    among: (
        Annotated[
            list[Annotated[Name, Words("the name of a model under models:", "a reference")]],
            Field(min_length=1, json_schema_extra={"uniqueItems": True}),
            Words("a list of names under models:, such as [base, other]"),
        ]
        | None
    ) = Field(
        None,
        description="The references of a claim of the nearest kin: all other models of the suite, where "
        "neither this nor a library is given.",
    )
    library: Annotated[Written, Words("a folder, as a text")] | None = Field(
        None,
        description="A library, every fingerprint of which is a reference of a claim of the nearest kin: a "
        "folder, relative to the suite; ~ is the home folder.",
    )
    parents: (
        Annotated[
            list[Annotated[Name, Words("the name of a model under models:", "a parent")]],
            Words("a list of two models or more, such as [a, b]"),
        ]
        | None
    ) = Field(
        None,
        min_length=2,
        json_schema_extra={"uniqueItems": True},
        description="With expect: merge, names under models: all parents of the candidate, the reference "
        "among them; their shares are measured.",
    )
    tolerance: Annotated[float, Words("a number from 0 to 0.5, such as 0.05")] | None = Field(
        None,
        ge=0,
        le=0.5,
        allow_inf_nan=False,
        description="How far the share of a parent may be from what is claimed "
        f"({SHARE_TOLERANCE:g}, where nothing is said).",
    )
    given: Annotated[Name, Words("the name of a model under models:")] | None = Field(
        None,
        description="A name under models: a base that both descend from. The claim is then of what they "
        "share beyond it: more than siblings do, or, of independent, no more.",
    )
    alpha: AlphasDocument | None = Field(  # type: ignore[assignment]
        None,
        description="Significance level of the claim, 0.01 at the most; its threshold is this divided by "
        "the number of pairs. A mapping such as {0: 1e-9, default: 1e-6} has one for each block that it "
        "names.",
    )
    id: Annotated[Name, Words(A_NAME)] | None = Field(
        None, description="Name of the tests; <candidate>-vs-<reference>, where nothing is said."
    )
    skip: (
        Annotated[Reason, Words('a text that gives a reason, such as skip: "needs 80 GB"')] | None
    ) = Field(None, description="Do not test this pair; the text says why.")
    xfail: (
        Annotated[Reason, Words('a text that gives a reason, such as xfail: "issue 7"')] | None
    ) = Field(None, description="The claim is known to fail; the text says why.")

    @property
    def relationship(self) -> Expectation:
        """The word of ``expect``."""
        if isinstance(self.expect, SharesDocument):
            return "merge"
        return NEAREST if isinstance(self.expect, NearestDocument) else self.expect

    @property
    def nearest(self) -> str | None:
        """Which reference is claimed to be the nearest kin; None of a claim of one pair."""
        return self.expect.nearest if isinstance(self.expect, NearestDocument) else None

    @property
    def shares(self) -> Mapping[str, float | None]:
        """The parents that a merge is claimed of, with their shares where these are claimed."""
        if isinstance(self.expect, SharesDocument):
            return {**self.expect.merge}
        return dict.fromkeys(self.parents or ())


_A_TREE = "a mapping of names to what descends from them, such as base: {chat: {}, small: {}}"
Tree = TypeAliasType(  # type: ignore[misc] # it is recursive
    "Tree",
    Annotated[dict[ModelName, "Tree | None"], Words(_A_TREE, "what descends from {key}")],  # type: ignore[misc]
)

Models = Annotated[
    dict[
        ModelName,
        Annotated[
            ModelDocument,
            Words("a mapping such as {repo: org/name} or {path: ./folder}", "model {key}"),
        ],
    ],
    Words("a mapping of names to models, such as base: {repo: org/name}"),
]
Inputs = Annotated[InputsDocument, Words("a mapping such as {tokens: 4096}")]
_A_PAIR = "a mapping such as {candidate: chat, reference: base, expect: finetune}"


class SuiteDocument(StrictMapping):
    """Claims about the lineage of models, for pytest to test."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["pairs"]}, {"required": ["lineage"]}]}
    )

    version: Version = Field(description="Version of this format: 1.")
    inputs: Inputs = Field(default_factory=InputsDocument, description="What the models are fed.")
    defaults: Annotated[DefaultsDocument, Words("a mapping such as {alpha: 1e-6}")] = Field(
        default_factory=DefaultsDocument,
        description="What holds for every pair that does not say otherwise.",
    )
    controls: WhichControls = Field(
        default="power",
        description="power: where nothing is found, test some blocks of either model against disguised "
        "copies of themselves, which must be found. all (or true): beside the claims, also a disguised "
        "copy of every reference, which must be found dependent, and each pair's blocks that do not "
        "correspond, which must not. none (or false): neither.",
    )
    exhibits: Annotated[bool, Words("true or false")] = Field(
        default=False,
        description="Measure what people argue with in public besides: the report shows it beside what "
        "strangers have, and no verdict looks at it. Pairs that are compared by a sample have none.",
    )
    distances: Annotated[bool, Words("true or false")] = Field(
        default=False,
        description="Measure how far the weights of kin are apart, once one is mapped onto the other: "
        "families' trees are then drawn by distances. Pairs that are compared by a sample have none.",
    )
    models: Models = Field(
        description="Models by the names that the pairs use.",
        json_schema_extra={"propertyNames": {"pattern": NAME_PATTERN}},
    )
    lineage: Annotated[Tree, Words(_A_TREE)] = Field(
        default_factory=dict,
        description="Trees of models, each with what descends from it below it: every two models of "
        "one tree are claimed to be kin, every two of different trees independent.",
        json_schema_extra={"minProperties": 1},
    )
    pairs: Annotated[
        list[Annotated[PairDocument, Words(_A_PAIR, "a pair")]],
        Field(min_length=1),
        Words(f"a list of pairs, each {_A_PAIR}"),
    ] = Field(
        default_factory=list,
        description="The claims, one a pair; what is said here of two models stands, whatever the "
        "lineage says.",
    )


_AN_IGNORED = 'a mapping such as {pair: [chat, base], reason: "a mirror"}'


class IgnoreDocument(StrictMapping):
    """A pair of a registry that is not judged, and why."""

    pair: Annotated[
        list[Annotated[Written, Words("the name of a model", "a name in a pair")]],
        Field(min_length=2, max_length=2),
        Words("a list of two names of models, such as [chat, base]"),
    ]
    reason: Annotated[Reason, Words('a text, such as reason: "a mirror"')]


_AN_ALLOWED = 'a mapping such as {model: chat, reason: "not released yet"}'


class AllowDocument(StrictMapping):
    """A model of a registry whose pairs need not be judged, and why."""

    model: Annotated[Written, Words("the name of a model")]
    reason: Annotated[Reason, Words('a text, such as reason: "not released yet"')]


class RegistryDocument(StrictMapping):
    """Models, every pair of which is judged by an audit."""

    version: Version
    inputs: Inputs = Field(default_factory=InputsDocument)
    statistic: StatisticName = DEFAULT_STATISTIC
    alpha: Alpha = DEFAULT_ALPHA
    models: Models = Field(default_factory=dict)
    folder: Annotated[Written, Words("a folder, as a text")] | None = None
    exhaustive: bool = False
    control: bool = True
    distances: bool = False
    ignore: Annotated[
        list[Annotated[IgnoreDocument, Words(_AN_IGNORED, "an ignored pair")]],
        Words(f"a list of pairs, each {_AN_IGNORED}"),
    ] = Field(default_factory=list)
    allow: Annotated[
        list[Annotated[AllowDocument, Words(_AN_ALLOWED, "an allowed model")]],
        Words(f"a list of models, each {_AN_ALLOWED}"),
    ] = Field(default_factory=list)


class _Generator(GenerateJsonSchema):
    """JSON Schema in which what may be left out may not be null instead."""

    def nullable_schema(self, schema: Any) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> dict[str, Any]:
        made = super().default_schema(schema)
        if made.get("default", 0) is None:
            del made["default"]
        return made


def json_schema() -> dict[str, Any]:
    """Make the JSON Schema of a suite file."""
    schema = SuiteDocument.model_json_schema(schema_generator=_Generator)
    tree = {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]}  # here nothing may stand
    schema["$defs"]["Tree"] |= {
        "patternProperties": {NAME_PATTERN: tree},
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "provenance suite",
        "patternProperties": {"^x-": {"description": "Free: a place for anchors."}},
    }
