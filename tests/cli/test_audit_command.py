"""`provenance audit`: what is printed, what is written, and the exit code."""

import json
import os
import pty
import shutil
import subprocess
import sys
from dataclasses import replace as replace_fields

import pytest

from provenance import Executor, InputsSpec, Results, fingerprint, render_report
from provenance.audit.records import Audit, AuditedPair, ScreenedBlock
from provenance.cli import main
from provenance.evidence.records import POWER_CONTROL
from provenance.gate.markdown import summary
from tests.evidence.test_verdict import evidence

pytestmark = pytest.mark.slow


@pytest.fixture
def run(capfd, shared_store, tmp_path):
    """Run the command in this process; (exit code, stdout, stderr)."""

    def run(*arguments):
        where = ["--store", str(shared_store), "--history", str(tmp_path / "h.sqlite")]
        with pytest.raises(SystemExit) as stop:
            main(["audit", *map(str, arguments), *where, "--device", "cpu"])
        out, err = capfd.readouterr()
        return stop.value.code, out, err

    return run


@pytest.fixture
def registry(tmp_path, family):
    """A registry of two kin and a stranger."""
    home = tmp_path / "models"
    for name, source in (("a", "base"), ("b", "kin"), ("c", "other")):
        shutil.copytree(getattr(family, source), home / name)
    path = tmp_path / "registry.yaml"
    path.write_text("version: 1\ninputs: {tokens: 512, sequence_length: 64}\nfolder: models\n")
    return path


def replace(folder, source):
    shutil.rmtree(folder)
    shutil.copytree(source, folder)


def test_a_log_has_plain_lines(run, registry):
    code, out, err = run(registry)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"{registry}: 3 models, 3 pairs at alpha 1e-06, 3.33e-07 a pair"
    assert lines[1] == "1 family among 3 models"
    assert lines[2] == "run 1 is the first complete one: later runs are compared with it"
    assert lines[3] == "family of 2: a, b"
    assert lines[4].startswith("dependent: b and a, p = ")
    assert lines[5:] == [
        "independent: 2 of 3 pairs",
        "3 measured, 0 known; 0 could not be judged",
    ]


def test_an_audit_leads_with_what_it_found_in_every_output(run, registry, family, tmp_path):
    kept = tmp_path / "results.json"
    run(registry)
    replace(registry.parent / "models" / "c", family.short)
    _, out, _ = run(registry, "--results", kept)
    said = "1 family among 3 models, none new since run 1; nothing lost"
    lines = out.splitlines()
    assert lines[1] == said
    assert lines[2].startswith("changes since run 1 (")
    changed = [line for line in lines if line.startswith(("changed-digest", "new-kin"))]
    assert lines.index(changed[-1]) < lines.index("family of 3: a, b, c")
    assert lines.index("family of 3: a, b, c") < next(
        i for i, line in enumerate(lines) if line.startswith("dependent: ")
    )
    nights = lines[lines.index("the last runs, the newest first:") + 1 :]
    assert [line.partition(": ")[2] for line in nights] == [
        "3 models, 1 family, 3 pairs of kin",
        "3 models, 1 family, 1 pair of kin",
    ]
    results = Results.from_json(kept.read_bytes())
    assert results.audit.finding == said
    markdown, page = summary(results), render_report(results)
    assert markdown.index(said) < markdown.index("* new-kin: ") < markdown.index("a, b, c")
    head = page[page.index("<header>") : page.index("</header>")]
    assert head.index(said) < head.index("new-kin: ") < head.index("Night after night")
    assert "undecided" not in head
    assert "hold" not in head
    assert page.index('id="lineage"') < page.index('id="overview"') < page.index('id="claims"')


def test_pairs_with_a_fingerprint_are_told_by_which_statistic_they_were_judged(run, registry):
    models = registry.parent / "models"
    fed = InputsSpec(tokens=512, sequence_length=64)
    fingerprint(models / "a", registry.parent / "ours.safetensors", inputs=fed)
    registry.write_text(
        f"{registry.read_text().replace('folder: models', '')}"
        "models:\n  ours: {path: ours.safetensors}\n  b: {path: models/b}\n  c: {path: models/c}\n"
    )
    code, out, err = run(registry)
    assert (code, err) == (0, "")
    assert "2 pairs by match, all that a fingerprint carries" in out.splitlines()


def test_a_second_run_says_that_nothing_changed(run, registry):
    run(registry)
    code, out, _ = run(registry, "--fail-on-change")
    assert code == 0
    assert "0 measured, 3 known; 0 could not be judged" in out
    assert "no change since run 1 (" in out


def test_json_is_one_object_with_pairs_and_changes(run, registry, family):
    run(registry)
    replace(registry.parent / "models" / "c", family.short)
    code, out, err = run(registry, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["schema"], found["run"], found["since"], found["measured"]) == (1, 2, 1, 2)
    assert {change["kind"] for change in found["changes"]} == {"changed-digest", "new-kin"}
    pair = found["pairs"][0]
    assert (pair["candidate"], pair["reference"], pair["verdict"]) == ("b", "a", "dependent")
    assert pair["known"]
    assert found["models"][0]["digest"].startswith("sha256:")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 0),
        (["--fail-on-change"], 1),
        (["--fail-on", "new-kin"], 1),
        (["--fail-on", "lost-kin, changed-digest"], 1),
        (["--fail-on", "lost-kin"], 0),
    ],
)
def test_the_exit_code_is_1_on_a_change_that_was_named(run, registry, family, options, code):
    run(registry)
    replace(registry.parent / "models" / "c", family.short)
    found, out, _ = run(registry, *options)
    assert found == code
    assert "changes since run 1" in out
    assert "new-kin: c and a: dependent, p = " in out
    assert "changed-digest: c: other weights stand behind this name" in out


def test_a_model_that_cannot_be_read_is_said_once_and_not_of_each_pair(run, registry):
    (registry.parent / "models" / "c" / "model.safetensors").write_bytes(b"torn")
    lines = run(registry)[1].splitlines()
    assert lines[1] == "1 family among 3 models; 2 pairs could not be judged"
    assert "1 measured, 0 known; 2 could not be judged" in lines
    assert lines[4].startswith("dependent: b and a, p = ")
    assert lines[5] == "independent: 0 of 3 pairs"
    assert lines[-2].startswith("cannot read: c: ")
    assert lines[-1].startswith("2 of 3 pairs could not be judged: ")


THREE = "  a: {path: models/a}\n  b: {path: models/b}\n  gone: {path: ./gone}\n"
TWO = "  a: {path: models/a}\n  gone: {path: ./gone}\n"
ALLOW = "allow: [{model: gone, reason: not released}]\n"


@pytest.mark.parametrize(
    ("models", "more", "options", "code", "words"),
    [
        (THREE, "", [], 1, "2 of 3 pairs could not be judged: gone and b; gone and a (--allow"),
        (THREE, "", ["--fail-on-change"], 1, "2 of 3 pairs could not be judged"),
        (THREE, "", ["--fail-on", "new-kin"], 1, "2 of 3 pairs could not be judged"),
        (THREE, "", ["--allow", "a"], 1, "1 of 3 pairs could not be judged: gone and b"),
        (THREE, "", ["--allow", "gone"], 0, ""),
        (THREE, ALLOW, [], 0, ""),
        (TWO, "", ["--allow", "gone"], 1, "no pair was judged: 1 of 1 could not be"),
        (TWO, ALLOW, ["--fail-on-change"], 1, "no pair was judged"),
        (
            THREE,
            "ignore:\n- {pair: [gone, a], reason: x}\n- {pair: [gone, b], reason: x}\n",
            [],
            0,
            "",
        ),
    ],
)
def test_what_could_not_be_judged_fails_every_night_unless_it_is_allowed_by_name(
    run, registry, models, more, options, code, words
):
    head = registry.read_text().replace("folder: models\n", "models:\n")
    registry.write_text(head + models + more)
    for _ in range(2):
        found, out, _ = run(registry, *options)
        assert found == code
        assert words in out.splitlines()[-1]
    told = json.loads(run(registry, "--json", *options)[1])
    assert told["complete"] is (code == 0)


def test_models_that_cannot_be_compared_fail_a_night(run, registry, plain_family):
    shutil.copytree(plain_family.base, registry.parent / "models" / "d")
    code, out, _ = run(registry)
    assert code == 1
    assert out.splitlines()[-1].startswith("3 of 6 pairs could not be judged: d and ")
    assert run(registry, "--allow", "d")[0] == 0


def test_a_name_that_is_allowed_must_be_a_models(run, registry):
    code, _, err = run(registry, "--allow", "bb")
    assert code == 2
    assert "allow: names 'bb', which is no model of the registry" in err


def test_what_is_allowed_is_no_failure_in_the_results(run, registry, tmp_path):
    (registry.parent / "models" / "c" / "model.safetensors").write_bytes(b"torn")
    for allowed, state in ([], "fail"), (["--allow", "c"], "warn"):
        run(registry, "--results", tmp_path / "results.json", *allowed)
        found = Results.from_json((tmp_path / "results.json").read_text())
        assert found.state == state


def test_results_are_written_for_a_report(run, registry, tmp_path):
    run(registry, "--results", tmp_path / "results.json")
    found = Results.from_json((tmp_path / "results.json").read_text())
    assert [result.claim.expect for result in found.claims] == ["unknown"] * 3
    assert found.state == "pass"


def test_a_dry_run_says_what_would_be_measured(run, registry, tmp_path, family):
    shutil.copytree(family.short, registry.parent / "models" / "d")
    (registry.parent / "models" / "c" / "model.safetensors").write_bytes(b"torn")
    code, out, _ = run(registry, "--dry-run")
    assert code == 0
    assert out.splitlines()[:2] == ["3 pairs to measure, 0 known", "would measure: b and a"]
    assert "cannot read: c: " in out
    assert not (tmp_path / "h.sqlite").exists()
    found = json.loads(run(registry, "--dry-run", "--json")[1])
    assert found["to_measure"] == [["b", "a"], ["d", "a"], ["d", "b"]]
    assert list(found["unreadable"]) == ["c"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{tmp}/none.yaml"], "there is no such file"),
        (["{tmp}"], "no model, and an audit compares pairs"),
        (["{tmp}", "--fail-on", "magic"], "'magic' is no kind of change; there are: new-model"),
        (["{registry}", "--history", "x://y"], "cannot use the history"),
        (["{registry}", "--results", "{tmp}/no/such/folder.json"], "there is no folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    registry, tmp_path, shared_store, capfd, arguments, words
):
    (tmp_path / "empty").mkdir()
    filled = [a.format(tmp=tmp_path / "empty", registry=registry) for a in arguments]
    if "--history" not in filled:
        filled += ["--history", str(tmp_path / "h.sqlite")]
    with pytest.raises(SystemExit) as stop:
        main(["audit", *filled, "--store", str(shared_store), "--device", "cpu"])
    out, err = capfd.readouterr()
    assert (stop.value.code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_an_interrupt_keeps_what_was_measured(run, registry, monkeypatch):
    measure = Executor.evidence
    calls = []

    def interrupted(self, comparison):
        calls.append(comparison)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measure(self, comparison)

    monkeypatch.setattr(Executor, "evidence", interrupted)
    assert run(registry)[0] == 130
    monkeypatch.undo()
    assert "1 measured, 2 known; 0 could not be judged" in run(registry)[1]


def test_progress_is_told_in_the_log_of_a_ci_system_unless_quiet(run, registry, monkeypatch):
    monkeypatch.setenv("CI", "1")
    _, _, err = run(registry)
    assert "provenance: audit b and a\n" in err
    (registry.parent / "h.sqlite").unlink()
    assert run(registry, "-q")[2] == ""


def test_a_name_is_never_a_command_to_a_terminal_or_a_ci_system(run, registry, family):
    name = "[red]x\x1b[31m\n::error::boo"
    shutil.copytree(family.short, registry.parent / "models" / name)
    _, out, _ = run(registry)
    assert "\x1b" not in out
    assert not any(line.startswith("::") for line in out.splitlines())
    assert r"[red]x\x1b[31m\n::error::boo" in out


def test_a_terminal_has_a_table(registry, tmp_path, shared_store):
    read, write = pty.openpty()
    command = [sys.executable, "-m", "provenance", "audit", str(registry), "-q"]
    command += ["--store", str(shared_store), "--history", str(tmp_path / "h.sqlite")]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "NO_COLOR": "1"}
    process = subprocess.Popen(command, stdout=write, env=environment)
    os.close(write)
    shown = b""
    while True:
        try:
            part = os.read(read, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(read)
    assert process.wait() == 0
    text = shown.decode()
    assert "kin, undecided and failed pairs" in text
    assert "dependent" in text
    assert "\x1b[31m" not in text


@pytest.fixture
def weak(registry):
    """The registry, by a statistic that shows no independence."""
    registry.write_text(f"{registry.read_text()}statistic: csu\n")
    return registry


WEAK = "csu finds no copy in a disguise that costs nothing"


def test_why_a_pair_is_inconclusive_is_said_in_every_output(run, weak, tmp_path):
    _, out, _ = run(weak, "--results", tmp_path / "results.json")
    lines = out.splitlines()
    pairs = [at for at, line in enumerate(lines) if line.startswith("inconclusive: ")]
    assert len(pairs) == 2
    for at in pairs:
        names = lines[at].removeprefix("inconclusive: ").partition(", p = ")[0]
        assert lines[at + 1].startswith(f"{names}: Whether these two are kin stays open. ")
        assert WEAK in lines[at + 1]
    results = Results.from_json((tmp_path / "results.json").read_text())
    open_ones = [r for r in results.claims if r.judgement.verdict == "inconclusive"]
    assert all(WEAK in result.judgement.meaning for result in open_ones)
    assert summary(results).count(WEAK) == render_report(results).count(WEAK) == len(open_ones) == 2
    _, out, _ = run(weak, "--json")
    says = {pair["verdict"]: pair["meaning"] for pair in json.loads(out)["pairs"]}
    assert WEAK in says["inconclusive"]
    assert says["dependent"].startswith("These two are kin.")


def test_a_power_control_that_is_off_is_said_in_every_output(run, registry, tmp_path):
    off = "No power control was run: it is turned off."
    code, out, _ = run(registry)
    assert (code, off in out) == (0, False)
    code, out, _ = run(registry, "--no-control", "--results", tmp_path / "results.json")
    assert (code, out.splitlines().count(off)) == (0, 1)
    results = Results.from_json((tmp_path / "results.json").read_text())
    strangers = [r for r in results.claims if r.judgement.verdict == "independent"]
    assert [off in result.judgement.meaning for result in strangers] == [True, True]
    markdown = summary(results)
    assert "2 of 3 pairs are independent, tested " in markdown
    assert "; without a power control (2)" in markdown
    assert render_report(results).count(off) >= len(strangers)
    _, out, _ = run(registry, "--no-control", "--json")
    pairs = json.loads(out)["pairs"]
    assert [off in pair["meaning"] for pair in pairs] == [
        pair["verdict"] == "independent" for pair in pairs
    ]


def test_a_screened_pair_says_that_no_control_was_run():
    pair = AuditedPair("a", "b", "independent", -0.2, "key", screened=(ScreenedBlock(0, 0, -0.2),))
    off = replace_fields(evidence(-0.2), details={POWER_CONTROL: "turned off"})
    for found, told in ((evidence(-0.2), False), (off, True)):
        audit = audit_of(pair, found)
        assert audit.meaning(pair).startswith("Screened: only block 0")
        assert ("No power control was run" in audit.meaning(pair)) is told


def test_a_pair_without_evidence_has_no_meaning():
    failed = AuditedPair("a", "b", error="torn")
    audit = audit_of(failed, None)
    assert audit.meaning(failed) is None
    assert audit.to_dict()["pairs"][0]["meaning"] is None


def audit_of(pair, evidence):
    return Audit(
        name="n",
        statistic="match",
        inputs=InputsSpec(),
        alpha=1e-6,
        threshold=1e-6,
        run=1,
        created="2026-01-01",
        models=(),
        pairs=(pair,),
        ignored=(),
        since=None,
        since_created=None,
        changes=(),
        evidence={} if evidence is None else {"key": evidence},
    )
