"""The JSON Schema of suites, by which an editor completes and checks them."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from provenance.suite.schema.suite import SuiteDocument
from provenance.suite.schema.words import NAME_PATTERN


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
