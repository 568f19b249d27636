"""Tells of one test of a suite: what it claims, what was measured last time, what that means, what next."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from provenance._text import closest
from provenance.errors import ProvenanceError
from provenance.evidence.decide import shows
from provenance.evidence.failures import failure_of
from provenance.evidence.nearest import cells_of, judge_nearest
from provenance.evidence.outcomes import (
    CONTROL_MEANINGS,
    OUTCOMES,
    outcome_of,
    p_equation,
    p_value,
)
from provenance.evidence.verdict import judge_block, judge_pair
from provenance.evidence.wording import describe
from provenance.vocabulary import NEAREST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.evidence.exhibits import Exhibit
    from provenance.evidence.records import Evidence
    from provenance.evidence.results import ClaimResult, Results, SuiteRecord
    from provenance.evidence.verdict import Judgement
    from provenance.suite.claims import Claim

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
        match = re.fullmatch(r"(?P<suite>.+?)::(?P<claim>[^\[\]]+)(\[(?P<part>[^\[\]]+)\])?", text)
        if match is None:
            raise UnknownNodeError(
                f"{text!r} is no test of a suite: write FILE::CLAIM or FILE::CLAIM[PART], as pytest "
                "prints it"
            )
        return cls(match["suite"].replace("\\", "/"), match["claim"], match["part"])

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

    ``state`` is the word of an `Outcome`: "not run" where nothing is known of a run. ``measured`` and
    ``meaning`` are then empty, and ``plan`` says what would be run. ``excerpt`` has lines of YAML with
    their numbers. ``references`` are rows of `provenance.evidence.nearest.cells_of`, of a claim of the
    nearest kin. ``exhibits`` are of a claim as a whole, and decide nothing.
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
    references: tuple[tuple[str, ...], ...] = ()
    exhibits: tuple[Exhibit, ...] = ()

    def as_fields(self) -> Mapping[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def explain(
    nodeid: str, results: Results | None, suite: SuiteRecord | None, text: str = ""
) -> Explanation:
    """Explain one test from the results of a run, from its suite as it is now, or from both.

    Parameters
    ----------
    nodeid : str
        As pytest prints it.
    results : Results or None
        Of the last run.
    suite : SuiteRecord or None
        The suite as it is now.
    text : str
        The suite's YAML, of which the claim's lines are shown.

    Raises
    ------
    UnknownNodeError
        If neither knows such a claim; with the claims that there are.
    """
    node = NodeId.of(nodeid)
    record, result = _last_run(node, results)
    known = suite or record
    claims = [*(suite.claims if suite else ()), *((result.claim,) if result else ())]
    claim = next((claim for claim in claims if _names(node, claim)), None)
    if claim is None:
        raise UnknownNodeError(_unknown(node, known))
    current = result if result is not None and result.parts else None
    measured, meaning = _measured(node, claim, current)
    return Explanation(
        nodeid=str(node),
        claims=describe(claim),
        where=f"{node.suite}:{claim.mark.line}",
        excerpt=_excerpt(claim, text),
        line=claim.mark.line,
        tests=_tests(node, claim),
        threshold=_threshold(node, claim, len(known.claims) if known else 1),
        state=(OUTCOMES["not-run"] if current is None else outcome_of(current)).word,
        outcome=_outcome(node, current),
        measured=measured,
        meaning=meaning,
        blocks=() if current is None or current.found is not None else _rows(current),
        plan=() if current is not None or known is None else _plan(node, claim, known),
        next_steps=_next(node, current),
        notes=tuple(_notes(results, record, suite, claim, result)),
        references=_references(current),
        exhibits=_exhibits(node, current),
    )


def _last_run(
    node: NodeId, results: Results | None
) -> tuple[SuiteRecord | None, ClaimResult | None]:
    """The suite and the claim as they were in the last run."""
    if results is None:
        return None, None
    suites = (suite for suite in results.suites if suite.path == node.suite)
    claims = (
        result
        for result in results.claims
        if result.suite == node.suite and _names(node, result.claim)
    )
    return next(suites, None), next(claims, None)


def _names(node: NodeId, claim: Claim) -> bool:
    """Whether the test is of the claim; a control's is of the first claim on its reference."""
    reference = node.claim.removeprefix(CONTROL)
    controls = node.part == "positive" and node.claim.startswith(CONTROL)
    return (
        claim.reference == reference and claim.skip is None if controls else claim.id == node.claim
    )


def _unknown(node: NodeId, known: SuiteRecord | None) -> str:
    if known is None or not known.claims:
        return (
            f"there is no suite {node.suite}, neither as a file nor in the results of the last run"
        )
    ids = [claim.id for claim in known.claims]
    near = closest(node.claim, ids)
    hint = f"did you mean {near!r}?" if near else f"it claims {', '.join(ids[:8])}"
    return f"{node.suite} has no claim {node.claim!r}: {hint}"


def _excerpt(claim: Claim, text: str) -> tuple[tuple[int, str], ...]:
    lines = text.splitlines()
    first, last = max(1, claim.mark.line - AROUND), min(len(lines), claim.mark.end_line + AROUND)
    return tuple((number, lines[number - 1]) for number in range(first, last + 1))


def _tests(node: NodeId, claim: Claim) -> str:
    if node.part is None:
        return "all the tests of this claim"
    if node.part == "verdict":
        over = "references" if claim.expect == NEAREST else "blocks"
        return f"the claim as a whole, over all its {over}"
    if node.part == "positive":
        return f"a control: a disguised copy of {claim.reference} must be found dependent on it"
    if node.part == "null":
        return "a control: the p-values of blocks that do not correspond must look uniform"
    if node.part == "blocks":
        return "each block of the candidate by itself, in one test"
    return f"block {node.part.removeprefix('block')} of {claim.candidate} alone"


def _threshold(node: NodeId, claim: Claim, claims: int) -> str:
    index = re.fullmatch(r"block(\d+)", node.part or "")
    alpha, threshold = claim.alpha, claim.threshold
    if index is not None:
        alpha = dict(claim.block_alphas).get(int(index[1]), alpha)
        threshold = claim.thresholds.of(int(index[1]))
    if claims == 1:
        return f"{threshold:.2g}: alpha {alpha:g}, and the file makes one claim"
    return (
        f"{threshold:.2g}: alpha {alpha:g} divided by the {claims} claims of the file "
        "(Bonferroni), whichever of them are run, so that the chance of any false alarm in it is at "
        "most alpha"
    )


def _outcome(node: NodeId, result: ClaimResult | None) -> str | None:
    if result is None:
        return None
    outcomes = {part.nodeid: part.outcome for part in result.parts}
    if node.part is None:
        return ", ".join(sorted(set(outcomes.values())))
    return outcomes.get(str(node), "not run")


def _measured(
    node: NodeId, claim: Claim, result: ClaimResult | None
) -> tuple[tuple[str, ...], str]:
    """What was measured and what it means, for the part that is asked about."""
    if result is None:
        return (), ""
    if result.found is not None:
        judgement = judge_nearest(claim, result.found)
        return (judgement.measured,), judgement.meaning
    if result.evidence is None:
        return (f"could not be checked: {result.error or 'it was skipped'}",), ""
    if node.part in {"positive", "null"}:
        return _control(node.part, result)
    judgement = _judged(node, claim, result.evidence)
    return (judgement.measured,), judgement.meaning


def _judged(node: NodeId, claim: Claim, evidence: Evidence) -> Judgement:
    index = re.fullmatch(r"block(\d+)", node.part or "")
    if index is None:
        return judge_pair(claim, evidence)
    return judge_block(claim, evidence, int(index[1]))


def _control(kind: str, result: ClaimResult) -> tuple[tuple[str, ...], str]:
    control = next((control for control in result.controls if control.kind == kind), None)
    if control is None:
        return ("this control was not run, or could not be checked",), ""
    measured = f"{kind} control by {control.evidence.statistic}: {p_equation(control.log10_p)}"
    return (measured,), CONTROL_MEANINGS[control.holds]


def _rows(result: ClaimResult) -> tuple[BlockRow, ...]:
    return tuple(
        BlockRow(
            block.candidate_block,
            block.reference_block,
            block.correlation,
            block.log10_p,
            None if block.log10_p is None else shows(block, result.claim.thresholds),
            block.reason,
        )
        for block in result.blocks
    )


def _references(result: ClaimResult | None) -> tuple[tuple[str, ...], ...]:
    if result is None or result.found is None:
        return ()
    return tuple(map(cells_of, result.found.references))


def _exhibits(node: NodeId, result: ClaimResult | None) -> tuple[Exhibit, ...]:
    """Those of two models, where the claim as a whole is asked about and they were measured."""
    if result is None or result.evidence is None or node.part not in {None, "verdict"}:
        return ()
    return result.evidence.exhibits


def _plan(node: NodeId, claim: Claim, known: SuiteRecord) -> tuple[str, ...]:
    inputs = known.inputs
    of = f" of {inputs.text}" if inputs.kind == "text" else f", {inputs.kind}"
    indices = claim.blocks.indices
    blocks = "every block" if indices is None else f"blocks {', '.join(map(str, indices))}"
    against = " against every block of the reference" if claim.blocks.cross else ""
    if claim.expect == NEAREST:
        against, blocks = "", "the blocks that settle each reference"
    parents = (parent for parent, _ in claim.parents)
    base = [] if claim.given is None else [claim.given]
    names = dict.fromkeys((claim.candidate, claim.reference, *claim.among, *parents, *base))
    models = [f"{name} ({known.models[name]})" for name in names if name in known.models]
    if claim.library is not None:
        models.append(f"the library {claim.library}")
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
    kind = failure_of(result)
    if kind is not None:
        return (kind.remedy, f"Run it again: {run}")
    if result.state == "pass":
        return (f"Nothing: the claim holds, p = {p_value(result.log10_p)}.",)
    return (f"The claim is {outcome_of(result).word}. Run it: {run}",)


def _notes(
    results: Results | None,
    record: SuiteRecord | None,
    suite: SuiteRecord | None,
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
    if result is not None:
        notes += [f"{model.source} was {model.digest}." for _, _, model in result.sides]
    return notes
