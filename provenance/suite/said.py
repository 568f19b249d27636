"""What a document says of each pair of two models, before it is checked: the defaults are in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provenance.suite.schema import kind_of_expectation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provenance.suite.yaml12 import Document, YamlPath

__all__ = ["SaidPair", "pairs_of_two"]


@dataclass(frozen=True)
class SaidPair:
    """One pair: where it stands, what it says, the same with the defaults, and all models."""

    path: YamlPath
    pair: Mapping[str, Any]
    said: Mapping[str, Any]
    models: Mapping[str, Any]


def pairs_of_two(document: Document) -> Iterator[SaidPair]:
    """Yield the pairs of a document that are mappings, but for claims of the nearest of many."""
    suite = document.value
    pairs, models, defaults = (suite.get(key) for key in ("pairs", "models", "defaults"))
    for i, pair in enumerate(pairs if isinstance(pairs, list) else []):
        if isinstance(pair, dict) and kind_of_expectation(pair.get("expect")) != "<nearest>":
            said = {**(defaults if isinstance(defaults, dict) else {}), **pair}
            yield SaidPair(("pairs", i), pair, said, models if isinstance(models, dict) else {})
