"""What is said to have changed between two runs, and why."""

import pytest

from provenance.audit import CHANGE_KINDS
from provenance.audit.changes import changes
from provenance.audit.records import AuditedModel, AuditedPair, Snapshot


def snapshot(models, *pairs, threshold=1e-6):
    """Models as name -> digest; pairs as (names, verdict), with an optional key."""
    made = [AuditedModel(n, n, d, d, None if d else "torn") for n, d in models.items()]
    rows = [
        AuditedPair(
            names[0],
            names[1],
            None if verdict.startswith("!") else verdict,
            None if verdict.startswith("!") else -3.0,
            key[0] if key else None,
            verdict[1:] if verdict.startswith("!") else None,
        )
        for names, verdict, *key in pairs
    ]
    return Snapshot(1, "then", threshold, tuple(made), tuple(rows))


def kinds(before, now):
    return [(change.kind, "".join(change.names)) for change in changes(before, now)]


AB = {"a": "1", "b": "2"}
KIN, STRANGERS, UNSURE, FAILED = "dependent", "independent", "inconclusive", "!it is torn"


@pytest.mark.parametrize(
    ("was", "now", "kind"),
    [
        (KIN, KIN, []),
        (FAILED, FAILED, []),
        (STRANGERS, KIN, ["new-kin"]),
        (UNSURE, KIN, ["new-kin"]),
        (FAILED, KIN, ["new-kin"]),
        (KIN, STRANGERS, ["lost-kin"]),
        (KIN, UNSURE, ["lost-kin"]),
        (STRANGERS, UNSURE, ["verdict"]),
        (UNSURE, STRANGERS, ["verdict"]),
        (FAILED, STRANGERS, ["mended"]),
        (KIN, FAILED, ["failing"]),
        (STRANGERS, FAILED, ["failing"]),
    ],
)
def test_every_change_of_a_pair_has_its_kind(was, now, kind):
    found = kinds(snapshot(AB, ("ba", was)), snapshot(AB, ("ba", now)))
    assert [name for name, _ in found] == kind
    assert set(kind) <= set(CHANGE_KINDS)


def test_the_roles_of_a_pair_do_not_matter():
    assert kinds(snapshot(AB, ("ba", KIN)), snapshot(AB, ("ab", KIN))) == []


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"a": "1"}, {"a": "1", "b": "2"}, [("new-model", "b")]),
        ({"a": "1", "b": "2"}, {"a": "1"}, [("model-gone", "b")]),
        ({"a": "1", "b": "2"}, {"a": "1", "c": "2"}, [("moved", "bc")]),
        ({"a": "1", "b": "2"}, {"a": "1", "b": "3"}, [("changed-digest", "b")]),
        (
            {"a": "1", "b": "2"},
            {"a": "2", "b": "1"},
            [("changed-digest", "a"), ("changed-digest", "b")],
        ),
        ({"a": "1", "b": "1"}, {"c": "1", "d": "1"}, [("moved", "ac"), ("moved", "bd")]),
        ({"a": "1", "b": "1"}, {"c": "1"}, [("moved", "ac"), ("model-gone", "b")]),
        ({"a": "1"}, {"b": "1", "c": "1"}, [("moved", "ab"), ("new-model", "c")]),
        ({"a": "1"}, {"a": None}, [("failing", "a")]),
        ({"a": None}, {"a": "1"}, [("mended", "a")]),
        ({"a": None}, {"b": None}, [("model-gone", "a"), ("new-model", "b")]),
    ],
)
def test_every_change_of_a_model_has_its_kind(before, now, expected):
    assert kinds(snapshot(before), snapshot(now)) == expected


def test_a_model_that_took_anothers_weights_says_whose():
    found = changes(snapshot(AB), snapshot({"a": "2", "b": "2"}))
    assert found[0].detail == "other weights stand behind this name: those that b had"
    (copied,) = changes(snapshot(AB), snapshot({**AB, "c": "1"}))
    assert copied.detail == "c is new, those that a had"


def test_a_pair_of_a_model_that_cannot_be_read_is_not_said_again():
    before = snapshot(AB, ("ba", KIN))
    now = snapshot({"a": "1", "b": None}, ("ba", "!b cannot be read"))
    assert kinds(before, now) == [("failing", "b")]


def test_the_pairs_of_a_renamed_model_are_followed():
    before = snapshot(AB, ("ba", STRANGERS))
    assert kinds(before, snapshot({"a": "1", "c": "2"}, ("ca", KIN)))[1:] == [("new-kin", "ca")]
    assert kinds(before, snapshot({"a": "1", "c": "2"}, ("ca", STRANGERS)))[1:] == []


@pytest.mark.parametrize(
    ("key", "threshold", "models", "words"),
    [
        ("k", 1e-2, AB, "the same evidence; the threshold moved from 1e-06 to 0.01"),
        ("l", 1e-6, AB, "the same weights; the statistic, the inputs or the code changed"),
        ("l", 1e-6, {"a": "1", "b": "3"}, "it was independent"),
    ],
)
def test_a_verdict_that_changed_says_why(key, threshold, models, words):
    before = snapshot(AB, ("ba", STRANGERS, "k"))
    now = snapshot(models, ("ba", KIN, key), threshold=threshold)
    assert words in changes(before, now)[-1].detail
