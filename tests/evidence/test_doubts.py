"""What speaks against believing in independence, on evidence made by hand."""

import math
from dataclasses import replace

import pytest

from provenance.evidence.decide import decide
from provenance.evidence.doubts import (
    LEAST_COVERAGE,
    LEAST_DISTINCT,
    LEAST_RANK,
    MOST_NEARNESS,
    doubts,
)
from provenance.evidence.meaning import WITHOUT_P, meaning
from provenance.evidence.models import CoverageRecord, PowerRecord
from provenance.evidence.records import Evidence, EvidenceError
from provenance.evidence.verdict import judge_block, judge_pair
from tests.evidence.test_verdict import ALPHA, KIN, STRANGE, claim, evidence

FULL = CoverageRecord(0.7, 0.9, (0.7,))


def covered(role="candidate", **changes):
    return {"coverage": {"candidate": FULL, "reference": FULL} | {role: replace(FULL, **changes)}}


def fed(**changes):
    return {"inputs": replace(evidence(STRANGE).inputs, **changes)}


def ranked(rank):
    return {"details": {"candidate_rank": rank}}


def borrowed(loss):
    return {
        **fed(borrowed=True, kind="text"),
        "details": {"candidate_loss": loss, "candidate_vocabulary": 1000},
    }


DOUBTFUL = [
    (
        covered(share=LEAST_COVERAGE - 0.01),
        "Most of chat was not compared: the compared MLPs make 9% of",
    ),
    (covered(effect=0.0), "and 0% of their effect on its predictions"),
    (covered("reference", share=0.0), "Most of base was not compared"),
    (covered(share=None, effect=None, reason="KeyError: x"), "could not be measured (KeyError: x)"),
    (fed(distinct=(LEAST_DISTINCT - 1, 90)), "chat was fed 15 different tokens, which cannot tell"),
    (fed(distinct=(90, 1)), "base was fed 1 different token, which"),
    (ranked(LEAST_RANK - 0.1), "chat was fed inputs of effective rank 4.9, which"),
    (
        fed(kind="random", asked="text", note="random ids: why"),
        "not fed one text (random ids: why)",
    ),
    (borrowed(math.log(1000) - 0.4), "no better than by guessing"),
    ({**fed(borrowed=True, kind="text"), "details": {}}, "no better than by guessing"),
    (
        {"power": {"reference": PowerRecord("match_tokens", (0,), -5.0)}},
        "A copy of base in disguise would not have been found at 1e-06: p = 1.0e-5 by match_tokens",
    ),
]
BELIEVED = [
    covered(share=LEAST_COVERAGE, effect=LEAST_COVERAGE),
    covered(effect=None),
    fed(distinct=(LEAST_DISTINCT, LEAST_DISTINCT)),
    ranked(LEAST_RANK),
    fed(kind="random"),
    borrowed(math.log(1000) - 0.6),
    {},
]


@pytest.mark.parametrize(("changes", "says"), DOUBTFUL)
def test_a_doubt_makes_independence_inconclusive_and_is_said(changes, says):
    found = replace(evidence(STRANGE, STRANGE), **changes)
    assert decide(found, ALPHA) == "inconclusive"
    for judged in (
        judge_pair(claim("independent"), found),
        judge_block(claim("independent"), found, 0),
    ):
        assert (judged.state, judged.verdict) == ("fails", "inconclusive")
        assert says in judged.meaning
    assert says in judge_pair(claim("finetune"), found).meaning
    unclaimed = judge_pair(claim("unknown"), found)
    assert (unclaimed.state, unclaimed.verdict) == ("report", "inconclusive")
    assert says in unclaimed.meaning


@pytest.mark.parametrize("changes", [changes for changes, _ in DOUBTFUL])
def test_kinship_that_was_found_is_never_doubted(changes):
    found = replace(evidence(KIN, KIN), **changes)
    assert doubts(found)
    assert decide(found, ALPHA) == "dependent"
    assert judge_pair(claim("derived"), found).state == "holds"


@pytest.mark.parametrize("changes", BELIEVED)
def test_at_the_floors_nothing_speaks_against_it(changes):
    found = replace(evidence(STRANGE, STRANGE), **changes)
    assert not doubts(found)
    assert judge_pair(claim("independent"), found).state == "holds"


def test_independence_says_how_much_was_compared_and_what_was_not():
    found = replace(evidence(STRANGE, STRANGE), **covered(share=0.55))
    base = replace(found.reference, skipped={"2": "MambaMixer"}, elsewhere=("the MLPs of encoder",))
    says = judge_pair(claim("independent"), replace(found, reference=base)).meaning
    assert "Of chat, the compared MLPs make 55% of what its blocks change and 90% of" in says
    assert "Not compared of base: blocks 2, for want of an MLP." in says
    assert "Not compared of base: the MLPs of encoder." in says


def test_random_ids_that_were_asked_for_are_a_risk_that_is_said():
    found = replace(evidence(STRANGE), **fed(kind="random"))
    assert "renumbered vocabulary" in judge_pair(claim("independent"), found).meaning


def test_coverage_survives_being_written_and_read():
    found = replace(evidence(STRANGE), **covered(blocks=(None,)))
    assert Evidence.from_json(found.to_json()) == found


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_from_0_to_1(share):
    found = replace(evidence(STRANGE), **covered(blocks=(share,)))
    with pytest.raises(EvidenceError, match="coverage of the candidate: a share is from 0 to 1"):
        Evidence.from_json(found.to_json())


def test_a_statistic_without_a_p_value_is_said_to_decide_nothing():
    """Of strangers too: it is no agreement that more tokens would make clear."""
    found = replace(evidence(STRANGE), statistic="jsd", log10_p=None, value=0.1, blocks=())
    says = meaning(found, decide(found, ALPHA), ALPHA, {"candidate": "a", "reference": "b"})
    assert says == f"Whether these two are kin stays open. {WITHOUT_P}"


def test_units_that_are_near_make_a_doubt_above_the_most_alone():
    found = evidence(STRANGE, STRANGE)
    near, far = (
        replace(found, blocks=tuple(replace(b, nearness=value) for b in found.blocks))
        for value in (MOST_NEARNESS + 0.001, MOST_NEARNESS)
    )
    judged = judge_pair(claim("independent"), near)
    assert (judged.state, judged.verdict) == ("fails", "inconclusive")
    assert "in 1 more, units of chat have their like among those of base" in judged.meaning
    assert "(nearness 0.101, where strangers seldom have more than 0.10)" in judged.meaning
    assert judge_pair(claim("independent"), far).state == "holds"
