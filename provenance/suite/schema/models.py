"""What a suite or a registry may say of a model: where it comes from, and which of its tensors are what."""

from typing import Annotated

from pydantic import ConfigDict, Field

from provenance.suite.schema.words import URL_PATTERN, ModelName, StrictMapping, Words, Written
from provenance.vocabulary import Dtype, NormKind

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
