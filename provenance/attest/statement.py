"""A run as an in-toto Statement with the predicate ``test-result/v0.1``.

https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

from provenance._text import visible
from provenance.attest._libraries import need
from provenance.errors import AttestationError, one_line
from provenance.evidence.tested_with import tested_with

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provenance.attest.subjects import Subject
    from provenance.evidence.records import Evidence
    from provenance.evidence.results import ClaimResult, Results, SuiteRecord

T = TypeVar("T")
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
OWN_DIGEST = "provenanceModel_v1"
RESULT = {"pass": "PASSED", "warn": "WARNED", "fail": "FAILED"}


@dataclass(frozen=True)
class Attested:
    """What a Statement says: ``subjects`` are (name, SHA-256), ``result`` PASSED, WARNED or FAILED.

    The SHA-256 is None of a checkpoint whose folder was not digested. ``not_run`` are claims, each as
    ``suite::claim``; ``tested_with`` says of claims what is not usual about their test.
    """

    result: str
    subjects: tuple[tuple[str, str | None], ...]
    passed: tuple[str, ...]
    warned: tuple[str, ...]
    failed: tuple[str, ...]
    results_sha256: str | None
    not_run: tuple[str, ...] = ()
    tested_with: tuple[tuple[str, tuple[str, ...]], ...] = ()


def make_statement(results: Results, subjects: Iterable[Subject], url: str | None = None) -> str:
    """Make the Statement of a run, as JSON.

    Parameters
    ----------
    results : Results
        Their text as `Results.to_json` gives it, and a line feed, is what the Statement has the digest
        of.
    subjects : iterable of Subject
        The checkpoints.
    url : str, optional
        Where the run can be looked at.

    Raises
    ------
    AttestationError
        If there is no checkpoint to attest anything of, or the extra is not installed.
    """
    descriptor = need("in_toto_attestation.v1.resource_descriptor").ResourceDescriptor
    library = need("in_toto_attestation.v1.statement")
    listed = tuple(subjects)
    named = [
        descriptor(
            name=subject.name,
            digest=_digest(subject),
            annotations=_without_none(
                source=subject.source,
                digest=subject.digest,
                weightsDigest=subject.weights_digest,
                conversion=subject.conversion,
                fingerprintSaidToBeOf=subject.claimed,
                **_of_sample(subject),
            ),
        ).pb
        for subject in listed
    ]
    named += [
        descriptor(name=f"{subject.name}/{name}", digest={"sha256": sha256}).pb
        for subject in listed
        if subject.ranges is not None
        for name, sha256 in subject.ranges.files.items()
    ]
    made = library.Statement(named, PREDICATE, _predicate(results, url))
    try:
        made.validate()
    except ValueError as error:
        raise AttestationError(
            f"nothing can be attested: {error}; was any claim of the run measured?"
        ) from None
    return str(need("google.protobuf.json_format").MessageToJson(made.pb, sort_keys=True)) + "\n"


def read_statement(text: str | bytes) -> Attested:
    """Read a Statement.

    Raises
    ------
    AttestationError
        If it is none, or of another predicate.
    """
    library = need("in_toto_attestation.v1.statement")
    json_format = need("google.protobuf.json_format")
    made = library.Statement([], "", {})
    try:
        json_format.Parse(text, made.pb)
        made.validate()
    except (ValueError, json_format.ParseError) as error:
        raise AttestationError(f"this is no in-toto Statement: {quoted_visibly(error)}") from None
    if made.pb.predicate_type != PREDICATE:
        raise AttestationError(
            f"the Statement's predicate is {made.pb.predicate_type!r}, and not {PREDICATE}"
        )
    try:
        predicate = json_format.MessageToDict(made.pb.predicate)
    except (ValueError, json_format.Error) as error:  # a number that is infinite, or none
        raise AttestationError(
            f"the Statement's predicate is damaged: {quoted_visibly(error)}"
        ) from None
    result = predicate.get("result")
    if result not in RESULT.values():
        raise AttestationError(f"the Statement's result is none of {', '.join(RESULT.values())}")
    digests = set(_results_digests(predicate.get("configuration", [])))
    return Attested(
        result=result,
        subjects=tuple((s.name, s.digest.get("sha256")) for s in made.pb.subject),
        passed=_tests_of(predicate, "passedTests"),
        warned=_tests_of(predicate, "warnedTests"),
        failed=_tests_of(predicate, "failedTests"),
        results_sha256=next(iter(digests)) if len(digests) == 1 else None,
        not_run=tuple(_claims_not_run(predicate.get("configuration", []))),
        tested_with=tuple(_tested_with(predicate.get("configuration", []))),
    )


def quoted_visibly(error: BaseException, limit: int = 240) -> str:
    """What the library says, which quotes what it was given, in one line of ``limit`` characters."""
    return visible(one_line(error, limit))


def _results_digests(configuration: Any) -> Iterable[str | None]:
    """Digests of the results that a Statement was made of, as each suite of it says."""
    for suite in _checked(configuration, "configuration", list):
        annotations = _checked(suite, "configuration", dict).get("annotations", {})
        digest = _checked(annotations, "annotations", dict).get("resultsSha256")
        yield None if digest is None else _checked(digest, "resultsSha256", str)


def _annotations(configuration: Any) -> Iterable[tuple[str, dict[str, Any]]]:
    """The name of each suite, and what is noted of it."""
    for suite in _checked(configuration, "configuration", list):
        name = _checked(_checked(suite, "configuration", dict).get("name", ""), "name", str)
        yield visible(name), _checked(suite.get("annotations", {}), "annotations", dict)


def _claims_not_run(configuration: Any) -> Iterable[str]:
    for name, notes in _annotations(configuration):
        for claim in _checked(notes.get("notRun", []), "notRun", list):
            yield f"{name}::{visible(_checked(claim, 'notRun', str))}"


def _tested_with(configuration: Any) -> Iterable[tuple[str, tuple[str, ...]]]:
    for name, notes in _annotations(configuration):
        found = _checked(notes.get("testedWith", {}), "testedWith", dict)
        for claim, how in found.items():
            words = (_checked(one, "testedWith", str) for one in _checked(how, "testedWith", list))
            yield f"{name}::{visible(claim)}", tuple(map(visible, words))


def _tests_of(predicate: dict[str, Any], name: str) -> tuple[str, ...]:
    tests = _checked(predicate.get(name, []), name, list)
    return tuple(_checked(test, name, str) for test in tests)


def _checked(value: Any, name: str, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise AttestationError(f"the Statement's predicate is damaged at {name}")
    return value


def kept_sha256(document: Results | Evidence) -> str:
    """SHA-256, in hex, of the file that holds the document."""
    return sha256((document.to_json() + "\n").encode()).hexdigest()


def _of_sample(subject: Subject) -> dict[str, str]:
    """What of a model a sample was read of; nothing of a model that was read whole."""
    if subject.ranges is None:
        return {}
    read = f"{subject.ranges.bytes} of {subject.ranges.of}"
    return {"scope": "sampled", "bytesRead": read, "rangesDigest": subject.ranges.digest}


def _digest(subject: Subject) -> dict[str, str]:
    """What the checkpoint is matched by; the name of an algorithm that is not SHA-256 is its own.

    https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md
    """
    if subject.sha256 is not None:
        return {"sha256": subject.sha256}
    return {OWN_DIGEST: subject.digest.removeprefix("sha256:")}


def _predicate(results: Results, url: str | None) -> dict[str, Any]:
    tests = sorted(_tests(results))
    digest = kept_sha256(results)
    return _without_none(
        result=RESULT[results.state],
        configuration=[_configuration(suite, results, digest) for suite in results.suites],
        url=url,
        passedTests=[name for name, state in tests if state == "passed"],
        warnedTests=[name for name, state in tests if state == "warned"],
        failedTests=[name for name, state in tests if state == "failed"],
    )


def _configuration(suite: SuiteRecord, results: Results, digest: str) -> dict[str, Any]:
    """The suite file, with the digest of what says more, and what there is to say of its claims."""
    evidence = {
        result.claim.id: kept_sha256(result.evidence)
        for result in results.claims
        if result.suite == suite.path and result.evidence is not None
    }
    how = {
        result.claim.id: list(words)
        for result in results.claims
        if result.suite == suite.path and (words := tested_with(results, result))
    }
    not_run = [
        result.claim.id
        for result in results.claims
        if result.suite == suite.path and result.state in {"not run", "skip"}
    ]
    return {
        "name": suite.path,
        "digest": {"sha256": suite.digest.removeprefix("sha256:")},
        "annotations": {
            "resultsSha256": digest,
            "evidenceSha256": evidence,
            "notRun": not_run,
            "testedWith": how,
        },
    }


def _tests(results: Results) -> Iterable[tuple[str, str]]:
    for result in results.claims:
        for part in result.parts:
            state = _state(result, part.outcome)
            if state is not None:
                yield part.nodeid, state


def _state(result: ClaimResult, outcome: str) -> str | None:
    """What a test is to the gate; None for one that checked nothing."""
    if outcome == "passed":
        return "warned" if result.state == "warn" else "passed"
    if outcome in {"xfailed", "xpassed"} and result.state != "fail":
        return "warned"  # a known failure is no pass: users of the gate should see it
    return None if outcome == "skipped" else "failed"


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def dumps(fields: dict[str, Any]) -> str:
    """JSON of a document that others read: indented, keys in order."""
    return json.dumps(fields, indent=2, sort_keys=True) + "\n"
