"""The sentence that an audit leads with, its families, and its nights."""

import html
from dataclasses import replace
from pathlib import Path

import pytest

from provenance.audit.finding import families_of, finding
from provenance.audit.records import Audit, AuditedModel, AuditedPair
from provenance.audit.registry import Registry
from provenance.evidence.audits import Night, spoken_stretch, stretches
from provenance.vocabulary import InputsSpec, ModelSpec

PAIRS = (
    AuditedPair("m1", "m0", "dependent", -412.0, known=True),
    AuditedPair("m2", "m0", "independent", -0.3),
    AuditedPair("m2", "m1", error="the folder m2 is not there"),
)


def audit(families, before=(), since=None, models=5, pairs=(), registry=None):
    names = [f"m{i}" for i in range(models)]
    return Audit(
        name="registry",
        statistic="kinship",
        inputs=InputsSpec(),
        alpha=1e-6,
        threshold=1e-7,
        run=2,
        created="2026-11-26T03:00:00+00:00",
        models=tuple(AuditedModel(name, name) for name in names),
        pairs=pairs,
        ignored=(),
        since=since,
        since_created=None,
        changes=(),
        evidence={},
        families=families,
        before=before,
        registry=registry,
    )


@pytest.mark.parametrize(
    ("families", "before", "since", "said"),
    [
        ((), (), None, "no families among 5 models"),
        ((("a", "b"),), (), None, "1 family among 5 models"),
        (
            (("a", "b"), ("c", "d")),
            (("a", "b"),),
            1,
            "2 families among 5 models, 1 new since run 1; nothing lost",
        ),
        (
            (("a", "b", "c"),),
            (("b", "c"),),
            1,
            "1 family among 5 models, none new since run 1; nothing lost",
        ),
        (
            (),
            (("b", "c"), ("d", "e")),
            1,
            "no families among 5 models, none new since run 1; 2 families lost",
        ),
        (
            (("a", "b"), ("c", "d")),
            (("a", "b", "c", "d"),),
            1,
            "2 families among 5 models, none new since run 1; nothing lost",
        ),
        (
            (("a", "c"),),
            (("a", "b"), ("c", "d")),
            1,
            "1 family among 5 models, 1 new since run 1; 2 families lost",
        ),
    ],
)
def test_a_family_is_new_where_no_two_of_it_were_together(families, before, since, said):
    assert finding(audit(families, before, since)) == said


def test_what_is_open_is_part_of_the_finding():
    pair = AuditedPair("m0", "m1")
    open_one = replace(pair, verdict="inconclusive", log10_p=-3.0)
    failed = replace(pair, error="gone")
    said = finding(audit((), pairs=(open_one, failed, failed)))
    assert said == "no families among 5 models; 1 pair undecided; 2 pairs could not be judged"


def test_kin_of_kin_are_a_family():
    assert families_of([("c", "b"), ("e", "d"), ("b", "a")]) == (("a", "b", "c"), ("d", "e"))
    assert families_of([]) == ()


def night(run, **changes):
    found = Night(run, f"2026-11-{run:02}T03:00:00+00:00", 5, 1, 2, 0, 0)
    return replace(found, **changes)


def test_nights_that_found_the_same_are_one_line():
    nights = (*map(night, (1, 2, 3)), night(4, kin=3, undecided=1), night(5))
    said = [spoken_stretch(stretch) for stretch in stretches(nights)]
    assert said == [
        "2026-11-05: 5 models, 1 family, 2 pairs of kin",
        "2026-11-04: 5 models, 1 family, 3 pairs of kin, 1 undecided",
        "2026-11-01 to 2026-11-03, 3 runs: 5 models, 1 family, 2 pairs of kin",
    ]
    assert stretches(()) == ()


# in a notebook


def test_an_audit_says_what_it_found_in_a_line():
    assert repr(audit((("m0", "m1"),), models=3, pairs=PAIRS)) == (
        "<Audit of registry, run 2: 1 family among 3 models; 1 pair could not be judged>"
    )


def test_an_audit_is_a_frame_with_a_row_for_each_pair():
    pytest.importorskip("pandas", reason="pandas is not installed: pip install '.[notebook]'")
    frame = audit((("m0", "m1"),), models=3, pairs=PAIRS).to_frame()
    assert list(frame.candidate + frame.reference) == ["m1m0", "m2m0", "m2m1"]
    assert list(frame.verdict.fillna("none")) == ["dependent", "independent", "none"]
    assert list(frame.family.fillna("none")) == ["m0, m1", "none", "none"]
    assert list(frame.known) == [True, False, False]
    assert frame.error[2] == "the folder m2 is not there"
    assert frame.log10_p.isna().sum() == 1


def test_a_notebook_has_the_report_that_leads_with_the_families():
    models = {f"m{i}": ModelSpec(path=f"/m{i}") for i in range(3)}
    registry = Registry(Path("/registry.yaml"), models)
    shown = audit((("m0", "m1"),), models=3, pairs=PAIRS, registry=registry)._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert "sandbox" in shown
    page = html.unescape(shown)
    assert "<h1" in page
    assert "1 family among 3 models" in " ".join(page.lower().split())
    assert "the folder m2 is not there" in page


def test_an_audit_without_its_registry_is_a_line_alone():
    assert audit(())._repr_html_() is None
