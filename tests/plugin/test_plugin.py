"""What a user sees who runs pytest on suites: tests in pytest, on real tiny checkpoints."""

import json
import re
import shutil
import sys
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

HEAD = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64}}
models:
  base: {{path: {family.base}}}
  kin: {{path: {family.kin}}}
  other: {{path: {family.other}}}
  short: {{path: {family.short}}}
  broken: {{path: {family.broken}}}
  gone: {{path: ./gone, blocks: 2}}
pairs:
"""

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture
def write(pytester, family):
    """Write `a.suite.yaml` with these pairs; the first pair stands on line 11."""

    def write(*pairs, name="a.suite.yaml"):
        lines = "".join(f"  - {{{pair}}}\n" for pair in pairs)
        path = pytester.path / name
        path.write_text(HEAD.format(family=family) + lines)
        return path

    return write


@pytest.fixture
def run(pytester, shared_store):
    def run(*arguments):
        store = f"--provenance-store={shared_store}"
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", store, *arguments)

    return run


KIN = "candidate: kin, reference: base, expect: finetune"
OTHER = "candidate: other, reference: base, expect: independent"
FALSE = "candidate: kin, reference: base, expect: independent"


def test_true_claims_pass_with_one_test_a_block_and_one_for_the_verdict(write, run):
    write(KIN, OTHER)
    result = run("-v")
    result.assert_outcomes(passed=8)
    result.stdout.fnmatch_lines(
        [
            "a.suite.yaml::kin-vs-base[[]block0[]] PASSED*",
            "a.suite.yaml::kin-vs-base[[]block2[]] PASSED*",
            "a.suite.yaml::kin-vs-base[[]verdict[]] PASSED*",
            "a.suite.yaml::other-vs-base[[]verdict[]] PASSED*",
            "*= lineage =*",
            "claim * verdict * p (all blocks) * Holm * kin blocks",
            "kin is a fine-tune of base *dependent * ■■■ 3 of 3 * holds",
            "other is independent of base * independent * □□□ 0 of 3 * holds",
        ]
    )


def test_what_needs_a_person_stands_last_and_in_colour(write, run):
    write(FALSE + ", id: ours", KIN)
    result = run("-q", "--color=yes")
    lines = result.stdout.lines
    table = lines[next(i for i, line in enumerate(lines) if "= lineage =" in line) :]
    true, false, said = (
        next(i for i, line in enumerate(table) if words in line)
        for words in ("kin is a fine-tune", "kin is independent", "2 claims: 1 false")
    )
    assert true < false < said
    assert table[true].endswith("\x1b[32mholds\x1b[0m")
    assert table[false].startswith("\x1b[31m")
    assert "FALSE  a.suite.yaml:11" in table[false]
    assert "\x1b[31m" in table[said]


def test_a_terminal_without_squares_has_a_strip_all_the_same(write, pytester, shared_store):
    write(KIN)
    result = pytester.run(
        "env",
        "PYTHONIOENCODING=ascii",
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        f"--provenance-store={shared_store}",
    )
    result.stdout.fnmatch_lines(["kin is a fine-tune of base *dependent * ### 3 of 3 *holds"])


def test_an_adjustment_that_changes_nothing_has_no_column(write, run):
    write(KIN)
    result = run()
    result.stdout.fnmatch_lines(["claim * verdict * p (all blocks) * kin blocks"])
    result.stdout.no_fnmatch_line("*Holm*")


def test_a_false_claim_says_what_was_claimed_measured_and_meant_and_nothing_of_our_code(write, run):
    write(KIN, FALSE + ", id: ours")
    result = run("-q")
    result.assert_outcomes(passed=4, failed=4)
    result.stdout.fnmatch_lines(
        [
            "E *Failed: claimed   kin is independent of base (a.suite.yaml:12)",
            "E * measured  kinship over 3 blocks: p = * (threshold 5.0e-7), 3 of 3 blocks show kinship*",
            "E * meaning   The claim of independence is false. *descends*",
            "E   blocks    block  of reference  correlation  p*",
            "E             0      0             +* shows kinship",
            "E             2      2             +* shows kinship",
            "a.suite.yaml:12: Failed",
            "FAILED a.suite.yaml::ours[[]block0[]] - p = *, dependent",
            "FAILED a.suite.yaml::ours[[]verdict[]] - p = *, 3 of 3 kin, false",
        ]
    )
    assert "provenance/" not in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


def test_a_descent_that_is_not_there_fails(write, run):
    write("candidate: other, reference: base, expect: finetune")
    result = run()
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["*meaning   Nothing distinguishes the pair from two indep*"])
    result.stdout.fnmatch_lines(["other is a fine-tune of base *FALSE  a.suite.yaml:11"])


def test_a_false_lineage_fails_at_the_line_of_the_model_that_is_misplaced(pytester, run, family):
    head = HEAD.partition("pairs:")[0].format(family=family)
    lines = head + "lineage:\n  base:\n    other: {}\n  short:\n"
    pytester.path.joinpath("a.suite.yaml").write_text(lines)
    result = run("-k", "verdict")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "short is independent of other *independent * holds",
            "other is derived from base *independent *FALSE  a.suite.yaml:12",
            "short is independent of base *dependent *FALSE  a.suite.yaml:13",
        ]
    )


WEAK = KIN + ", alpha: 1e-300, inconclusive: warn"


def test_what_is_inconclusive_warns_at_its_line_where_the_suite_says_so(write, run):
    write(WEAK)
    result = run()
    result.assert_outcomes(passed=4, warnings=4)
    result.stdout.fnmatch_lines(
        [
            "*a.suite.yaml:11: ProvenanceWarning: kin is a fine-tune of base: *threshold*too weak*",
            "kin is a fine-tune of base *inconclusive *warned  a.suite.yaml:11",
        ]
    )


def test_an_expected_failure_that_is_inconclusive_is_no_unexpected_pass(write, run):
    write(WEAK + ", xfail: they say so")
    run("-o", "xfail_strict=true").assert_outcomes(xfailed=4)


@pytest.mark.usefixtures("warm_python")
def test_a_warning_of_a_worker_is_shown(write, run):
    write(WEAK)
    result = run("-n", "2")
    result.assert_outcomes(passed=4, warnings=4)
    result.stdout.fnmatch_lines(
        ["*a.suite.yaml:11: ProvenanceWarning: kin is a fine-tune of base*"]
    )


def test_a_warning_is_a_failure_where_warnings_are(write, run):
    write(WEAK)
    run("-W", "error").assert_outcomes(failed=4)


def test_a_block_removed_is_found_by_its_best_partner(write, run, shared_store):
    write(
        "candidate: short, reference: base, expect: pruned",
        "candidate: short, reference: base, expect: finetune, id: kept",
    )
    result = run("--provenance-evidence=kept")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        ["*'finetune' keeps a model's shape and short has 2 blocks where 3*"]
    )


def test_evidence_is_written_where_it_is_asked_for(write, run, pytester):
    write("candidate: short, reference: base, expect: pruned")
    run("--provenance-evidence=kept").assert_outcomes(passed=3)
    from provenance import Evidence

    found = pytester.path / "kept" / "a.suite.yaml" / "short-vs-base.json"
    evidence = Evidence.from_json(found.read_text())
    assert [(b.candidate_block, b.reference_block) for b in evidence.blocks] == [(0, 1), (1, 2)]


@pytest.mark.parametrize(
    ("arguments", "tests"),
    [
        (["-k", "kin-vs-base"], 4),
        (["-k", "block1"], 2),
        (["-m", "nightly"], 4),
        (["-m", "not nightly"], 4),
        (["-m", "relation(kind='finetune', base='base')"], 4),
        (["-m", "relation(candidate='other')"], 4),
        (["a.suite.yaml::other-vs-base"], 4),
        (["a.suite.yaml::other-vs-base[block2]"], 1),
    ],
)
def test_tests_are_selected_as_any_others(write, run, arguments, tests):
    write(KIN, OTHER + ", tags: [nightly]")
    result = run("--strict-markers", *arguments)
    assert result.parseoutcomes()["passed"] == tests


def test_a_colour_does_not_depend_on_what_else_was_selected(write, run):
    write(FALSE, KIN + ", id: a", KIN + ", id: b")
    whole, alone = run(), run("a.suite.yaml::kin-vs-base[block1]")
    threshold = re.compile(r"kinship .*threshold 3\.3e-7")
    assert threshold.search(whole.stdout.str())
    assert threshold.search(alone.stdout.str())


def test_last_failed_and_exitfirst_work(write, pytester, shared_store):
    write(KIN, FALSE + ", id: ours")
    store = f"--provenance-store={shared_store}"
    result = pytester.runpytest_inprocess("-x", store)
    result.assert_outcomes(passed=4, failed=1)
    result = pytester.runpytest_inprocess("--lf", store)
    assert result.parseoutcomes()["failed"] == 1


def test_junit_points_at_the_claim(write, run, pytester):
    write(FALSE)
    run("--junit-xml=out.xml", "-o", "junit_family=xunit1")
    text = (pytester.path / "out.xml").read_text()
    assert 'tests="4"' in text
    assert 'failures="4"' in text
    assert 'name="kin-vs-base[block0]" file="a.suite.yaml" line="10"' in text


@pytest.mark.usefixtures("warm_python")
def test_workers_give_the_same_verdicts_and_compute_each_thing_once(write, pytester, tmp_path):
    from provenance import Store

    write(KIN, OTHER, FALSE + ", id: ours")
    store = tmp_path / "store"
    result = pytester.runpytest_subprocess("-n2", f"--provenance-store={store}")
    result.assert_outcomes(passed=8, failed=4)
    result.stdout.fnmatch_lines(
        ["kin is a fine-tune of base *3 of 3*holds", "*FALSE  a.suite.yaml:13"]
    )
    kinds = [entry["kind"] for entry in Store(store).journal()]
    assert kinds.count("activations") == 3
    # the claim of independence about kin wants all parts, that of a fine-tune what decides it
    assert kinds.count("evidence") == 3


def test_a_second_run_computes_nothing_and_imports_no_torch(
    write, pytester, tmp_path, monkeypatch, warm
):
    from provenance import Store

    write(KIN, OTHER)
    store = tmp_path / "store"
    probe = pytester.makeconftest(
        "import sys\ndef pytest_unconfigure():\n    print('torch loaded:', 'torch' in sys.modules)"
    )
    assert probe.exists()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", str(warm / "python"))
        first = pytester.runpytest_subprocess(f"--provenance-store={store}")
    first.stdout.fnmatch_lines(["torch loaded: True"])
    computed = Store(store).journal()
    second = pytester.runpytest_subprocess(f"--provenance-store={store}")
    second.assert_outcomes(passed=8)
    second.stdout.fnmatch_lines(["torch loaded: False"])
    assert Store(store).journal() == computed


@pytest.mark.parametrize("arguments", [["--help"], ["--collect-only"], []])
def test_torch_is_not_imported_without_need(pytester, write, arguments):
    if "--collect-only" in arguments:
        write(KIN)
    pytester.makepyfile(test_plain="def test_plain(): pass")
    pytester.makeconftest(
        "import sys\n"
        "def pytest_unconfigure():\n"
        "    heavy = {'torch', 'transformers', 'pydantic', 'yaml', 'numpy', 'scipy'} & sys.modules.keys()\n"
        "    print('loaded:', sorted(heavy))"
    )
    out = pytester.runpytest_subprocess(*arguments).stdout.str()
    loaded = re.search(r"loaded: (.*)", out).group(1)
    assert "torch" not in loaded
    assert "transformers" not in loaded
    assert "scipy" not in loaded
    if "--collect-only" not in arguments:
        assert loaded == "[]"


def test_other_peoples_yaml_is_left_alone(pytester, write):
    pytester.path.joinpath("docker-compose.yaml").write_text("services: [")
    pytester.path.joinpath("suite.yml").write_text("- 1")
    write(KIN, name="mine.claims.yaml")
    result = pytester.runpytest_inprocess("--collect-only", "-q")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    pytester.makeini("[pytest]\nprovenance_suites = *.suite.yaml *.claims.yaml")
    result = pytester.runpytest_inprocess("--collect-only", "-q")
    result.stdout.fnmatch_lines(["mine.claims.yaml::kin-vs-base[[]verdict[]]"])


def test_mistakes_of_a_suite_are_a_collection_error_with_lines(pytester):
    pytester.path.joinpath("b.suite.yaml").write_text(
        "version: 1\nmodels:\n  base: {recipe: quickstart/base}\npairs:\n"
        "  - {candidate: chat, reference: base, expekt: independent}\n"
    )
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        [
            "b.suite.yaml:5:17: *chat*",
            "b.suite.yaml:5:40: unknown key 'expekt'; did you mean 'expect'?",
        ]
    )
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize(
    "pairs", ["[]", "\n  - {candidate: a, reference: b, expect: derived, skip: later}"]
)
def test_a_suite_that_checks_nothing_never_passes(pytester, pairs):
    pytester.path.joinpath("c.suite.yaml").write_text(
        "version: 1\nmodels: {a: {recipe: quickstart/base}, b: {path: ./b}}\npairs: " + pairs
    )
    assert pytester.runpytest_inprocess().ret == pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize("option", ["--provenance-memory", "--provenance-resident"])
def test_a_size_that_is_none_is_a_usage_error_of_one_line(pytester, option):
    result = pytester.runpytest_inprocess(option, "lots")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: 'lots' is no size in bytes: write 2GiB, or 512MB"])


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "workers"])
@pytest.mark.usefixtures("warm_python")
def test_a_seed_of_the_auditor_takes_the_place_of_the_suites_own(write, run, pytester, workers):
    write(KIN)
    run("--provenance-evidence=kept", "--provenance-seed=271828", *workers).assert_outcomes(
        passed=4
    )
    folder = pytester.path / "kept"
    (evidence,) = folder.rglob("kin-vs-base.json")
    assert json.loads(evidence.read_text())["inputs"]["seed"] == 271828
    suites = json.loads((folder / "results.json").read_text())["suites"]
    assert [suite["inputs"]["seed"] for suite in suites] == [271828]


@pytest.mark.parametrize("seed", ["-1", "x", "4294967296", "1.5"])
def test_a_seed_that_is_none_is_a_usage_error(pytester, seed):
    result = pytester.runpytest_inprocess(f"--provenance-seed={seed}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*'{seed}' is no seed: write a whole number below 4294967296"])


def test_a_model_that_cannot_be_had_fails_its_own_claims_alone(write, run):
    write("candidate: gone, reference: base, expect: derived", KIN)
    result = run()
    result.assert_outcomes(passed=4, failed=3)
    result.stdout.fnmatch_lines(
        [
            "E *claimed   gone is derived from base (a.suite.yaml:11)",
            "E *could not be checked: *gone*",
        ]
    )
    result.stdout.fnmatch_lines(
        ["gone is derived from base *not checked *not checked  a.suite.yaml:11"]
    )
    assert "Traceback" not in result.stdout.str()


def test_models_that_are_refused_fail_their_own_pairs_and_the_others_are_judged(
    pytester, run, family
):
    for name in ("pickled", "torn", "adapter"):
        shutil.copytree(family.kin, pytester.path / name)
    (pytester.path / "pickled" / "model.safetensors").rename(
        pytester.path / "pickled" / "pytorch_model.bin"
    )
    with (pytester.path / "torn" / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    (pytester.path / "adapter" / "model.safetensors").unlink()
    (pytester.path / "adapter" / "adapter_config.json").write_text("{}")
    bad = ["pickled", "torn", "adapter", "distant"]
    models = "".join(f"  {name}: {{path: ./{name}, blocks: 1}}\n" for name in bad[:-1])
    pairs = "".join(
        f"  - {{candidate: {name}, reference: base, expect: derived}}\n" for name in [*bad, "kin"]
    )
    (pytester.path / "a.suite.yaml").write_text(
        "version: 1\ninputs: {kind: random, tokens: 512, sequence_length: 64}\nmodels:\n"
        f"  base: {{path: {family.base}}}\n  kin: {{path: {family.kin}}}\n{models}"
        f"  distant: {{url: 'memory://nowhere', blocks: 1}}\npairs:\n{pairs}"
    )
    result = run("-q")
    result.assert_outcomes(passed=4, failed=8)
    result.stdout.fnmatch_lines(
        [
            "E *could not be checked: *pickled has its weights as pickle only*allow_pickle: true*",
            "E *could not be checked: *torn/model.safetensors is not a whole safetensors file*",
            "E *could not be checked: *adapter has adapter_config.json but no adapter_model*",
            "E *could not be checked: there is nothing at memory://nowhere; check the address",
            "kin is derived from base *dependent * 3 of 3 * holds",
        ]
    )
    assert "Traceback" not in result.stdout.str()


def test_a_broken_checkpoint_is_named(write, run):
    write("candidate: broken, reference: base, expect: independent")
    result = run()
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["E *could not be checked: *broken*up_proj*"])


def test_expected_failures_and_skips_carry_their_reasons(write, run):
    write(FALSE + ", xfail: they admit it", OTHER + ", skip: not released")
    result = run("-rxs")
    result.assert_outcomes(xfailed=4, skipped=4)
    result.stdout.fnmatch_lines(["*they admit it*", "*not released*"])


def test_blocks_that_a_claim_does_not_need_are_expected_failures(write, run):
    write("candidate: other, reference: base, expect: derived, blocks: {at_least: 0.5}")
    result = run()
    result.assert_outcomes(xfailed=3, failed=1)


def test_a_claim_of_some_blocks_makes_tests_of_those_alone(write, run):
    write(KIN + ", blocks: [0, 2]", KIN + ", blocks: [7], id: beyond")
    result = run("-v")
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(["*there is no block 7 to compare: kin has 3 blocks*"])


def test_unknown_is_reported_and_never_fails(write, run):
    write("candidate: kin, reference: base, expect: unknown")
    result = run()
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["nothing is claimed of kin and base * dependent *"])


def test_a_model_of_unknown_depth_has_one_test_for_all_blocks(pytester, family, run):
    pytester.path.joinpath("d.suite.yaml").write_text(
        f"version: 1\nmodels: {{a: {{repo: nobody/nothing}}, b: {{path: {family.base}}}}}\n"
        "pairs:\n  - {candidate: a, reference: b, expect: derived}\n"
    )
    result = run("--collect-only", "-q")
    result.stdout.fnmatch_lines(
        ["d.suite.yaml::a-vs-b[[]blocks[]]", "d.suite.yaml::a-vs-b[[]verdict[]]"]
    )


def test_python_tests_use_the_same_executor(pytester, family, run):
    pytester.makepyfile(
        f"""
        from provenance import InputsSpec, compare

        def test_ours(provenance):
            inputs = InputsSpec(tokens=512, sequence_length=64)
            kin = compare({str(family.kin)!r}, {str(family.base)!r}, inputs=inputs, executor=provenance)
            assert kin.log10_p < -50
        """
    )
    run().assert_outcomes(passed=1)


@pytest.mark.usefixtures("warm_python")
def test_progress_is_shown_in_logs_and_not_under_quiet(write, pytester, tmp_path):
    write(KIN + ", statistic: match")
    loud = pytester.runpytest_subprocess(f"--provenance-store={tmp_path / 'a'}")
    loud.stdout.fnmatch_lines(["  provenance: loading path:*kin", "  provenance: matching *kin*"])
    quiet = pytester.runpytest_subprocess("-q", f"--provenance-store={tmp_path / 'b'}")
    quiet.stdout.no_fnmatch_line("*provenance: loading*")


@pytest.mark.parametrize("verbosity", [(), ("-v",)])
@pytest.mark.usefixtures("warm_python")
def test_progress_of_workers_is_shown(write, pytester, tmp_path, verbosity):
    write(KIN + ", statistic: match")
    store = f"--provenance-store={tmp_path / 'a'}"
    loud = pytester.runpytest_subprocess("-n", "2", store, *verbosity)
    loud.stdout.fnmatch_lines(
        ["  provenance: [[]gw?] loading path:*kin", "  provenance: [[]gw?] matching *kin*"]
    )
    lines = [line for line in loud.stdout.lines if "provenance: [gw" in line]
    assert all(line.startswith("  provenance: [gw") for line in lines)
    assert len([line for line in lines if "loading" in line]) == 2


@pytest.mark.usefixtures("warm_python")
def test_progress_of_workers_is_not_shown_under_quiet(write, pytester, tmp_path):
    write(KIN + ", statistic: match")
    quiet = pytester.runpytest_subprocess("-n", "2", "-q", f"--provenance-store={tmp_path / 'b'}")
    quiet.assert_outcomes(passed=4)
    quiet.stdout.no_fnmatch_line("*provenance: *loading*")


TOKENS = ("inputs: {{tokens: 512, sequence_length: 64}}", "inputs: {{kind: tokens}}")


@pytest.fixture
def on_tokens(monkeypatch, write):
    """Write a suite on inputs of kind tokens."""
    monkeypatch.setattr(sys.modules[__name__], "HEAD", HEAD.replace(*TOKENS))
    return write


def test_on_tokens_no_model_is_run(on_tokens, pytester, tmp_path):
    from provenance import Store

    on_tokens(KIN, OTHER)
    store = tmp_path / "store"
    result = pytester.runpytest_inprocess(f"--provenance-store={store}")
    result.assert_outcomes(passed=8)
    assert {entry["kind"] for entry in Store(store).journal()} == {"hashes", "evidence"}


def test_a_statistic_that_runs_models_is_refused_on_tokens_in_one_line(on_tokens, run):
    on_tokens(KIN + ", statistic: csh")
    result = run()
    assert "Traceback" not in result.stdout.str()
    result.stdout.fnmatch_lines(
        ["*csh runs the models, which inputs of kind 'tokens' do not: use kind 'text' or *"]
    )


def test_a_decided_claim_captures_nothing_and_an_exhaustive_one_measures_all(
    write, pytester, tmp_path
):
    from provenance import Store

    kinds = {}
    for more in ("", ", exhaustive: true"):
        write(KIN + more)
        store = tmp_path / f"store{len(more)}"
        pytester.runpytest_inprocess(f"--provenance-store={store}").assert_outcomes(passed=4)
        kinds[more] = [entry["kind"] for entry in Store(store).journal()].count("activations")
    assert list(kinds.values()) == [0, 2]


def test_a_store_that_cannot_be_used_is_one_line(write, pytester, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    write(KIN)
    result = pytester.runpytest_inprocess(f"--provenance-store={blocked}")
    assert "Traceback" not in result.stdout.str()
    result.stdout.fnmatch_lines(["*could not be checked: *file*"])


def test_properties_cross_to_reports_as_json(write, run, pytester):
    pytester.makeconftest(
        "def pytest_runtest_logreport(report):\n"
        "    if report.when == 'call':\n"
        "        print('PROPERTY', dict(report.user_properties)['provenance'])"
    )
    write(KIN)
    out = run("-s", "-k", "verdict").stdout.str()
    record = json.loads(re.search(r"PROPERTY (.*)", out).group(1))
    assert record["verdict"] == "dependent"
    assert record["log10_p"] < -50


def test_no_test_here_ran_in_a_process_without_the_plugin():
    assert "provenance.plugin" in sys.modules


def test_controls_stand_beside_the_claims(pytester, write, run):
    path = write(OTHER, KIN)
    path.write_text(path.read_text().replace("version: 1", "version: 1\ncontrols: true", 1))
    result = run("-v")
    result.stdout.fnmatch_lines(
        [
            "*other-vs-base[[]null[]] *",
            "*other-vs-base[[]verdict[]] PASSED*",
            "*control-base[[]positive[]] PASSED*",
        ]
    )
    assert "failed" not in result.parseoutcomes()


def test_a_control_says_that_a_test_has_no_power(pytester, write, run):
    path = write(KIN + ", statistic: csu")
    path.write_text(path.read_text().replace("version: 1", "version: 1\ncontrols: true", 1))
    result = run("-k", "positive")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *control   a disguised copy of base is dependent on it, by csu",
            "E *meaning   The test has no power on this model*inconclusive*",
        ]
    )


def test_a_list_of_statistics_is_as_many_claims(write, run):
    write(KIN + ", statistic: [csu, csh, match, match_weights]", OTHER)
    result = run("-k", "block0")
    result.assert_outcomes(passed=5)
    write(KIN + ", statistic: [csu, csh]", FALSE + ", id: ours")
    result = run("-v", "-k", "kin-vs-base-csh and block0 or ours and block0")
    result.stdout.fnmatch_lines(["*kin-vs-base-csh[[]block0[]] PASSED*", "*threshold 3.3e-7*"])


@pytest.mark.parametrize("statistic", ["l2", "csu_all"])
def test_statistics_of_whole_models_make_one_test(write, run, statistic):
    how = f", statistic: {statistic}, alpha: 0.01, permutations: 119"
    write(KIN + how)
    run("-v").stdout.fnmatch_lines(["a.suite.yaml::kin-vs-base[[]verdict[]] PASSED*"])


def test_a_statistic_that_could_never_decide_is_a_mistake(write, run):
    write(KIN + ", statistic: l2", OTHER + ", statistic: jsd")
    result = run()
    result.stdout.fnmatch_lines(
        [
            "a.suite.yaml:11:*l2 with 99 permutations has no p-value below 0.01*raise permutations*",
            "a.suite.yaml:12:*jsd has no p-value and decides no claim*",
        ]
    )


@pytest.mark.parametrize("statistic", ["jsd", "mode_connectivity"])
def test_what_says_little_of_untrained_models_is_reported(write, run, statistic):
    how = f"statistic: {statistic}, permutations: 19"
    write(f"candidate: kin, reference: base, expect: unknown, {how}")
    result = run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["nothing is claimed of kin and base *"])


def test_holm_counts_claims_that_were_not_run_as_chance():
    from provenance.evidence.results import with_holm
    from provenance.statistics.pvalues import holm
    from tests.support import gate_results as made

    pairs = "".join(f"- {{candidate: {name}, reference: b, expect: derived}}\n" for name in "acde")
    claims = made.claims(pairs)
    found = made.results(*(made.result(claim, (0.5,)) for claim in claims))

    def with_p(result, log10_p):
        return replace(result, evidence=replace(result.evidence, blocks=(), log10_p=log10_p))

    ran = tuple(map(with_p, found.claims, (-3.0, None, -2.0)))
    assert [result.holm for result in with_holm(found.suites, ran)] == [
        holm([-3.0, -2.0, 0.0, 0.0])[0],
        None,
        holm([-3.0, -2.0, 0.0, 0.0])[1],
    ]


PLAIN = """\
version: 1
controls: true
defaults: {{statistic: generalized}}
models:
  base: {{path: {family.base}}}
  kin: {{path: {family.kin}}}
  other: {{path: {family.other}}}
  gated: {{path: {family.gated}}}
pairs:
  - {{candidate: kin, reference: base, expect: finetune}}
  - {{candidate: other, reference: base, expect: unknown}}
  - {{candidate: base, reference: gated, expect: unknown}}
"""


def test_models_with_plain_mlps_are_judged_and_controlled(
    pytester, run, plain_family, quick_distillation
):
    path = pytester.path / "plain.suite.yaml"
    path.write_text(PLAIN.format(family=plain_family))
    result = run("-v")
    result.stdout.fnmatch_lines(
        [
            "*kin-vs-base[[]block1[]] PASSED*",
            "*kin-vs-base[[]verdict[]] PASSED*",
            "*other-vs-base[[]verdict[]] PASSED*",
            "*base-vs-gated[[]verdict[]] PASSED*",
            "*control-gated[[]positive[]] PASSED*",
            "*control-base[[]positive[]] PASSED*",
            "kin is a fine-tune of base *dependent * 2 of 2 * holds",
        ]
    )
    assert result.parseoutcomes() == {"passed": 11}


# models from the hub


HUB = KIN + ", tags: [hub]"


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
@pytest.mark.usefixtures("warm_python")
def test_claims_of_the_hub_are_left_out_and_a_line_says_so(write, run, workers):
    write(HUB, OTHER)
    result = run(*workers)
    result.stdout.fnmatch_lines(
        ["provenance: 4 tests need models from the hub and were not run; --provenance-hub runs *"]
    )
    assert result.parseoutcomes()["passed"] == 4


@pytest.mark.parametrize("how", [("--provenance-hub",), ("-m", "hub"), ("-m", "not slow and hub")])
def test_claims_of_the_hub_run_when_they_are_asked_for(write, run, how):
    write(HUB)
    result = run(*how)
    result.assert_outcomes(passed=4)
    result.stdout.no_fnmatch_line("*--provenance-hub*")


def test_a_list_of_tests_has_those_of_the_hub(write, run):
    write(HUB)
    run("--collect-only", "-q").stdout.fnmatch_lines(["a.suite.yaml::kin-vs-base?verdict?"])


def test_the_mark_hub_of_anyone_else_means_what_they_say(pytester, run):
    pytester.makeini("[pytest]\nmarkers = hub")
    pytester.makepyfile("import pytest\n@pytest.mark.hub\ndef test_theirs(): pass")
    run().assert_outcomes(passed=1)


# one failure to read


def failures_of(result):
    """What stands between the failures' title and the table, and the titles in it."""
    text = result.stdout.str()
    shown = text.partition("= FAILURES =")[2].partition("= lineage =")[0]
    return shown, re.findall(r"^_+ (.+?) _+$", shown, re.MULTILINE)


def short_summary(result):
    lines = result.stdout.str().partition("short test summary info")[2].splitlines()
    return [line for line in lines if line.startswith("FAILED ")]


@pytest.mark.parametrize(
    ("pair", "verdict", "blocks"),
    [
        (FALSE + ", id: ours", "p = *, 3 of 3 kin, false", "p = *, dependent"),
        (
            "candidate: other, reference: base, expect: finetune, id: ours",
            "p = *, 0 of 3 kin, false",
            "p = *, independent",
        ),
        (
            "candidate: broken, reference: base, expect: derived, id: ours",
            "not checked: *",
            "not checked: *",
        ),
    ],
    ids=["kin", "strangers", "broken"],
)
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["here", "xdist"])
@pytest.mark.usefixtures("warm_python")
def test_a_false_claim_is_one_failure_to_read_and_a_line_for_each_block(
    write, run, pytester, monkeypatch, pair, verdict, blocks, workers
):
    monkeypatch.setenv("COLUMNS", "80")
    write(pair)
    result = run(*workers, "--junit-xml=out.xml")
    result.assert_outcomes(failed=4)
    assert failures_of(result)[1] == ["ours[verdict]"]
    lines = short_summary(result)
    assert len(lines) == 4
    assert all(len(line) <= 80 for line in lines)
    result.stdout.fnmatch_lines(
        [
            *[f"FAILED a.suite.yaml::ours[[]block{i}[]] - {blocks}" for i in range(3)],
            f"FAILED a.suite.yaml::ours[[]verdict[]] - {verdict}",
        ]
    )
    told = [e.text for e in ET.parse(pytester.path / "out.xml").iter("failure")]
    assert sorted(len(text.splitlines()) == 1 for text in told) == [False, True, True, True]


def test_a_ci_system_is_shown_one_line_for_each_failure_too(write, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("CI", "true")
    write(FALSE + ", id: ours")
    result = run("-vv")
    result.stdout.fnmatch_lines(
        [
            "FAILED a.suite.yaml::ours[[]block2[]] - p = *, dependent",
            "FAILED a.suite.yaml::ours[[]verdict[]] - p = *, 3 of 3 kin, false",
            "=* 4 failed in *",
        ],
        consecutive=True,
    )


def test_a_block_is_shown_where_its_verdict_was_not_run_or_holds(write, run):
    write(FALSE + ", id: ours", KIN)
    alone = run("a.suite.yaml::ours[block1]")
    shown, titles = failures_of(alone)
    assert titles == ["ours[block1]"]
    (line,) = [line for line in shown.splitlines() if "block 1: kinship correlation" in line]
    assert line.endswith("(a.suite.yaml:11)")
    first = run("-x")
    assert failures_of(first)[1] == ["ours[block0]"]


def test_a_block_that_fails_in_another_way_is_not_folded_away(write, run, pytester):
    pytester.makeconftest(
        "import pytest\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_runtest_call(item):\n"
        "    if item.name.endswith('[block1]'):\n"
        "        raise RuntimeError('a bug')\n"
    )
    write(FALSE + ", id: ours")
    assert failures_of(run())[1] == ["ours[block1]", "ours[verdict]"]


def test_a_foreign_test_that_fails_is_shown_as_pytest_shows_it(write, run, pytester):
    write(FALSE + ", id: ours")
    pytester.makepyfile(test_mine="def test_mine():\n    assert 1 == 2\n")
    result = run()
    assert failures_of(result)[1] == ["ours[verdict]", "test_mine"]
    assert "FAILED test_mine.py::test_mine - assert 1 == 2" in result.stdout.str()


@pytest.mark.parametrize(
    ("headline", "width", "shown"),
    [
        ("p = 5.7e-3296, 4 of 4 kin, false", 40, "p = 5.7e-3296, 4 of 4 kin, false"),
        ("p = 5.7e-3296, 4 of 4 kin, false", 31, "p = 5.7e-3296, 4 of 4 kin"),
        ("p = 5.7e-3296, 4 of 4 kin, false", 24, "p = 5.7e-3296"),
        ("p = 5.7e-3296, 4 of 4 kin, false", 12, "5.7e-3296"),
        ("not checked: no such folder, no", 10, "not checked: no such folder, no"),
    ],
)
def test_a_headline_is_fitted_without_cutting_a_number(headline, width, shown):
    from provenance.plugin.folding import fitted

    assert fitted(headline, width) == shown
