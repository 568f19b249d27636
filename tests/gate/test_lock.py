"""The lock file: what it pins, how it is read, what counts as drift, what an update keeps."""

import re
from dataclasses import replace

import pytest

from provenance.gate.drift import ABSOLUTE, RELATIVE, declared_drift, drift
from provenance.gate.lock import Lock, LockError, dump, load, merge
from tests.support.gate_results import (
    KIN,
    STRANGERS,
    SUITE,
    claims,
    result,
    results,
    small,
    without_run,
)

PAIR = "- {candidate: a, reference: b, expect: derived}\n"
TWO = PAIR + "- {candidate: c, reference: b, expect: independent}\n"


@pytest.fixture
def found():
    first, second = claims(TWO)
    return results(result(first, KIN), result(second, STRANGERS))


@pytest.fixture
def lock(found):
    return merge(None, found)


def texts(lock, found, gone=()):
    return [one.text for one in drift(lock, found, gone)]


def changed(found, index, **changes):
    """The results with another measurement of one claim."""
    one = found.claims[index]
    return replace(
        found,
        claims=tuple(
            replace(one, evidence=replace(one.evidence, **changes)) if i == index else other
            for i, other in enumerate(found.claims)
        ),
    )


def shifted(found, index, by):
    """The results with every log10 p of one claim's blocks moved."""
    blocks = found.claims[index].evidence.blocks
    moved = tuple(replace(block, log10_p=min(0.0, block.log10_p + by)) for block in blocks)
    return changed(found, index, blocks=moved)


# the file


def test_what_is_written_is_read(lock):
    assert load(dump(lock).encode()) == lock
    assert dump(load(dump(lock).encode())) == dump(lock)


def test_a_person_can_read_it(lock):
    text = dump(lock)
    assert '[[claim]]\nsuite = "suites/a.suite.yaml"\nid = "a-vs-b"\nexpect = "derived"\n' in text
    assert re.search(r'verdict = "dependent"\nstate = "holds"\nlog10_p = -\d+\.\d\d?\n', text)
    assert "[claim.blocks]\n0 = -" in text
    assert '[claim.candidate]\nname = "a"\nsource = "repo:x/a@1f2e"\ndigest = "sha256:0' in text


def test_a_changed_model_is_a_change_of_a_few_lines(found, lock):
    new = replace(found.claims[0].evidence.candidate, digest=f"sha256:{5:064x}")
    after = dump(merge(lock, changed(found, 0, candidate=new))).splitlines()
    lines = dump(lock).splitlines()
    assert len(lines) == len(after)
    assert sum(a != b for a, b in zip(lines, after, strict=True)) == 1


def test_a_block_that_could_not_be_tested_is_pinned_as_such(found):
    block = found.claims[0].evidence.blocks[0]
    block = replace(block, log10_p=None, correlation=None, state="degenerate", reason="dead")
    lock = merge(None, changed(found, 0, blocks=(block,)))
    assert '[claim.blocks]\n0 = "not tested"\n' in dump(lock)
    assert load(dump(lock).encode()) == lock


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: "{", "it is not TOML"),
        (lambda text: "\xff", "it is not TOML"),
        (lambda text: "", "no lock file"),
        (lambda text: 'version = 1\n[[package]]\nname = "x"\n', "no lock file"),
        (lambda text: text.replace("schema = 1", "schema = 7"), "of schema 7"),
        (lambda text: f"more = 1\n{text}", "it has the key 'more'"),
        (lambda text: text.replace("log10_p = -", "log10_p = ", 1), "is no log10 p-value"),
        (lambda text: text.replace("log10_p = -", "log10_p = -inf #", 1), "claims.0.log10_p"),
        (lambda text: text.replace('verdict = "', 'verdicts = "', 1), "claims.0.verdict"),
        (lambda text: text.replace("0 = ", '"x" = ', 1), "claims.0.blocks"),
        (lambda text: text.replace('id = "c-vs-b"', 'id = "a-vs-b"'), "it pins a claim twice"),
    ],
)
def test_damage_and_files_of_others_are_refused_in_one_line(lock, change, complaint):
    with pytest.raises(LockError, match=complaint) as refused:
        load(change(dump(lock)).encode("latin-1"))
    assert "\n" not in str(refused.value)


# drift


def test_the_same_run_does_not_drift(found, lock):
    assert texts(lock, found) == []
    assert texts(merge(None, small()), small()) == []


def test_another_model_behind_a_name_is_drift(found, lock):
    new = replace(found.claims[0].evidence.candidate, digest=f"sha256:{5:064x}")
    (one,) = drift(lock, changed(found, 0, candidate=new))
    assert one.line("provenance.lock") == (
        f"provenance lock: suites/a.suite.yaml::a-vs-b has another candidate behind the name a: "
        f"sha256:{5:064x}, pinned sha256:{1:064x}; to accept it: pytest suites/a.suite.yaml::a-vs-b "
        "--provenance-lock provenance.lock --update-lock"
    )


def test_other_weights_are_told_from_another_configuration(found):
    model = replace(found.claims[0].evidence.candidate, weights_digest=f"sha256:{8:064x}")
    found = changed(found, 0, candidate=model)
    lock = merge(None, found)
    other = replace(model, digest=f"sha256:{5:064x}")
    (text,) = texts(lock, changed(found, 0, candidate=other))
    assert text.endswith("(its configuration changed, its weights did not)")


def test_another_verdict_is_drift(found, lock):
    first = result(found.claims[0].claim, STRANGERS)
    now = replace(found, claims=(first, found.claims[1]))
    lines = texts(lock, now)
    assert lines[0] == "is independent (fails), pinned dependent (holds)"
    assert lines[1].startswith("has p = ")


@pytest.mark.parametrize(("index", "room"), [(0, RELATIVE * 47), (1, ABSOLUTE)])
def test_p_values_may_move_within_the_tolerance(found, lock, index, room):
    assert texts(lock, shifted(found, index, -0.3 * room)) == []
    lines = texts(lock, shifted(found, index, -3 * room))
    assert "from the same models and inputs, pinned" in lines[0]
    assert "in block 0 from the same models and inputs, pinned" in lines[-1]


def test_a_p_value_that_came_or_went_is_drift(found, lock):
    block = found.claims[0].evidence.blocks[1]
    gone = replace(block, log10_p=None, correlation=None, state="degenerate", reason="dead")
    now = changed(found, 0, blocks=(found.claims[0].evidence.blocks[0], gone))
    assert any(text.startswith("has p = none in block 1") for text in texts(lock, now))


def test_other_inputs_excuse_other_p_values_and_are_drift(found, lock):
    inputs = replace(found.claims[1].evidence.inputs, digest=f"sha256:{3:064x}")
    now = shifted(changed(found, 1, inputs=inputs), 1, -2.0)
    assert texts(lock, now) == [f"has inputs sha256:{3:064x}, pinned sha256:{99:064x}"]


def test_a_new_claim_is_drift_and_moves_thresholds_once(lock):
    made = claims(TWO + "- {candidate: d, reference: b, expect: derived}\n")
    now = results(*(result(claim, KIN if i != 1 else STRANGERS) for i, claim in enumerate(made)))
    assert texts(lock, now) == [
        "judges 2 claims at the threshold 3.33e-07, pinned at 5e-07",
        "is not in the lock file: the claim is new",
    ]


def test_another_alpha_of_a_block_is_drift(found, lock):
    first, *others = found.claims
    own = replace(first.claim, block_alphas=((0, 1e-3),))
    after = replace(found, claims=(replace(first, claim=own), *others))
    (told,) = drift(lock, after)
    assert told.text == "has alpha 0.001 for block 0, pinned no alpha of its own"
    pinned = merge(lock, after)
    assert "[claim.alphas]\n0 = 0.001\n" in dump(pinned)
    assert load(dump(pinned).encode()) == pinned
    assert drift(pinned, after) == ()


def test_a_claim_that_is_made_no_more_is_drift(found, lock):
    (claim,) = claims(PAIR)
    now = results(result(replace(claim, threshold=found.claims[0].claim.threshold), KIN))
    (one,) = drift(lock, now)
    assert (one.claim, one.text) == ("c-vs-b", "is pinned, but the suite no longer has the claim")
    (one,) = drift(
        Lock((replace(lock.claims[0], suite="gone.yaml"), *lock.claims)), found, {"gone.yaml"}
    )
    assert (one.suite, one.text) == ("gone.yaml", "is pinned, but the suite's file is no more")
    assert one.run == SUITE


def test_what_did_not_run_is_not_compared(found, lock):
    assert texts(lock, without_run(found, 1)) == []


# update


def test_an_update_of_a_selection_keeps_the_rest(found, lock):
    new = replace(found.claims[0].evidence.candidate, digest=f"sha256:{5:064x}")
    after = merge(lock, without_run(changed(found, 0, candidate=new), 1))
    assert [claim.candidate.digest for claim in after.claims] == [
        f"sha256:{5:064x}",
        f"sha256:{3:064x}",
    ]
    assert after.claims[1] == lock.claims[1]


def test_an_update_keeps_other_suites_and_drops_what_is_made_no_more(found, lock):
    old = (replace(lock.claims[0], suite="other.suite.yaml"), replace(lock.claims[0], id="old"))
    after = merge(Lock((*lock.claims, *old)), found)
    assert [claim.key for claim in after.claims] == [
        ("other.suite.yaml", "a-vs-b"),
        (SUITE, "a-vs-b"),
        (SUITE, "c-vs-b"),
    ]
    assert merge(after, found, {"other.suite.yaml"}).claims == lock.claims


def test_a_claim_that_could_not_be_checked_stays_as_it_was(found, lock):
    failed = result(found.claims[0].claim, error="no such folder")
    now = replace(found, claims=(failed, found.claims[1]))
    assert texts(lock, now) == []
    assert merge(lock, now).claims == lock.claims


def test_the_order_is_that_of_the_suite_whatever_was_pinned_first(found):
    second = merge(None, without_run(found, 0))
    assert merge(second, found) == merge(None, found)


# a suite that is not run


def declared(lock, text, gone=()):
    """What differs from the suite of these pairs, none of which is run."""
    (record,) = results(*(result(claim, error="not run") for claim in claims(text))).suites
    return [(one.claim, one.text) for one in declared_drift(lock, [record], gone)]


def test_a_suite_that_says_what_is_pinned_does_not_drift(lock):
    assert declared(lock, TWO) == []


@pytest.mark.parametrize(
    ("was", "is_", "text"),
    [
        ("expect: derived", "expect: finetune", "has expect finetune, pinned derived"),
        ("derived}", "derived, statistic: match}", "has statistic match, pinned kinship"),
        ("derived}", "derived, id: x}", "is not in the lock file: the claim is new"),
        ("b, expect: der", "d, id: a-vs-b, expect: der", "has the reference d, pinned b (sha256:0"),
    ],
)
def test_what_the_suite_says_otherwise_is_drift(lock, was, is_, text):
    assert was in TWO
    found = declared(lock, TWO.replace(was, is_, 1))
    assert any(said.startswith(text) for _, said in found), found


def test_another_alpha_moves_the_threshold_of_its_claims(lock):
    ((claim, text),) = declared(lock, TWO.replace("derived}", "derived, alpha: 1e-9}"))
    assert (claim, text) == (None, "judges 1 claim at the threshold 5e-10, pinned at 5e-07")


def test_a_claim_that_the_suite_gained_or_lost_is_drift(lock):
    found = declared(lock, PAIR)
    assert ("c-vs-b", "is pinned, but the suite no longer has the claim") in found
    found = declared(lock, TWO + "- {candidate: d, reference: b, expect: derived}\n")
    assert ("d-vs-b", "is not in the lock file: the claim is new") in found


@pytest.mark.parametrize("how", ["skip: later", "tags: [nightly]"])
def test_a_claim_that_a_run_may_leave_out_need_not_be_pinned(lock, how):
    more = TWO + f"- {{candidate: d, reference: b, expect: derived, {how}}}\n"
    assert {claim for claim, _ in declared(lock, more)} == {None}  # the thresholds moved


def test_a_suite_that_is_no_more_is_drift(lock):
    other = replace(lock.claims[0], suite="suites/b.suite.yaml")
    both = Lock((*lock.claims, other))
    found = declared(both, TWO, gone=["suites/b.suite.yaml"])
    assert found == [("a-vs-b", "is pinned, but the suite's file is no more")]
