"""What a registry file may say, as pydantic documents: a suite's models and inputs, without claims."""

from typing import Annotated

from pydantic import Field

from provenance.suite.schema import (
    VERBATIM,
    Alpha,
    InputsDocument,
    ModelDocument,
    ModelName,
    Part,
    Reason,
    Version,
    Written,
)
from provenance.vocabulary import DEFAULT_ALPHA, DEFAULT_STATISTIC, StatisticName

REGISTRY_VERBATIM = VERBATIM | {"folder", "pair"}
"""Keys of a registry under which a plain scalar is text, whatever it looks like."""


class IgnoreDocument(Part):
    """A pair that is not judged, and why."""

    pair: Annotated[list[Written], Field(min_length=2, max_length=2)]
    reason: Reason


class RegistryDocument(Part):
    """Models, every pair of which is judged."""

    version: Version
    inputs: InputsDocument = Field(default_factory=InputsDocument)
    statistic: StatisticName = DEFAULT_STATISTIC
    alpha: Alpha = DEFAULT_ALPHA
    models: dict[ModelName, ModelDocument] = Field(default_factory=dict)
    folder: Written | None = None
    exhaustive: bool = False
    ignore: list[IgnoreDocument] = Field(default_factory=list)
