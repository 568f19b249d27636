"""Read suite files: YAML in which a team declares what its models are to each other.

>>> from pathlib import Path
>>> suite = loads('''
... version: 1
... models:
...   base: {recipe: quickstart/base}
...   chat: {repo: acme/chat, revision: 12345678}
... pairs:
...   - {candidate: chat, reference: base, expect: finetune}
... ''', Path("acme.suite.yaml"))
>>> suite.claims[0].id, suite.claims[0].threshold, suite.models["chat"].revision
('chat-vs-base', 1e-06, '12345678')

All mistakes of a file are reported at once, each with its position and what to do (`SuiteError`). No code
is read from a suite, and no file that it names is opened here.
"""

from __future__ import annotations

import stat
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from provenance.errors import Problem, SuiteError
from provenance.suite.claims import Suite, suite_of
from provenance.suite.yaml12 import Document, read
from provenance.suite.yaml_limits import MAX_BYTES, position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from os import PathLike

    from provenance.suite.messages import Hints
    from provenance.suite.schema import StrictMapping


_TOO_BIG = f"a suite has at most {MAX_BYTES} bytes: split it into several files"
_Document = TypeVar("_Document", bound="StrictMapping")


def load(path: str | PathLike[str]) -> Suite:
    """Read a suite file.

    Parameters
    ----------
    path
        A regular file of at most 1 MiB; relative paths in it are relative to its folder.

    Raises
    ------
    SuiteError
        With all mistakes of the file, or the one that prevents reading it.
    """
    path = Path(path)
    data = read_bytes(path)
    return replace(loads(decode(data, path), path), digest=digest_of_bytes(data))


def digest_of_bytes(data: bytes) -> str:
    """Digest the bytes of a file."""
    return f"sha256:{sha256(data).hexdigest()}"


def loads(text: str, path: Path) -> Suite:
    """Read a suite from ``text``, as if it stood in the file ``path``.

    Raises
    ------
    SuiteError
        With all mistakes of the text.
    """
    if len(text) > MAX_BYTES:
        raise SuiteError(path, [Problem(1, 1, _TOO_BIG)])
    from provenance.suite.rules import rule_problems
    from provenance.suite.schema import NAMED, VERBATIM, SuiteDocument

    document = read(text.removeprefix("\ufeff"), path, verbatim=VERBATIM, named=NAMED)
    if not isinstance(document.value, dict):
        raise SuiteError(path, [*document.problems, _not_a_mapping(document)])
    suite = suite_of(checked(document, path, SuiteDocument, rule_problems), document, path)
    return replace(suite, digest=digest_of_bytes(text.encode("utf-8", "surrogatepass")))


def read_bytes(path: Path) -> bytes:
    """Read a regular file, at most 1 MiB and one byte of it."""
    try:
        _refuse_unread(path)
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        problem = Problem(1, 1, "there is no such file: check the path")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        problem = Problem(1, 1, f"the file cannot be read: {reason}")
    raise SuiteError(path, [problem])


def _refuse_unread(path: Path) -> None:
    # Before it is opened: to open a named pipe is to wait for a writer.
    about = path.stat()
    if stat.S_ISDIR(about.st_mode):
        raise SuiteError(path, [Problem(1, 1, "this is a folder: name a suite file in it")])
    if not stat.S_ISREG(about.st_mode):
        raise SuiteError(path, [Problem(1, 1, "this is no regular file: name a suite file")])
    if about.st_size > MAX_BYTES:
        raise SuiteError(path, [Problem(1, 1, f"the file has {about.st_size} bytes; {_TOO_BIG}")])


def decode(data: bytes, path: Path) -> str:
    """Decode UTF-8, with or without a byte order mark."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        line, column = position(before, len(before))
        what = f"byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8"
        raise SuiteError(path, [Problem(line, column, what)]) from None


def checked(
    document: Document,
    path: Path,
    schema: type[_Document],
    rules: Callable[[Document, Hints], Iterable[Problem]],
) -> _Document:
    """Validate a mapping against a schema and rules, or raise all its mistakes."""
    from pydantic import ValidationError

    from provenance.suite.messages import Hints, no_value_problems, schema_problems, unfit_places

    document, hints = _without_holders(document), Hints()
    problems = {*document.problems, *no_value_problems(document)}
    of_rules = set(rules(document, hints))
    valid = None
    try:
        valid = schema.model_validate(document.value)
    except ValidationError as error:
        problems.update(schema_problems(error, document, hints, schema))
        unfit = unfit_places(error, document)
        # a rule says of a value that cannot be what it would say of one that is merely wrong
        of_rules = {one for one in of_rules if (one.line, one.column) not in unfit}
    problems |= of_rules
    if problems or valid is None:
        raise SuiteError(path, sorted(problems))
    return valid


def _without_holders(document: Document) -> Document:
    """Leave out the keys ``x-...`` at the top, which only hold anchors."""
    if not isinstance(document.value, dict):
        return document
    value = {key: inner for key, inner in document.value.items() if not key.startswith("x-")}
    return replace(document, value=value)


def _not_a_mapping(document: Document) -> Problem:
    from provenance.suite.messages import describe

    keys = "version, models and pairs"
    if document.value is None:
        return document.problem((), f"the file is empty: write a suite with {keys}")
    what = f"a suite is a mapping with the keys {keys}, not {describe(document.value)}"
    return document.problem((), what)
