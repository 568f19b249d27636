"""Every relationship judged on evidence made by hand; what would pass wrongly is tried first."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.evidence.blocks import NOT_MEASURED, BlockEvidence, PartEvidence
from provenance.evidence.decide import (
    SUSPICION,
    aggregate,
    beyond,
    decide,
    decide_blocks,
    decide_p,
    is_decided,
    shows,
)
from provenance.evidence.meaning import BETWEEN, IN_SHORT
from provenance.evidence.models import InputsRecord, ModelRecord, PowerRecord, RangesRecord
from provenance.evidence.records import POWER_CONTROL, WORSE, Evidence
from provenance.evidence.tested_with import qualifiers
from provenance.evidence.verdict import claimed_blocks, judge_block, judge_pair, shortfall
from provenance.evidence.weights import WeightsRecord
from provenance.evidence.wording import describe
from provenance.statistics import PAIR_STATISTICS, REGISTRY, WITHSTANDING
from provenance.statistics.pvalues import bonferroni, fisher, format_p, log10_p_of_correlation
from provenance.suite.claims import Blocks, Claim
from provenance.suite.read import loads
from provenance.suite.yaml12 import Mark
from provenance.vocabulary import DECIDED, DESCENTS, RELATIONSHIPS, SHAPE_KEEPING, InputsSpec
from tests.support.correlations import correlation_of

ALPHA = 1e-6
KIN, STRANGE, SUSPECT = -50.0, -0.3, -5.0
"""log10 p of a block that shows kinship, of one that shows nothing, of one in between."""

descents = pytest.mark.parametrize("expect", sorted(DESCENTS - {"identical"}))
all_claims = pytest.mark.parametrize("expect", RELATIONSHIPS)


def claim(expect="finetune", blocks=None, threshold=ALPHA):
    return Claim(
        id="chat-vs-base",
        candidate="chat",
        reference="base",
        expect=expect,
        statistic="match",
        alpha=threshold,
        threshold=threshold,
        blocks=blocks or Blocks(),
        tags=(),
        xfail=None,
        skip=None,
        mark=Mark(1, 1, 1, 1),
        kind="measured",
    )


def block(index, log10_p, *, partner=None, units=(64, 64)):
    partner = index if partner is None else partner
    if log10_p is None:
        why = "3 of the candidate's 64 units vary"
        return BlockEvidence(index, partner, None, None, units, (3, 64), 0, "degenerate", why)
    correlation = correlation_of(log10_p, min(units))
    return BlockEvidence(index, partner, log10_p, correlation, units, units, 60)


def model(digest, blocks, skipped=()):
    skipped = {str(index): "MambaMixer" for index in skipped}
    return ModelRecord(digest, digest, "LlamaForCausalLM", blocks, 9, "float32", skipped)


def evidence(*found, candidate=None, reference=None, **changes):
    """Evidence on these blocks, each given as itself or as its log10 p."""
    found = tuple(b if isinstance(b, BlockEvidence) else block(i, b) for i, b in enumerate(found))
    made = Evidence(
        statistic="match",
        log10_p=aggregate(found),
        blocks=found,
        candidate=candidate or model("sha256:c", len(found)),
        reference=reference or model("sha256:r", len(found)),
        inputs=InputsRecord("text", "stdlib", 64, 16, 0, "sha256:i"),
        pairing="same-index",
        seed=0,
        device="cpu",
        versions={},
        created="2025-01-01T00:00:00+00:00",
    )
    return replace(made, **changes)


def copy(*found):
    """Evidence on a checkpoint against itself."""
    return evidence(
        *found, candidate=model("sha256:x", len(found)), reference=model("sha256:x", len(found))
    )


def shorter(*log10_ps, blocks=3):
    """Evidence on a candidate without the first block of a reference of ``blocks`` blocks."""
    found = [block(i, p, partner=i + 1) for i, p in enumerate(log10_ps)]
    return evidence(*found, reference=model("sha256:r", blocks), pairing="best-of-reference")


def narrower(*log10_ps, units=(48, 64)):
    return evidence(*(block(i, p, units=units) for i, p in enumerate(log10_ps)))


# blocks that repeat


def repeated(*log10_ps, first=0):
    """Blocks that all count with the first."""
    return [
        replace(block(i, p), counted_with=first if i > first else None)
        for i, p in enumerate(log10_ps)
    ]


def test_blocks_that_repeat_count_once():
    found = repeated(*[-1.5] * 16)
    assert aggregate(found) == pytest.approx(-1.5 + math.log10(16))
    assert aggregate([block(i, -1.5) for i in range(16)]) < -8
    assert decide_blocks(found, ALPHA) == "independent"
    assert aggregate([*found, block(20, -2.0)]) == pytest.approx(
        fisher([-1.5 + math.log10(16), -2.0])
    )
    assert aggregate(found[3:5]) == pytest.approx(-1.5 + math.log10(2))  # whichever are claimed


def test_what_counts_once_is_said():
    made = evidence(*repeated(-0.5, -0.2, None), block(3, -0.3))
    measured = judge_pair(claim("independent"), made).measured
    assert "; blocks 0, 1 count once, as they or their partners repeat" in measured
    assert "count once" not in judge_pair(claim("independent"), evidence(-0.5, -0.2)).measured


# decide


def test_a_p_value_at_the_threshold_is_not_below_it():
    assert decide_p(math.log10(ALPHA), ALPHA) == "inconclusive"


def test_a_p_value_just_below_the_threshold_is_dependent():
    assert decide_p(math.nextafter(math.log10(ALPHA), -math.inf), ALPHA) == "dependent"


def test_a_p_value_at_the_suspicion_is_independent():
    assert decide_p(math.log10(SUSPICION), ALPHA) == "independent"


def test_a_p_value_just_below_the_suspicion_is_inconclusive():
    below = math.nextafter(math.log10(SUSPICION), -math.inf)
    assert decide_p(below, ALPHA) == "inconclusive"


def test_without_a_p_value_nothing_is_decided():
    assert decide_p(None, ALPHA) == "inconclusive"


def test_a_threshold_above_the_suspicion_leaves_nothing_in_between():
    assert [decide_p(math.log10(p), 0.01) for p in (0.009, 0.01)] == ["dependent", "independent"]


def test_the_least_threshold_of_a_suite_is_a_threshold():
    assert [decide_p(p, 1e-300) for p in (-299.0, -301.0)] == ["inconclusive", "dependent"]


@given(st.floats(-1e6, 0), st.floats(-1e6, 0), st.floats(1e-300, 0.99))
def test_a_smaller_p_value_is_never_less_dependent(one, other, threshold):
    order = ["dependent", "inconclusive", "independent"]
    smaller, larger = sorted([one, other])
    assert order.index(decide_p(smaller, threshold)) <= order.index(decide_p(larger, threshold))


# out of element


def reading(loss, vocabulary=1000, role="candidate", *found):
    details = {f"{role}_loss": loss, f"{role}_vocabulary": vocabulary}
    return evidence(*(found or (STRANGE, STRANGE)), details=details)


@pytest.mark.parametrize("role", ["candidate", "reference"])
def test_no_independence_is_believed_of_a_model_that_does_much_worse_than_guessing(role):
    loss = math.log(1000) + WORSE
    for excess, verdict, sides in ((-0.01, "independent", ()), (0.01, "inconclusive", (role,))):
        found = reading(loss + excess, 1000, role)
        assert (found.out_of_element(), decide(found, ALPHA)) == (sides, verdict)
        judged = judge_pair(claim("independent"), found)
        assert (judged.state, judged.verdict) == ("fails" if sides else "holds", verdict)
        assert judge_block(claim("independent"), found, 0).verdict == verdict


def test_kinship_is_believed_whatever_the_loss():
    found = reading(50.0, 1000, "candidate", KIN, KIN)
    assert decide(found, ALPHA) == "dependent"
    assert judge_pair(claim("finetune"), found).state == "holds"
    assert judge_pair(claim("independent"), found).verdict == "dependent"


@pytest.mark.parametrize("expect", ["independent", "finetune"])
def test_the_judgement_says_which_model_reads_the_text_badly(expect):
    says = judge_pair(claim(expect), reading(11.34)).meaning
    assert says.startswith(
        "chat reads the text worse than guessing would: its loss is 11.3 nats a token, where "
        "guessing has 6.9. So "
    )


def test_evidence_without_a_loss_is_in_its_element():
    found = evidence(STRANGE, details={"candidate_loss": 50.0, "reference_vocabulary": 9})
    assert found.out_of_element() == ()
    for loss, vocabulary in (("9", 9), (50.0, 0), (50.0, "9"), (10**400, 9), (50.0, 10**400)):
        odd = {"candidate_loss": loss, "candidate_vocabulary": vocabulary}
        assert evidence(STRANGE, details=odd).out_of_element() == ()


# decide_blocks


def test_no_block_decides_nothing():
    assert decide_blocks((), ALPHA) == "inconclusive"


def test_one_block_is_decided_by_its_p_value():
    assert [decide_blocks((block(0, p),), ALPHA) for p in (STRANGE, SUSPECT, KIN)] == [
        "independent",
        "inconclusive",
        "dependent",
    ]


def test_many_weak_blocks_are_dependent_together():
    assert decide_blocks([block(i, -3.0) for i in range(12)], ALPHA) == "dependent"


def test_one_kin_block_among_many_strange_ones_is_not_lost():
    blocks = [block(0, -12.0), *(block(i, STRANGE) for i in range(1, 60))]
    assert decide_p(aggregate(blocks), ALPHA) == "independent"
    assert decide_blocks(blocks, ALPHA) == "dependent"


def test_the_strongest_block_pays_for_the_number_of_blocks():
    blocks = [block(0, -6.5), *(block(i, STRANGE) for i in range(1, 60))]
    assert decide_blocks(blocks, ALPHA) == "inconclusive"


def test_of_many_independent_blocks_one_may_look_a_little_alike():
    blocks = [block(0, -3.5), *(block(i, STRANGE) for i in range(1, 60))]
    assert decide_blocks(blocks, ALPHA) == "independent"


log10_ps = st.lists(st.floats(-100, 0), min_size=1, max_size=40)


@pytest.mark.slow
@given(log10_ps, st.floats(1e-12, 0.5))
def test_independent_means_that_no_block_shows_kinship(values, threshold):
    blocks = [block(i, p) for i, p in enumerate(values)]
    if decide_blocks(blocks, threshold) == "independent":
        assert not any(shows(b, threshold) for b in blocks)


@pytest.mark.slow
@given(log10_ps, st.floats(1e-12, 0.5))
def test_what_fisher_calls_dependent_beyond_universal_units_stays_dependent(values, threshold):
    blocks = [block(i, p) for i, p in enumerate(values)]
    of_two = [  # p-values the smaller
        bonferroni(fisher([b.log10_p for b in some]), 2) for some in (blocks, beyond(blocks))
    ]
    plain, more = (decide_p(log10_p, threshold) == "dependent" for log10_p in of_two)
    verdict = decide_blocks(blocks, threshold)
    assert not plain or verdict != "independent"
    assert not more or verdict == "dependent"


# universal units: gate and up of 110 in 1,000 agree; p of any agreement is small


def wide(index, alike, units=14336):
    correlation = alike / units
    log10_p = log10_p_of_correlation(correlation, units)
    return replace(
        block(index, -9.0), log10_p=log10_p, correlation=correlation, live=(units, units)
    )


def test_few_units_that_agree_are_no_kinship_however_small_their_p_value():
    one = wide(0, 1617)
    assert one.log10_p < -8
    assert not shows(one, ALPHA)
    assert decide_blocks([one] * 8, ALPHA) == "inconclusive"
    found = replace(evidence(KIN), blocks=(one,), log10_p=one.log10_p)
    for expect, state in (("independent", "fails"), ("finetune", "fails")):
        judged = judge_pair(claim(expect), found)
        assert (judged.state, judged.verdict) == (state, "inconclusive")
        assert judged.meaning.startswith("The p-value is small, but so few units agree")
        assert judged.meaning.endswith("with 10% of the units taken for universal, p = 0.12.")
        judged = judge_block(claim(expect), found, 0)
        assert (judged.state, judged.verdict) == (state, "inconclusive")
        assert "taken for universal, p = 0." in judged.meaning


@pytest.mark.parametrize("expect", ["independent", "finetune", "unknown"])
def test_a_p_value_below_a_block_s_own_alpha_is_no_independence(expect):
    few = wide(0, 300)
    assert -3 < few.log10_p < -2
    asked = replace(claim(expect), block_alphas=((0, 0.05),))
    found = evidence(few, STRANGE, STRANGE, STRANGE)
    judged = judge_pair(asked, found)
    assert judged.verdict == "inconclusive"
    assert judged.state != "holds"
    assert "so few units agree" in judged.meaning
    assert judge_block(asked, found, 0).verdict == "inconclusive"


@pytest.mark.parametrize("log10_p", [None, -9.0])
def test_parts_without_a_correlation_hide_no_universal_units(log10_p):
    few = wide(0, 900)
    parts = (PartEvidence("match_weights", log10_p, None, (0, 0), 0, "not tested"),)
    assert beyond((replace(few, parts=parts),))[0].log10_p == beyond((few,))[0].log10_p


def test_more_units_than_strangers_share_are_kinship():
    one = wide(0, 2500)
    assert shows(one, ALPHA)
    assert judge_pair(claim(), replace(evidence(KIN), blocks=(one,))).state == "holds"


def test_of_several_parts_the_one_that_shows_most_beyond_universal_units_counts():
    weak, strong = wide(0, 700), replace(block(0, -12.0), live=(64, 64))
    parts = tuple(
        PartEvidence(name, b.log10_p - 1, b.correlation, b.live, b.agreeing)
        for name, b in (("match_tokens", weak), ("match", strong))
    )
    both = replace(weak, log10_p=strong.log10_p, parts=parts)
    assert shows(both, ALPHA)
    assert not shows(replace(both, log10_p=weak.log10_p, parts=parts[:1]), ALPHA)


# which blocks a claim speaks of


def test_a_claim_speaks_of_all_blocks_unless_it_lists_some():
    found = evidence(KIN, STRANGE, KIN)
    assert claimed_blocks(claim(), found) == found.blocks


def test_a_list_picks_blocks():
    found = evidence(KIN, STRANGE, KIN)
    assert claimed_blocks(claim(blocks=Blocks((2, 0))), found) == (found.blocks[0], found.blocks[2])


def test_the_aggregate_is_fishers_over_tested_blocks():
    assert aggregate(evidence(-1.0, None, -2.0).blocks) == fisher([-1.0, -2.0])


def test_the_aggregate_of_no_tested_block_is_none():
    assert aggregate(evidence(None, None).blocks) is None


# kin, not kin, partly kin, undecided


@descents
def test_a_descent_holds_where_every_block_is_kin(expect):
    found = judge_pair(claim(expect), evidence(KIN, KIN))
    assert (found.state, found.verdict) == ("holds", "dependent")


@descents
def test_a_descent_fails_where_nothing_is_shared(expect):
    found = judge_pair(claim(expect), evidence(STRANGE, STRANGE))
    assert (found.state, found.verdict) == ("fails", "independent")
    assert "the claimed descent is not there" in found.meaning


@descents
def test_a_descent_fails_on_evidence_that_is_too_weak(expect):
    found = judge_pair(claim(expect), evidence(SUSPECT))
    assert (found.state, found.verdict) == ("fails", "inconclusive")
    assert "try more tokens" in found.meaning


@descents
def test_a_descent_of_all_blocks_fails_where_one_shows_nothing(expect):
    found = judge_pair(claim(expect), evidence(KIN, STRANGE, KIN))
    assert (found.state, found.verdict) == ("fails", "dependent")
    assert "only 2 of 3 blocks show it and the claim needs 3" in found.meaning


@all_claims
@pytest.mark.parametrize("found", [evidence(SUSPECT), evidence(None, None)], ids=["weak", "none"])
def test_what_is_inconclusive_only_warns_where_the_claim_says_so(expect, found):
    lenient = replace(claim(expect), inconclusive="warn")
    strict, warned = judge_pair(claim(expect), found), judge_pair(lenient, found)
    assert strict.verdict == "inconclusive"
    assert warned == (strict if strict.state == "report" else replace(strict, state="warns"))
    block = judge_block(lenient, found, 0)
    assert block.state == ("report" if expect == "unknown" else "warns")


@descents
def test_what_speaks_against_a_claim_fails_however_lenient(expect):
    lenient = replace(claim(expect), inconclusive="warn")
    assert judge_pair(lenient, evidence(STRANGE, STRANGE)).state == "fails"
    assert judge_pair(lenient, evidence(KIN, STRANGE)).state == "fails"
    named = replace(lenient, blocks=Blocks(indices=(0, 7)))
    assert judge_pair(named, evidence(SUSPECT)).state == "fails"
    assert judge_block(named, evidence(SUSPECT), 7).state == "fails"


@all_claims
def test_what_is_expected_to_fail_fails_where_it_is_inconclusive(expect):
    known = replace(claim(expect), inconclusive="warn", xfail="the vendor's claim")
    found = evidence(SUSPECT)
    assert judge_pair(known, found) == judge_pair(claim(expect), found)
    assert judge_block(known, found, 0) == judge_block(claim(expect), found, 0)


def test_independence_holds_where_nothing_is_shared():
    found = judge_pair(claim("independent"), evidence(STRANGE, STRANGE))
    assert (found.state, found.verdict) == ("holds", "independent")


def test_independence_fails_where_every_block_is_kin():
    found = judge_pair(claim("independent"), evidence(KIN, KIN))
    assert (found.state, found.verdict) == ("fails", "dependent")
    assert found.meaning.startswith("The claim of independence is false. Of the two models one")


def test_independence_fails_on_one_kin_block_among_many():
    found = judge_pair(claim("independent"), evidence(-12.0, *[STRANGE] * 59))
    assert (found.state, found.verdict) == ("fails", "dependent")
    assert found.measured.endswith("; the strongest is block 0, p = 1.0e-12")


def test_independence_fails_on_evidence_that_decides_nothing():
    found = judge_pair(claim("independent"), evidence(SUSPECT))
    assert (found.state, found.verdict) == ("fails", "inconclusive")
    assert "more tokens would decide" in found.meaning


@pytest.mark.slow
@given(st.lists(st.none() | st.floats(-20, 0), max_size=20), st.sampled_from(["blocks", "pair"]))
def test_independence_never_passes_but_on_an_independent_verdict(values, judge):
    found = evidence(*values)
    judgements = [judge_pair(claim("independent"), found)]
    if judge == "blocks":
        judgements = [judge_block(claim("independent"), found, i) for i in range(len(values))]
    assert all(j.state == "fails" or j.verdict == "independent" for j in judgements)


@pytest.mark.slow
@given(st.lists(st.none() | st.floats(-20, 0), max_size=20))
def test_independence_of_a_pair_never_passes_where_one_of_its_blocks_fails(values):
    found, independent = evidence(*values), claim("independent")
    states = {judge_block(independent, found, i).state for i in range(len(values))}
    if "fails" in states:
        assert judge_pair(independent, found).state == "fails"


@pytest.mark.slow
@given(st.sampled_from(sorted(DESCENTS)), st.lists(st.none() | st.floats(-20, 0), max_size=12))
def test_a_descent_of_all_blocks_never_passes_where_one_of_its_blocks_fails(expect, values):
    found = evidence(*values)
    states = {judge_block(claim(expect), found, i).state for i in range(len(values))}
    if "fails" in states:
        assert judge_pair(claim(expect), found).state == "fails"


@pytest.mark.parametrize("log10_p", [KIN, STRANGE, SUSPECT])
def test_an_unknown_pair_is_reported_whatever_it_shows(log10_p):
    found = judge_pair(claim("unknown"), evidence(log10_p, log10_p))
    assert found.state == "report"
    assert found.meaning.startswith("Nothing is claimed of this pair. ")
    assert IN_SHORT[found.verdict] in found.meaning


def test_a_block_of_an_unknown_pair_has_no_more_to_say():
    assert judge_block(claim("unknown"), evidence(KIN), 0).meaning == (
        "Nothing is claimed of this pair."
    )


def test_an_unknown_pair_between_kin_and_strangers_says_so():
    found = judge_pair(claim("unknown"), evidence(SUSPECT))
    assert found.verdict == "inconclusive"
    assert BETWEEN in found.meaning


@pytest.mark.parametrize("expect", ["unknown", "independent"])
def test_where_nothing_was_found_every_output_says_that_the_control_is_off(expect):
    found = evidence(STRANGE, details={POWER_CONTROL: "turned off"})
    assert "No power control was run" in judge_pair(claim(expect), found).meaning
    assert "without a power control" in qualifiers(claim(expect), InputsSpec(), found)
    told = evidence(STRANGE)
    assert "power control" not in judge_pair(claim(expect), told).meaning
    assert "without a power control" not in qualifiers(claim(expect), InputsSpec(), told)


# nothing to judge by


@all_claims
def test_no_claim_passes_on_degenerate_blocks_alone(expect):
    found = judge_pair(claim(expect), evidence(None, None))
    assert (found.state, found.verdict) == ("fails", "inconclusive")
    assert "nothing was checked" in found.meaning
    assert "no block could be tested (3 of the candidate's 64 units vary)" in found.measured


@all_claims
def test_no_claim_passes_on_no_block(expect):
    found = judge_pair(claim(expect), evidence(candidate=model("sha256:c", 2, skipped=[0, 1])))
    assert (found.state, found.verdict) == ("fails", "inconclusive")
    assert found.measured == "match: no block could be tested (no block)"


@all_claims
def test_no_claim_passes_where_all_the_blocks_that_it_lists_are_missing(expect):
    found = judge_pair(claim(expect, Blocks((7, 8))), evidence(KIN, KIN))
    assert found.state == "fails"


@pytest.mark.parametrize(
    ("expect", "log10_p"),
    [("independent", STRANGE), ("unknown", STRANGE), *((d, KIN) for d in sorted(DESCENTS))],
)
def test_no_claim_passes_where_a_block_that_it_lists_is_missing(expect, log10_p):
    found = judge_pair(claim(expect, Blocks((0, 8, 9))), evidence(log10_p, log10_p))
    assert found.state == "fails"
    assert found.meaning == "The claim names blocks 8, 9, which could not be compared."


# degenerate blocks


@descents
def test_a_degenerate_block_shows_no_descent(expect):
    found = judge_pair(claim(expect), evidence(KIN, None))
    assert found.state == "fails"
    assert "only 1 of 2 blocks shows it" in found.meaning


def test_a_degenerate_block_leaves_independence_open():
    found = judge_pair(claim("independent"), evidence(STRANGE, None, STRANGE))
    assert (found.state, found.verdict) == ("fails", "inconclusive")
    assert "block 1 could not be tested" in found.meaning


def test_independence_holds_where_the_list_leaves_a_degenerate_block_out():
    independent = claim("independent", Blocks((0, 2)))
    assert judge_pair(independent, evidence(STRANGE, None, STRANGE)).state == "holds"


def test_a_degenerate_block_is_told_beside_kinship():
    found = judge_pair(claim("independent"), evidence(KIN, None))
    assert found.verdict == "dependent"
    assert "over 1 of 2 blocks" in found.measured


@pytest.mark.parametrize("expect", sorted({*RELATIONSHIPS} - {"unknown"}))
def test_the_test_of_a_degenerate_block_fails_and_says_why(expect):
    found = judge_block(claim(expect), evidence(KIN, None), 1)
    assert (found.state, found.verdict) == ("fails", "inconclusive")
    assert found.measured == "block 1: match is not defined: 3 of the candidate's 64 units vary"
    assert "neither supports nor refutes" in found.meaning


def in_part(log10_p):
    """Evidence of three blocks; of the second, not all could be tested."""
    whole = evidence(STRANGE, log10_p, STRANGE)
    gaps = ("match_tokens: gate and up say the same", "expert 1 of the candidate")
    partly = replace(whole.blocks[1], untested=gaps)
    return replace(whole, blocks=(whole.blocks[0], partly, whole.blocks[2]))


def test_what_was_tested_in_part_shows_no_independence():
    found = in_part(STRANGE)
    assert decide(found, ALPHA) == "inconclusive"
    judged = judge_pair(claim("independent"), found)
    assert (judged.state, judged.verdict) == ("fails", "inconclusive")
    assert "Block 1 could be tested in part only" in judged.meaning
    assert "match_tokens: gate and up say the same; expert 1 of the candidate." in judged.meaning
    states = [judge_block(claim("independent"), found, index).state for index in range(3)]
    assert states == ["holds", "fails", "holds"]
    assert judge_block(claim("independent"), found, 1).meaning == judged.meaning
    left_out = judge_pair(claim("independent", Blocks((0, 2))), found)
    assert left_out.state == "holds"


def test_kinship_is_believed_of_what_was_tested_in_part():
    found = in_part(KIN)
    assert decide(found, ALPHA) == "dependent"
    judged = judge_pair(claim("independent"), found)
    assert (judged.state, judged.verdict) == ("fails", "dependent")
    assert judge_pair(claim("derived", Blocks(at_least=0.3)), found).state == "holds"


def test_of_much_that_was_not_tested_some_is_named():
    found = in_part(STRANGE)
    gaps = tuple(f"expert {number} of the candidate" for number in range(9))
    blocks = tuple(replace(block, untested=gaps) for block in found.blocks)
    meaning = judge_pair(claim("independent"), replace(found, blocks=blocks)).meaning
    assert "Blocks 0, 1, 2 could be tested in part only" in meaning
    assert meaning.endswith("expert 2 of the candidate; and 6 more.")


@pytest.mark.parametrize("log10_p", [None, KIN, STRANGE])
def test_a_block_of_an_unknown_pair_is_reported(log10_p):
    assert judge_block(claim("unknown"), evidence(log10_p), 0).state == "report"


# blocks: all, a list, a share


def test_a_list_needs_its_blocks_and_no_other():
    assert judge_pair(claim(blocks=Blocks((0, 2))), evidence(KIN, STRANGE, KIN)).state == "holds"


def test_a_list_fails_on_one_of_its_blocks():
    found = judge_pair(claim(blocks=Blocks((0, 1))), evidence(KIN, STRANGE, KIN))
    assert "only 1 of 2 blocks shows it and the claim needs 2" in found.meaning


def test_independence_of_a_list_is_judged_by_every_block_that_was_tested():
    independent = claim("independent", Blocks((2,)))
    judged = judge_pair(independent, evidence(KIN, KIN, STRANGE))
    assert (judged.state, judged.verdict) == ("fails", "dependent")
    assert "The claim names block 2 alone, but blocks 0, 1 show kinship." in judged.meaning
    assert "2 of 3 blocks show kinship" in judged.measured
    assert judge_block(independent, evidence(KIN, KIN, STRANGE), 2).state == "holds"
    assert judge_pair(independent, evidence(STRANGE, SUSPECT, STRANGE)).verdict == "inconclusive"
    assert judge_pair(independent, evidence(STRANGE, STRANGE, STRANGE)).state == "holds"


def test_independence_of_a_list_leaves_out_what_could_not_be_tested():
    independent = claim("independent", Blocks((1, 2)))
    assert judge_pair(independent, evidence(None, STRANGE, STRANGE)).state == "holds"
    assert judge_pair(independent, evidence(STRANGE, None, STRANGE)).state == "fails"


def test_other_blocks_do_not_dilute_what_a_list_shows():
    many = [STRANGE] * 40
    listed = claim("independent", Blocks((0,)))
    assert judge_pair(listed, evidence(SUSPECT, *many)).verdict == "inconclusive"


def test_a_sample_counts_for_independence_beyond_the_blocks_that_a_claim_names():
    found = evidence(KIN, STRANGE, details={"sample": "blocks 0, 1 of 8"})
    assert judge_pair(claim("independent", Blocks((1,))), found).verdict == "dependent"


def test_descent_of_a_list_is_corrected_for_its_choice_among_all_blocks():
    listed = claim("derived", Blocks((0,)))
    assert judge_pair(listed, evidence(-10.0, *[STRANGE] * 40)).verdict == "inconclusive"
    assert "block 0 alone" in judge_pair(listed, evidence(-10.0, *[STRANGE] * 40)).meaning.lower()
    assert judge_pair(listed, evidence(KIN, *[STRANGE] * 40)).state == "holds"


def test_a_tiny_alpha_does_not_turn_kinship_into_a_warning():
    lenient = replace(claim("independent", threshold=1e-300), alpha=1e-300, inconclusive="warn")
    wide = [block(i, -400.0, units=(512, 512)) for i in range(2)]
    judged = judge_pair(lenient, evidence(*wide))
    assert (judged.state, judged.verdict) == ("fails", "dependent")
    judged = judge_pair(lenient, evidence(-120.0))
    assert (judged.state, judged.verdict) == ("fails", "inconclusive")
    assert "At alpha 1e-06 the models are kin." in judged.meaning
    assert judge_pair(lenient, evidence(SUSPECT)).state == "warns"
    descent = replace(lenient, expect="derived")
    assert judge_pair(descent, evidence(-120.0)).state == "warns"


@pytest.mark.parametrize("statistic", sorted(set(REGISTRY) - set(WITHSTANDING)))
def test_what_a_free_disguise_defeats_shows_no_independence(statistic):
    blocks = () if statistic in PAIR_STATISTICS else (STRANGE, STRANGE)
    found = replace(evidence(*blocks), statistic=statistic, log10_p=STRANGE)
    assert decide(found, ALPHA) == "inconclusive"
    judged = judge_pair(claim("independent"), found)
    assert (judged.state, judged.verdict) == ("fails", "inconclusive")
    assert "in a disguise that costs nothing" in judged.meaning
    descent = replace(claim("derived"), inconclusive="warn")
    assert judge_pair(descent, found).state == "fails"
    unsure = replace(found, log10_p=SUSPECT)
    if not blocks:
        assert judge_pair(descent, unsure).state == "warns"


def kinship(*parts_of_blocks):
    """Evidence by kinship: of each block its parts, by name, each a log10 p or why there is none."""
    blocks = []
    for i, parts in enumerate(parts_of_blocks):
        made = tuple(
            PartEvidence(name, None, None, (0, 0), 0, found)
            if isinstance(found, str)
            else PartEvidence(name, found, correlation_of(found, 64), (64, 64), 1)
            for name, found in parts.items()
        )
        least = min(part.log10_p for part in made if part.log10_p is not None)
        blocks.append(replace(block(i, least), parts=made))
    return replace(evidence(*blocks), statistic="kinship")


ALL_PARTS = {"match_tokens": -0.3, "match_weights": -0.2, "match": -0.1}
ELSEWHERE = NOT_MEASURED + "others are likelier partners"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "independent"),
        ({"match_tokens": "the two vocabularies share 3 tokens"}, "inconclusive"),
        ({"match_tokens": "9 shared tokens have an embedding of their own"}, "inconclusive"),
        (
            {"match_tokens": "no table of token embeddings leads to the hidden states"},
            "independent",
        ),
        ({"match_weights": "hidden sizes differ"}, "independent"),
        ({"match": ELSEWHERE}, "independent"),
        ({"match": "2 of the candidate's 64 units vary"}, "inconclusive"),
        ({"match": "only weight files were read"}, "inconclusive"),
        ({"match_tokens": "no tokens", "match": "no unit varies"}, "inconclusive"),
    ],
)
def test_independence_needs_every_part_that_withstands_a_disguise(changes, verdict):
    found = kinship(ALL_PARTS | changes, ALL_PARTS | changes)
    assert decide(found, ALPHA) == verdict
    judged = judge_pair(claim("independent"), found)
    assert judged.verdict == verdict
    if verdict == "inconclusive":
        assert "was not computed on blocks 0, 1" in judged.meaning


def test_a_part_that_applies_to_some_blocks_must_be_computed_on_all_of_them():
    one = ALL_PARTS | {"match_tokens": "gate and up say the same"}
    judged = judge_pair(claim("independent"), kinship(ALL_PARTS, one))
    assert judged.verdict == "inconclusive"
    assert "match_tokens was not computed on block 1 (gate and up" in judged.meaning
    kin = kinship({**ALL_PARTS, "match_weights": -30.0, "match": "none varies"}, ALL_PARTS)
    assert decide(kin, ALPHA) == "dependent"


@pytest.mark.parametrize(
    ("share", "kin", "state"),
    [
        (0.5, 5, "holds"),
        (0.5, 4, "fails"),
        (0.51, 5, "fails"),
        (0.7, 7, "holds"),  # 0.7 * 10 is 7.000000000000001
        (1.0, 9, "fails"),
        (1.0, 10, "holds"),
        (1e-12, 1, "holds"),
    ],
)
def test_a_share_needs_that_many_blocks(share, kin, state):
    found = evidence(*[KIN] * kin, *[STRANGE] * (10 - kin))
    assert judge_pair(claim(blocks=Blocks(at_least=share)), found).state == state


@pytest.mark.parametrize("share", [1e-12, 0.5, 1.0])
def test_a_share_is_never_met_by_no_block(share):
    found = judge_pair(claim(blocks=Blocks(at_least=share)), evidence(*[STRANGE] * 10))
    assert (found.state, found.verdict) == ("fails", "independent")


@pytest.mark.parametrize("log10_p", [STRANGE, None])
def test_under_a_share_no_single_block_is_required(log10_p):
    found = judge_block(claim(blocks=Blocks(at_least=0.5)), evidence(KIN, log10_p), 1)
    assert found.state == "not required"


def test_under_a_share_a_strange_block_says_what_is_asked_for():
    found = judge_block(claim(blocks=Blocks(at_least=0.995)), evidence(KIN, STRANGE), 1)
    assert found.meaning.endswith("The claim asks for 99.5% of the blocks.")


def test_a_share_excuses_no_kinship_in_a_claim_of_independence():
    independent = claim("independent", Blocks(at_least=0.5))
    found = evidence(STRANGE, STRANGE, KIN)
    assert judge_block(independent, found, 2).state == "fails"
    assert judge_pair(independent, found).state == "fails"


# one block


@pytest.mark.parametrize("expect", sorted(DESCENTS))
def test_a_kin_block_holds_for_a_descent(expect):
    found = judge_block(claim(expect), evidence(STRANGE, KIN), 1)
    assert (found.state, found.verdict) == ("holds", "dependent")


@pytest.mark.parametrize("expect", sorted(DESCENTS))
@pytest.mark.parametrize(
    ("log10_p", "verdict"), [(STRANGE, "independent"), (SUSPECT, "inconclusive")]
)
def test_a_block_that_is_not_kin_fails_for_a_descent(expect, log10_p, verdict):
    found = judge_block(claim(expect), evidence(KIN, log10_p), 1)
    assert (found.state, found.verdict) == ("fails", verdict)
    assert "the claimed descent is not here" in found.meaning


@pytest.mark.parametrize(
    ("log10_p", "state", "verdict"),
    [
        (STRANGE, "holds", "independent"),
        (SUSPECT, "fails", "inconclusive"),
        (KIN, "fails", "dependent"),
    ],
)
def test_a_block_is_judged_independent_by_its_own_p_value(log10_p, state, verdict):
    found = judge_block(claim("independent"), evidence(KIN, log10_p), 1)
    assert (found.state, found.verdict) == (state, verdict)


def test_a_block_is_suspected_less_where_there_are_many():
    alone, among = evidence(-3.5), evidence(-3.5, *[STRANGE] * 31)
    found = [judge_block(claim("independent"), e, 0).verdict for e in (alone, among)]
    assert found == ["inconclusive", "independent"]


@all_claims
def test_a_skipped_block_is_not_applicable_and_says_what_it_is(expect):
    found = evidence(block(0, KIN), candidate=model("sha256:c", 2, skipped=[1]))
    judged = judge_block(claim(expect), found, 1)
    assert judged.state == "not applicable"
    assert judged.measured == "block 1: chat has no MLP there (MambaMixer)"


@all_claims
def test_a_block_skipped_in_the_reference_is_not_applicable(expect):
    found = evidence(
        block(0, KIN),
        candidate=model("sha256:c", 2),
        reference=model("sha256:r", 2, skipped=[1]),
    )
    judged = judge_block(claim(expect), found, 1)
    assert judged.state == "not applicable"
    assert judged.measured == "block 1: base has no MLP there (MambaMixer)"


def test_where_any_mlp_would_do_the_words_do_not_ask_for_a_gated_one():
    found = evidence(
        block(0, KIN), candidate=model("sha256:c", 2, skipped=[1]), statistic="generalized"
    )
    judged = judge_block(claim(), found, 1)
    assert judged.measured == "block 1: chat has no MLP there (MambaMixer)"
    found = replace(found, reference=model("sha256:r", 2))
    assert "chat has no MLP in block 1, unlike base" in judge_pair(claim(), found).meaning


def test_what_is_measured_on_imitations_says_how_good_they_are():
    fitted = replace(block(0, KIN), fits=(0.98765, 0.9), live=(96, 96))
    measured = judge_block(claim(), evidence(fitted, statistic="generalized"), 0).measured
    assert measured.endswith(
        "60 of 96 units of the imitations (fits 0.988 and 0.900) matched alike by gate and by down"
    )


@all_claims
def test_a_skipped_block_that_the_claim_lists_fails(expect):
    found = evidence(block(0, KIN), candidate=model("sha256:c", 2, skipped=[1]))
    judged = judge_block(claim(expect, Blocks((0, 1))), found, 1)
    assert judged.state == "fails"
    assert judged.measured.endswith("chat has no MLP there (MambaMixer)")


@all_claims
@pytest.mark.parametrize(("blocks", "words"), [(1, "1 block"), (2, "2 blocks")])
def test_a_block_beyond_the_last_fails_and_says_how_many_there_are(expect, blocks, words):
    found = judge_block(claim(expect), evidence(*[KIN] * blocks), 9)
    assert found.state == "fails"
    assert found.measured == (f"there is no block 9 to compare: chat has {words}, counted from 0")


def test_a_block_that_is_neither_skipped_nor_there_was_not_compared():
    found = judge_block(claim(), evidence(KIN, candidate=model("sha256:c", 3)), 2)
    assert found.measured.endswith("it was not compared")


def test_blocks_skipped_on_both_sides_leave_a_descent_true():
    sides = {"candidate": model("sha256:c", 2, [1]), "reference": model("sha256:r", 2, [1])}
    assert judge_pair(claim(), evidence(block(0, KIN), **sides)).state == "holds"


# other shapes


@pytest.mark.parametrize("expect", sorted(SHAPE_KEEPING - {"identical"}))
@pytest.mark.parametrize(
    ("found", "what"),
    [
        (shorter(KIN, KIN), "2 blocks where 3 were"),
        (shorter(KIN), "1 block where 3 were"),
        (narrower(KIN, KIN), "MLPs of 48 units where 64 were"),
        (
            evidence(block(0, KIN), candidate=model("sha256:c", 1, [0])),
            "no MLP in block 0, unlike base",
        ),
        (
            evidence(block(0, KIN), reference=model("sha256:r", 1, ["9", "10"])),
            "an MLP in block 9, unlike base",
        ),
    ],
)
def test_a_descent_that_keeps_the_shape_fails_on_another_shape(expect, found, what):
    judged = judge_pair(claim(expect), found)
    assert (judged.state, judged.verdict) == ("fails", "dependent")
    assert judged.meaning == (
        f"The two are kin, but '{expect}' keeps a model's shape and chat has {what}: "
        "`pruned` or `derived` would hold."
    )


@pytest.mark.parametrize("expect", ["pruned", "derived"])
@pytest.mark.parametrize("found", [shorter(KIN, KIN), narrower(KIN, KIN), evidence(KIN, KIN)])
def test_a_pruned_model_may_have_lost_blocks_or_units_or_only_weights(expect, found):
    assert judge_pair(claim(expect), found).state == "holds"


@pytest.mark.parametrize("found", [shorter(KIN, KIN, blocks=1), narrower(KIN, KIN, units=(64, 48))])
def test_a_pruned_model_is_not_the_larger(found):
    judged = judge_pair(claim("pruned"), found)
    assert judged.state == "fails"
    assert "chat is the larger: are candidate and reference exchanged?" in judged.meaning


@pytest.mark.parametrize("found", [shorter(KIN, KIN, blocks=1), narrower(KIN, KIN, units=(64, 48))])
def test_a_derived_model_may_be_the_larger(found):
    assert judge_pair(claim("derived"), found).state == "holds"


@descents
@pytest.mark.parametrize(
    "found", [shorter(STRANGE, STRANGE), narrower(STRANGE, SUSPECT), evidence(STRANGE, STRANGE)]
)
def test_models_that_are_not_kin_are_never_called_kin(expect, found):
    judged = judge_pair(claim(expect), found)
    assert judged.state == "fails"
    assert "are kin" not in judged.meaning


@pytest.mark.parametrize("found", [shorter(STRANGE, STRANGE), narrower(STRANGE, STRANGE)])
def test_independence_asks_for_no_shape(found):
    assert judge_pair(claim("independent"), found).state == "holds"


def test_the_partner_is_named_where_blocks_were_matched_to_blocks():
    found = judge_block(claim("pruned"), shorter(KIN, KIN), 1)
    assert found.measured.startswith("block 1 (best partner: block 2 of base): match correlation")


@pytest.mark.parametrize("pairing", ["same-index", "index-first"])
def test_a_partner_of_equal_index_is_named_where_it_was_a_choice(pairing):
    moved = evidence(KIN, block(1, KIN, partner=0), pairing=pairing)
    first, second = (judge_block(claim("derived"), moved, index).measured for index in (0, 1))
    assert first.startswith("block 0: match correlation")
    assert second.startswith("block 1 (best partner: block 0 of base): match correlation")


@pytest.mark.parametrize(
    ("found", "decided"),
    [
        ([DECIDED - 25, DECIDED - 30], True),
        ([DECIDED - 25, DECIDED], False),
        ([DECIDED - 25, -6.5], False),
        ([DECIDED - 25, None], False),
    ],
)
def test_a_pair_is_decided_where_every_block_is_far_below_any_threshold(found, decided):
    assert is_decided(evidence(*found)) == decided


# digests


def test_identical_holds_by_the_digest():
    assert judge_pair(claim("identical"), copy(KIN, KIN)).state == "holds"


def test_identical_holds_by_the_digest_where_a_test_is_too_weak():
    found, identical = copy(KIN, SUSPECT, None), claim("identical")
    assert [judge_block(identical, found, i).state for i in range(3)] == ["holds"] * 3
    assert judge_pair(identical, found).state == "holds"


def test_identical_fails_on_kin_of_another_digest():
    found = judge_pair(claim("identical"), evidence(KIN, KIN))
    assert (found.state, found.verdict) == ("fails", "dependent")
    assert "their weights differ. They are not the same model" in found.meaning


def test_identical_fails_on_strangers():
    found = judge_pair(claim("identical"), evidence(STRANGE, STRANGE))
    assert (found.state, found.verdict) == ("fails", "independent")


@pytest.mark.parametrize("expect", sorted(DESCENTS - {"identical", "derived"}))
def test_a_copy_is_no_other_kind_of_descent(expect):
    found = judge_pair(claim(expect), copy(KIN, KIN))
    assert (found.state, found.verdict) == ("fails", "dependent")
    assert "the same checkpoint. `identical` or `derived` would hold" in found.meaning


def test_a_copy_is_derived():
    assert judge_pair(claim("derived"), copy(KIN, KIN)).state == "holds"


@pytest.mark.parametrize("log10_p", [KIN, SUSPECT, STRANGE])
def test_a_copy_is_never_independent(log10_p):
    found = judge_pair(claim("independent"), copy(log10_p, log10_p))
    assert (found.state, found.verdict) == ("fails", "dependent")
    assert "they are the same checkpoint" in found.meaning


SAME = WeightsRecord("same")
ROUNDED = WeightsRecord("rounded", ("bfloat16",))


def alike(weights, *log10_ps):
    """Evidence on two checkpoints of other digests, by what became of the weights."""
    return evidence(*(log10_ps or (KIN, KIN)), weights=weights)


@pytest.mark.parametrize(
    ("expect", "weights", "state", "words"),
    [
        *[
            (kind, SAME, "fails", "same weights, tensor by tensor. `identical` or `derived` would")
            for kind in sorted(DESCENTS - {"identical", "derived"})
        ],
        *[
            (
                kind,
                ROUNDED,
                "fails",
                "No weight was trained: both hold the same numbers in bfloat16. `derived` would",
            )
            for kind in sorted(DESCENTS - {"identical", "derived", "quantized"})
        ],
        ("quantized", ROUNDED, "holds", "one descends"),
        ("derived", SAME, "holds", "one descends"),
        ("identical", SAME, "holds", "tensor by tensor"),
        (
            "identical",
            ROUNDED,
            "fails",
            "the same numbers in bfloat16. They are not the same model",
        ),
        (
            "identical",
            WeightsRecord("same", settings=("rope_parameters",)),
            "fails",
            "same weights; the configurations differ in rope_parameters. They are not",
        ),
        (
            "identical",
            WeightsRecord("same", alone=("lm_head.weight",)),
            "fails",
            "same weights; one alone has lm_head.weight.",
        ),
        ("identical", WeightsRecord("other"), "fails", "their weights differ"),
        ("finetune", WeightsRecord("other"), "holds", "one descends"),
        ("independent", SAME, "fails", "The claim of independence is false. The two have the same"),
    ],
)
def test_the_same_weights_are_no_descent_under_any_configuration(expect, weights, state, words):
    found = judge_pair(claim(expect), alike(weights))
    assert found.state == state
    assert words in found.meaning


def test_the_same_weights_are_identical_where_a_test_is_too_weak():
    found = alike(SAME, KIN, SUSPECT, None)
    assert [judge_block(claim("identical"), found, i).state for i in range(3)] == ["holds"] * 3
    assert judge_pair(claim("identical"), found).state == "holds"
    assert judge_pair(claim("independent"), alike(SAME, STRANGE, STRANGE)).state == "fails"


def test_evidence_of_older_versions_knows_the_same_weights_by_their_digest():
    ours, theirs = (replace(model(name, 1), weights_digest="sha256:w") for name in "ab")
    found = evidence(KIN, candidate=ours, reference=theirs)
    assert judge_pair(claim("finetune"), found).state == "fails"
    assert (
        "the configurations differ in config.json" in judge_pair(claim("identical"), found).meaning
    )


# the threshold


def test_the_threshold_is_the_claims_own():
    strict, lax = (claim(threshold=t) for t in (1e-60, 1e-20))
    found = evidence(KIN)
    assert [judge_block(c, found, 0).state for c in (strict, lax)] == ["fails", "holds"]


def test_whether_a_block_is_kin_depends_on_no_other_block():
    among = [evidence(-9.0), evidence(-9.0, STRANGE, KIN), evidence(-9.0, *[None] * 40)]
    assert {judge_block(claim(), e, 0).verdict for e in among} == {"dependent"}


def test_a_measurement_states_the_claims_threshold():
    found, threshold = evidence(KIN, STRANGE), claim(threshold=3.4e-7)
    for judged in (judge_block(threshold, found, 0), judge_pair(threshold, found)):
        assert "(threshold 3.4e-7)" in judged.measured


def test_a_claim_read_from_a_file_brings_the_share_of_its_alpha():
    pair = "- {candidate: a, reference: b, expect: %s, id: %s}"
    text = "version: 1\nmodels: {a: {path: a}, b: {path: b}}\ndefaults: {alpha: 1e-3}\npairs:\n"
    text += "\n".join([pair % ("finetune", "one"), pair % ("derived", "two")])
    first = loads(text, Path("a.suite.yaml")).claims[0]
    assert first.threshold == 5e-4
    assert "(threshold 0.00050)" in judge_pair(first, evidence(KIN)).measured


# words


def test_a_block_is_measured_in_one_sentence():
    found = judge_block(claim(), evidence(-412.0), 0)
    assert found.measured == (
        "block 0: match correlation +1.000, p = 1.0e-412 (threshold 1.0e-6), "
        "60 of 64 units matched alike by gate and by up"
    )


@pytest.mark.parametrize(
    ("log10_ps", "over", "kin"),
    [
        ([KIN], "over 1 block:", "1 of 1 block shows kinship"),
        ([KIN, STRANGE], "over 2 blocks:", "1 of 2 blocks shows kinship"),
        ([KIN, KIN, None], "over 2 of 3 blocks:", "2 of 3 blocks show kinship"),
        ([STRANGE, STRANGE], "over 2 blocks:", "0 of 2 blocks show kinship"),
    ],
)
def test_a_pair_is_measured_in_one_sentence(log10_ps, over, kin):
    measured = judge_pair(claim(), evidence(*log10_ps)).measured
    assert measured.startswith(f"match {over} p = ")
    assert f" by Fisher (threshold 1.0e-6), {kin}" in measured


@pytest.mark.slow
@given(st.lists(st.floats(-1e9, 0), min_size=1, max_size=5))
def test_no_p_value_is_printed_as_zero(values):
    found = evidence(*values)
    judged = [judge_pair(claim(), found), judge_block(claim(), found, 0)]
    printed = [word for j in judged for word in _p_values(j.measured)]
    assert format_p(values[0]) in printed
    assert not any(p.partition("e")[0].strip("0.") == "" for p in printed)


def _p_values(measured):
    return [part.split()[0].rstrip(",;") for part in measured.split("p = ")[1:]]


@pytest.mark.parametrize(
    ("expect", "sentence"),
    [
        ("independent", "chat is independent of base"),
        ("finetune", "chat is a fine-tune of base"),
        ("adapter", "chat is an adapter of base"),
        ("quantized", "chat is a quantized copy of base"),
        ("merge", "chat is a merge of base"),
        ("pruned", "chat is a pruned copy of base"),
        ("permuted", "chat is a permuted copy of base"),
        ("identical", "chat is an identical copy of base"),
        ("derived", "chat is derived from base"),
        ("unknown", "nothing is claimed of chat and base"),
    ],
)
def test_a_claim_is_a_sentence(expect, sentence):
    assert describe(claim(expect)) == sentence


def test_every_relationship_has_a_sentence_of_its_own():
    assert len({describe(claim(expect)) for expect in RELATIONSHIPS}) == len(RELATIONSHIPS)


# an alpha for each block


def leveled(expect, *alphas, **changes):
    return replace(claim(expect, **changes), block_alphas=alphas)


@pytest.mark.parametrize(
    ("alphas", "found", "states", "whole"),
    [
        ((), (-20.0, -20.0), ("holds", "holds"), "holds"),
        (((0, 1e-30),), (-20.0, -20.0), ("fails", "holds"), "fails"),
        (((1, 1e-30),), (-20.0, -20.0), ("holds", "fails"), "fails"),
        (((0, 1e-20),), (-50.0, -20.0), ("holds", "holds"), "holds"),
        (((0, 0.01),), (-4.0, -50.0), ("holds", "holds"), "holds"),
        (((1, 0.01),), (-4.0, -50.0), ("fails", "holds"), "fails"),
    ],
)
def test_a_block_shows_a_descent_at_its_own_alpha(alphas, found, states, whole):
    one, on = leveled("finetune", *alphas), evidence(*found)
    assert tuple(judge_block(one, on, i).state for i in range(2)) == states
    assert judge_pair(one, on).state == whole


def test_the_threshold_of_a_block_is_said_beside_its_p_value():
    one = leveled("finetune", (0, 1e-30), threshold=1e-6)
    on = evidence(-20.0, -20.0)
    assert "(threshold 1.0e-30)" in judge_block(one, on, 0).measured
    assert "(threshold 1.0e-6)" in judge_block(one, on, 1).measured
    assert "1 of 2 blocks shows kinship" in judge_pair(one, on).measured


def test_no_alpha_of_a_block_hides_kinship_from_a_claim_of_independence():
    one = leveled("independent", *((i, 1e-300) for i in range(4)))
    assert judge_pair(one, evidence(-50.0, -0.3, -0.2, -0.1)).verdict == "dependent"
    lax = leveled("independent", (0, 0.01))
    suspect = evidence(-2.5, -0.3, -0.2, -0.1)
    assert judge_pair(claim("independent"), suspect).state == "holds"
    assert (judge_pair(lax, suspect).state, judge_block(lax, suspect, 0).state) == (
        "fails",
        "fails",
    )


@pytest.mark.parametrize("expect", ["finetune", "independent"])
def test_an_alpha_of_a_block_that_is_not_there_leaves_the_claim_unchecked(expect):
    found = evidence(KIN, KIN) if expect == "finetune" else evidence(STRANGE, STRANGE)
    judged = judge_pair(leveled(expect, (7, 1e-9)), found)
    assert (judged.state, "block 7, which could not be compared" in judged.meaning) == (
        "fails",
        True,
    )
    assert shortfall(leveled(expect, (7, 1e-9)), found, judged.verdict) == "not-checked"


def test_what_stands_beside_a_claim_names_the_alphas_of_its_blocks():
    one = leveled("finetune", (0, 1e-9), (2, 1e-9), (3, 1e-8))
    told = qualifiers(one, InputsSpec(), None)
    assert told[1:] == ("alpha 1e-09 on blocks 0, 2", "alpha 1e-08 on block 3")


def sample(*found, **changes):
    """Evidence of a sample of two blocks of eight."""
    read = RangesRecord(10, 100, "sha256:ranges")
    settings = {
        "candidate": model("a", 8),
        "reference": model("b", 8),
        "details": {"sample": "blocks 0, 1 of 8"},
        "scope": "sampled",
        "ranges": {"candidate": read, "reference": read},
    }
    return evidence(*found, **(settings | changes))


def of_sample(expect, scope="whole", **changes):
    return replace(claim(expect), sample=2, scope=scope, **changes)


def test_a_sample_in_which_nothing_is_found_is_no_independence():
    assert decide(sample(STRANGE, STRANGE), ALPHA) == "not found"
    assert decide(sample(KIN, KIN), ALPHA) == "dependent"
    assert decide(sample(SUSPECT, STRANGE), ALPHA) == "inconclusive"


def test_independence_of_a_sample_holds_where_no_more_is_claimed():
    found = sample(STRANGE, STRANGE)
    judged = judge_pair(of_sample("independent", "sampled"), found)
    assert (judged.state, judged.verdict) == ("holds", "not found")
    assert "blocks 0, 1 of 8 were compared; 10 bytes of 100 bytes of chat" in judged.meaning
    judged = judge_pair(of_sample("independent"), found)
    assert (judged.state, judged.verdict) == ("fails", "not found")
    assert "this is no independence" in judged.meaning
    assert shortfall(of_sample("independent"), found, "not found") == "inconclusive"


def test_independence_of_a_sample_fails_for_what_makes_the_whole_inconclusive():
    unfound = PowerRecord("match_tokens", (0,), -1.0)
    found = sample(
        STRANGE,
        STRANGE,
        power={"candidate": unfound},
        details={"sample": "blocks 0, 1 of 8", "power control": "candidate"},
    )
    judged = judge_pair(of_sample("independent", "sampled"), found)
    assert (judged.state, judged.verdict) == ("fails", "not found")
    assert "would not have been found" in judged.meaning


def test_a_sample_that_is_kin_refutes_independence_of_any_scope():
    for scope in ("whole", "sampled"):
        judged = judge_pair(of_sample("independent", scope), sample(KIN, STRANGE))
        assert (judged.state, judged.verdict) == ("fails", "dependent")


def test_descent_is_shown_by_a_sample_and_not_refuted_by_one():
    assert judge_pair(of_sample("derived"), sample(KIN, KIN)).state == "holds"
    found = sample(STRANGE, STRANGE)
    judged = judge_pair(of_sample("derived"), found)
    assert (judged.state, judged.verdict) == ("fails", "not found")
    assert shortfall(of_sample("derived"), found, judged.verdict) == "inconclusive"


def test_a_sample_decides_no_claim_that_did_not_ask_for_one():
    judged = judge_pair(claim("derived"), sample(KIN, KIN))
    assert judged.state == "fails"
    assert "Only a sample of the blocks was compared" in judged.meaning
