"""Pretrained models compared as users do, and what their comparisons say; kept in a folder."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._block_pairs import Question, made_by
from benchmarks._counts import Counted, disjoint
from benchmarks._rows import Rows
from benchmarks._strangers import ALL_PAIRS, TEXT, TOKENS, pairs
from provenance import compare, decide
from provenance._quiet import quiet
from provenance.evidence.decide import beyond
from provenance.evidence.records import Evidence
from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks._block_pairs import Table
    from provenance import Executor
    from provenance.evidence.blocks import BlockEvidence
    from provenance.vocabulary import StatisticName

THRESHOLD = 1e-6
STATISTIC: StatisticName = "kinship"

ONE_MAKER = frozenset({"qwen05", "qwen15"})


@dataclass(frozen=True)
class Whole:
    """What a comparison of two models found, and the processor time that it took."""

    candidate: str
    reference: str
    evidence: Evidence
    seconds: float

    @property
    def verdict(self) -> str:
        """The verdict at `THRESHOLD`."""
        return decide(self.evidence, threshold=THRESHOLD)

    def strongest(self) -> str:
        """Return the least p-value of a block, its price paid, and which blocks met there."""
        return _least(self.evidence.tested())

    def beyond(self) -> str:
        """Return the same of more agreement than universal units make."""
        return _least(beyond(self.evidence.tested()))

    def nearest(self) -> str:
        """Return the greatest nearness of any block."""
        near = [block.nearness for block in self.evidence.blocks if block.nearness is not None]
        return f"{max(near):.3f}" if near else "–"

    def tested(self) -> str:
        """Return how many blocks of the candidate were tested."""
        return f"{len(self.evidence.tested())} of {len(self.evidence.blocks)} blocks"

    def differences(self, kept: Sequence[Table]) -> Iterator[float]:
        """Yield how far p-values are from those of the same blocks in tables, in log10 p."""
        of_parts = {"match_tokens": TOKENS, "match": TEXT}
        known = {
            (table.question, cell.place): cell.log10_p
            for table in kept
            if (table.candidate, table.reference) == (self.candidate, self.reference)
            for cell in table.cells
        }
        for block in self.evidence.tested():
            place = block.candidate_block, block.reference_block
            for part in block.parts:
                question = of_parts.get(part.statistic)
                log10_p = None if question is None else known.get((question, place))
                if log10_p is not None and part.log10_p is not None:
                    yield abs(log10_p - part.log10_p)


def _least(blocks: Sequence[BlockEvidence]) -> str:
    best = min(blocks, key=lambda block: block.log10_p or 0.0)
    assert best.log10_p is not None
    return f"{10.0**best.log10_p:.2g} ({best.candidate_block}, {best.reference_block})"


def measure(
    folder: Path, kept: Path, without: str | None, executor: Executor, report: Callable[[str], None]
) -> None:
    """Compare every two models in a folder of which no comparison is kept, made as one would be now."""
    for models in pairs(folder, without):
        candidate, reference = models
        rows = Rows(_file(kept, (candidate.name, reference.name)))
        known, made = rows.read(), made_by(models, Question(STATISTIC), executor)
        if known is not None and known.head["made"] == made:
            continue
        report(f"{candidate.name} against {reference.name}")
        begun = time.process_time()
        with quiet():
            found = compare(candidate, reference, statistic=STATISTIC, executor=executor)
        seconds = round(time.process_time() - begun, 1)
        evidence = _bare(found).to_json()
        rows.write({"made": made, "seconds": seconds, "evidence": evidence}, [])


def _bare(evidence: Evidence) -> Evidence:
    """Leave the pictures' matchings out, which are most of it, and this machine's paths."""
    sides = {
        role: replace(record, source=f"path:{Path(record.source).name}")
        for role in ROLES
        for record in (getattr(evidence, role),)
    }
    blocks = tuple(replace(block, matchings=None) for block in evidence.blocks)
    return replace(evidence, blocks=blocks, **sides)


def read(kept: Path) -> list[Whole]:
    """Return the comparisons that are kept."""
    found = []
    for candidate, reference in ALL_PAIRS:
        known = Rows(_file(kept, (candidate, reference))).read()
        if known is not None:
            evidence = Evidence.from_json(known.head["evidence"])
            found.append(Whole(candidate, reference, evidence, known.head["seconds"]))
    return found


def _file(kept: Path, pair: tuple[str, str]) -> Path:
    return kept / f"{'-'.join(pair)}-{STATISTIC}.jsonl"


def counts(whole: Sequence[Whole]) -> tuple[Counted, ...]:
    """Return the verdicts by population: pairs of two makers, and of one."""
    populations = {
        False: "pretrained models of different makers (SmolLM2, Gemma 3, Qwen2.5-Coder)",
        True: "two sizes of one maker's pretrained model (Qwen2.5-Coder), as far as is known each from "
        "its own initial weights",
    }
    found = []
    for one_maker, population in populations.items():
        of = [one for one in whole if ({one.candidate, one.reference} == ONE_MAKER) == one_maker]
        verdicts = [one.verdict for one in of]
        if of:
            found.append(
                Counted(
                    population=population,
                    truth="strangers",
                    disjoint=disjoint((one.candidate, one.reference) for one in of),
                    statistic=STATISTIC,
                    threshold=THRESHOLD,
                    verdicts={
                        verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))
                    },
                )
            )
    return tuple(found)
