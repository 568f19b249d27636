"""What a suite or a registry may say of inputs."""

from typing import Annotated

from pydantic import Field

from provenance.suite.schema.words import StrictMapping, Words
from provenance.vocabulary import (
    DEFAULT_SEED,
    DEFAULT_SEQUENCE_LENGTH,
    DEFAULT_TOKENS,
    SEEDS,
    InputKind,
)


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


Inputs = Annotated[InputsDocument, Words("a mapping such as {tokens: 4096}")]
