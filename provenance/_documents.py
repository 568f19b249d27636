"""JSON documents of frozen dataclasses, read strictly: nothing unknown, nothing converted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")
DIGITS = 20
"""Of a 64-bit number, its sign included."""
_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def adapter(kind: type[T], parts: Sequence[type[Any]]) -> TypeAdapter[T]:
    """What reads a dataclass that is made of the dataclasses ``parts``, all of them strictly."""
    # making one takes longer than reading hundreds of documents by it
    if kind not in _adapters:
        _adapters[kind] = _made(kind, parts)
    return _adapters[kind]


def _made(kind: type[T], parts: Sequence[type[Any]]) -> TypeAdapter[T]:
    from pydantic import ConfigDict, TypeAdapter, with_config

    strict = with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
    for part in parts:
        strict(part)
    return TypeAdapter(kind)


class _TooLongError(Exception):
    """A number is greater than any that is counted."""


def _integer(text: str) -> int:
    # sums and quotients of greater ones overflow a float, long after reading
    if len(text) > DIGITS:
        raise _TooLongError(f"it has a number of {len(text)} digits, and none has over {DIGITS}")
    return int(text)


def read_document(
    text: str | bytes,
    reader: TypeAdapter[T],
    schema: int | tuple[int, ...],
    damaged: Callable[[str], Exception],
) -> T:
    """Read one document.

    Parameters
    ----------
    text
        JSON; an object whose field ``schema`` has the value ``schema``, or one of several.
    damaged
        Makes the error to raise from the rest of the sentence that begins with the document's name.
    """
    from pydantic import ValidationError

    try:
        fields = json.loads(text, parse_int=_integer)
    except _TooLongError as error:
        raise damaged(f"damaged: {error}") from None
    except (ValueError, RecursionError) as error:
        raise damaged(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise damaged("not a JSON object")
    found = fields.get("schema")
    known = schema if isinstance(schema, tuple) else (schema,)
    if found not in known:
        shown, reads = repr(found)[:40], " and ".join(map(str, known))
        raise damaged(f"of schema {shown}; this version of provenance reads schema {reads}")
    try:
        return reader.validate_json(json.dumps(fields), strict=True)
    except RecursionError:  # what is just shallow enough to be read may be too deep to be written
        raise damaged("not JSON of any document: it is nested too deeply") from None
    except ValidationError as error:
        raise damaged(f"damaged at {first_problem(error)}") from None


def first_problem(error: ValidationError) -> str:
    """Where the first thing that does not fit stands, and what does not, in one line."""
    first = error.errors(include_url=False)[0]
    where = ".".join(repr(part)[:40].strip("'") for part in first["loc"]) or "the object"
    return f"{where}: {first['msg']}"
