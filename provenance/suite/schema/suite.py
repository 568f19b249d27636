"""What a suite may say: models, trees of them, and claims of pairs."""

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema
from typing_extensions import TypeAliasType

from provenance.suite.schema.inputs import Inputs, InputsDocument
from provenance.suite.schema.models import Models
from provenance.suite.schema.pairs import DefaultsDocument, PairDocument
from provenance.suite.schema.words import NAME_PATTERN, ModelName, StrictMapping, Version, Words
from provenance.vocabulary import Controls


def _controls_of_bool(value: Any) -> Any:
    return ("none", "all")[value] if isinstance(value, bool) else value


WhichControls = Annotated[
    Controls,
    BeforeValidator(_controls_of_bool),
    WithJsonSchema({"enum": ["all", "power", "none", True, False]}),
    Words("all, power or none"),
]


_A_TREE = "a mapping of names to what descends from them, such as base: {chat: {}, small: {}}"
Tree = TypeAliasType(  # type: ignore[misc] # it is recursive
    "Tree",
    Annotated[dict[ModelName, "Tree | None"], Words(_A_TREE, "what descends from {key}")],  # type: ignore[misc]
)

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
