"""evidence/nearest.py: which claims of the nearest kin hold, and how those that do not are told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.evidence.nearest import cells_of, judge_nearest, nearest_log10_p, nearest_shortfall
from provenance.evidence.relatives import (
    DIGEST,
    Closeness,
    Identification,
    Relative,
    at_level,
    check_identification,
)
from provenance.suite.read import loads

ALPHA = 1e-6


def relative(name, log10_p=None, close=None, **fields):
    closeness = None if close is None else Closeness(((0, close),), "match_tokens")
    error = "it is gone" if log10_p is None and "settled_by" not in fields else None
    return Relative(name, f"path:{name}", log10_p, closeness=closeness, error=error, **fields)


def found(*references):
    return at_level(Identification("path:ours", "sha256:0", ALPHA, references), ALPHA)


def claim(name, inconclusive="fail"):
    models = "".join(f"  {one}: {{path: {one}}}\n" for one in ("ours", "base", "kin", "other"))
    said = f"inconclusive: {inconclusive}"
    pair = f"- {{candidate: ours, expect: {{nearest: {name}}}, {said}}}"
    return loads(f"version: 1\nmodels:\n{models}pairs:\n{pair}\n", Path("a.suite.yaml")).claims[0]


BASE, KIN, OTHER = relative("base", -90, 0.9), relative("kin", -50, 0.99), relative("other", -0.4)
DOUBT, GONE = relative("other", -4.5), relative("other")
SAME = relative("base", settled_by=DIGEST)


@pytest.mark.parametrize(
    ("name", "references", "state", "verdict", "short", "says"),
    [
        ("kin", (BASE, KIN, OTHER), "holds", "dependent", None, "nearest kin: kin, p = 2.0e-50"),
        ("base", (BASE, KIN, OTHER), "fails", "dependent", "not-nearest", "the nearest kin is kin"),
        ("other", (BASE, KIN, OTHER), "fails", "not found", "not-nearest", "nearest kin is kin"),
        ("other", (OTHER,), "fails", "not found", "not-nearest", "no reference shows kinship"),
        (
            "other",
            (BASE, DOUBT),
            "fails",
            "inconclusive",
            "inconclusive",
            "other is kin stays open",
        ),
        ("other", (BASE, GONE), "fails", "inconclusive", "not-checked", "it is gone"),
        ("base", (BASE, GONE), "fails", "dependent", "not-checked", "other could not be compared"),
        (
            "base",
            (BASE, replace(KIN, closeness=None)),
            "fails",
            "dependent",
            "inconclusive",
            "as near",
        ),
        ("base", (SAME, KIN, GONE), "holds", "dependent", None, "base, the very checkpoint"),
        ("kin", (SAME, KIN), "fails", "dependent", "not-nearest", "nearest kin is base"),
        ("none", (OTHER,), "holds", "not found", None, "That is no independence"),
        ("none", (OTHER, KIN), "fails", "dependent", "not-nearest", "kin is kin"),
        ("none", (DOUBT,), "fails", "inconclusive", "inconclusive", "stays open"),
        ("none", (BASE, GONE), "fails", "dependent", "not-nearest", "base is kin"),
        ("none", (GONE,), "fails", "inconclusive", "not-checked", "it is gone"),
    ],
)
def test_a_claim_is_judged_by_what_the_references_showed(
    name, references, state, verdict, short, says
):
    identified = found(*references)
    judged = judge_nearest(claim(name), identified)
    assert (judged.state, judged.verdict) == (state, verdict)
    assert nearest_shortfall(claim(name), identified) == short
    assert says in f"{judged.measured}. {judged.meaning}"


def test_only_what_is_open_may_warn():
    open_, false = (relative("base", p) for p in (-4.0, -0.2))
    assert judge_nearest(claim("base", "warn"), found(open_)).state == "warns"
    assert judge_nearest(claim("base", "warn"), found(false)).state == "fails"
    assert judge_nearest(claim("base", "warn"), found(relative("base"))).state == "fails"


def test_another_copy_of_the_very_checkpoint_is_no_nearer():
    copies = found(SAME, replace(SAME, name="kin"))
    assert [judge_nearest(claim(name), copies).state for name in ("base", "kin")] == ["holds"] * 2


def test_the_p_value_is_that_of_the_reference_over_all():
    identified = found(BASE, KIN, OTHER)
    assert nearest_log10_p(claim("kin"), identified) == identified.named("kin").corrected
    assert nearest_log10_p(claim("none"), identified) == identified.named("base").corrected
    assert nearest_log10_p(claim("base"), found(SAME)) is None
    assert cells_of(identified.named("kin"))[:3] == ("kin", "kin", "1.0e-50")


names = st.lists(
    st.tuples(st.floats(-60, 0), st.none() | st.floats(0, 1)), min_size=1, max_size=6
).map(lambda rows: [relative(str(i), p, close) for i, (p, close) in enumerate(rows)])


@given(names, st.integers(0, 5), st.sampled_from(["finding", "corrected", "name", "log10_p"]))
def test_what_does_not_follow_from_the_numbers_is_refused(references, which, field):
    sound = found(*references)
    assert check_identification(sound) is None
    one = sound.references[which % len(references)]
    other = {
        "finding": "kin" if one.finding != "kin" else "none found",
        "corrected": one.corrected - 0.1,
        "name": sound.references[0].name if one is not sound.references[0] else None,
        "log10_p": 0.5,
    }[field]
    if other is None:
        return
    changed = tuple(
        replace(each, **{field: other}) if each is one else each for each in sound.references
    )
    assert check_identification(replace(sound, references=changed)) is not None
