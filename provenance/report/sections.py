"""Claim by claim: its line in the list, and what opens under it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provenance.evidence import exhibits
from provenance.evidence.decide import shows
from provenance.evidence.failures import failure_of
from provenance.evidence.outcomes import (
    CONTROL_OUTCOMES,
    OUTCOMES,
    outcome_of,
    p_equation,
    p_value,
    verdict_of,
)
from provenance.evidence.strip import strip
from provenance.evidence.wording import describe
from provenance.report import block_tables as tables
from provenance.report import exhibit_tables
from provenance.report.charts import Point, bars, p_values, scatter
from provenance.report.difference_map import difference_map
from provenance.report.heat import heat_of
from provenance.report.record_tables import of_references, tests_in_words, tests_of
from provenance.report.view import ControlView, Figure, Panel, Row, Section
from provenance.statistics import REGISTRY

if TYPE_CHECKING:
    from markupsafe import Markup

    from provenance.evidence.blocks import BlockEvidence
    from provenance.evidence.records import Evidence
    from provenance.evidence.results import ClaimResult, ControlResult
    from provenance.report.view import Table
    from provenance.suite.claims import Claim


@dataclass(frozen=True)
class Room:
    """How many scatters a section may hold, and whether it is drawn short, without its figures."""

    scatters: int
    short: bool


def weight(result: ClaimResult, scatters: int) -> int:
    """About how many bytes the figures and numbers of a claim take when it is drawn whole."""
    crossed = [result.evidence, *(control.evidence for control in result.controls)]
    cells = sum(len(row) for each in crossed if each is not None for row in each.cross)
    blocks = len(result.blocks) + sum(
        len(control.evidence.blocks) for control in result.controls if control.kind == "positive"
    )
    drawn = min(scatters, sum(bool(block.matchings) for block in result.blocks))
    difference = None if result.evidence is None else result.evidence.difference
    matrices = 0 if difference is None else len(difference.matrices)
    return (
        FRAME_BYTES
        + BLOCK_BYTES * blocks
        + SCATTER_BYTES * drawn
        + CELL_BYTES * cells
        + MATRIX_BYTES * matrices
    )


FRAME_BYTES, BLOCK_BYTES, SCATTER_BYTES, CELL_BYTES, MATRIX_BYTES = 4000, 450, 2500, 13, 100
"""Of a section, a block, a scatter, a cell of a map, a matrix of a difference: in reports on models of 32
blocks have them; eight of these are looked at."""


def row_of(
    result: ClaimResult,
    anchor: str,
    how: tuple[str, ...] = (),
    models: tuple[int, int] = (0, 1),
) -> Row:
    """The line of a claim in the list of claims; ``how`` is what is not usual about its test.

    The statistic has a place of its own there.
    """
    claim = result.claim
    failure = failure_of(result)
    nothing = claim.expect == "unknown"
    return Row(
        anchor=anchor,
        outcome=outcome_of(result),
        sentence=f"{claim.candidate} and {claim.reference}" if nothing else describe(claim),
        how=tuple(said for said in how if said != f"by {claim.statistic}"),
        statistic=claim.statistic,
        expect="nothing" if nothing else claim.expect,
        verdict=verdict_of(result),
        p=p_value(result.log10_p, "–"),
        holm=p_value(result.holm, "–"),
        kin=f"{result.kin} of {len(result.blocks)}" if result.blocks else "–",
        where=result.parts[0].nodeid if nothing and result.parts else result.where,
        strip=strip(result),
        remedy="" if failure is None or claim.xfail is not None else failure.remedy,
        models=models,
        log10_p=1.0 if result.log10_p is None else result.log10_p,
    )


def section_of(result: ClaimResult, row: Row, room: Room, facts: tuple[Table, ...] = ()) -> Section:
    """The section of a claim; ``facts`` is what an auditor asks of it alone."""
    claim, evidence, judgement = result.claim, result.evidence, result.judgement
    blocks = result.blocks
    said = Section(
        row=row,
        measured="" if judgement is None else judgement.measured,
        meaning="" if judgement is None else judgement.meaning,
        notes=_notes(result),
        short=room.short and evidence is not None,
        bars=_bars(row.anchor, claim, blocks) if blocks and room.short else None,
        numbers=_numbers(blocks) if room.short else "",
        plot=None,
        blocks=(),
        heat=None,
        difference=None,
        panels=(),
        matched=0,
        controls=(),
        facts=facts,
        tests=tests_of(result),
        tested=tests_in_words(result),
        references=None if result.found is None else of_references(result.found),
        exhibits=None if evidence is None or room.short else exhibit_tables.of_evidence(evidence),
        exhibited=exhibits.line(evidence.exhibits) if evidence is not None and room.short else "",
    )
    if room.short:
        controls = tuple(_control("", control, claim, short=True) for control in result.controls)
        return replace(said, controls=controls)
    return replace(
        said,
        plot=_plot(row.anchor, claim, blocks) if blocks else None,
        blocks=()
        if evidence is None
        else (
            *tables.of_blocks(evidence, blocks, claim.thresholds),
            *tables.of_parents(evidence, [name for name, _ in claim.parents]),
            *tables.of_base(evidence, claim.given),
        ),
        heat=None if evidence is None else heat_of(f"{row.anchor}-x", evidence, claim.threshold),
        difference=None
        if evidence is None
        else difference_map(f"{row.anchor}-d", evidence.difference),
        panels=_panels(row.anchor, evidence, blocks, room.scatters),
        matched=sum(bool(block.matchings) for block in blocks),
        controls=tuple(
            _control(f"{row.anchor}-k{i}", control, claim, short=False)
            for i, control in enumerate(result.controls)
        ),
    )


def _numbers(blocks: tuple[BlockEvidence, ...]) -> str:
    """The p-value of every block, in the order of the blocks."""
    return " ".join(p_value(block.log10_p, "–") for block in blocks)


def _notes(result: ClaimResult) -> tuple[str, ...]:
    """Why a claim was not judged, or why it failed although it is not false."""
    claim = result.claim
    notes = [f"It could not be checked: {result.error}"] if result.error else []
    if claim.skip is not None:
        notes.append(f"Skipped: {claim.skip}")
    elif not result.parts:
        notes.append("None of its tests was selected in this run.")
    if claim.xfail is not None:
        notes.append(f"Known, and accepted by the suite: {claim.xfail}")
    elif _failed_otherwise(result):
        notes += [
            f"{part.nodeid}: {part.message or part.outcome}"
            for part in result.parts
            if part.outcome in {"failed", "xpassed"} and part.message != result.error
        ]
    return tuple(notes)


def _failed_otherwise(result: ClaimResult) -> bool:
    """Whether it failed, and not for what was judged of it."""
    judged = result.judgement is not None and result.judgement.state == "fails"
    return result.state == "fail" and not judged


def _points(claim: Claim, blocks: tuple[BlockEvidence, ...]) -> list[Point]:
    return [
        Point(
            block.candidate_block,
            block.log10_p,
            "none"
            if block.log10_p is None
            else "kin"
            if shows(block, claim.thresholds)
            else "free",
        )
        for block in blocks
    ]


def _plot(anchor: str, claim: Claim, blocks: tuple[BlockEvidence, ...]) -> Figure:
    points = _points(claim, blocks)
    drawn = p_values(f"{anchor}-p", points, math.log10(claim.threshold))
    caption = "p-value of each block. The scale is logarithmic in the exponent of p."
    return Figure(drawn, caption, frozenset(point.kind for point in points))


def _bars(anchor: str, claim: Claim, blocks: tuple[BlockEvidence, ...]) -> Markup:
    return bars(f"{anchor}-p", _points(claim, blocks), math.log10(claim.threshold))


def _panels(
    anchor: str, evidence: Evidence | None, blocks: tuple[BlockEvidence, ...], most: int
) -> tuple[Panel, ...]:
    if evidence is None:
        return ()
    drawn = [block for block in blocks if block.matchings is not None and block.matchings[0]]
    by_strength = sorted(drawn, key=lambda block: block.log10_p or 0.0)
    if len(drawn) > most:  # the strongest, the weakest, and some between
        ranks = {round(i * (len(drawn) - 1) / (most - 1)) for i in range(most)}
        drawn = [block for block in drawn if by_strength.index(block) in ranks]
    row = REGISTRY.get(evidence.statistic)  # evidence may be of a statistic that is gone
    names = ("gate", "up") if row is None else row.matched
    return tuple(
        Panel(
            id=f"{anchor}-m{block.candidate_block}",
            label=str(block.candidate_block),
            figure=_matchings(f"{anchor}-s{block.candidate_block}", block, names),
            chosen=block is by_strength[0],
        )
        for block in drawn
    )


def _matchings(key: str, block: BlockEvidence, names: tuple[str, str]) -> Figure:
    assert block.matchings is not None
    gate, up = block.matchings
    of = f"{len(gate)} of {min(block.live)} units"
    p = p_value(block.log10_p, "–")
    caption = (
        f"Block {block.candidate_block} against block {block.reference_block}: the partner of each unit "
        f"by {names[0]} and by {names[1]}, {of}. p = {p}, {block.agreeing} matched alike."
    )
    return Figure(scatter(key, gate, up, names), caption)


def _control(key: str, control: ControlResult, claim: Claim, *, short: bool) -> ControlView:
    known = OUTCOMES[{True: "holds", False: "control-failed", None: "measured"}[control.holds]]
    outcome = CONTROL_OUTCOMES[control.holds]
    p = p_equation(control.log10_p)
    evidence = control.evidence
    if control.kind == "positive":
        title = f"Positive control: a disguised copy of {claim.reference} is dependent on it"
        shown = () if short else tables.of_blocks(evidence, evidence.blocks, claim.threshold)
        table = shown[0] if shown else None
        return ControlView(known.tone, known.mark, title, f"{outcome} ({p})", None, table)
    title = (
        f"Null control: blocks of {claim.candidate} and {claim.reference} that do not correspond "
        f"look independent, by {evidence.statistic}"
    )
    heat = None if short else heat_of(key, evidence, claim.threshold)
    outcome = f"{outcome} (uniformity of the p-values off the map: {p})"
    return ControlView(known.tone, known.mark, title, outcome, heat, None)
