"""What every document of a suite or a registry is made of: names, texts, levels, and words for messages.

`Words` say what a value must be where its type does not say it; `provenance.suite.messages` reads them.
"""

import keyword
from dataclasses import dataclass
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)

from provenance.suite.alphas import BLOCK_ALPHA_PATTERN
from provenance.vocabulary import AN_ALPHA, LEAST_ALPHA, MOST_ALPHA

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
