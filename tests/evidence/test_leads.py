"""evidence/leads.py: what a lead says, what of it is refused, and what it decides of the nearest kin."""

import json
from dataclasses import replace

import pytest

from provenance.evidence.leads import LEAD_OF_SIBLINGS, Lead, LeadRecord
from provenance.evidence.nearest import judge_nearest, leads_in_words
from provenance.evidence.relatives import at_level, check_identification
from tests.evidence.test_nearest import claim, found, relative

LEAD = Lead(((0, 0.02, 0.05), (1, 0.03, 0.02), (2, 0.02, 0.06)), 0.04, 0.9, 0.95, 0.85, 1.1, 21)
AS_NEAR = found(relative("base", -90, 0.9), relative("kin", -80, 0.9))


def by(low, weak, high, lead=None):
    return replace(LEAD, lead=lead or (weak or 0.9), low=low, weak=weak, high=high)


def test_a_lead_says_its_numbers_and_names_no_parent():
    said = LEAD.words("a", "b")
    for words in ("0.02 from a and 0.05 from b", "2.50 times as far", "in 2 of 3 blocks", "0.95"):
        assert words in said
    assert "descends" not in said
    assert "parent" not in said


@pytest.mark.parametrize(
    ("lead", "says"),
    [
        (LEAD, "nearer"),
        (by(LEAD_OF_SIBLINGS, 0.9, 1.0), "not told"),
        (by(-1.0, -0.9, -LEAD_OF_SIBLINGS - 0.01), "farther"),
        (by(-1.0, 0.0, 1.0), "not told"),
        (by(0.85, 0.9, 1.0, lead=0.5), "not told"),  # a sibling, beside an adapter on the base
        (by(0.85, 0.9, 1.0, lead=0.51), "nearer"),
        (by(-1.0, -0.9, -0.85, lead=-0.5), "not told"),
        (by(-1.0, -0.9, -0.85, lead=0.9), "not told"),
        (by(None, None, None), "not told"),
    ],
)
def test_what_is_said_follows_from_a_tenth_of_the_matrices(lead, says):
    assert lead.found == says


@pytest.mark.parametrize(
    "record",
    [
        LeadRecord("x"),
        LeadRecord("x", LEAD, "a reason"),
        LeadRecord("x", replace(LEAD, blocks=())),
        LeadRecord("x", replace(LEAD, matrices=0)),
        LeadRecord("x", replace(LEAD, between=-0.1)),
        LeadRecord("x", replace(LEAD, lead=float("nan"))),
        LeadRecord("x", replace(LEAD, lead=1e308)),
        LeadRecord("x", replace(LEAD, between=float("nan"))),
        LeadRecord("x", replace(LEAD, between=1e200)),
        LeadRecord("x", replace(LEAD, blocks=((0, 1e-308, 1e308),))),
        LeadRecord("x", replace(LEAD, blocks=((0, 1e308, 1.0), (1, 1e308, 1.0)))),
        LeadRecord("x", replace(LEAD, low=None)),
        LeadRecord("x", by(0.9, 0.8, 1.0)),
        LeadRecord("x", replace(LEAD, blocks=((0, 1.0, 1.0), (0, 1.0, 1.0)))),
        LeadRecord("x", replace(LEAD, blocks=((-1, 1.0, 1.0),))),
    ],
)
def test_what_no_measurement_gives_is_refused(record):
    assert record.fault() is not None
    assert LeadRecord("x", LEAD).fault() is None


def led(lead, name="kin"):
    return replace(AS_NEAR, leads=(LeadRecord(name, lead),))


def test_a_lead_tells_apart_what_closeness_does_not():
    assert judge_nearest(claim("base"), AS_NEAR).verdict == "dependent"
    assert [one.name for one in AS_NEAR.as_near] == ["kin"]
    assert led(LEAD).as_near == ()
    held = judge_nearest(claim("base"), led(LEAD))
    assert held.state == "holds"
    assert "nearer to base than siblings of both are" in held.measured
    assert judge_nearest(claim("base"), led(by(-1.0, 0.0, 1.0))).state == "fails"


def test_a_lead_of_the_other_leaves_open_what_closeness_told():
    apart = found(relative("base", -90, 0.99), relative("kin", -80, 0.9))
    assert apart.as_near == ()
    other = replace(apart, leads=(LeadRecord("kin", by(-1.0, -0.9, -0.85)),))
    assert [one.name for one in other.as_near] == ["kin"]
    assert judge_nearest(claim("base"), other).state == "fails"
    assert "nearer to kin than siblings" in leads_in_words(other)[0]


def test_leads_are_over_other_kin_once_and_go_with_them():
    assert check_identification(led(LEAD)) is None
    assert check_identification(led(replace(LEAD, matrices=0))) is not None
    for names in (("base",), ("nobody",), ("kin", "kin")):
        wrong = replace(AS_NEAR, leads=tuple(LeadRecord(name, LEAD) for name in names))
        assert "a lead is over none" in check_identification(wrong)
    assert at_level(led(LEAD), 1e-3).leads == led(LEAD).leads
    assert at_level(led(LEAD), 1e-89).leads == ()


def test_json_says_what_follows():
    fields = json.loads(led(LEAD).to_json())["leads"][0]
    assert fields["other"] == "kin"
    assert fields["lead"]["found"] == "nearer"
    assert fields["lead"]["ratio"] == pytest.approx(2.5)
    assert fields["lead"]["agreeing"] == 2
    unknown = LeadRecord("kin", reason="no weights").to_dict()
    assert unknown == {"other": "kin", "lead": None, "reason": "no weights"}
