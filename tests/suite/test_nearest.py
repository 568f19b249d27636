"""suite/nearest.py: claims of the nearest kin, what they are of, and their mistakes at file and line."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from provenance.comparison.one_of_many import looks
from provenance.comparison.plan import controlled, needs
from provenance.errors import SuiteError
from provenance.estimate.suites import wanted_of
from provenance.evidence.results import SuiteRecord
from provenance.evidence.wording import describe
from provenance.gate.explain import explain
from provenance.plugin import cases
from provenance.suite.oversights import oversights
from provenance.suite.read import load, loads
from provenance.suite.schema import json_schema

MODELS = """\
version: 1
models:
  a: {recipe: quickstart/base}
  b: {path: ./b}
  c: {repo: acme/c}
"""


def suite(pair, more=""):
    return loads(f"{MODELS}{more}pairs:\n  - {{candidate: a, {pair}}}\n", Path("/x/a.suite.yaml"))


def claim(pair, more=""):
    return suite(pair, more).claims[0]


def mistakes(pair, more=""):
    with pytest.raises(SuiteError) as caught:
        suite(pair, more)
    return [problem.message for problem in caught.value.problems]


def test_the_references_are_all_other_models_of_the_suite():
    found = claim("expect: {nearest: b}")
    assert (found.id, found.expect, found.reference) == ("a-nearest-b", "nearest", "b")
    assert (found.among, found.library) == (("b", "c"), None)
    assert describe(found) == "b is the nearest kin of a among b and c"


def test_a_library_takes_their_place_unless_models_are_named_too():
    found = claim('expect: {nearest: "org/7b v2"}, library: ./l')
    assert (found.id, found.among, found.library) == ("a-nearest-org-7b-v2", (), "./l")
    assert describe(found) == "org/7b v2 is the nearest kin of a among the library ./l"
    both = claim("expect: {nearest: x}, library: ./l, among: [c]")
    assert describe(both) == "x is the nearest kin of a among c and the library ./l"


def test_none_says_that_no_reference_is_kin():
    found = claim("expect: {nearest: none}, among: [c], id: ours")
    assert (found.id, found.reference) == ("ours", "none")
    assert describe(found) == "a has no kin among c"


def test_one_test_checks_it_and_no_control_belongs_to_it():
    found = suite("expect: {nearest: b}", "controls: all\n")
    assert cases.parts_of(found, found.claims[0]) == ["verdict"]
    assert list(cases.tests_of(found)) == [("a-nearest-b", "verdict")]
    assert controlled(found.claims) == {}
    assert needs(found, found.claims[0], "verdict").comparisons() == ()


def test_what_defaults_say_of_single_pairs_does_not_hold_for_it():
    defaults = (
        "defaults: {blocks: [0], kind: measured, alpha: 1e-4, tags: [t], exhaustive: false}\n"
    )
    found = claim("expect: {nearest: b}", defaults)
    assert (found.blocks.indices, found.kind) == (None, "any")
    sampled = "defaults: {sample: 2, scope: sampled}\n"
    assert claim("expect: {nearest: b}, exhaustive: true", sampled).sample is None
    assert (found.alpha, found.tags) == (1e-4, ("t",))


def foreseen(found):
    return looks(found, found.claims[0], {name: found.models[name] for name in ("b", "c")})


def test_a_plan_foresees_the_last_look_at_each_model():
    found = foreseen(suite("expect: {nearest: b}"))
    assert set(found) == {"b", "c"}
    assert {one.extent for one in found.values()} == {"files"}


def test_a_plan_counts_these_looks_as_strangers_save_the_one_that_is_claimed():
    found = suite("expect: {nearest: b}")
    ahead = foreseen(found)
    assert wanted_of(found).comparisons == {ahead["b"]: True, ahead["c"]: False}


def test_a_plan_says_of_a_library_that_is_not_there_that_it_is_not():
    found = wanted_of(suite("expect: {nearest: x}, library: ./l"))
    assert found.comparisons == {}
    (note,) = found.notes
    assert note.startswith("claim a-nearest-x: there is no folder ")


def test_explain_says_what_would_be_looked_at():
    record = SuiteRecord.of("a.suite.yaml", suite("expect: {nearest: b}, library: ./l, among: [b]"))
    said = explain("a.suite.yaml::a-nearest-b[verdict]", None, record)
    assert said.plan[0] == (
        "models: a (recipe:quickstart/base) and b (path:/x/b) and the library ./l"
    )
    assert said.plan[2] == "statistic: kinship, on the blocks that settle each reference"
    assert said.tests == "the claim as a whole, over all its references"


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("expect: {nearest: x}", "'x' is none of the references; references: b, c"),
        ("expect: {nearest: bb}", "'bb' is none of the references; did you mean 'b'?"),
        ("expect: {nearest: c}, among: [b]", "'c' is none of the references"),
        ("expect: {nearest: a}", "'a' is the candidate, and no reference of its own: name another"),
        (
            "expect: {nearest: b}, among: [a, b]",
            "'a' is the candidate, and no reference of its own",
        ),
        ("expect: {nearest: b}, among: [b, b]", "reference 'b' is in the list twice: keep one"),
        ("expect: {nearest: b}, among: [b, x]", "reference 'x' is not declared under models:"),
        ("expect: {nearest: b}, among: []", "among must be a list of names under models:"),
        ("expect: {nearest: b}, reference: b", "reference is of one pair, and the nearest kin"),
        ("expect: {nearest: b}, blocks: [0]", "blocks is of one pair"),
        ("expect: {nearest: b}, kind: any", "kind is of one pair"),
        ("expect: {nearest: b}, sample: 2", "sample is of one pair"),
        ("expect: {nearest: b}, alpha: {0: 1e-9}", "the nearest kin has one alpha"),
        ("expect: {nearest: b}, statistic: jsd", "jsd has no p-value and decides no claim"),
        ("expect: {}", "missing key 'nearest': add nearest, the name of a model"),
        ("expect: {nearest: b}, parents: [a, b]", "parents is of one pair"),
        ("expect: {nearest: }", "key 'nearest' has no value"),
        ("expect: {nearest: [b]}", "nearest must be the name of a model under models:"),
        ("expect: {next: b}", "unknown key 'next'; known keys: merge, nearest"),
        ("expect: finetune", "missing key 'reference': add reference, the name of a model"),
        (
            "expect: finetune, reference: b, among: [c]",
            "among belongs to a claim of the nearest kin",
        ),
        ("expect: finetune, reference: b, library: l", "library belongs to a claim of the nearest"),
    ],
)
def test_a_mistake_is_said_in_a_line(pair, message):
    assert any(found.startswith(message) for found in mistakes(pair)), mistakes(pair)


def test_none_cannot_be_the_name_of_a_reference_as_well():
    text = f"{MODELS}  none: {{path: ./n}}\npairs: [{{candidate: a, expect: {{nearest: none}}}}]\n"
    with pytest.raises(SuiteError, match="is also a model's name: rename the model"):
        loads(text, Path("a.suite.yaml"))


def test_two_claims_of_one_name_need_an_id():
    text = f"{MODELS}pairs:\n" + "  - {candidate: a, expect: {nearest: b}}\n" * 2
    with pytest.raises(SuiteError, match=r"7:5: two pairs have the id 'a-nearest-b'"):
        loads(text.replace("  c: {repo: acme/c}\n", ""), Path("a.suite.yaml"))


def test_it_replaces_no_pair_of_the_lineage():
    text = f"{MODELS}lineage: {{b: {{a: }}}}\npairs: [{{candidate: a, expect: {{nearest: b}}}}]\n"
    found = loads(text, Path("a.suite.yaml"))
    assert {claim.expect for claim in found.claims} == {"nearest", "derived"}


@pytest.mark.parametrize(
    ("pair", "sound"),
    [
        ("expect: {nearest: b}", True),
        ("expect: {nearest: none}, among: [b, c], alpha: 0.001", True),
        ("expect: {nearest: x}, library: ./l", True),
        ("expect: derived, reference: b", True),
        ("expect: derived", False),
        ("expect: derived, reference: b, library: ./l", False),
        ("expect: {nearest: b}, reference: b", False),
        ("expect: {nearest: b}, alpha: {0: 0.001}", False),
        ("expect: {}", False),
    ],
)
def test_the_json_schema_says_the_same(pair, sound):
    text = f"{MODELS}pairs:\n  - {{candidate: a, {pair}}}\n"
    validator = jsonschema.Draft202012Validator(json_schema())
    assert validator.is_valid(yaml.safe_load(text)) == sound


def test_a_library_that_is_not_there_is_noted(tmp_path):
    file = tmp_path / "a.suite.yaml"
    file.write_text(f"{MODELS}pairs:\n  - {{candidate: a, expect: {{nearest: x}}, library: ./l}}\n")
    notes = {note.line: note.message for note in oversights(load(file))}
    assert re.match(rf"nothing is at {tmp_path}/l, or it may not be read", notes[7])
    assert 4 in notes  # no claim is about it, and nothing is there
    (tmp_path / "l").mkdir()
    assert 7 not in {note.line for note in oversights(load(file))}
