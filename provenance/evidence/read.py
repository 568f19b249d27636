"""Reads what runs and comparisons have left: results, or bare evidence, of which nothing is claimed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance.errors import ProvenanceError
from provenance.evidence.records import Evidence
from provenance.evidence.results import (
    ClaimResult,
    PartResult,
    Results,
    ResultsError,
    SuiteRecord,
)
from provenance.evidence.verdict import judge_pair
from provenance.suite.read import Blocks, Claim, Mark
from provenance.vocabulary import DEFAULT_ALPHA, InputsSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike

RESULTS = "results.json"
GIVEN = "evidence"
"""Stands for the path of a suite where there is none."""


def read_results(paths: Iterable[str | PathLike[str]], alpha: float = DEFAULT_ALPHA) -> Results:
    """Read results and evidence, any number of files of each, into one.

    Parameters
    ----------
    paths : iterable of path
        Each of them is results, a folder that holds ``results.json``, evidence, or what
        ``provenance compare --json`` printed. Of two results with the same suite the later counts.
    alpha : float
        At which bare evidence is judged, in (0, 1).

    Raises
    ------
    ResultsError
        If a file cannot be read, or holds none of these; the message names it.
    ProvenanceError
        If what a file holds is damaged; likewise.
    """
    results: list[Results] = []
    bare: dict[str, Evidence] = {}
    for path in paths:
        file = Path(path)
        file = file / RESULTS if file.is_dir() else file
        data = _read(file)
        try:
            fields = _fields(data)
            if "claims" in fields:
                results.append(Results.from_json(data))
            else:
                bare[str(path)] = Evidence.from_json(_plain(fields))
        except ProvenanceError as error:
            raise type(error)(f"{file}: {error}") from None
    if bare:
        results.append(results_of_evidence(bare, alpha))
    if not results:
        raise ResultsError("no results and no evidence were given: name a file, or a folder")
    return _joined(results)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        hint = "no such file" if file.name != RESULTS else "no such file: name evidence by file"
        raise ResultsError(f"{file}: {hint}") from None
    except OSError as error:
        raise ResultsError(f"{file} cannot be read: {error.strerror}") from None


def _fields(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"neither results nor evidence: not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ResultsError("neither results nor evidence: not a JSON object")
    return fields


def _plain(fields: Mapping[str, Any]) -> str:
    """Evidence as it is kept, also of what the command ``compare`` adds to it."""
    if "verdict" not in fields:
        return json.dumps(fields)
    kept = {name: fields[name] for name in fields if name not in {"verdict", "alpha", "survivors"}}
    if "survivors" in fields:
        names = ("candidate_block", "reference_block", "log10_p")
        units = ("candidate_units", "reference_units")
        try:
            kept["alignment"] = [
                {**dict(zip(names, pair, strict=True)), **dict(zip(units, both, strict=True))}
                for pair, both in zip(fields["alignment"], fields["survivors"], strict=True)
            ]
        except (TypeError, ValueError, KeyError):
            raise ResultsError("evidence is damaged at alignment") from None
    return json.dumps(kept)


def results_of_evidence(given: Mapping[str, Evidence], alpha: float = DEFAULT_ALPHA) -> Results:
    """Make results of evidence by itself: nothing is claimed, and each pair is judged at ``alpha``.

    Parameters
    ----------
    given : mapping of str to Evidence
        By where it comes from, such as the path of its file.
    """
    claims = tuple(_unclaimed(name, evidence, alpha) for name, evidence in given.items())
    first = next(iter(given.values()))
    suite = SuiteRecord(
        path=GIVEN,
        digest="none",
        inputs=InputsSpec(),
        models={},
        claims=tuple(result.claim for result in claims),
        controls=False,
    )
    created = max(evidence.created for evidence in given.values())
    return Results.gather((suite,), claims, first.versions, created)


def _unclaimed(name: str, evidence: Evidence, alpha: float) -> ClaimResult:
    claim = Claim(
        id=name,
        candidate=evidence.candidate.source,
        reference=evidence.reference.source,
        expect="unknown",
        statistic=evidence.statistic,  # type: ignore[arg-type]
        alpha=alpha,
        threshold=alpha,
        blocks=Blocks(cross=bool(evidence.cross)),
        tags=(),
        xfail=None,
        skip=None,
        mark=Mark(1, 1, 1, 1),
    )
    return ClaimResult(
        suite=GIVEN,
        claim=claim,
        judgement=judge_pair(claim, evidence),
        evidence=evidence,
        parts=(PartResult(name, "passed", 0.0),),
    )


def _joined(results: list[Results]) -> Results:
    """One set of results; of a suite that stands in several, the latest run."""
    ordered = sorted(results, key=lambda found: found.created)
    last = ordered[-1]
    suites = {suite.path: suite for found in ordered for suite in found.suites}
    home = {suite.path: found for found in ordered for suite in found.suites}
    claims = tuple(
        claim for found in ordered for claim in found.claims if home.get(claim.suite) is found
    )
    return replace(last, suites=tuple(suites.values()), claims=claims)
