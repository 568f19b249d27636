"""The command line: results on stdout, a mistake is one line on stderr and exit code 2."""

import json
import math
import subprocess
import sys

import pytest

from provenance.cli import main
from provenance.evidence.exhibits import EXHIBIT_NAMES
from provenance.evidence.strangers import groups

pytestmark = pytest.mark.slow

QUICK = ["--tokens", "512", "--sequence-length", "64"]


@pytest.fixture
def run(capfd, shared_store):
    """Run the command in this process; (exit code, stdout, stderr)."""

    def run(*arguments, store=True):
        extra = ["--store", str(shared_store)] if store else []
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments), *extra])
        out, err = capfd.readouterr()
        return stop.value.code, out, err

    return run


def test_json_is_one_object_on_stdout_and_nothing_else(run, family):
    code, out, err = run("compare", family.kin, family.base, *QUICK, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert list(found)[:5] == ["schema", "verdict", "meaning", "statistic", "log10_p"]
    assert (found["schema"], found["verdict"], found["statistic"]) == (2, "dependent", "kinship")
    assert found["log10_p"] < -50
    assert [b["candidate_block"] for b in found["blocks"]] == [0, 1, 2]
    assert {"reference_block", "log10_p", "correlation", "units"} <= found["blocks"][0].keys()
    assert found["blocks"][0]["units"] == [64, 64]
    assert found["candidate"]["digest"].startswith("sha256:")
    assert found["candidate"]["digest"] != found["reference"]["digest"]
    assert (found["inputs"]["kind"], found["inputs"]["tokens"]) == ("tokens", 256)
    assert found["details"]["measured"] == "match_tokens"
    assert {"provenance", "torch", "transformers", "python"} <= found["versions"].keys()


def test_exhibits_stand_beside_what_strangers_have(run, family):
    arguments = ["compare", family.kin, family.base, *QUICK, "--exhibits"]
    code, out, _ = run(*arguments)
    assert code == 0
    shown = " ".join(out.split())
    assert "none of it decides" in shown
    assert all(group.heading.split(",")[0].split()[0] in shown for group in groups())
    assert "docs/exhibits.md say why no exhibit decides anything" in shown
    found = json.loads(run(*arguments, "--json")[1])
    assert [one["name"] for one in found["exhibits"]] == list(EXHIBIT_NAMES)
    assert "none of it decides" not in run("compare", family.kin, family.base, *QUICK)[1]


@pytest.mark.parametrize(
    ("candidate", "verdict"),
    [("kin", "dependent"), ("other", "independent"), ("base", "dependent")],
)
def test_the_exit_code_is_0_whatever_the_verdict(run, family, candidate, verdict):
    code, out, _ = run("compare", getattr(family, candidate), family.base, *QUICK)
    assert code == 0
    assert f"{verdict}: p = " in out


@pytest.mark.parametrize(
    ("candidate", "expect", "failure"),
    [
        ("kin", "finetune", None),
        ("kin", "derived", None),
        ("base", "identical", None),
        ("other", "independent", None),
        ("kin", "independent", "false-independence"),
        ("kin", "identical", "other-kinship"),
        ("base", "finetune", "other-kinship"),
        ("short", "permuted", "other-kinship"),
        ("other", "merge", "no-kinship"),
    ],
)
def test_what_is_expected_decides_the_exit_code(run, family, candidate, expect, failure):
    arguments = ["compare", getattr(family, candidate), family.base, *QUICK, "--expect", expect]
    code, out, _ = run(*arguments)
    last = " ".join(out.split()).partition("does not hold (" if failure else "holds: ")[2]
    assert code == (0 if failure is None else 1)
    assert last.startswith("the candidate is " if failure is None else f"{failure}): the candidate")
    code, out, _ = run(*arguments, "--json")
    found = json.loads(out)["expected"]
    assert code == (0 if failure is None else 1)
    assert (found["relation"], found["holds"]) == (expect, failure is None)
    assert found.get("failure") == failure


def test_a_claim_that_is_not_decided_does_not_hold(run, family):
    how = ("--alpha", "1e-300", "--expect", "derived")
    code, out, _ = run("compare", family.kin, family.base, *QUICK, *how)
    assert code == 1
    assert "does not hold (inconclusive): the candidate is derived from the reference." in " ".join(
        out.split()
    )


@pytest.mark.parametrize(
    ("candidate", "says"),
    [("kin", "These two are kin."), ("other", "These two show no kinship.")],
)
def test_a_sentence_says_what_the_verdict_is(run, family, candidate, says):
    out = run("compare", getattr(family, candidate), family.base, *QUICK)[1]
    assert says in " ".join(out.split())


def test_blocks_against_blocks_name_the_pairs_and_the_units_that_survived(run, family):
    arguments = ["compare", family.short, family.base, *QUICK, "--blocks", "cross", "--json"]
    found = json.loads(run(*arguments)[1])
    assert [pair[:2] for pair in found["alignment"]] == [[0, 1], [1, 2]]
    assert (len(found["cross"]), len(found["cross"][0])) == (2, 3)
    for candidate_units, reference_units in found["survivors"]:
        assert candidate_units == reference_units  # no unit was moved
        assert len(candidate_units) > 50


def test_json_has_no_value_that_json_lacks(run, family):
    how = ("--statistic", "match", "--json")
    _, out, _ = run("compare", family.base, family.base, *QUICK, *how)
    found = json.loads(out, parse_constant=pytest.fail)
    # one of 64! orders, and half of the level is spent on the block of equal index
    assert found["blocks"][0]["log10_p"] == pytest.approx(-89.10341688973 + math.log10(2))


def test_it_is_said_what_was_measured_and_what_was_not(run, family):
    def told(candidate):
        return " ".join(run("compare", candidate, family.base, *QUICK)[1].split())

    kin, other = told(family.kin), told(family.other)
    shared = "256 tokens of both vocabularies (256 of 299 shared tokens, by their text)"
    assert f"inputs: {shared}; statistic: kinship measured: match_tokens not measured: " in kin
    assert "not measured: match_weights: every block was decided without it" in kin
    assert "measured: match_tokens, match_weights, match" in other
    assert "not measured" not in other


def test_exhaustive_measures_all_parts(run, family):
    arguments = ["compare", family.kin, family.base, *QUICK, "--exhaustive", "--json"]
    found = json.loads(run(*arguments)[1])
    assert found["details"]["measured"] == "match_tokens, match_weights, match"
    assert found["inputs"]["kind"] == "text"
    assert all(part["log10_p"] < -20 for block in found["blocks"] for part in block["parts"])


def test_tokens_are_inputs_on_which_no_model_is_run(run, family):
    arguments = ["compare", family.kin, family.base, "--inputs", "tokens", "--json"]
    found = json.loads(run(*arguments)[1])
    assert (found["statistic"], found["verdict"]) == ("match_tokens", "dependent")
    code, out, err = run(*arguments[:-1], "--statistic", "csh")
    assert (code, out) == (2, "")
    assert err == (
        "provenance: csh runs the models, which inputs of kind 'tokens' do not: use kind 'text' or "
        "'random', or the statistic match_tokens\n"
    )


def test_alpha_moves_the_verdict(run, family):
    arguments = ["compare", family.kin, family.base, *QUICK, "--json", "--alpha"]
    verdicts = [json.loads(run(*arguments, alpha)[1])["verdict"] for alpha in ("1e-6", "1e-300")]
    assert verdicts == ["dependent", "inconclusive"]


def test_random_inputs_need_no_tokenizer(run, tiny_checkpoint):
    folders = [tiny_checkpoint(seed, tokenizer=False) for seed in (0, 1)]
    for source in ("random", "text"):
        code, out, _ = run("compare", *folders, *QUICK, "--inputs", source, "--json")
        inputs = json.loads(out)["inputs"]
        assert (code, inputs["kind"], inputs["text"]) == (0, "random", None)
    assert inputs["note"] == "random ids: neither model has a tokenizer"


def test_the_seed_is_recorded_and_changes_the_inputs(run, family):
    found = [
        json.loads(run("compare", family.kin, family.base, *QUICK, "--seed", seed, "--json")[1])
        for seed in (0, 1)
    ]
    assert [f["inputs"]["seed"] for f in found] == [0, 1]
    assert found[0]["inputs"]["digest"] != found[1]["inputs"]["digest"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "./nowhere", "quickstart/base"], "nowhere"),
        (["compare", "quickstart/bse", "quickstart/base"], "quickstart/base"),
        (["compare", "one"], "Missing argument 'REFERENCE'"),
        (["compare", "{base}", "{base}", "--tokens", "few"], "'few' is not a valid integer"),
        (["compare", "{base}", "{base}", "--alpha", "2"], "--alpha"),
        (["compare", "{base}", "{base}", "--memory", "lots"], "'lots' is no size in bytes"),
        (["compare", "{base}", "{base}", "--device", "cuda:9"], "cuda:9"),
        (["compare", "{base}", "{base}", "--device", "tpu"], "auto, cpu, cuda or cuda:N"),
        (["compare", "{base}", "{base}", "--inputs", "./no.txt"], "no.txt"),
        (["compare", "{base}", "{base}", "--statistic", "magic"], "magic"),
        (["compare", "{base}", "{base}", "--expect", "unknown"], "--expect"),
        (["compare", "{broken}", "{base}"], "model.layers.1.mlp.up_proj.weight"),
        (["comprae"], "comprae"),
        (["compare", "--bogus"], "--bogus"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(run, family, arguments, words):
    arguments = [a.format(base=family.base, broken=family.broken) for a in arguments]
    code, out, err = run(*arguments, store=arguments[0] == "compare" and "--bogus" not in arguments)
    assert (code, out) == (2, "")
    assert err.startswith("provenance: ")
    assert err.count("\n") == 1
    assert words in err


def test_suite_check_reports_all_mistakes_of_all_files(run, tmp_path):
    good, bad = tmp_path / "a.suite.yaml", tmp_path / "b.suite.yaml"
    models = "models: {a: {recipe: quickstart/base}, b: {path: x}}\n"
    good.write_text(
        f"version: 1\n{models}pairs:\n- {{candidate: a, reference: b, expect: derived}}\n"
    )
    bad.write_text(f"version: 2\n{models}pairs: []\n")
    code, out, err = run("suite", "check", good, bad, store=False)
    assert code == 2
    assert "a.suite.yaml: 1 claim on 2 models" in out
    assert err.count("b.suite.yaml:") == 2


def test_suite_schema_is_the_committed_one(run, request):
    _, out, _ = run("suite", "schema", store=False)
    committed = request.config.rootpath / "suites" / "suite.schema.json"
    assert out == committed.read_text()


def test_the_store_is_shown_and_pruned(run, family, tmp_path):
    store = ["--store", str(tmp_path)]
    run("compare", family.kin, family.base, *QUICK, "--statistic", "match", *store, store=False)
    _, out, _ = run("store", "ls", *store, store=False)
    assert out.startswith(str(tmp_path))
    assert "activations       2 entries" in out
    _, out, _ = run("store", "gc", "--keep", "0", *store, store=False)
    assert out.startswith("removed")
    _, out, _ = run("store", "ls", *store, store=False)
    assert "activations" not in out


def test_suites_are_checked_without_torch(tmp_path):
    path = tmp_path / "a.suite.yaml"
    path.write_text("version: 1\n")
    code = (
        "import sys\nfrom provenance.cli import main\n"
        f"try: main(['suite', 'check', {str(path)!r}])\n"
        "except SystemExit as stop: assert stop.code == 2\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_and_version_are_no_mistakes(run):
    assert run("--help", store=False)[0] == 0
    assert "0.1.0" in run("--version", store=False)[1]


def test_plain_mlps_are_compared_by_generalized(run, plain_family, quick_distillation):
    how = ["--statistic", "generalized"]
    code, out, err = run("compare", plain_family.kin, plain_family.base, *how, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["verdict"], found["statistic"]) == ("dependent", "generalized")
    assert found["details"]["steps"] == quick_distillation.steps
    assert [block["units"] for block in found["blocks"]] == [[128, 128]] * 2
    assert all(0.8 < fit <= 1 for block in found["blocks"] for fit in block["fits"])
    _, out, _ = run(
        "compare", plain_family.kin, plain_family.base, *how, "--blocks", "cross", "--json"
    )
    assert [pair[:2] for pair in json.loads(out)["alignment"]] == [[0, 0], [1, 1]]


def test_a_statistic_that_needs_gated_mlps_says_which_does_not(run, plain_family):
    code, out, err = run("compare", plain_family.kin, plain_family.base, "--inputs", "random")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.endswith("use `statistic: generalized`\n")
