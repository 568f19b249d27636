"""What a suite or a registry of models may say, as pydantic documents: the one source of checks and words.

* In: the values of a YAML file.
* Out: `suite.SuiteDocument` or `registry.RegistryDocument`; the JSON Schema that editors read.
* Open `suite` first, then `pairs` and `models`; `words` has what all are made of.

Descriptions are what an editor shows as help. A rule that takes two fields is in `provenance.suite.rules`.
"""

from provenance.suite.schema.as_json import json_schema
from provenance.suite.schema.inputs import InputsDocument
from provenance.suite.schema.models import LayoutDocument, MLPDocument, ModelDocument
from provenance.suite.schema.pairs import (
    OF_MANY,
    OF_ONE_PAIR,
    DefaultsDocument,
    NearestDocument,
    PairDocument,
    ShareDocument,
    SharesDocument,
    kind_of_expectation,
)
from provenance.suite.schema.registry import AllowDocument, IgnoreDocument, RegistryDocument
from provenance.suite.schema.suite import SuiteDocument, Tree
from provenance.suite.schema.words import (
    A_NAME,
    NAMED,
    REGISTRY_VERBATIM,
    UNION_TAGS,
    VERBATIM,
    StrictMapping,
    Words,
)

__all__ = [
    "A_NAME",
    "NAMED",
    "OF_MANY",
    "OF_ONE_PAIR",
    "REGISTRY_VERBATIM",
    "UNION_TAGS",
    "VERBATIM",
    "AllowDocument",
    "DefaultsDocument",
    "IgnoreDocument",
    "InputsDocument",
    "LayoutDocument",
    "MLPDocument",
    "ModelDocument",
    "NearestDocument",
    "PairDocument",
    "RegistryDocument",
    "ShareDocument",
    "SharesDocument",
    "StrictMapping",
    "SuiteDocument",
    "Tree",
    "Words",
    "json_schema",
    "kind_of_expectation",
]
