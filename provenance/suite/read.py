"""Suite files: YAML in which a team writes what it believes about its models, to `Suite`.

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

A file's mistakes are reported all at once, each with its position and what to do (`SuiteError`).
No code is read from a suite, and no file that it names is opened here.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from provenance.errors import Problem, SuiteError
from provenance.statistics import default_statistic
from provenance.suite.trees import nodes
from provenance.suite.yaml12 import Document, Mark, read
from provenance.suite.yaml_limits import MAX_BYTES, position
from provenance.vocabulary import (
    DEFAULT_ALPHA,
    PERMUTATIONS,
    Inconclusive,
    InputsSpec,
    ModelSpec,
    Relationship,
    StatisticName,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from os import PathLike

    from provenance.suite.messages import Hints
    from provenance.suite.schema import (
        InputsDocument,
        ModelDocument,
        PairDocument,
        Part,
        SuiteDocument,
    )

__all__ = ["Blocks", "Claim", "Mark", "Suite", "json_schema", "load", "loads"]

_TOO_BIG = f"a suite has at most {MAX_BYTES} bytes: split it into several files"
_T = TypeVar("_T")
_D = TypeVar("_D", bound="Part")


@dataclass(frozen=True)
class Blocks:
    """Blocks that must show a claim: some by number, a share, or all where both are None.

    ``cross`` compares each block with every block of the reference, wherever it has been moved.
    """

    indices: tuple[int, ...] | None = None
    at_least: float | None = None
    cross: bool = False


@dataclass(frozen=True)
class Claim:
    """What a suite claims of one pair, with everything that `defaults` had to say to it.

    ``threshold`` is ``alpha`` divided by the number of claims in the file (Bonferroni), so that no
    selection of tests changes it; a pair with several statistics makes as many claims. ``mark`` is
    where the value of ``expect`` stands, or the candidate in the lineage. ``inconclusive`` says what
    becomes of a claim that could be decided neither way.
    """

    id: str
    candidate: str
    reference: str
    expect: Relationship
    statistic: StatisticName
    alpha: float
    threshold: float
    blocks: Blocks
    tags: tuple[str, ...]
    xfail: str | None
    skip: str | None
    mark: Mark
    permutations: int = PERMUTATIONS
    inconclusive: Inconclusive = "fail"


@dataclass(frozen=True)
class Suite:
    """One suite file; the local paths in ``models`` and ``inputs`` are absolute.

    ``lineage`` has every model of the declared trees with its parent, None for a root, parents first.
    ``digest`` is "sha256:..." of the file's bytes.
    """

    path: Path
    inputs: InputsSpec
    models: Mapping[str, ModelSpec]
    claims: tuple[Claim, ...]
    controls: bool = False
    digest: str = ""
    lineage: tuple[tuple[str, str | None], ...] = ()


def load(path: str | PathLike[str]) -> Suite:
    """Read a suite file.

    Parameters
    ----------
    path
        A regular file of at most 1 MiB; what is relative in it is relative to its folder.

    Raises
    ------
    SuiteError
        With all the mistakes of the file, or the one that kept it from being read.
    """
    path = Path(path)
    data = read_bytes(path)
    return replace(loads(decode(data, path), path), digest=digest_of_bytes(data))


def digest_of_bytes(data: bytes) -> str:
    """The digest of a file's bytes."""
    return f"sha256:{sha256(data).hexdigest()}"


def loads(text: str, path: Path) -> Suite:
    """Read a suite from ``text``, as if it stood in the file ``path``.

    Raises
    ------
    SuiteError
        With all the mistakes of the text.
    """
    if len(text) > MAX_BYTES:
        raise SuiteError(path, [Problem(1, 1, _TOO_BIG)])
    from provenance.suite.rules import rule_problems
    from provenance.suite.schema import VERBATIM, SuiteDocument

    document = read(text.removeprefix("\ufeff"), path, verbatim=VERBATIM)
    if not isinstance(document.value, dict):
        raise SuiteError(path, [*document.problems, _not_a_mapping(document)])
    suite = _suite(checked(document, path, SuiteDocument, rule_problems), document, path)
    return replace(suite, digest=digest_of_bytes(text.encode("utf-8", "surrogatepass")))


def json_schema() -> dict[str, Any]:
    """Make the JSON Schema of suite files, which ``suites/suite.schema.json`` holds a copy of."""
    from provenance.suite import schema as _suite_schema

    return _suite_schema.json_schema()


def read_bytes(path: Path) -> bytes:
    """Read a regular file of at most 1 MiB, and one byte more of a longer one."""
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
    """Read UTF-8."""
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
    kind: type[_D],
    rules: Callable[[Document, Hints], Iterable[Problem]],
) -> _D:
    """Validate a document, a mapping, against a schema and rules, or raise all that is wrong with it."""
    from pydantic import ValidationError

    from provenance.suite import messages as _suite_problems

    document = _without_holders(document)
    hints = _suite_problems.Hints()
    problems = set(document.problems)
    problems.update(_suite_problems.no_value_problems(document))
    problems.update(rules(document, hints))
    found = None
    try:
        found = kind.model_validate(document.value)
    except ValidationError as error:
        problems.update(_suite_problems.schema_problems(error, document, hints, kind))
    if problems or found is None:
        raise SuiteError(path, sorted(problems))
    return found


def _without_holders(document: Document) -> Document:
    """Leave out the keys ``x-...`` at the top, which only hold anchors."""
    if not isinstance(document.value, dict):
        return document
    value = {key: inner for key, inner in document.value.items() if not key.startswith("x-")}
    return Document(value, document.values, document.keys, document.problems)


def _not_a_mapping(document: Document) -> Problem:
    from provenance.suite.messages import describe

    keys = "version, models and pairs"
    if document.value is None:
        return document.problem((), f"the file is empty: write a suite with {keys}")
    found = describe(document.value)
    return document.problem((), f"a suite is a mapping with the keys {keys}, not {found}")


def _suite(checked: SuiteDocument, document: Document, path: Path) -> Suite:
    folder = path.absolute().parent
    pairs = [*_written_pairs(checked, document), *_implied_pairs(document)]
    count = sum(len(_statistics(pair, checked)) for pair, _ in pairs)
    claims = tuple(
        _claim(pair, checked, mark, statistic, count)
        for pair, mark in pairs
        for statistic in _statistics(pair, checked)
    )
    return Suite(
        path=path,
        inputs=inputs_of(checked.inputs, folder),
        models=models_of(checked.models, folder),
        claims=claims,
        controls=checked.controls,
        lineage=tuple((node.name, node.parent) for node in nodes(checked.lineage)),
    )


def _written_pairs(
    checked: SuiteDocument, document: Document
) -> Iterator[tuple[PairDocument, Mark]]:
    for i, pair in enumerate(checked.pairs):
        yield pair, document.values["pairs", i, "expect"]


def _implied_pairs(document: Document) -> Iterator[tuple[PairDocument, Mark]]:
    """Pairs of the lineage, each at the line of its candidate."""
    from provenance.suite.rules import implied_pairs
    from provenance.suite.schema import PairDocument

    for kin in implied_pairs(document.value):
        yield (
            PairDocument(
                candidate=kin.candidate.name, reference=kin.reference.name, expect=kin.expect
            ),
            document.keys[kin.candidate.at],
        )


def inputs_of(inputs: InputsDocument, folder: Path) -> InputsSpec:
    """What a file in ``folder`` says that models are fed."""
    spec = InputsSpec(**inputs.model_dump())
    if spec.text in {"stdlib", "topics"}:
        return spec
    return InputsSpec(**{**inputs.model_dump(), "text": absolute(spec.text, folder)})


def models_of(models: Mapping[str, ModelDocument], folder: Path) -> dict[str, ModelSpec]:
    """Every model, with the model that its base is where that has a name of its own."""

    def made(name: str) -> ModelSpec:
        spec = _model(models[name], folder)
        # this ends: `_suite_rules` has refused a circle
        return replace(spec, base=made(spec.base)) if spec.base in models else spec  # type: ignore[arg-type]

    return {name: made(name) for name in models}


def _model(model: ModelDocument, folder: Path) -> ModelSpec:
    given = model.model_dump()
    if model.path is not None:
        given["path"] = absolute(model.path, folder)
    if model.base is not None and model.base.startswith(("./", "../")):
        given["base"] = absolute(model.base, folder)
    return ModelSpec(**given)


def absolute(path: str, folder: Path) -> str:
    """A path that a file in ``folder`` names."""
    # Lexically: whether the file is there, and what it links to, is for who opens it.
    return os.path.normpath(folder / path)


def _statistics(pair: PairDocument, suite: SuiteDocument) -> list[StatisticName]:
    """The statistics of a pair, each of them a claim."""
    default = default_statistic(suite.models[pair.candidate], suite.models[pair.reference])
    named = _first(pair.statistic, suite.defaults.statistic, default)
    return named if isinstance(named, list) else [named]


def _claim(
    pair: PairDocument, suite: SuiteDocument, mark: Mark, statistic: StatisticName, claims: int
) -> Claim:
    from provenance.suite.rules import claim_id

    defaults = suite.defaults
    alpha = _first(pair.alpha, defaults.alpha, DEFAULT_ALPHA)
    name = claim_id(pair.candidate, pair.reference, pair.id)
    return Claim(
        id=name if len(_statistics(pair, suite)) == 1 else f"{name}-{statistic}",
        candidate=pair.candidate,
        reference=pair.reference,
        expect=pair.expect,
        statistic=statistic,
        alpha=alpha,
        threshold=alpha / claims,
        blocks=_blocks(_first(pair.blocks, defaults.blocks, "all")),
        tags=tuple(dict.fromkeys(_first(pair.tags, defaults.tags, []))),
        xfail=_one_line(pair.xfail),
        skip=_one_line(pair.skip),
        mark=mark,
        permutations=_first(pair.permutations, defaults.permutations, PERMUTATIONS),
        inconclusive=_first(pair.inconclusive, defaults.inconclusive, "fail"),
    )


def _first(own: _T | None, default: _T | None, otherwise: _T) -> _T:
    if own is not None:
        return own
    return default if default is not None else otherwise


def _blocks(blocks: Any) -> Blocks:
    if blocks == "all":
        return Blocks()
    if isinstance(blocks, list):
        return Blocks(indices=tuple(blocks))
    if blocks == "cross":
        return Blocks(cross=True)
    return Blocks(at_least=blocks.at_least)


def _one_line(reason: str | None) -> str | None:
    return None if reason is None else " ".join(reason.split())
