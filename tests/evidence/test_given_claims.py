"""Claims that are given a base: every reading on numbers made by hand, and what becomes of the claims."""

import json
from dataclasses import replace

import pytest

from provenance.evidence.decomposition import ParentKinship
from provenance.evidence.given import (
    MOST_OF_OTHERS,
    MOST_OF_SIBLINGS,
    GivenDifference,
    GivenRecord,
)
from provenance.evidence.given_claims import given_seen, read_given
from provenance.evidence.records import Evidence, EvidenceError
from provenance.evidence.verdict import judge_block, judge_pair, shortfall
from provenance.evidence.weights import WeightsRecord
from provenance.evidence.wording import describe
from provenance.gate.lock import _expected
from provenance.report.block_tables import of_base
from tests.evidence.test_verdict import ALPHA, KIN, STRANGE, claim, evidence

BASE = ParentKinship("path:./base", "sha256:base", KIN)
SHARED = GivenDifference(0.9, 0.8, MOST_OF_SIBLINGS + 0.01, 0.8, 0.9, (0.01, 0.01), 21)
SAME_TEXT = replace(SHARED, low=MOST_OF_SIBLINGS)
OTHERS = replace(SHARED, cosine=0.1, weak=MOST_OF_OTHERS, low=0.0, kept=MOST_OF_OTHERS)
NOISY = replace(OTHERS, kept=1.0)
OPPOSED = replace(OTHERS, weak=-0.5, low=-0.6)
READ = {
    "more": (GivenRecord(BASE, SHARED), "more"),
    "at-the-most-of-siblings": (GivenRecord(BASE, SAME_TEXT), "not known"),
    "at-the-most-of-others": (GivenRecord(BASE, OTHERS), "as siblings"),
    "a-share-hidden-by-noise": (GivenRecord(BASE, NOISY), "not known"),
    "opposed": (GivenRecord(BASE, OPPOSED), "not known"),
    "no-kin-of-the-base": (GivenRecord(replace(BASE, log10_p=STRANGE), SHARED), "not known"),
    "base-without-a-p": (GivenRecord(replace(BASE, log10_p=None), SHARED), "not known"),
    "not-mapped": (GivenRecord(BASE, reason="nothing could be mapped"), "not known"),
    "not-measured": (None, "not known"),
}


def given(expect, record, **changes):
    return replace(claim(expect), given="base", **changes), evidence(KIN, KIN, given=record)


@pytest.mark.parametrize("case", READ)
def test_every_record_is_read(case):
    record, found = READ[case]
    read = read_given(record, "base", "m", ALPHA)
    assert read.found == found
    assert "base" in read.why or case == "not-mapped"
    states = {"more": ("holds", "fails"), "as siblings": ("fails", "holds")}
    derived, independent = states.get(found, ("fails", "fails"))
    for expect, state in (("derived", derived), ("independent", independent)):
        asked, made = given(expect, record)
        judged = judge_pair(asked, made)
        assert judged.state == state
        assert judged.verdict == ("inconclusive" if found == "not known" else "dependent")
        if state == "fails":
            told = {"more": "refuted", "as siblings": "other-kinship"}.get(found, "inconclusive")
            assert shortfall(asked, made, judged.verdict) == told
        assert Evidence.from_json(made.to_json()) == made


def test_no_kinship_is_no_kinship_given_a_base_either():
    asked, made = given("derived", READ["more"][0])
    made = replace(made, blocks=evidence(STRANGE, STRANGE).blocks, log10_p=STRANGE)
    assert judge_pair(asked, made).state == "fails"


@pytest.mark.parametrize("case", READ)
def test_two_that_are_not_found_kin_are_not_said_to_be(case):
    asked, made = given("independent", READ[case][0])
    made = replace(made, blocks=evidence(STRANGE, STRANGE).blocks, log10_p=STRANGE)
    judged = judge_pair(asked, made)
    assert (judged.state, judged.verdict) == ("fails", "inconclusive")
    assert judged.meaning.startswith("The two are not found kin")


def test_one_checkpoint_is_not_independent_given_anything():
    asked, made = given("independent", READ["at-the-most-of-others"][0])
    same = replace(made, weights=WeightsRecord("same"))
    assert judge_pair(asked, same).state == "fails"


def test_a_block_of_a_claim_of_independence_is_reported():
    asked, made = given("independent", READ["at-the-most-of-others"][0])
    assert judge_block(asked, made, 0).state == "report"


def test_an_open_claim_warns_where_it_may():
    asked, made = given("derived", READ["not-measured"][0], inconclusive="warn")
    assert judge_pair(asked, made).state == "warns"


def test_the_base_is_named_in_words():
    asked, made = given("independent", READ["more"][0])
    assert describe(asked).endswith(", given base")
    assert _expected(asked) == "independent given base"
    assert "Given base, the cosine of their differences" in judge_pair(asked, made).meaning
    (table,) = of_base(made, "base")
    assert table.caption.startswith("Beyond base, over 21 matrices: more than")
    assert of_base(replace(made, given=None), "base") == ()


DAMAGED = {
    "neither": GivenRecord(BASE),
    "both": GivenRecord(BASE, SHARED, "a reason"),
    "a-p-above-1": GivenRecord(replace(BASE, log10_p=1.0), SHARED),
    "a-p-below-any": GivenRecord(replace(BASE, log10_p=-1e308), SHARED),
    "a-cosine": GivenRecord(BASE, replace(SHARED, low=-1.5)),
    "a-tenth-above-the-median": GivenRecord(BASE, replace(SHARED, low=SHARED.weak + 0.01)),
    "no-size": GivenRecord(BASE, replace(SHARED, sizes=(0.0, 1.0))),
    "no-matrix": GivenRecord(BASE, replace(SHARED, matrices=0)),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_what_no_measurement_gives_is_refused(case):
    text = evidence(KIN, given=DAMAGED[case]).to_json()
    with pytest.raises(EvidenceError, match="given: "):
        Evidence.from_json(text)


def test_evidence_without_it_is_read():
    fields = json.loads(evidence(KIN).to_json())
    fields.pop("given", None)
    assert Evidence.from_json(json.dumps(fields)).given is None


def test_a_sentence_that_begins_with_a_name_writes_it_as_the_suite_does():
    asked, made = given("derived", READ["no-kin-of-the-base"][0])
    assert given_seen(asked, made).startswith(f"{asked.candidate} is not found kin")
    asked, made = given("derived", READ["more"][0])
    assert given_seen(asked, made).startswith("Given base")
