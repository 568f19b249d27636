"""Kinds of descent: every reading on differences made by hand, and what claims of them make of it."""

import json
from dataclasses import asdict, replace

import pytest

from provenance.evidence.difference import BlockMap, DifferenceRecord, Grid
from provenance.evidence.kind_claims import kind_doubt, kind_objection
from provenance.evidence.kinds import ARITHMETIC, CARRIED, KINDS, NOISE, WITHIN, ZEROS, found_kind
from provenance.evidence.records import Evidence, EvidenceError
from provenance.evidence.tested_with import qualifiers
from provenance.evidence.verdict import judge_pair, shortfall
from provenance.evidence.weights import WeightsRecord
from provenance.suite.read import loads
from provenance.vocabulary import MEASURED, InputsSpec
from tests.evidence.test_verdict import KIN, claim, evidence
from tests.support.synthetic import difference, matrix

EQUAL = matrix("mlp.up_proj", 0, shape=(64, 32), ranks=32)
MOVED = replace(EQUAL, relative=0.1, unchanged=0.0, rank=9, carried=0.8, noise=0.05, kept=0.0)
SET = replace(EQUAL, unchanged=0.9995, relative=0.1, rank=2, carried=1.0, noise=0.0, strayed=0.0005)
NUDGED = replace(SET, relative=1e-5, strayed=0.0)
LOW = replace(MOVED, rank=4, carried=0.9999, noise=1e-4)
GRID = replace(MOVED, rank=0, carried=0.0, grid=Grid("even", 4, 32, 1.0, 1.0))
ZEROED = replace(MOVED, rank=0, carried=0.0, new_zeros=0.5, kept=1.0, structure="scattered")
MADE = replace(MOVED, made_by="Q8_0")
SHARED = Grid("even", 4, 32, 0.8, 0.5, 0.3, shared=True)
NORM = replace(EQUAL, name="model.norm.weight", block=None, shape=(32,), ranks=1)
TABLE = replace(EQUAL, name="model.embed_tokens.weight", block=None)
TRAINED_NORM = replace(NORM, unchanged=0.0, relative=0.01)
TRAINED_TABLE = replace(TABLE, unchanged=0.0, relative=0.1, rank=20, carried=0.9, noise=0.01)

FEW = {"unchanged": 0.9995, "relative": 0.1, "strayed": 0.0005}
GRIDDED_TABLE = replace(TRAINED_TABLE, grid=GRID.grid)


def record(*inner, others=(NORM, TABLE), **changes):
    made = DifferenceRecord(
        blocks=(BlockMap(0, 0, (64, 64)),),
        of_blocks=(1, 1),
        hidden=(32, 32),
        units=(64, 64),
        matrices=(*inner, *others),
    )
    return replace(made, **changes)


READ = {
    "equal": (record(EQUAL, EQUAL), "same"),
    "permuted": (record(EQUAL, residual="permuted"), "permuted"),
    "units-permuted": (record(EQUAL, blocks=(BlockMap(0, 0, (64, 64), ("units",)),)), "permuted"),
    "few-set": (record(EQUAL, SET), "unsure"),
    "few-set-in-a-cast-copy": (record(EQUAL, replace(SET, tolerance=2.0**-9)), "unsure"),
    "few-set-in-the-embeddings": (record(EQUAL, others=(replace(TABLE, **FEW),)), "unsure"),
    "few-nudged": (record(EQUAL, NUDGED), "unsure"),
    "few-nudged-by-a-cast": (record(EQUAL, replace(NUDGED, tolerance=2.0**-9)), "same"),
    "few-zeroed": (record(replace(NUDGED, tolerance=2.0**-9, zeroed=0.5)), "unsure"),
    "few-zeroed-by-a-cast": (record(replace(NUDGED, tolerance=2.0**-9, zeroed=1e-9)), "same"),
    "a-unit-not-found": (record(EQUAL, blocks=(BlockMap(0, 0, (63, 64)),)), "unsure"),
    "few-set-beside-all-moved": (record(MOVED, MOVED, SET), "finetune"),
    "few-set-beside-low-ones": (record(LOW, LOW, SET), "unsure"),
    "few-nudged-beside-low-ones": (record(LOW, LOW, NUDGED), "adapter"),
    "few-set-beside-a-grid": (record(GRID, GRID, SET), "unsure"),
    "few-set-beside-zeros": (record(ZEROED, replace(ZEROED, strayed=1e-4)), "pruned"),
    "equal-but-for-what-was-not-mapped": (record(EQUAL, left_out=("x",)), "unsure"),
    "full-rank": (record(MOVED, MOVED), "finetune"),
    "one-of-four-moved": (record(MOVED, EQUAL, EQUAL, EQUAL), "finetune"),
    "full-rank-with-more-left-out": (record(MOVED, left_out=("x",)), "finetune"),
    "about-rounding": (record(replace(MOVED, relative=2.0**-24, tolerance=2.0**-24)), "unsure"),
    "tiny-in-one-type": (record(replace(MOVED, relative=2.0**-24)), "finetune"),
    "half-low": (record(MOVED, LOW, LOW), "unsure"),
    "low": (record(LOW, LOW), "adapter"),
    "low-in-some-matrices-alone": (record(LOW, EQUAL, EQUAL), "adapter"),
    "low-behind-a-disguise": (record(LOW, residual="rotated", folded=True), "adapter"),
    "low-and-embeddings": (record(LOW, others=(TRAINED_TABLE,)), "unsure"),
    "low-and-norms": (record(LOW, others=(TRAINED_NORM,)), "unsure"),
    "low-with-more-left-out": (record(LOW, left_out=("x",)), "unsure"),
    "low-of-a-quarter": (record(replace(LOW, rank=8)), "adapter"),
    "low-above-a-quarter": (record(replace(LOW, rank=9)), "finetune"),
    "low-that-carries-too-little": (record(replace(LOW, carried=CARRIED - 1e-6)), "finetune"),
    "low-but-for-rounding": (record(replace(LOW, carried=0.9, noise=NOISE * 2.0**-24)), "adapter"),
    "rank-none": (record(replace(LOW, rank=0)), "finetune"),
    "grid": (record(GRID, GRID), "quantized"),
    "grid-and-embeddings-on-one": (record(GRID, others=(GRIDDED_TABLE,)), "quantized"),
    "grid-and-embeddings": (record(GRID, others=(TRAINED_TABLE,)), "unsure"),
    "grid-of-some": (record(GRID, MOVED), "unsure"),
    "grid-of-most": (record(*[GRID] * 9, MOVED), "quantized"),
    "off-the-grid": (record(replace(GRID, grid=Grid("even", 4, 0, WITHIN - 0.01, 0.5))), "unsure"),
    "half-a-step-off-a-short-grid": (
        record(replace(GRID, grid=Grid("even", 4, 32, 1.0, WITHIN - 0.01))),
        "unsure",
    ),
    "half-a-step-off-a-long-grid": (
        record(replace(GRID, grid=Grid("even", 4, 128, 1.0, WITHIN - 0.01))),
        "quantized",
    ),
    "half-a-step-off-a-known-type": (
        record(replace(GRID, grid=Grid("codes", 4, 64, 1.0, WITHIN - 0.01))),
        "unsure",
    ),
    "a-known-type": (record(replace(GRID, grid=Grid("codes", 8, 0, 1.0, 1.0))), "quantized"),
    "grid-without-steps": (record(replace(GRID, grid=Grid("even", 4, 0))), "unsure"),
    "made-again": (record(MADE, MADE), "quantized"),
    "made-again-and-embeddings": (record(MADE, others=(TRAINED_TABLE,)), "unsure"),
    "made-again-in-some": (record(MADE, MOVED), "unsure"),
    "made-again-beside-grids": (record(MADE, GRID), "quantized"),
    "zeros": (record(ZEROED, ZEROED), "pruned"),
    "zeros-trained-on": (record(replace(ZEROED, kept=0.0), others=(TRAINED_TABLE,)), "pruned"),
    "few-zeros": (record(replace(ZEROED, new_zeros=ZEROS - 1e-6)), "finetune"),
    "zeros-of-a-grid": (record(replace(GRID, new_zeros=0.2)), "quantized"),
    "zeros-that-moved-as-the-rest": (record(replace(ZEROED, zeroed=0.1, kept=0.0)), "finetune"),
    "zeros-that-moved-further": (record(replace(ZEROED, relative=0.5, zeroed=0.7, kept=0.0)), "pruned"),
    "zeros-beside-a-grid-of-both": (record(replace(ZEROED, grid=SHARED)), "pruned"),
    "grids-of-both": (record(replace(GRID, grid=SHARED)), "unsure"),
    "grids-of-both-in-some": (record(replace(MOVED, grid=SHARED), MOVED, MOVED), "finetune"),
    "low-of-the-size-of-arithmetic": (record(replace(LOW, relative=ARITHMETIC)), "unsure"),
    "fewer-blocks": (record(MOVED, of_blocks=(1, 2)), "pruned"),
    "fewer-units": (record(MOVED, units=(48, 64)), "pruned"),
    "narrower": (record(MOVED, hidden=(16, 32)), "pruned"),
    "embeddings-alone": (record(EQUAL, others=(TRAINED_TABLE,)), "unsure"),
    "scales-fitted": (record(replace(MOVED, fitted=True), LOW), "adapter"),
    "all-fitted": (record(replace(MOVED, fitted=True)), "finetune"),
    "not-measured": (record(reason="a tensor cannot be read"), "unsure"),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_every_difference_is_read(case):
    made, kind = READ[case]
    found = found_kind(made)
    assert found.kind == kind, found
    assert found.words().startswith(KINDS[kind].capitalize())


def test_what_was_undone_is_said():
    moved = record(EQUAL, residual="rotated", folded=True, tokens="by text")
    assert moved.moved == ("a rotation of the residual stream", "the numbers of tokens")
    assert "are undone" in found_kind(moved).why
    assert found_kind(record(LOW, folded=True)).why.endswith("once the gains of norms is undone")


# claims

DIFFERENCES = {
    "permuted": READ["permuted"][0],
    "quantized": READ["grid"][0],
    "adapter": READ["low"][0],
    "pruned": READ["zeros"][0],
    "finetune": READ["full-rank"][0],
    "unsure": READ["half-low"][0],
}


def kin(difference, **changes):
    return evidence(KIN, KIN, difference=difference, **changes)


@pytest.mark.parametrize("found", DIFFERENCES)
@pytest.mark.parametrize("expect", sorted(MEASURED))
def test_a_claim_of_a_kind_holds_of_that_kind_alone(expect, found):
    seen = kin(DIFFERENCES[found])
    judged = judge_pair(claim(expect), seen)
    open_ = found == "unsure" or (expect, found) == ("merge", "finetune")
    state = (
        ("holds", "dependent")
        if found == expect or (expect, found) == ("finetune", "unsure")
        else ("fails", "inconclusive" if open_ else "dependent")
    )
    assert (judged.state, judged.verdict) == state
    if state[0] == "fails":
        told = "inconclusive" if open_ else "other-kinship"
        assert shortfall(claim(expect), seen, judged.verdict) == told
        assert judged.meaning.startswith("The two are kin, but ")
    else:
        assert judged.meaning.endswith(found_kind(DIFFERENCES[found]).words())


def test_a_false_kind_is_told_with_what_was_found_instead():
    judged = judge_pair(claim("adapter"), kin(DIFFERENCES["finetune"]))
    assert judged.meaning == (
        "The two are kin, but the difference of 2 matrices has full rank, 10% of the weights in size, and "
        "lies on no grid: a fine-tune, not an adapter."
    )


@pytest.mark.parametrize("expect", sorted(MEASURED))
def test_a_fine_tune_that_is_about_rounding_is_open(expect):
    record_ = READ["about-rounding"][0]
    assert judge_pair(claim(expect), kin(record_)).state == "fails"
    assert kind_doubt(claim(expect), kin(record_)) is not None


@pytest.mark.parametrize("expect", sorted(MEASURED))
def test_any_kind_will_do_where_the_claim_says_so(expect):
    for found in DIFFERENCES.values():
        asked = replace(claim(expect), kind="any")
        assert judge_pair(asked, kin(found)).state == "holds"
        assert "of any kind" in qualifiers(asked, InputsSpec(), kin(found))


def test_of_a_sample_no_kind_is_seen_which_is_said():
    for asked, says in ((claim("adapter"), True), (claim("derived"), False)):
        told = qualifiers(replace(asked, sample=2), InputsSpec(), None)
        assert ("its kind not measured" in told) is says


@pytest.mark.parametrize("expect", ["derived", "unknown"])
def test_claims_of_no_kind_ask_for_none(expect):
    for found in DIFFERENCES.values():
        assert judge_pair(claim(expect), kin(found)).state in {"holds", "report"}
        assert kind_objection(claim(expect), kin(found)) is None
        assert kind_doubt(claim(expect), kin(found)) is None


def test_a_doubt_of_the_kind_warns_where_the_claim_says_so():
    lenient = replace(claim("adapter"), inconclusive="warn")
    assert judge_pair(lenient, kin(DIFFERENCES["unsure"])).state == "warns"
    assert judge_pair(lenient, kin(DIFFERENCES["finetune"])).state == "fails"


def test_a_narrower_type_is_a_quantization_whatever_the_difference_says():
    rounded = kin(DIFFERENCES["unsure"], weights=WeightsRecord("rounded", ("bfloat16",)))
    assert judge_pair(claim("quantized"), rounded).state == "holds"


def test_without_a_difference_kinship_and_shapes_decide():
    assert judge_pair(claim("adapter"), evidence(KIN, KIN)).state == "holds"


SOUND = difference(2, grid=Grid("even", 4, 32, 0.9, 0.8, 0.4))


def test_a_difference_comes_back_from_json():
    for record in (SOUND, DifferenceRecord(reason="one is a fingerprint")):
        made = kin(record)
        assert Evidence.from_json(made.to_json()) == made


def damaged(**changes):
    return replace(SOUND, matrices=(replace(SOUND.matrices[0], **changes), *SOUND.matrices[1:]))


DAMAGED = {
    "a-reason-and-matrices": replace(SOUND, reason="x"),
    "neither": DifferenceRecord(),
    "no-matrix-of-a-block": replace(SOUND, matrices=SOUND.matrices[-1:]),
    "a-matrix-twice": replace(SOUND, matrices=SOUND.matrices * 2),
    "a-block-twice": replace(SOUND, blocks=SOUND.blocks * 2),
    "a-block-that-is-not-there": replace(SOUND, of_blocks=(2, 1)),
    "a-block-below-0": replace(SOUND, blocks=(BlockMap(-1, 0, (1, 1)), *SOUND.blocks)),
    "a-matrix-of-another-block": replace(SOUND, blocks=SOUND.blocks[:1]),
    "a-width-below-0": replace(SOUND, hidden=(-1, 64)),
    "more-units-than-there-are": replace(SOUND, blocks=(BlockMap(0, 0, (65, 64)), SOUND.blocks[1])),
    "endless-embeddings": replace(SOUND, fit=1e308),
    "no-numbers": damaged(shape=(0, 64)),
    "a-size-below-0": damaged(relative=-1.0),
    "an-endless-size": damaged(relative=1e200),
    "endless-noise": damaged(noise=1e200),
    "a-share-above-1": damaged(unchanged=1.5),
    "a-share-below-0": damaged(new_zeros=-0.5),
    "a-rank-without-its-noise": damaged(noise=None),
    "a-rank-of-more-than-there-are": damaged(rank=65),
    "more-ranks-than-rows": damaged(ranks=65),
    "half-a-pair-of-blocks": damaged(reference_block=None),
    "a-grid-of-no-bits": damaged(grid=Grid("even", 0, 32)),
    "a-grid-of-less-than-no-numbers": damaged(grid=Grid("even", 4, -1)),
    "a-share-of-a-grid": damaged(grid=Grid("even", 4, 32, 1e308)),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_difference_that_nothing_measures_is_refused(case):
    with pytest.raises(EvidenceError, match="damaged at difference: "):
        Evidence.from_json(kin(DAMAGED[case]).to_json())


@pytest.mark.parametrize(
    "changes", [{"tokens": "nobody"}, {"blocks": [{**asdict(SOUND.blocks[0]), "moved": ["x"]}]}]
)
def test_a_map_of_other_words_is_refused(changes):
    fields = kin(SOUND).to_dict()
    fields["difference"] |= changes
    with pytest.raises(EvidenceError, match=r"damaged at difference\."):
        Evidence.from_json(json.dumps(fields))


SUITE = """\
version: 1
models: {a: {path: ./a}, b: {path: ./b}, c: {path: ./c}}
defaults: {kind: any}
pairs:
  - {candidate: a, reference: b, expect: adapter}
  - {candidate: c, reference: b, expect: adapter, kind: measured}
  - {candidate: c, reference: b, expect: derived, id: too}
"""


def test_a_suite_says_whether_kinds_are_measured(tmp_path):
    from provenance.comparison.plan import comparison

    suite = loads(SUITE, tmp_path / "a.suite.yaml")
    assert [one.kind for one in suite.claims] == ["any", "measured", "any"]
    compared = [comparison(suite, one) for one in suite.claims]
    assert [one.difference for one in compared] == [False, True, True]
    assert compared[1] == compared[2]  # claims of one pair share their evidence
    assert (
        loads(SUITE.replace("defaults: {kind: any}\n", ""), tmp_path / "a").claims[0].kind
        == "measured"
    )
