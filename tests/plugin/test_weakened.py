"""Suites that weaken a claim, and runs that leave claims out: each is refused, or says so."""

import shutil

import pytest
import torch

import provenance.suite.messages  # noqa: F401 - pytester would import it anew, apart from its schema
from provenance import Executor, InputsSpec, Results, Store, compare, decide, fingerprint
from provenance.attest import read_statement
from provenance.evidence.meaning import meaning

HEAD = """\
version: 1
inputs: {{tokens: {tokens}, sequence_length: 64{inputs}}}
models:
  base: {{path: {family.base}}}
  kin: {{path: {family.kin}}}
  other: {{path: {family.other}}}
pairs:
"""
KIN = "candidate: kin, reference: base, expect: finetune"
OTHER = "candidate: other, reference: base, expect: independent"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.usefixtures("warm_python"),
]


@pytest.fixture
def write(pytester, family):
    def write(*pairs, name="a.suite.yaml", tokens=512, inputs="", before=""):
        lines = "".join(f"  - {{{pair}}}\n" for pair in pairs)
        head = HEAD.format(family=family, tokens=tokens, inputs=inputs)
        (pytester.path / name).write_text(before + head + lines)

    return write


@pytest.fixture
def run(pytester, shared_store):
    """Run suites; the results and the Statement that the run leaves."""

    def run(*arguments):
        store = f"--provenance-store={shared_store}"
        files = ["--provenance-evidence=kept", "--provenance-attestation=att.json"]
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", store, *files, *arguments)

    run.results = lambda: Results.from_json((pytester.path / "kept/results.json").read_text())
    run.attested = lambda: read_statement((pytester.path / "att.json").read_text())
    return run


def states(results):
    return {result.claim.id: result.state for result in results.claims}


# What is refused when the suite is read


@pytest.mark.parametrize(
    ("claim", "inputs", "says"),
    [
        ("{KIN}, alpha: 0.999", "", "alpha must be a number from 1e-300 to 0.01"),
        ("{KIN}, alpha: 1e0", "", "alpha must be a number from 1e-300 to 0.01"),
        ("{KIN}, blocks: {{at_least: 0.01}}", "", "at_least must be a number from 0.1 to 1"),
        ("{KIN}, blocks: {{at_least: 0.2}}", "", "at_least: 0.2 is too little for finetune"),
        *(
            (f"{{OTHER}}, statistic: {name}", "", f"{name} finds no copy in a disguise")
            for name in ("csu", "csh", "csu_all", "match_weights", "match_cosine", "generalized")
        ),
        ("{OTHER}, statistic: l2, alpha: 0.01, permutations: 999", "", "l2 finds no copy"),
        (
            "{OTHER}",
            ", kind: hidden",
            "kinship on inputs of kind hidden is match_weights, which finds",
        ),
        ("{OTHER}, statistic: match", ", kind: hidden", "match on inputs of kind hidden is"),
    ],
)
def test_what_could_not_be_believed_is_a_mistake_of_the_suite(write, run, claim, inputs, says):
    write(claim.format(KIN=KIN, OTHER=OTHER), inputs=inputs)
    result = run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"*a.suite.yaml:*{says}*"])


@pytest.mark.parametrize("defaults", ["alpha: 0.02", "statistic: csu", "statistic: [kinship, csu]"])
def test_the_same_holds_in_defaults(write, run, defaults):
    write(OTHER, before=f"defaults: {{{defaults}}}\n")
    assert run().ret == pytest.ExitCode.INTERRUPTED


def test_descent_and_reports_may_use_any_statistic(write, run):
    write(f"{KIN}, statistic: match_weights", "candidate: other, reference: base, expect: unknown")
    run("-k", "verdict").assert_outcomes(passed=2, deselected=6)


# What is said beside the claim


def test_terminal_summary_and_attestation_say_what_was_not_usual(write, run, monkeypatch, pytester):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    write(
        f"{KIN}, statistic: match, alpha: 1e-3, blocks: [1], exhaustive: true",
        f"{OTHER}, inconclusive: warn",
        inputs=", kind: random",
    )
    result = run("--provenance-github=on")
    how = "by match; on block 1 alone; alpha 0.001; exhaustive"
    result.stdout.fnmatch_lines(
        [
            "kin is a fine-tune of base *holds",
            f"  tested: {how}",
            "other is independent of base *holds",
            "  tested: warns where inconclusive",
            "every claim tested: on random token ids; 512 tokens",
        ]
    )
    summary = (pytester.path / "summary.md").read_text()
    assert "<br>by match<br>on block 1 alone<br>on random token ids" in summary
    words = dict(run.attested().tested_with)["a.suite.yaml::kin-vs-base"]
    assert words[:2] == ("by match", "on block 1 alone")


def test_a_usual_claim_says_nothing(write, run):
    write(OTHER, tokens=4096)
    run().stdout.no_fnmatch_line("*tested:*")
    assert run.attested().tested_with == ()


def test_a_known_failure_is_not_ok(write, run):
    write(f"{KIN.replace('finetune', 'independent')}, xfail: issue 7", OTHER)
    result = run("-k", "verdict")
    result.stdout.fnmatch_lines(
        ["kin is independent of base *known failure", "*known failure: issue 7*"]
    )
    assert run.results().state == "warn"
    assert run.attested().result == "WARNED"


def test_a_fingerprint_says_that_no_weights_were_seen(pytester, run, write, family, shared_store):
    inputs = InputsSpec(tokens=512, sequence_length=64)
    executor = Executor(Store(shared_store))
    fingerprint(
        str(family.other), pytester.path / "o.safetensors", inputs=inputs, executor=executor
    )
    write(OTHER)
    path = pytester.path / "a.suite.yaml"
    path.write_text(path.read_text().replace(str(family.other), "./o.safetensors"))
    run().stdout.fnmatch_lines(
        ["  tested: by match; *other is a fingerprint: no weights were seen"]
    )


# What was not run


def test_a_whole_run_passes(write, run):
    write(KIN, OTHER)
    run()
    assert states(run.results()) == {"kin-vs-base": "pass", "other-vs-base": "pass"}
    assert (run.attested().result, run.attested().not_run) == ("PASSED", ())


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["here", "workers"])
@pytest.mark.parametrize(
    "chosen",
    [
        ("-k", "kin-vs-base"),
        ("-m", "relation(kind='finetune')"),
        ("--deselect", "a.suite.yaml::other-vs-base"),
    ],
)
def test_a_claim_that_was_deselected_is_named_and_the_run_only_warns(write, run, chosen, workers):
    write(KIN, OTHER)
    result = run(*chosen, *workers)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["1 of 2 claims not run: other-vs-base"])
    assert states(run.results()) == {"kin-vs-base": "pass", "other-vs-base": "not run"}
    assert run.attested().result == "WARNED"
    assert run.attested().not_run == ("a.suite.yaml::other-vs-base",)


def test_so_is_one_that_was_not_named(write, run):
    write(KIN, OTHER)
    run("a.suite.yaml::kin-vs-base")
    assert run.attested().not_run == ("a.suite.yaml::other-vs-base",)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["here", "workers"])
def test_a_file_of_which_nothing_was_selected_is_named_too(write, run, workers):
    write(KIN)
    write(OTHER, name="b.suite.yaml")
    run("-k", "kin-vs-base", *workers)
    assert run.attested().not_run == ("b.suite.yaml::other-vs-base",)


def test_so_is_a_file_that_only_what_failed_last_leaves_out(pytester, write, shared_store, run):
    write(KIN.replace("finetune", "independent"))
    write(OTHER, name="b.suite.yaml")
    options = [f"--provenance-store={shared_store}", "--provenance-evidence=kept"]
    pytester.runpytest_inprocess(*options)
    pytester.runpytest_inprocess(*options, "--lf")
    assert states(run.results()) == {"kin-vs-base": "fail", "other-vs-base": "not run"}


def test_a_verdict_that_was_not_run_is_a_claim_that_was_not(write, run):
    write(KIN, OTHER)
    result = run("-k", "block0")
    result.stdout.fnmatch_lines(["kin is a fine-tune of base *not run", "2 of 2 claims not run: *"])
    assert set(states(run.results()).values()) == {"not run"}
    assert run.results().claims[0].not_run[-1] == "a.suite.yaml::kin-vs-base[verdict]"


def test_a_false_claim_fails_whatever_was_selected(write, run):
    write(KIN.replace("finetune", "independent"), OTHER)
    run("-k", "block0 or other")
    assert run.attested().result == "FAILED"


def test_a_control_that_was_not_run_leaves_its_claim_in_doubt(write, run):
    write(OTHER, before="controls: true\n")
    run("-k", "not null")
    assert states(run.results()) == {"other-vs-base": "not run"}
    run()
    assert states(run.results()) == {"other-vs-base": "pass"}


def test_verdicts_alone_are_enough(write, run):
    write(KIN, OTHER)
    run("-k", "verdict")
    assert run.attested().result == "PASSED"


def test_a_skipped_claim_warns(write, run):
    write(KIN, f"{OTHER}, skip: later")
    run()
    assert run.attested().result == "WARNED"
    assert run.attested().not_run == ("a.suite.yaml::other-vs-base",)


def test_what_a_first_failure_leaves_is_named(write, run):
    write(KIN.replace("finetune", "independent"), OTHER)
    run("-x")
    assert states(run.results()) == {"kin-vs-base": "fail", "other-vs-base": "not run"}


def test_a_suite_that_cannot_be_read_closes_the_gate(write, run, pytester):
    write(KIN)
    (pytester.path / "b.suite.yaml").write_text("version: 1\n")
    result = run("--continue-on-collection-errors")
    assert result.ret != 0
    assert run.results().state == "fail"
    result.stdout.fnmatch_lines(["no attestation was written: *b.suite.yaml*"])


def test_a_list_of_tests_leaves_nothing_behind(write, run, pytester):
    write(KIN)
    run("--collect-only")
    assert not (pytester.path / "att.json").exists()


def test_a_run_of_skipped_tests_attests_nothing(write, run, pytester):
    write(KIN)
    pytester.makeconftest(
        "import pytest\n@pytest.fixture(autouse=True)\ndef no(): pytest.skip('not today')\n"
    )
    result = run()
    assert result.ret != 0
    assert states(run.results()) == {"kin-vs-base": "skip"}
    assert not (pytester.path / "att.json").exists()


def test_an_independent_list_is_judged_by_all_blocks(write, run, pytester, family):
    from safetensors.torch import load_file, save_file

    one = pytester.path / "oneblock"
    shutil.copytree(family.kin, one)
    torch.manual_seed(0)
    weights = load_file(one / "model.safetensors")
    for name in weights:
        if ".layers.1.mlp." in name:
            weights[name] = torch.randn_like(weights[name]) * weights[name].std()
    save_file(weights, one / "model.safetensors", metadata={"format": "pt"})
    write("candidate: kin, reference: base, expect: independent, blocks: [1]")
    path = pytester.path / "a.suite.yaml"
    path.write_text(path.read_text().replace(str(family.kin), "./oneblock"))
    result = run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*The claim names block 1 alone, but blocks 0, 2 show kinship.*"])


def test_evidence_of_weak_statistics_is_never_called_independent(family, shared_store):
    executor = Executor(Store(shared_store))
    for statistic in ("csu", "match_weights"):
        found = compare(family.other, family.base, statistic=statistic, executor=executor)
        assert decide(found, 1e-6) == "inconclusive"
        assert "no independence" in meaning(found, "inconclusive", 1e-6, {})


def test_files_beside_the_one_that_was_given_are_no_part_of_the_run(write, run):
    write(KIN)
    write(OTHER, name="b.suite.yaml")
    run("a.suite.yaml")
    assert states(run.results()) == {"kin-vs-base": "pass"}
    assert run.attested().result == "PASSED"
