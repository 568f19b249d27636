"""What a sound suite may have wrong on this machine, or for no use: models of no claim, paths to nothing.

These are no mistakes of the file: its models may lie where it is run, and not where it is checked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from provenance._text import without_home
from provenance.suite.claims import absolute
from provenance.suite.read import decode, read_bytes
from provenance.suite.yaml12 import read
from provenance.suite.yaml_limits import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provenance.errors import Problem
    from provenance.suite.claims import Suite
    from provenance.suite.yaml12 import Document, YamlPath


def oversights(suite: Suite) -> tuple[Problem, ...]:
    """Find the models that no claim is about, and the local paths at which nothing is.

    Parameters
    ----------
    suite : Suite
        Read from a file; the file is read again, for the positions.

    Raises
    ------
    SuiteError
        If the file is gone since.
    """
    from provenance.suite.schema import NAMED, VERBATIM

    text = decode(read_bytes(suite.path), suite.path)
    document = read(text, suite.path, verbatim=VERBATIM, named=NAMED)
    return tuple(sorted([*_unused(document, suite), *_absent(document, suite)]))


def _unused(document: Document, suite: Suite) -> Iterator[Problem]:
    claimed = {
        name
        for claim in suite.claims
        for name in (
            *(claim.candidate, claim.reference, *claim.among),
            *(parent for parent, _ in claim.parents),
            *([] if claim.given is None else [claim.given]),
        )
        if name in suite.models  # and not in a library alone
    }
    used = _with_bases(claimed | {name for name, _ in suite.lineage}, document.value["models"])
    for name in suite.models:
        if name not in used:
            what = f"no claim is about model {shown(name)}, nor about an adapter on it"
            yield document.key_problem(
                ("models", name), f"{what}: claim something of it, or remove it"
            )


def _with_bases(names: set[str], models: Mapping[str, Any]) -> set[str]:
    """Add the models that adapters belong on; this ends, since a circle of them is a mistake."""
    found: set[str] = set()
    while names:
        found |= names
        names = {models[name].get("base") for name in names} & models.keys()
    return found


def _absent(document: Document, suite: Suite) -> Iterator[Problem]:
    for at, path in (*_local_paths(suite), *_libraries(document, suite)):
        if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises where it may not look
            what = f"nothing is at {without_home(path)}, or it may not be read"
            yield document.problem(
                at, f"{what}: check the path, which begins at the suite's folder"
            )


def _libraries(document: Document, suite: Suite) -> Iterator[tuple[YamlPath, str]]:
    """Every library that a claim names, and where it does."""
    for i, pair in enumerate(document.value.get("pairs", ())):
        if "library" in pair:
            yield ("pairs", i, "library"), absolute(pair["library"], suite.path.absolute().parent)


def _local_paths(suite: Suite) -> Iterator[tuple[YamlPath, str]]:
    """Every path to this machine's own files that the suite names, and where it does."""
    for name, spec in suite.models.items():
        if spec.path is not None:
            yield ("models", name, "path"), spec.path
        if isinstance(spec.base, str) and os.path.isabs(spec.base):  # noqa: PTH117 - a text
            yield ("models", name, "base"), spec.base
    if os.path.isabs(suite.inputs.text):  # noqa: PTH117 - a text
        yield ("inputs", "text"), suite.inputs.text
