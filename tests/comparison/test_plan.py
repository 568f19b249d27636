"""A plan names each comparison and each model once, in the order asked for."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.comparison.plan import (
    NULL,
    POSITIVE,
    VERDICT,
    Capture,
    Comparison,
    Plan,
    block_of,
    block_part,
    captures,
    comparison,
    needs,
    negative_control,
    pair_seed,
    positive_control,
    sampled,
)
from provenance.suite.read import loads
from provenance.vocabulary import STATISTICS, InputsSpec, ModelSpec

SUITE = """\
version: 1
inputs: {tokens: 512}
models:
  base: {recipe: quickstart/base}
  chat: {recipe: quickstart/finetuned}
  same: {recipe: quickstart/finetuned}
  other: {path: /models/other}
pairs:
  - {candidate: chat, reference: base, expect: finetune}
  - {candidate: other, reference: chat, expect: independent}
  - {candidate: chat, reference: base, expect: derived, alpha: 1e-9, id: again}
  - {candidate: base, reference: chat, expect: derived}
  - {candidate: same, reference: base, expect: derived}
"""


def asked(candidate, reference, **inputs):
    return Comparison(
        ModelSpec(recipe=candidate), ModelSpec(recipe=reference), InputsSpec(**inputs), "match"
    )


names = st.sampled_from("abcd")
comparisons = st.lists(st.builds(asked, names, names, seed=st.integers(0, 1)), max_size=30)


@given(comparisons)
def test_each_comparison_is_planned_once(wanted):
    planned = Plan.of(wanted).comparisons
    assert len(planned) == len(set(planned))
    assert set(planned) == set(wanted)


@given(comparisons)
def test_comparisons_keep_the_order_in_which_they_were_first_asked_for(wanted):
    planned = Plan.of(wanted).comparisons
    assert [wanted.index(c) for c in planned] == sorted(wanted.index(c) for c in planned)


@given(comparisons)
def test_planning_a_plan_changes_nothing(wanted):
    plan = Plan.of(wanted)
    assert Plan.of(plan.comparisons) == plan


@given(comparisons)
def test_each_model_is_named_once(wanted):
    models = Plan.of(wanted).models()
    assert len(models) == len(set(models))
    assert set(models) == {m for c in wanted for m in (c.candidate, c.reference)}


def test_models_are_in_the_order_of_their_first_use_candidate_first():
    models = Plan.of([asked("b", "a"), asked("c", "a"), asked("a", "d")]).models()
    assert [m.recipe for m in models] == ["b", "a", "c", "d"]


def test_any_iterable_is_planned():
    assert Plan.of(asked("a", "b") for _ in range(3)).comparisons == (asked("a", "b"),)


def test_a_plan_of_nothing_has_no_models():
    assert Plan.of([]).models() == ()


def test_exchanged_roles_are_another_comparison():
    assert len(Plan.of([asked("a", "b"), asked("b", "a")]).comparisons) == 2


def test_other_inputs_are_another_comparison_of_the_same_models():
    plan = Plan.of([asked("a", "b"), asked("a", "b", tokens=9)])
    assert (len(plan.comparisons), len(plan.models())) == (2, 2)


def test_another_dtype_is_another_model():
    exact, half = ModelSpec(path="a"), ModelSpec(path="a", dtype="float16")
    plan = Plan.of([Comparison(half, exact, InputsSpec(), "match")])
    assert plan.models() == (half, exact)


def test_a_claim_needs_its_models_on_its_suites_inputs_by_its_statistic():
    suite = loads(SUITE, Path("/suites/a.suite.yaml"))
    assert comparison(suite, suite.claims[1]) == Comparison(
        ModelSpec(path="/models/other"),
        ModelSpec(recipe="quickstart/finetuned"),
        InputsSpec(tokens=512),
        "kinship",
        extent="parts",
    )


def test_a_claim_of_independence_or_below_what_decides_wants_all_parts_and_exhaustive_all_pairs():
    def extents(more=""):
        suite = loads(SUITE + more, Path("/suites/a.suite.yaml"))
        return [comparison(suite, claim).extent for claim in suite.claims]

    assert extents() == ["decided", "parts", "decided", "decided", "decided"]
    assert extents("defaults: {alpha: 1e-30}\n") == ["parts", "parts", "decided", "parts", "parts"]
    assert extents("defaults: {exhaustive: true}\n") == ["all"] * 5
    # one part is all there is
    assert extents("defaults: {statistic: match}\n") == ["decided"] * 5


def test_a_pair_says_itself_whether_it_is_exhaustive():
    claims = "{candidate: chat, reference: base, expect: derived, exhaustive: false}"
    other = "{candidate: same, reference: base, expect: derived}"
    text = SUITE[: SUITE.index("pairs:")]
    suite = loads(
        f"{text}defaults: {{exhaustive: true}}\npairs: [{claims}, {other}]\n", Path("/a.suite.yaml")
    )
    assert [claim.exhaustive for claim in suite.claims] == [False, True]


def test_files_are_read_first_where_they_may_decide_and_others_may_not():
    def of_files(statistic, extent="decided", kind="text"):
        models = ModelSpec(path="a"), ModelSpec(path="b")
        whole = Comparison.of(*models, InputsSpec(kind), statistic, extent=extent)
        files = whole.of_files()
        assert files is None or replace(files, extent="decided") == whole
        return files

    assert of_files("kinship").extent == "files"
    assert of_files("kinship", "parts") is of_files("kinship", "all") is None
    assert of_files("kinship", kind="tokens") is of_files("kinship", kind="hidden") is None
    assert {of_files(s) for s in STATISTICS if s != "kinship"} == {None}


def test_claims_of_one_pair_share_a_comparison_whatever_they_claim():
    suite = loads(SUITE, Path("/suites/a.suite.yaml"))
    assert comparison(suite, suite.claims[0]) == comparison(suite, suite.claims[2])


def test_two_names_of_one_model_share_a_comparison():
    suite = loads(SUITE, Path("/suites/a.suite.yaml"))
    plan = Plan.of(comparison(suite, claim) for claim in suite.claims)
    assert (len(plan.comparisons), len(plan.models())) == (3, 3)


def test_isotropic_inputs_mean_weights_where_activations_were_asked_for():
    def meant(statistic):
        hidden = InputsSpec("hidden")
        return Comparison.of(ModelSpec(path="a"), ModelSpec(path="b"), hidden, statistic).statistic

    assert meant("match") == meant("kinship") == "match_weights"
    assert (meant("generalized"), meant("csu")) == ("generalized", "csu")


def test_inputs_of_tokens_mean_their_embeddings_where_activations_were_asked_for():
    def meant(statistic):
        tokens = InputsSpec("tokens")
        return Comparison.of(ModelSpec(path="a"), ModelSpec(path="b"), tokens, statistic).statistic

    assert meant("match") == meant("kinship") == meant("match_tokens") == "match_tokens"
    assert (meant("generalized"), meant("csh")) == ("generalized", "csh")


def test_the_disguise_of_a_control_is_one_that_the_statistic_could_see_through():
    claims = "statistic: [generalized, kinship], candidate: chat, reference: base, expect: derived"
    text = SUITE[: SUITE.index("pairs:")] + f"pairs: [{{{claims}}}]\n"
    suite = loads(text, Path("/suites/a.suite.yaml"))
    controls = [positive_control(suite, claim) for claim in suite.claims]
    assert [control.candidate.source for control in controls] == [
        "disguised-units:recipe:quickstart/base",
        "disguised:recipe:quickstart/base",
    ]


def test_a_part_of_a_claim_needs_its_pair_and_its_own_control():
    suite = loads(f"controls: true\n{SUITE}", Path("/suites/a.suite.yaml"))
    kin, stranger = suite.claims[:2]
    pair = comparison(suite, stranger)
    null, positive = negative_control(suite, stranger), positive_control(suite, stranger)
    assert needs(suite, stranger, block_part(3)).comparisons() == (pair,)
    assert needs(suite, stranger, NULL).comparisons() == (pair, null)
    assert needs(suite, stranger, VERDICT).comparisons() == (pair, positive)
    assert needs(suite, stranger, POSITIVE).comparisons() == (positive,)
    assert needs(suite, kin, VERDICT).comparisons() == (comparison(suite, kin),)
    assert needs(suite, replace(stranger, skip="not today"), VERDICT).comparisons() == ()


def test_a_part_names_its_block():
    assert [block_of(part) for part in (block_part(12), VERDICT, NULL, "blocks")] == [
        12,
        None,
        None,
        None,
    ]


@given(st.sets(st.integers(0, 200), max_size=40).map(sorted), st.integers(1, 6), st.integers())
def test_a_sample_has_one_block_of_each_part_of_the_depth(blocks, number, seed):
    drawn = sampled(blocks, number, seed)
    assert drawn == sampled(blocks, number, seed)
    assert len(drawn) == min(number, len(blocks))
    places = [blocks.index(block) for block in drawn]
    if number < len(blocks):
        part = len(blocks) / number
        assert all(int(k * part) <= at < (k + 1) * part for k, at in enumerate(places))


# captures

WORDS, BYTES = "sha256:words", "sha256:bytes"


def opened(name, tokenizer=WORDS, vocabulary=300, positions=None, bundle=None):
    """As much of a checkpoint as a plan asks of it."""
    spec = ModelSpec(path=name)
    return SimpleNamespace(
        model_type="llama",
        remote_code=False,
        spec=spec,
        source=spec.source,
        digest=f"sha256:{name}",
        tokenizer_digest=tokenizer,
        vocabulary=vocabulary,
        positions=positions,
        bundle=bundle,
    )


def captured(candidate, reference, **inputs):
    asked_for = Comparison(candidate.spec, reference.spec, InputsSpec(**inputs), "match")
    return captures(asked_for, candidate, reference)


def test_one_capture_of_a_model_serves_partners_of_all_tokenizers_and_vocabularies():
    model = opened("a")
    partners = [opened("b"), opened("c", BYTES), opened("d", BYTES, 900)]
    found = {captured(model, partner)[0] for partner in partners}
    found.add(captured(opened("e", None, 300), model)[1])
    assert found == {Capture(model.spec, InputsSpec(), gated=True)}


def test_no_reference_borrows_the_tokenizer_of_a_candidate():
    for capture in captured(opened("a", WORDS), opened("bare", None)):
        assert (capture.inputs.kind, capture.partner) == ("random", None)


def test_a_candidate_without_a_tokenizer_borrows_that_of_a_reference_of_its_size():
    bare = opened("bare", None)
    one, other, third = (
        captured(bare, opened(name, tokenizer))[0]
        for name, tokenizer in (("a", WORDS), ("b", WORDS), ("c", BYTES))
    )
    assert (one.partner, one.inputs.kind) == (ModelSpec(path="a"), "text")
    assert one == other != third


@pytest.mark.parametrize(
    ("sides", "kind"),
    [
        ((opened("a", None, 300), opened("b", None, 200)), "text"),
        ((opened("a", None, 300), opened("b", WORDS, 200)), "text"),
        ((opened("a", WORDS, 300), opened("b", BYTES, 200)), "random"),
    ],
)
def test_random_ids_of_both_are_below_the_smaller_vocabulary(sides, kind):
    for capture in captured(*sides, kind=kind):
        assert (capture.inputs.kind, capture.vocabulary, capture.partner) == ("random", 200, None)


def test_a_model_is_captured_in_sequences_that_both_have_positions_for():
    short, long = opened("a", positions=64), opened("b", positions=128)
    assert [c.inputs.sequence_length for c in captured(short, long)] == [64, 64]
    assert [c.inputs.sequence_length for c in captured(long, long)] == [128, 128]


def test_beside_a_bundle_a_model_is_fed_what_the_bundle_says():
    model, bundle = opened("a"), opened("b", None, bundle=SimpleNamespace(statistic="match"))
    (capture,) = captured(model, bundle)
    assert (capture.model, capture.partner) == (model.spec, bundle.spec)
    assert (
        capture != captured(model, opened("c", None, bundle=SimpleNamespace(statistic="match")))[0]
    )


def test_another_seed_draws_another_sample():
    drawn = {sampled(range(32), 3, seed) for seed in range(400)}
    assert {blocks[0] for blocks in drawn} == set(range(10))
    assert {blocks[2] for blocks in drawn} == set(range(21, 32))


def one(digest):
    return SimpleNamespace(digest=f"sha256:{digest}")


def test_the_seed_of_a_pair_is_of_both_digests_and_of_the_seed():
    drawn = {pair_seed(seed, one(a), one(b)) for seed in (0, 1) for a in "xyz" for b in "xyz"}
    assert len(drawn) == 18  # another for the pair the other way round
    assert pair_seed(0, one("x"), one("y")) == pair_seed(0, one("x"), one("y"))
    assert all(0 <= seed < 2**48 for seed in drawn)


def test_nothing_is_captured_of_a_pair_with_a_model_that_cannot_be_run():
    ours, theirs = opened("a"), opened("b")
    pair = Comparison(ours.spec, theirs.spec, InputsSpec(), "kinship", extent="all")
    assert captures(pair, ours, theirs)
    ours.model_type, ours.config = "llama99", {}
    assert captures(pair, ours, theirs) == ()
    assert captures(replace(pair, statistic="match"), ours, theirs) == ()
