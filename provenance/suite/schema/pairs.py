"""What a suite may say of a pair: the claim, and how it is tested."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from provenance.suite.schema.words import (
    A_NAME,
    NAME_PATTERN,
    Alpha,
    AlphasDocument,
    BlockIndex,
    Name,
    Reason,
    StrictMapping,
    TagName,
    Words,
    Written,
)
from provenance.vocabulary import (
    BLOCK_LIMIT,
    LEAST_SHARE,
    LEAST_SHARE_OF_COPY,
    MOST_SHARE,
    NEAREST,
    SHARE_TOLERANCE,
    Expectation,
    Inconclusive,
    KindCheck,
    Relationship,
    StatisticName,
)


def _kind_of_blocks(value: Any) -> str | None:
    if isinstance(value, list):
        return "<list>"
    if isinstance(value, dict):
        return "<share>"
    return "<all>" if value in ("all", "cross") else None


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
