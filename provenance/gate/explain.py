"""Tells of one test of a suite: what it claims, what was measured last time, what that means, what next."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from provenance.errors import ProvenanceError
from provenance.evidence.decide import shows
from provenance.evidence.verdict import judge_block, judge_pair
from provenance.evidence.wording import describe
from provenance.gate.falsity import WORDS, falsity, p_of
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.evidence.records import Evidence
    from provenance.evidence.results import ClaimResult, Results, SuiteRecord
    from provenance.evidence.verdict import Judgement
    from provenance.suite.read import Claim
    from provenance.vocabulary import InputsSpec

AROUND = 1
"""Lines of YAML that are shown before and after the claim's own."""
CONTROL = "control-"


class UnknownNodeError(ProvenanceError):
    """An id that names no test of a suite."""


@dataclass(frozen=True)
class NodeId:
    """A test's id, taken apart: ``suites/a.suite.yaml::chat-vs-base[block2]``."""

    suite: str
    claim: str
    part: str | None

    @classmethod
    def of(cls, text: str) -> NodeId:
        """Take an id apart.

        Raises
        ------
        UnknownNodeError
            If it has not the shape of one.
        """
        found = re.fullmatch(r"(?P<suite>.+?)::(?P<claim>[^\[\]]+)(\[(?P<part>[^\[\]]+)\])?", text)
        if found is None:
            raise UnknownNodeError(
                f"{text!r} is no test of a suite: write FILE::CLAIM or FILE::CLAIM[PART], as pytest "
                "prints it"
            )
        return cls(found["suite"].replace("\\", "/"), found["claim"], found["part"])

    def __str__(self) -> str:
        return f"{self.suite}::{self.claim}" + (f"[{self.part}]" if self.part else "")


@dataclass(frozen=True)
class BlockRow:
    """One block as it was measured; the last three are None where it could not be tested."""

    block: int
    reference_block: int
    correlation: float | None
    log10_p: float | None
    kin: bool | None
    reason: str | None


@dataclass(frozen=True)
class Explanation:
    """What there is to say of one test.

    ``state`` is "not run" where nothing is known of a run; ``measured`` and ``meaning`` are then empty,
    and ``plan`` says what would be run. ``excerpt`` has lines of YAML with their numbers.
    """

    nodeid: str
    claims: str
    where: str
    excerpt: tuple[tuple[int, str], ...]
    line: int
    tests: str
    threshold: str
    state: str
    outcome: str | None
    measured: tuple[str, ...]
    meaning: str
    blocks: tuple[BlockRow, ...]
    plan: tuple[str, ...]
    next_steps: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def as_fields(self) -> Mapping[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class SuiteText:
    """A suite as it is now: its claims, and its text for the excerpt."""

    claims: tuple[Claim, ...]
    models: Mapping[str, str]
    inputs: InputsSpec
    digest: str
    text: str


def explain(nodeid: str, results: Results | None, suite: SuiteText | None) -> Explanation:
    """Explain one test from the results of a run, from its suite, or from both.

    Raises
    ------
    UnknownNodeError
        If neither knows such a claim; with the claims that there are.
    """
    node = NodeId.of(nodeid)
    record = _record(node, results)
    result = None if results is None else _result(node, results)
    claim = _claim_of(node, suite) or (None if result is None else result.claim)
    if claim is None:
        raise UnknownNodeError(_unknown(node, record, suite))
    number = len(suite.claims) if suite else len(record.claims) if record else 1
    current = result if result is not None and result.parts else None
    return Explanation(
        nodeid=str(node),
        claims=describe(claim),
        where=f"{node.suite}:{claim.mark.line}",
        excerpt=_excerpt(claim, suite),
        line=claim.mark.line,
        tests=_tests(node, claim),
        threshold=_threshold(claim, number),
        state="not run" if current is None else current.state,
        outcome=_outcome(node, current),
        blocks=() if current is None else _rows(current),
        plan=_plan(node, claim, suite, record) if current is None else (),
        next_steps=_next(node, current),
        notes=tuple(_notes(results, record, suite, claim, result)),
        **_found(node, claim, current),
    )


def _record(node: NodeId, results: Results | None) -> SuiteRecord | None:
    found = () if results is None else results.suites
    return next((suite for suite in found if suite.path == node.suite), None)


def _result(node: NodeId, results: Results) -> ClaimResult | None:
    mine = [result for result in results.claims if result.suite == node.suite]
    return next((result for result in mine if _names(node, result.claim)), None)


def _claim_of(node: NodeId, suite: SuiteText | None) -> Claim | None:
    return next((c for c in (suite.claims if suite else ()) if _names(node, c)), None)


def _names(node: NodeId, claim: Claim) -> bool:
    """Whether the test is of the claim; a control's is of the first claim on its reference."""
    reference = node.claim.removeprefix(CONTROL)
    controls = node.part == "positive" and node.claim.startswith(CONTROL)
    return (
        claim.reference == reference and claim.skip is None if controls else claim.id == node.claim
    )


def _unknown(node: NodeId, record: SuiteRecord | None, suite: SuiteText | None) -> str:
    made = suite.claims if suite else record.claims if record else ()
    if not made:
        return (
            f"there is no suite {node.suite}, neither as a file nor in the results of the last run"
        )
    from difflib import get_close_matches

    ids = [claim.id for claim in made]
    near = get_close_matches(node.claim, ids, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it claims {', '.join(ids[:8])}"
    return f"{node.suite} has no claim {node.claim!r}: {hint}"


def _excerpt(claim: Claim, suite: SuiteText | None) -> tuple[tuple[int, str], ...]:
    lines = suite.text.splitlines() if suite else []
    first, last = max(1, claim.mark.line - AROUND), min(len(lines), claim.mark.end_line + AROUND)
    return tuple((number, lines[number - 1]) for number in range(first, last + 1))


def _tests(node: NodeId, claim: Claim) -> str:
    if node.part is None:
        return "all the tests of this claim"
    if node.part == "verdict":
        return "the claim as a whole, over all its blocks"
    if node.part == "positive":
        return f"a control: a disguised copy of {claim.reference} must be found dependent on it"
    if node.part == "null":
        return "a control: the p-values of blocks that do not correspond must look uniform"
    if node.part == "blocks":
        return "each block of the candidate by itself, in one test"
    return f"block {node.part.removeprefix('block')} of {claim.candidate} alone"


def _threshold(claim: Claim, claims: int) -> str:
    if claims == 1:
        return f"{claim.threshold:.2g}: alpha {claim.alpha:g}, and the file makes one claim"
    return (
        f"{claim.threshold:.2g}: alpha {claim.alpha:g} divided by the {claims} claims of the file "
        "(Bonferroni), whichever of them are run, so that the chance of any false alarm in it is at "
        "most alpha"
    )


def _outcome(node: NodeId, result: ClaimResult | None) -> str | None:
    if result is None:
        return None
    found = {part.nodeid: part.outcome for part in result.parts}
    if node.part is None:
        return ", ".join(sorted(set(found.values())))
    return found.get(str(node), "not run")


def _found(node: NodeId, claim: Claim, result: ClaimResult | None) -> dict[str, Any]:
    """What was measured and what it means, for the part that is asked about."""
    if result is None:
        return {"measured": (), "meaning": ""}
    if result.evidence is None:
        return {
            "measured": (f"could not be checked: {result.error or 'it was skipped'}",),
            "meaning": "",
        }
    if node.part in {"positive", "null"}:
        return _control(node.part, result)
    judged = _judged(node, claim, result.evidence)
    return {"measured": (judged.measured,), "meaning": judged.meaning}


def _judged(node: NodeId, claim: Claim, evidence: Evidence) -> Judgement:
    index = re.fullmatch(r"block(\d+)", node.part or "")
    if index is None:
        return judge_pair(claim, evidence)
    return judge_block(claim, evidence, int(index[1]))


def _control(kind: str, result: ClaimResult) -> dict[str, Any]:
    found = next((control for control in result.controls if control.kind == kind), None)
    if found is None:
        return {"measured": ("this control was not run, or could not be checked",), "meaning": ""}
    p = "no p-value" if found.log10_p is None else f"p = {format_p(found.log10_p)}"
    meaning = {
        True: "The control holds.",
        None: "There was too little to tell.",
        False: "The control fails: do not believe what the statistic says of this pair.",
    }[found.holds]
    return {"measured": (f"{kind} control by {found.evidence.statistic}: {p}",), "meaning": meaning}


def _rows(result: ClaimResult) -> tuple[BlockRow, ...]:
    return tuple(
        BlockRow(
            block.candidate_block,
            block.reference_block,
            block.correlation,
            block.log10_p,
            None if block.log10_p is None else shows(block, result.claim.threshold),
            block.reason,
        )
        for block in result.blocks
    )


def _plan(
    node: NodeId, claim: Claim, suite: SuiteText | None, record: SuiteRecord | None
) -> tuple[str, ...]:
    known = suite or record
    assert known is not None
    inputs = known.inputs
    of = f" of {inputs.text}" if inputs.kind == "text" else f", {inputs.kind}"
    indices = claim.blocks.indices
    blocks = "every block" if indices is None else f"blocks {', '.join(map(str, indices))}"
    against = " against every block of the reference" if claim.blocks.cross else ""
    models = [f"{name} ({known.models[name]})" for name in (claim.candidate, claim.reference)]
    return (
        f"models: {' and '.join(models)}",
        f"inputs: {inputs.tokens} tokens{of}, in sequences of {inputs.sequence_length}",
        f"statistic: {claim.statistic}, on {blocks}{against}",
        f"command: {shlex.join(['pytest', str(node)])}",
    )


def _next(node: NodeId, result: ClaimResult | None) -> tuple[str, ...]:
    run = shlex.join(["pytest", str(node)])
    if result is None:
        return (f"Run it: {run}",)
    kind = falsity(result)
    if kind is not None:
        return (kind.remedy, f"Run it again: {run}")
    if result.state == "pass":
        return (f"Nothing: the claim holds, p = {p_of(result)}.",)
    return (f"The claim is {WORDS[result.state]}. Run it: {run}",)


def _notes(
    results: Results | None,
    record: SuiteRecord | None,
    suite: SuiteText | None,
    claim: Claim,
    result: ClaimResult | None,
) -> list[str]:
    notes = []
    if results is not None and record is not None:
        notes.append(f"The last run was at {results.created}.")
    if suite is not None and record is not None and suite.digest != record.digest:
        notes.append("The suite has changed since then: run it again.")
        if result is not None and result.claim.expect != claim.expect:
            notes.append(f"Then the claim was {result.claim.expect}; now it is {claim.expect}.")
    if result is not None and result.evidence is not None:
        sides = (result.evidence.candidate, result.evidence.reference)
        notes += [f"{model.source} was {model.digest}." for model in sides]
    return notes
