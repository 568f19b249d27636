"""What is said beside a claim, on evidence made by hand."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from provenance.comparison.models import _other_base
from provenance.evidence.tested_with import qualifiers
from provenance.suite.claims import Blocks
from provenance.vocabulary import InputsSpec, ModelSpec
from tests.support.gate_results import KIN, claims, evidence

(CLAIM,) = claims("- {candidate: a, reference: b, expect: finetune}\n")
USUAL = InputsSpec()


def said(inputs=USUAL, **changes):
    return qualifiers(replace(CLAIM, **changes), inputs, None)


def test_a_usual_claim_says_nothing():
    assert said() == ()
    assert said(blocks=Blocks(cross=True), tags=("a",)) == ()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"statistic": "csu"}, "by csu"),
        ({"blocks": Blocks((3, 1))}, "on blocks 1, 3 alone"),
        ({"blocks": Blocks(at_least=0.5)}, "on 50% of the blocks"),
        ({"alpha": 1e-3}, "alpha 0.001"),
        ({"exhaustive": True}, "exhaustive"),
        ({"inconclusive": "warn"}, "warns where inconclusive"),
        ({"xfail": "issue 7"}, "known failure: issue 7"),
        ({"inputs": InputsSpec("hidden")}, "by match_weights"),
        ({"inputs": InputsSpec("tokens")}, "by match_tokens"),
        ({"inputs": InputsSpec("random")}, "on random token ids"),
        ({"inputs": InputsSpec(text="./own.txt")}, "on the text ./own.txt"),
        ({"inputs": InputsSpec(tokens=64)}, "64 tokens"),
    ],
)
def test_what_is_not_usual_is_said(changes, says):
    assert says in said(**changes)


def test_permutations_are_said_of_what_draws_them():
    assert said(permutations=199) == ()
    assert said(statistic="l2", permutations=199) == ("by l2", "199 permutations")


def test_fingerprints_and_the_bases_of_adapters_are_said():
    found = evidence(CLAIM, KIN)
    adapter = replace(
        found.candidate, conversion="adapter merged into recipe:x; its configuration names y"
    )
    found = replace(
        found, candidate=adapter, reference=replace(found.reference, claimed="sha256:1")
    )
    assert qualifiers(CLAIM, USUAL, found)[1:] == (
        "a is an adapter on recipe:x; its configuration names y",
        "b is a fingerprint: no weights were seen",
    )


@pytest.mark.parametrize(
    ("given", "named", "says"),
    [
        (None, "org/x", ""),
        ("org/x", "org/x", ""),
        ("org/x", None, ""),
        ("org/x", "org/y", "; its configuration names org/y"),
        ("org/x", "y\nz", "; its configuration names y"),
    ],
)
def test_another_base_than_the_adapter_names_is_said(given, named, says):
    adapter = SimpleNamespace(config={"base_model_name_or_path": named})
    base = SimpleNamespace(spec=ModelSpec(repo="org/x"), source="repo:org/x")
    found = _other_base(adapter, ModelSpec(path="./a", base=given), base)
    assert found.startswith(says)
    assert "\n" not in found
    assert bool(found) == bool(says)
