"""Reads what runs and comparisons have left: results, or evidence on a pair without a claim."""

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
    RunRecord,
    SuiteRecord,
)
from provenance.evidence.single_claim import claim_on
from provenance.evidence.verdict import judge_pair
from provenance.vocabulary import DEFAULT_ALPHA, InputsSpec, check_alpha

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike

RESULTS = "results.json"
GIVEN = "evidence"
"""Path of the suite that evidence without a suite is put under."""


def read_results(paths: Iterable[str | PathLike[str]], alpha: float = DEFAULT_ALPHA) -> Results:
    """Read results and evidence, any number of files of each, into one.

    Parameters
    ----------
    paths : iterable of path
        Each is a file of results, a folder with ``results.json``, a file of evidence, or what
        ``provenance compare --json`` or ``identify --json`` printed. Where a suite was run twice, the later
        run counts.
    alpha : float
        At which bare evidence is judged; see `provenance.vocabulary.check_alpha`.

    Raises
    ------
    ResultsError
        If a file cannot be read, or holds none of these; the message names it.
    ProvenanceError
        If a file is damaged; the message names it. If alpha is none.
    """
    check_alpha(alpha)
    results: list[Results] = []
    bare: dict[str, Evidence] = {}
    for path in paths:
        content = read_file(results_file(Path(path)))
        if isinstance(content, Results):
            results.append(content)
        else:
            bare[str(path)] = content
    if bare:
        results.append(results_of_evidence(bare, alpha))
    if not results:
        raise ResultsError("no results and no evidence were given: name a file, or a folder")
    return _joined(results)


def results_file(path: Path) -> Path:
    """The file that a path names: of a folder, the results that a run kept there."""
    return path / RESULTS if path.is_dir() else path


def read_file(file: Path) -> Results | Evidence:
    """Read one file of results, of evidence, or of what ``compare --json`` or ``identify --json`` printed.

    Raises
    ------
    ProvenanceError
        If it cannot be read, is none of these, or is damaged; one line that names it.
    """
    data = _read(file)
    try:
        fields = _fields(data)
        if "claims" in fields:
            return Results.from_json(data)
        if {"references", "nearest"} <= fields.keys():
            return _of_references(fields)
        return Evidence.from_json(_plain(fields))
    except ProvenanceError as error:
        raise type(error)(f"{file}: {error}") from None


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
        raise ResultsError(f"neither results nor evidence: it is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ResultsError("neither results nor evidence: it is not a JSON object")
    return fields


def _of_references(fields: Mapping[str, Any]) -> Results:
    """The evidence on every reference that was compared, of what `Identification.to_json` wrote."""
    given: dict[str, Evidence] = {}
    try:
        for one in fields["references"]:
            if one["evidence"] is not None:
                given[str(one["name"])] = Evidence.from_json(json.dumps(one["evidence"]))
        alpha = check_alpha(float(fields["alpha"]))
    except (TypeError, ValueError, KeyError):
        raise ResultsError("references are damaged: one has no name, or no evidence") from None
    if not given:
        raise ResultsError("no reference was compared, so that there is no evidence")
    return results_of_evidence(given, alpha)


_ADDED = {"verdict", "meaning", "alpha", "survivors"}


def _plain(fields: Mapping[str, Any]) -> str:
    """Evidence as it is kept, also of what the command ``compare`` adds to it."""
    if "verdict" not in fields:
        return json.dumps(fields)
    kept = {name: fields[name] for name in fields if name not in _ADDED}
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
    """Make results of evidence without a suite: each pair gets a claim ``unknown`` at ``alpha``.

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
    claim = claim_on(evidence, "unknown", alpha, name)
    return ClaimResult(
        suite=GIVEN,
        claim=claim,
        judgement=judge_pair(claim, evidence),
        evidence=evidence,
        parts=(PartResult(name, "passed", 0.0),),
    )


def _joined(results: list[Results]) -> Results:
    """Join results; of a suite that was run several times, the latest run counts."""
    ordered = sorted(results, key=lambda run: run.created)
    last = ordered[-1]
    suites = {suite.path: suite for run in ordered for suite in run.suites}
    home = {suite.path: run for run in ordered for suite in run.suites}
    claims = tuple(claim for run in ordered for claim in run.claims if home.get(claim.suite) is run)
    if len(ordered) == 1:
        return last
    alike = all(run.run == last.run for run in ordered)
    where = last.run if alike else RunRecord()
    return replace(last, suites=tuple(suites.values()), claims=claims, run=where, audit=None)
