"""Exhibits are shown beside what strangers have, and decide nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.evidence import exhibits as shown
from provenance.evidence.decide import decide
from provenance.evidence.exhibits import EXHIBIT_NAMES, KINDS, Exhibit
from provenance.evidence.outcomes import outcome_of
from provenance.evidence.records import Evidence, EvidenceError
from provenance.evidence.strangers import StrangerGroup, StrangerPair, groups
from provenance.evidence.verdict import judge_pair
from provenance.vocabulary import RELATIONSHIPS
from tests.support import synthetic


def of(name):
    least, most = KINDS[name].limits
    values = st.floats(least, min(most, 1e6)).map(lambda value: Exhibit(name, value, 3))
    return st.one_of(values, st.just(Exhibit(name, None, 0, "there is none")))


exhibits = st.tuples(*map(of, EXHIBIT_NAMES))
EVIDENCE = {
    "kin": synthetic.kin("a", "b"),
    "strangers": synthetic.strangers("a", "b"),
    "undecided": synthetic.evidence("a", "b", [synthetic.block(0, -3.0), synthetic.block(1, None)]),
}
CLAIMS = [each for each in RELATIONSHIPS if each != "distilled"]


@pytest.mark.parametrize("kind", EVIDENCE)
@given(exhibits, st.sampled_from(CLAIMS))
def test_no_exhibit_changes_a_verdict(kind, exhibits, expect):
    found = EVIDENCE[kind]
    argued = replace(found, exhibits=exhibits)
    assert decide(argued, 1e-6) == decide(found, 1e-6)
    one, two = (synthetic.claimed(each, expect) for each in (found, argued))
    assert judge_pair(two.claim, argued) == judge_pair(one.claim, found)
    assert outcome_of(two) == outcome_of(one)


@given(exhibits)
def test_exhibits_are_kept_with_evidence(exhibits):
    found = replace(EVIDENCE["kin"], exhibits=exhibits)
    assert Evidence.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        (Exhibit("norms", 1.5, 9), "cannot be"),
        (Exhibit("tokenizer", -0.1, 9), "cannot be"),
        (Exhibit("units", -1.0, 4), "cannot be"),
        (Exhibit("norms", None, 9), "has either"),
        (Exhibit("norms", 0.5, 9, "there is none"), "has either"),
        (Exhibit("configuration", 0.5, -1), "cannot be"),
    ],
)
def test_a_value_that_no_measurement_gives_is_refused(damaged, why):
    text = replace(EVIDENCE["kin"], exhibits=(damaged,)).to_json()
    with pytest.raises(EvidenceError, match=f"exhibits: {damaged.name} {why}"):
        Evidence.from_json(text)


def test_what_strangers_have_is_what_was_counted(monkeypatch):
    counted = StrangerGroup(
        "small",
        "invented strangers",
        *["-"] * 5,
        (
            StrangerPair("a", "b", {"norms": 0.25, "units": 7.0}),
            StrangerPair("a", "c", {"norms": 0.75}),
        ),
    )
    monkeypatch.setattr(shown, "groups", lambda: (counted,))
    ours = (Exhibit("norms", 0.5, 9), Exhibit("units", 3.0, 4), Exhibit("tokenizer", 0.125, 8))
    head, rows = shown.table(ours)
    assert head[2] == "invented strangers, 2 pairs"
    assert [row[1:3] for row in rows] == [
        ("0.5000 (9 norms)", "0.2500 to 0.7500"),
        ("3 (4 pairs of blocks)", "7"),
        ("12.5% (8 tokens)", "none"),
    ]
    assert "0.5000 (9 norms), invented strangers 0.2500 to 0.7500" in shown.line(ours)


def test_an_exhibit_that_there_is_not_says_why():
    _, rows = shown.table((Exhibit("tokenizer", None, 0, "path:./a has no tokenizer"),))
    assert rows[0][1] == "none: path:./a has no tokenizer"


def test_the_package_knows_strangers_for_every_exhibit():
    known = groups()
    assert known
    for group in known:
        assert group.name in {"small", "pretrained"}
        assert len(group.pairs) == len({(p.candidate, p.reference) for p in group.pairs})
        for pair in group.pairs:
            assert pair.exhibits.keys() <= set(EXHIBIT_NAMES)
            for name, value in pair.exhibits.items():
                assert Exhibit(name, value, 1).fault() is None
    for name in EXHIBIT_NAMES:
        assert any(group.values(name) for group in known)


def test_strangers_have_nearly_the_cosine_of_equals():
    small = next(group for group in groups() if group.name == "small")
    assert min(small.values("norms")) > 0.99
