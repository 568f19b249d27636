"""Stored evidence, checked again: by hand-made results, by real evidence of every statistic, by the CLI."""

import json
import shutil
from dataclasses import replace

import pytest

import provenance
from provenance.cli import main
from provenance.evidence.results import ControlResult
from provenance.gate.following import STRONGEST, complaints
from provenance.gate.verify import Stored, verify, verify_by_suite, verify_model
from provenance.statistics.match import SHARES
from provenance.statistics.pvalues import bonferroni, spearman, spearman_log10_p
from provenance.vocabulary import InputsSpec
from tests.support.gate_results import KIN, claims, result, results, small

INPUTS = InputsSpec(tokens=512, sequence_length=64)


@pytest.fixture(scope="module")
def measured(family, shared_store):
    """Evidence on two models of the family, by any statistic."""
    executor = provenance.Executor(provenance.Store(shared_store), "cpu")

    def measured(statistic, candidate="kin", reference="base", **how):
        return provenance.compare(
            getattr(family, candidate),
            getattr(family, reference),
            inputs=INPUTS,
            statistic=statistic,
            executor=executor,
            **how,
        )

    return measured


@pytest.fixture
def run(capfd, monkeypatch):
    """Run the command in this process; (exit code, stdout, stderr)."""
    monkeypatch.delenv("CI", raising=False)

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments)])
        out, err = capfd.readouterr()
        return stop.value.code, out, err

    return run


def stored(content, path="results.json"):
    return Stored(path, content)


def lines(content):
    return [line for found in verify(stored(content)) for line in found.complaints]


# what follows


@pytest.fixture(scope="module")
def narrow(family, tmp_path_factory):
    """The base with three quarters of its units, and the tokenizer that belongs to it."""
    from transformers import AutoModelForCausalLM

    from fixtures.models import save_checkpoint
    from provenance.transforms import prune_width

    base = AutoModelForCausalLM.from_pretrained(family.base)
    folder = tmp_path_factory.mktemp("narrow") / "narrow"
    shutil.copytree(family.base, folder)
    save_checkpoint(prune_width(base, base.config.intermediate_size * 3 // 4), folder)
    return folder


@pytest.mark.parametrize("statistic", ["match", "kinship"])
def test_evidence_on_models_of_two_widths_follows(family, shared_store, narrow, statistic):
    assert len(SHARES) == STRONGEST
    evidence = provenance.compare(
        narrow,
        family.base,
        inputs=INPUTS,
        statistic=statistic,
        executor=provenance.Executor(provenance.Store(shared_store), "cpu"),
    )
    assert evidence.blocks[0].units[0] < evidence.blocks[0].units[1]
    assert complaints(evidence) == ()
    first = evidence.blocks[0]
    forged = replace(
        evidence, blocks=(replace(first, log10_p=first.log10_p - 2), *evidence.blocks[1:])
    )
    assert any("log10_p" in line for line in complaints(forged))


@pytest.mark.parametrize("n", [3, 9, 10, 64, 11008])
def test_a_p_value_follows_from_its_correlation(n):
    import numpy as np

    rng = np.random.default_rng(n)
    for order in (np.arange(n), np.arange(n)[::-1], rng.permutation(n)):
        found = spearman(np.arange(n), order)
        assert spearman_log10_p(found.correlation, n) == pytest.approx(found.log10_p, rel=1e-9)


@pytest.mark.parametrize(("correlation", "n"), [(1.1, 9), (0.5, 2), (float("nan"), 9)])
def test_a_correlation_that_is_none_has_no_p_value(correlation, n):
    with pytest.raises(ValueError, match="correlation"):
        spearman_log10_p(correlation, n)


@pytest.mark.parametrize(
    ("statistic", "how"),
    [
        ("match", {}),
        ("match", {"cross": True}),
        ("match", {"candidate": "short"}),
        ("match", {"candidate": "short", "cross": True}),
        ("match", {"candidate": "other", "cross": True}),
        ("match_cosine", {"candidate": "other"}),
        ("match_weights", {}),
        ("kinship", {}),
        ("kinship", {"candidate": "other", "cross": True}),
        ("csu", {}),
        ("csh", {"candidate": "other"}),
        ("csu_all", {}),
        ("l2", {"candidate": "other"}),
        ("jsd", {}),
    ],
)
def test_what_is_measured_follows(measured, statistic, how):
    assert complaints(measured(statistic, **how)) == ()


def test_experts_follow(tmp_path_factory, shared_store, tiny_tokenizer):
    from transformers import MixtralConfig

    from fixtures.models import TINY, save_checkpoint, tiny_model

    shape = TINY | {"vocab_size": len(tiny_tokenizer), "num_local_experts": 3}
    folders = [
        save_checkpoint(
            tiny_model(MixtralConfig(**shape), seed), tmp_path_factory.mktemp("moe"), tiny_tokenizer
        )
        for seed in (0, 1)
    ]
    executor = provenance.Executor(provenance.Store(shared_store), "cpu")
    for cross in (False, True):
        found = provenance.compare(
            *folders, inputs=INPUTS, statistic="match_weights", executor=executor, cross=cross
        )
        assert found.blocks[0].mlps is not None
        assert complaints(found) == ()
        weaker = replace(found.blocks[0], log10_p=found.blocks[0].log10_p - 40)
        assert complaints(replace(found, blocks=(weaker, *found.blocks[1:])))


def with_block(evidence, **changes):
    return replace(evidence, blocks=(replace(evidence.blocks[0], **changes), *evidence.blocks[1:]))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda e: replace(e, log10_p=e.log10_p - 1), "log10_p over all blocks is"),
        (lambda e: replace(e, log10_p=None), "log10_p over all blocks is None"),
        (lambda e: with_block(e, log10_p=e.blocks[0].log10_p * 2), "block 0: log10_p is"),
        (lambda e: with_block(e, correlation=0.1), "block 0: log10_p is"),
        (lambda e: with_block(e, live=(60, 60)), "block 0: log10_p is"),
        (lambda e: with_block(e, agreeing=65), "block 0: 65 units agree, of 64"),
        (lambda e: with_block(e, reference_block=9), "block 0: a model has no such block"),
        (
            lambda e: replace(e, candidate=replace(e.candidate, digest="sha256:XYZ")),
            "digest of the candidate is 'sha256:XYZ'",
        ),
        (
            lambda e: replace(e, inputs=replace(e.inputs, digest="none")),
            "digest of the inputs is 'none'",
        ),
    ],
)
def test_a_number_that_was_changed_is_found(measured, change, complaint):
    found = complaints(change(measured("match")))
    assert any(line.startswith(complaint) for line in found)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda e: replace(e, cross=((*e.cross[0][:-1], -99.0), *e.cross[1:])), "from its row"),
        (lambda e: replace(e, cross=e.cross[1:]), "the table has not 3 rows"),
        (
            lambda e: replace(
                e, alignment=(replace(e.alignment[0], log10_p=-1.0), *e.alignment[1:])
            ),
            "in the alignment is -1.0",
        ),
        (lambda e: replace(e, alignment=e.alignment[1:]), "of the best map"),
        (
            lambda e: replace(e, alignment=(replace(e.alignment[0], reference_block=7),)),
            "which is not in the table",
        ),
        (
            lambda e: replace(e, alignment=(e.alignment[0], e.alignment[0], e.alignment[2])),
            "maps a block twice",
        ),
        (
            lambda e: with_block(e, log10_p=bonferroni(e.blocks[0].log10_p, 7)),
            "corrected for 3 comparisons",
        ),
    ],
)
def test_a_table_that_was_changed_is_found(measured, change, complaint):
    found = complaints(change(measured("match", cross=True)))
    assert any(complaint in line for line in found)


def test_parts_and_permutations_that_were_changed_are_found(measured):
    kinship = measured("kinship")
    part = replace(kinship.blocks[0].parts[0], log10_p=-5.0)
    found = complaints(with_block(kinship, parts=(part, *kinship.blocks[0].parts[1:])))
    assert any(line.startswith("block 0: log10_p of match is -5.0") for line in found)
    (line,) = complaints(replace(measured("l2"), log10_p=-7.0))
    assert line == "log10_p is -7.0, which no rank among 99 permutations gives"


# results


def test_results_that_were_not_changed_stand():
    found = verify(stored(small()))
    assert [one.complaints for one in found] == [()] * 6
    assert [one.state for one in found] == ["fail", "fail", "pass", "xfail", "fail", "fail"]


def control(kind, evidence, *, holds):
    return ControlResult(kind, holds, -1.0, evidence)


def changed(found, **changes):
    return replace(found, claims=(replace(found.claims[0], **changes), *found.claims[1:]))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda r, c: changed(r, judgement=replace(c.judgement, state="holds")),
            "judged dependent (holds)",
        ),
        (
            lambda r, c: changed(r, judgement=replace(c.judgement, verdict="independent")),
            "judged independent (fails), but dependent (fails) follows",
        ),
        (lambda r, c: changed(r, judgement=None), "there is evidence, but no judgement"),
        (lambda r, c: changed(r, evidence=None), "judged dependent without evidence"),
        (lambda r, c: changed(r, holm=-0.5), "holm is -0.5"),
        (
            lambda r, c: changed(r, claim=replace(c.claim, threshold=1e-300)),
            "but alpha 1e-06 over 6 claims",
        ),
        (
            lambda r, c: changed(r, claim=replace(c.claim, expect="derived")),
            "a claim that its suite does not make",
        ),
        (lambda r, c: replace(r, claims=r.claims[1:]), "of which nothing is recorded"),
        (
            lambda r, c: replace(r, suites=(replace(r.suites[0], claims=()),)),
            "a claim that its suite does not make",
        ),
        (
            lambda r, c: changed(r, controls=(control("positive", c.evidence, holds=False),)),
            "positive control: holds is False, but True follows",
        ),
        (
            lambda r, c: changed(r, controls=(control("null", c.evidence, holds=True),)),
            "null control: its evidence has no table of blocks against blocks",
        ),
    ],
)
def test_a_judgement_that_was_changed_is_found(change, complaint):
    found = small()
    assert any(complaint in line for line in lines(change(found, found.claims[0])))


# by a suite of today, and by models


@pytest.fixture
def suite(tmp_path):
    def suite(pairs, revision=""):
        models = "".join(f"  {name}: {{repo: x/{name}{revision}}}\n" for name in "abc")
        path = tmp_path / "today.suite.yaml"
        path.write_text(
            f"version: 1\nmodels:\n{models}defaults: {{statistic: match}}\npairs:\n{pairs}"
        )
        return provenance.load_suite(path)

    return suite


def test_evidence_is_judged_by_the_suite_of_today(suite):
    (claim,) = claims("- {candidate: a, reference: b, expect: derived}\n")
    one = result(replace(claim, statistic="match"), KIN)
    today = suite("- {candidate: a, reference: b, expect: independent}\n")
    for content, path in ((results(one), "results.json"), (one.evidence, "other.json")):
        (found,) = verify_by_suite([stored(content, path)], today)
        assert (found.state, found.verdict, found.stands) == ("fail", "dependent", False)
    today = suite("- {candidate: a, reference: b, expect: derived}\n")
    assert [found.state for found in verify_by_suite([stored(one.evidence, "x")], today)] == [
        "pass"
    ]


def test_a_claim_without_evidence_fails(suite):
    today = suite(
        "- {candidate: a, reference: b, expect: derived}\n"
        "- {candidate: c, reference: b, expect: derived, skip: it is elsewhere}\n"
    )
    found = verify_by_suite([stored(small().claims[2].evidence, "x.json")], today)
    assert [(one.state, one.verdict) for one in found] == [
        ("fail", "no evidence"),
        ("skip", "no evidence"),
    ]


def test_a_file_that_is_named_after_a_claim_is_its_evidence(suite):
    moved = small().claims[0].evidence
    moved = replace(moved, candidate=replace(moved.candidate, source="path:/elsewhere"))
    today = suite("- {candidate: a, reference: b, expect: independent}\n")
    assert verify_by_suite([stored(moved, "ev/a-vs-b.json")], today)[0].state == "fail"
    assert verify_by_suite([stored(moved, "ev/x.json")], today)[0].verdict == "no evidence"


def test_the_digest_of_a_model_is_held_against_all_evidence_that_names_it():
    found = small()
    good = verify_model([stored(found)], "b", f"sha256:{2:064x}")
    assert [one.stands for one in good] == [True] * 5
    (bad,) = verify_model([stored(found)], "a", f"sha256:{2:064x}")
    assert bad.complaints[0].startswith(f"a has the digest sha256:{2:064x}, but sha256:{1:064x}")
    alone = [stored(found.claims[0].evidence, "e.json")]
    assert verify_model(alone, "candidate", f"sha256:{1:064x}")[0].stands
    assert verify_model(alone, "nobody", "sha256:0") == ()


# the command


@pytest.fixture
def folder(measured, tmp_path):
    folder = tmp_path / "evidence"
    folder.mkdir()
    for name in ("kin", "other"):
        (folder / f"{name}-vs-base.json").write_text(measured("match", name).to_json())
    return folder


def test_the_command_finds_nothing_wrong_with_what_was_measured(run, folder):
    code, out, _ = run("verify", folder)
    assert code == 0
    assert "dependent" in out
    assert "Not shown: that these numbers were measured" in out
    code, out, err = run("verify", folder, "--json")
    found = json.loads(out)
    assert (code, err, found["stands"]) == (0, "", True)
    assert [one["state"] for one in found["checked"]] == ["judged", "judged"]
    assert [one["verdict"] for one in found["checked"]] == ["dependent", "independent"]


def test_the_command_finds_a_forged_p_value(run, folder):
    path = folder / "kin-vs-base.json"
    fields = json.loads(path.read_text())
    fields["blocks"][0]["log10_p"] = fields["log10_p"] = -0.1
    path.write_text(json.dumps(fields))
    code, out, _ = run("verify", folder)
    assert code == 1
    assert f"{path}: block 0: log10_p is -0.1, but" in out.replace("\n", "")


def test_the_command_judges_by_a_suite_and_by_alpha(run, folder, family, tmp_path):
    suite = tmp_path / "a.suite.yaml"
    text = (
        f"version: 1\nmodels: {{base: {{path: {family.base}}}, kin: {{path: {family.kin}}}}}\n"
        "defaults: {statistic: match}\npairs:\n- {candidate: kin, reference: base, expect: EXPECT}\n"
    )
    for expect, expected in (("finetune", 0), ("independent", 1)):
        suite.write_text(text.replace("EXPECT", expect))
        code, out, _ = run("verify", folder, "--suite", suite, "--json")
        assert (code, json.loads(out)["checked"][0]["verdict"]) == (expected, "dependent")
    _, out, _ = run("verify", folder / "kin-vs-base.json", "--alpha", "1e-300", "--json")
    assert json.loads(out)["checked"][0]["verdict"] == "inconclusive"


def test_the_command_digests_models_again(run, folder, family, shared_store):
    file, store = folder / "kin-vs-base.json", ["--store", shared_store]
    same, other = f"candidate={family.kin}", f"reference={family.kin}"
    assert run("verify", file, "--model", same, *store)[0] == 0
    code, out, _ = run("verify", file, "--model", same, "--model", other, *store, "--json")
    found = json.loads(out)["checked"]
    assert (code, [one["stands"] for one in found]) == (1, [True, True, False])


def test_what_cannot_be_read_is_one_line_and_exit_code_2(run, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    foreign = tmp_path / "foreign.json"
    foreign.write_text('{"claims": 3}')
    torn = tmp_path / "torn.json"
    torn.write_text((folder / "kin-vs-base.json").read_text()[:-9])
    for arguments, words in (
        ([tmp_path / "no.json"], "does not exist"),
        ([tmp_path / "empty"], "has no JSON file"),
        ([foreign], "schema"),
        ([torn], "is not JSON"),
        ([folder, "--model", "base"], "is not NAME=MODEL"),
        ([folder, "--model", f"nobody={tmp_path}"], "nobody"),
        ([folder, "--suite", tmp_path / "no.suite.yaml"], "there is no such file"),
    ):
        code, out, err = run("verify", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
        assert words in err


def test_verification_needs_no_torch(tmp_path):
    import subprocess
    import sys

    (tmp_path / "results.json").write_text(small().to_json())
    code = (
        "import sys\nfrom provenance.cli import main\n"
        f"try: main(['verify', {str(tmp_path)!r}])\n"
        "except SystemExit as stop: assert stop.code == 1\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_results_are_summarised_on_stdout(run, tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_SERVER_URL", raising=False)
    (tmp_path / "results.json").write_text(small().to_json())
    code, out, err = run("summary", tmp_path)
    assert (code, err) == (0, "")
    assert out.startswith("## Lineage: the gate is closed\n\n6 claims: 4 false")
    assert run("summary", tmp_path / "results.json")[1] == out
    (tmp_path / "results.json").write_text("{}")
    code, out, err = run("summary", tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
