"""Claims of a merge with named parents: every reading on shares made by hand, and what becomes of it."""

import json
from dataclasses import replace

import pytest

from provenance.evidence.decomposition import (
    EXPLAINED,
    BlockShares,
    Decomposition,
    MergeRecord,
    ParentKinship,
)
from provenance.evidence.merge_claims import WIDE, MergeClaim, read_merge
from provenance.evidence.records import Evidence, EvidenceError
from provenance.evidence.results import ClaimResult, PartResult, Results, ResultsError
from provenance.evidence.sparse_merge import BlockParts, SparseMerge
from provenance.evidence.verdict import judge_pair, shortfall
from provenance.evidence.wording import describe
from provenance.gate.lock import pinned
from provenance.vocabulary import SHARE_TOLERANCE
from tests.evidence.test_verdict import ALPHA, KIN, STRANGE, SUSPECT, claim, evidence

A, B = (ParentKinship(f"path:./{name}", f"sha256:{name}", KIN) for name in "ab")
SHARES = (("a", 0.7), ("b", 0.3))
PARENTS = (("a", None), ("b", None))


def fitted(first, second, half=0.001, left_over=0.01, blocks=()):
    return Decomposition(
        parents=("path:./a", "path:./b"),
        shares=(first, second),
        low=(first - half, second - half),
        high=(first + half, second + half),
        left_over=left_over,
        blocks=blocks,
        matrices=14,
    )


def record(*shares, a=A, b=B, **changes):
    return MergeRecord((a, b), fitted(*shares, **changes))


def of(parents=SHARES, tolerance=SHARE_TOLERANCE):
    return MergeClaim("merged", parents, tolerance, ALPHA)


GRADIENT = (BlockShares(0, (0.9, 0.1), 0.0), BlockShares(1, (0.1, 0.9), EXPLAINED))
READ = {
    "as-claimed": (SHARES, record(0.7, 0.3), "holds"),
    "within-tolerance": (SHARES, record(0.719, 0.281), "holds"),
    "within-the-interval": (SHARES, record(0.74, 0.26, half=0.05), "holds"),
    "beyond-both": (SHARES, record(0.74, 0.26, half=0.03), "other"),
    "exchanged": (SHARES, record(0.3, 0.7), "other"),
    "of-one-alone": (SHARES, record(1.0, 0.0, left_over=0.0), "other"),
    "of-one-alone-and-trained-on": (SHARES, record(1.001, -0.001, left_over=1.0), "other"),
    "much-left-over": (SHARES, record(0.7, 0.3, left_over=EXPLAINED + 0.01), "unsure"),
    "much-left-over-and-off": (SHARES, record(0.5, 0.5, left_over=0.8), "unsure"),
    "wide": (SHARES, record(0.7, 0.3, half=WIDE + 0.01), "unsure"),
    "wide-and-off": (SHARES, record(0.4, 0.6, half=WIDE + 0.01), "unsure"),
    "none-claimed-of-one": ((("a", 1.0), ("b", 0.0)), record(1.0, 0.0), "holds"),
    "any-shares": (PARENTS, record(0.4, 0.6), "holds"),
    "any-shares-of-one-alone": (PARENTS, record(0.0, 1.0), "other"),
    "any-shares-much-left-over": (PARENTS, record(0.4, 0.6, left_over=0.5), "unsure"),
    "a-little-share": (PARENTS, record(0.99, 0.01), "holds"),
    "other-shares-in-each-block": (
        PARENTS,
        record(0.5, 0.5, half=0.4, left_over=0.4, blocks=GRADIENT),
        "holds",
    ),
    "claimed-shares-and-others-in-each-block": (
        SHARES,
        record(0.7, 0.3, half=0.4, left_over=0.4, blocks=GRADIENT),
        "unsure",
    ),
    "a-stranger": (SHARES, record(0.7, 0.3, b=replace(B, log10_p=STRANGE)), "other"),
    "a-doubted-stranger": (
        SHARES,
        record(0.7, 0.3, b=replace(B, log10_p=STRANGE, doubt="The control was off.")),
        "unsure",
    ),
    "a-suspect": (SHARES, record(0.7, 0.3, a=replace(A, log10_p=SUSPECT)), "unsure"),
    "never-compared": (SHARES, record(0.7, 0.3, a=replace(A, log10_p=None)), "unsure"),
    "not-mapped": (SHARES, MergeRecord((A, B), reason="two of the parents are one model"), "unsure"),
    "of-a-stranger-nothing-is-mapped": (
        SHARES,
        MergeRecord((A, replace(B, log10_p=STRANGE)), reason="are not found kin"),
        "other",
    ),
    "not-measured": (SHARES, None, "unsure"),
    "of-other-parents": (SHARES, MergeRecord((A,), reason="x"), "unsure"),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_all_shares_are_read(case):
    parents, made, says = READ[case]
    assert read_merge(of(parents), made).says == says


@pytest.mark.parametrize("case", READ)
def test_a_claim_is_judged_by_what_was_read(case):
    parents, made, says = READ[case]
    asked = replace(claim("merge"), candidate="merged", parents=parents)
    seen = evidence(KIN, KIN, merge=made)
    judged = judge_pair(asked, seen)
    state, verdict, told = {
        "holds": ("holds", "dependent", None),
        "other": ("fails", "dependent", "other-kinship"),
        "unsure": ("fails", "inconclusive", "inconclusive"),
    }[says]
    assert (judged.state, judged.verdict) == (state, verdict)
    assert read_merge(of(parents), made).why in judged.meaning
    if told is not None:
        assert shortfall(asked, seen, judged.verdict) == told
    lenient = judge_pair(replace(asked, inconclusive="warn"), seen)
    assert lenient.state == ("warns" if says == "unsure" else state)


def test_a_stated_tolerance_is_what_counts():
    assert read_merge(of(tolerance=0.05), record(0.74, 0.26)).says == "holds"
    assert read_merge(of(tolerance=0.03), record(0.74, 0.26)).says == "other"


def test_what_was_found_instead_is_said():
    seen = evidence(KIN, merge=record(0.5, 0.5, left_over=0.0))
    judged = judge_pair(replace(claim("merge"), candidate="merged", parents=SHARES), seen)
    assert judged.meaning == (
        "The two are kin, but merged has 0.5 of a (0.499 to 0.501), 0.5 of b (0.499 to 0.501); 0% of "
        "the distance to the nearest is left over."
    )


def test_a_claim_names_its_parents_and_so_does_a_lock():
    asked = replace(claim("merge"), candidate="merged", parents=SHARES)
    assert describe(asked) == "merged is a merge of a (0.7) and b (0.3)"
    assert describe(replace(asked, parents=(*PARENTS, ("c", None)))) == (
        "merged is a merge of a, b and c"
    )
    result = ClaimResult(
        "s", asked, evidence=evidence(KIN), parts=(PartResult("s::m", "passed", 0.0),)
    )
    assert pinned(Results((), (result,), {}, ""))[0].expect == "merge of a 0.7, b 0.3"


def test_strangers_to_the_reference_are_no_merge_whatever_the_shares():
    judged = judge_pair(
        replace(claim("merge"), parents=SHARES), evidence(STRANGE, merge=record(0.7, 0.3))
    )
    assert judged.state == "fails"
    assert judged.verdict != "dependent"


def test_shares_come_back_from_json():
    made = evidence(KIN, KIN, merge=record(0.7, 0.3, blocks=GRADIENT))
    assert Evidence.from_json(made.to_json()) == made
    made = evidence(KIN, merge=READ["not-mapped"][1])
    assert Evidence.from_json(made.to_json()) == made


DAMAGED = {
    "shares-and-a-reason": replace(record(0.7, 0.3), reason="x"),
    "neither": MergeRecord((A, B)),
    "more-parents": MergeRecord((A, B, A), fitted(0.7, 0.3)),
    "fewer-shares": MergeRecord((A, B), replace(fitted(0.7, 0.3), shares=(1.0,))),
    "shares-of-a-block": record(0.7, 0.3, blocks=(BlockShares(0, (1.0,), 0.0),)),
    "an-interval": MergeRecord((A, B), replace(fitted(0.7, 0.3), low=(0.9, 0.0))),
    "too-much-left-over": record(0.7, 0.3, left_over=1.1),
    "shares-of-other-parents": MergeRecord((B, A), fitted(0.7, 0.3)),
    "shares-of-one-parent-twice": MergeRecord((A, replace(B, digest=A.digest)), fitted(0.7, 0.3)),
    "beyond-its-interval": MergeRecord((A, B), replace(fitted(0.7, 0.3), high=(0.6, 0.4))),
    "shares-that-sum-to-more": record(0.7, 0.7),
    "shares-without-end": record(1e308, -1e308, half=0),
    "shares-of-a-block-that-sum-to-less": record(
        0.7, 0.3, blocks=(BlockShares(0, (0.1, 0.1), 0.0),)
    ),
    "a-block-twice": record(0.7, 0.3, blocks=GRADIENT[:1] * 2),
    "a-block-that-is-not-there": record(0.7, 0.3, blocks=(BlockShares(1, (0.7, 0.3), 0.0),)),
    "a-block-below-0": record(0.7, 0.3, blocks=(BlockShares(-1, (0.7, 0.3), 0.0),)),
    "one-matrix": MergeRecord((A, B), replace(fitted(0.7, 0.3), matrices=1)),
    "p-below-any": record(0.7, 0.3, a=replace(A, log10_p=-1e308)),
    "an-interval-without-end": MergeRecord((A, B), replace(fitted(0.7, 0.3), low=(-1e308, 0.0))),
    "p-above-1": record(0.7, 0.3, a=replace(A, log10_p=1.0)),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_shares_that_nothing_measures_are_refused(case):
    text = evidence(KIN, merge=DAMAGED[case]).to_json()
    with pytest.raises(EvidenceError, match="damaged at merge: "):
        Evidence.from_json(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"parents": (("a", 1.0),)},
        {"parents": (("a", 0.5), ("a", 0.5))},
        {"parents": SHARES, "expect": "finetune"},
        {"parents": SHARES, "tolerance": -1.0},
    ],
)
def test_parents_that_no_suite_names_are_refused(changes):
    asked = replace(claim("merge"), **changes)
    text = Results((), (ClaimResult("s", asked),), {}, "").to_json()
    with pytest.raises(
        ResultsError, match="damaged at claim 'chat-vs-base': parents are two or more"
    ):
        Results.from_json(text)


def parts(*shares, half=0.001, **changes):
    made = SparseMerge(
        base=0,
        mixed="mean",
        kept="largest",
        elected=True,
        shares=shares,
        low=tuple(one - half for one in shares),
        high=tuple(one + half for one in shares),
        densities=(None, 0.3),
        fits=1.0,
        telling=5000,
        looked=9000,
        left_over=0.0,
        blocks=(BlockParts(0, shares, (None, 0.3), 1.0),),
    )
    return replace(made, **changes)


def of_parts(*shares, **changes):
    """A merge in parts whose least squares say something else, and leave much over."""
    found = replace(fitted(0.4, 0.6, left_over=0.7), sparse=parts(*shares, **changes))
    return MergeRecord((A, B), found)


READ_IN_PARTS = {
    "as-claimed": (SHARES, of_parts(0.7, 0.3), "holds"),
    "any-shares": (PARENTS, of_parts(0.7, 0.3), "holds"),
    "of-other-shares": (SHARES, of_parts(0.4, 0.6), "other"),
    "of-a-parent-that-is-not-used": (PARENTS, of_parts(1.0, 0.0, half=0.0, densities=(None, 0.0)), "other"),
    "a-base-of-which-nothing-is-left": (PARENTS, of_parts(0.0, 1.0, half=0.0), "holds"),
    "wide": (SHARES, of_parts(0.7, 0.3, half=WIDE + 0.01), "unsure"),
    "a-stranger": (SHARES, replace(of_parts(0.7, 0.3), parents=(A, replace(B, log10_p=STRANGE))), "other"),
}  # fmt: skip


@pytest.mark.parametrize("case", READ_IN_PARTS)
def test_shares_that_numbers_show_stand_for_those_of_least_squares(case):
    parents, made, says = READ_IN_PARTS[case]
    assert read_merge(of(parents), made).says == says


def test_what_a_merge_in_parts_is_called_is_said():
    why = read_merge(of(), of_parts(0.7, 0.3)).why
    assert why.startswith(
        "0.7 of a (0.699 to 0.701), 0.3 of b (0.299 to 0.301); 0% of the distance"
    )
    assert why.endswith(
        "TIES: the largest changes of each parent are kept, signs elected, a share of 0.3; 100% of 5000 "
        "numbers that tell fit to the rounding"
    )
    made = of_parts(0.7, 0.3).fitted
    assert made.is_explained
    assert made.words().startswith(
        "A merge of parts onto path:./a: 0.7 x path:./a + 0.3 x path:./b; TIES"
    )


CALLED = {
    ("largest", True, (None, 0.3, 0.3)): "TIES",
    ("largest", None, (None, 0.3, 0.0)): "TIES",
    ("largest", None, (None, 0.3, 0.3)): "sparse",
    ("largest", False, (None, 0.3, 0.3)): "sparse",
    ("random", False, (None, 0.3, 0.3)): "DARE",
    ("random", None, (None, 0.3, 0.3)): "DARE",
    ("random", True, (None, 0.3, 0.3)): "DARE-TIES",
    ("otherwise", True, (None, 0.3, 0.3)): "sparse",
}


@pytest.mark.parametrize("seen", CALLED)
def test_a_method_is_named_by_what_is_kept_and_by_signs(seen):
    kept, elected, densities = seen
    assert parts(0.7, 0.3, kept=kept, elected=elected, densities=densities).method == CALLED[seen]


def test_parts_come_back_from_json():
    made = evidence(KIN, merge=of_parts(0.7, 0.3))
    assert Evidence.from_json(made.to_json()) == made


DAMAGED_PARTS = {
    "shares": {"shares": (1.0,)},
    "base": {"base": 2},
    "shares-that-sum-to-more": {"shares": (0.7, 0.7), "high": (0.8, 0.8)},
    "shares-of-a-block": {"blocks": (BlockParts(0, (0.7, 0.7), (None, 0.3), 1.0),)},
    "nothing-left-out": {
        "densities": (None, 1.0),
        "blocks": (BlockParts(0, (0.7, 0.3), (None, 1.0), 1.0),),
    },
    "nothing-kept": {
        "densities": (None, 0.0),
        "blocks": (BlockParts(0, (0.7, 0.3), (None, 0.0), 1.0),),
    },
    "a-block-twice": {"blocks": (BlockParts(0, (0.7, 0.3), (None, 0.3), 1.0),) * 2},
    "interval": {"low": (0.9, 0.3)},
    "share-beyond-its-interval": {"shares": (0.6, 0.4)},
    "density-of-the-base": {"densities": (0.5, 0.3)},
    "no-density-of-another": {"densities": (None, None)},
    "density-of-the-base-of-a-block": {"blocks": (BlockParts(0, (0.7, 0.3), (0.3, None), 1.0),)},
    "density-above-1": {"densities": (None, 1.3)},
    "fits": {"fits": 1.1},
    "few-fit": {"fits": 0.99},
    "few-tell": {"telling": 999},
    "a-mean-of-both-signs": {"elected": None},
    "telling": {"telling": 9001},
    "no-block": {"blocks": ()},
    "blocks": {"blocks": (BlockParts(0, (1.0,), (None, 0.3), 1.0),)},
}


@pytest.mark.parametrize("case", DAMAGED_PARTS)
def test_parts_that_nothing_measures_are_refused(case):
    text = evidence(KIN, merge=of_parts(0.7, 0.3, **DAMAGED_PARTS[case])).to_json()
    with pytest.raises(EvidenceError, match="damaged at merge: "):
        Evidence.from_json(text)


def test_evidence_from_before_parts_were_read_has_none():
    found = json.loads(evidence(KIN, merge=record(0.7, 0.3)).to_json())
    del found["merge"]["fitted"]["sparse"]
    assert Evidence.from_json(json.dumps(found)).merge.fitted.sparse is None
