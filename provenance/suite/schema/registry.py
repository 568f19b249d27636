"""What a registry of models may say, every pair of which an audit judges."""

from typing import Annotated

from pydantic import Field

from provenance.suite.schema.inputs import Inputs, InputsDocument
from provenance.suite.schema.models import Models
from provenance.suite.schema.words import Alpha, Reason, StrictMapping, Version, Words, Written
from provenance.vocabulary import DEFAULT_ALPHA, DEFAULT_STATISTIC, StatisticName

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
