"""The head-to-head on fake tools: what crashes, hangs, prints garbage or takes too much has its row."""

import json
import os
import re
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import _counts, _rival_page, _rival_results, _rival_tools, _rival_venv, rivals
from benchmarks._page import BEGIN, UNREAD
from benchmarks._rival_pairs import TWIN, Pair, make_twin, pairs
from benchmarks._rival_process import Limits, Run, run
from benchmarks._rival_tools import RIVALS, Answer, Rival

LIMITS = Limits(seconds=60, memory=1 << 30, idle=60)
MIB = 1 << 20


def python(code, *arguments):
    return [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]


def ran(code, folder, limits=LIMITS, watched=(), arguments=()):
    variables = {"PATH": os.environ["PATH"]}
    command = python(code, *arguments)
    return run(command, limits, variables=variables, folder=folder, watched=watched)


def test_a_run_has_what_was_printed_and_what_it_cost(tmp_path):
    code = """
        import sys
        held = bytearray(200 << 20)
        sum(range(3_000_000))
        print("answer")
        print("complaint", file=sys.stderr)
        sys.exit(3)
    """
    found = ran(code, tmp_path)
    assert (found.ended, found.code) == ("exited", 3)
    assert (found.out.strip(), found.err.strip()) == ("answer", "complaint")
    assert found.seconds > 0
    assert found.read is None  # nothing was watched


def test_memory_counts_that_of_children(tmp_path):
    child = "held = bytearray(150 << 20); import time; time.sleep(1)"
    code = """
        import subprocess, sys
        subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
    """
    assert ran(code, tmp_path, arguments=[child]).peak > 150 * MIB


@pytest.mark.parametrize(
    ("code", "limits", "ended"),
    [
        ("while True: pass", replace(LIMITS, seconds=0.5), "time"),
        ("import time; time.sleep(600)", replace(LIMITS, idle=0.5), "idle"),
        (
            "held = bytearray(300 << 20); import time; time.sleep(600)",
            replace(LIMITS, memory=100 * MIB),
            "memory",
        ),
    ],
)
def test_a_limit_ends_a_command_and_its_children(tmp_path, code, limits, ended):
    wrapped = """
        import os, pathlib, subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
        pathlib.Path("pid").write_text(str(child.pid))
        child.wait()
    """
    assert ran(wrapped, tmp_path, limits, arguments=[code]).ended == ended
    pid = int((tmp_path / "pid").read_text())
    gone, _ = psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], 10)
    assert gone or not psutil.pid_exists(pid)


def test_what_was_read_of_a_file_is_at_least_what_was_asked(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(os.urandom(8 * MIB))
    code = "import sys; open(sys.argv[1], 'rb').read(4 << 20)"
    found = ran(code, tmp_path, watched=[file], arguments=[file])
    assert found.read is None or 4 * MIB <= found.read <= 8 * MIB  # None: a file system in memory


RAN = Run("exited", 0, "", "", 1.0, MIB, None)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (replace(RAN, ended="time"), "no answer in 60 s of the processor"),
        (replace(RAN, ended="idle"), "hung: nothing done in 60 s"),
        (replace(RAN, ended="memory"), "ended at 1.0 GiB of memory"),
        (replace(RAN, code=1, err="Traceback\nKeyError: 'x'"), "exit code 1: KeyError: 'x'"),
        (replace(RAN, out="<html>"), "no answer in what it printed: <html>"),
        (replace(RAN, out="{}"), "no answer in what it printed: {}"),
        (RAN, "no answer in what it printed: it printed nothing"),
    ],
)
@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_what_is_no_answer_is_none_and_says_why(rival, run, said):
    assert _rival_results.judged(rival, run, LIMITS) == (Answer(said, "none"), False)


def ours(verdict, log10_p):
    return json.dumps({"verdict": verdict, "log10_p": log10_p})


def modeldna(verdict, probability, ruled_out=None):
    candidates = [{"ruled_out": ruled_out}]
    found = {"verdict": verdict, "probability": probability, "candidates": candidates}
    return json.dumps({"verdict": {**found, "description": "not read"}})


def mpk(decision, score, tier, weights):
    scores = {"provenance_decision": decision, "pipeline_score": score, "mfi_tier": tier}
    return json.dumps({"scores": {**scores, "identity_score": weights}})


@pytest.mark.parametrize(
    ("read", "out", "call"),
    [
        (_rival_tools.read_ours, ours("dependent", -400.0), "kin"),
        (_rival_tools.read_ours, ours("independent", -0.2), "strangers"),
        (_rival_tools.read_ours, ours("inconclusive", None), "none"),
        (_rival_tools.read_ours, ours("not found", -0.1), "none"),
        (_rival_tools.read_modeldna, modeldna("FINE_TUNE", 0.99), "kin"),
        (_rival_tools.read_modeldna, modeldna("NO_MATCH", 0.02), "strangers"),
        (_rival_tools.read_modeldna, modeldna("NO_MATCH", None, "layer count mismatch"), "none"),
        (_rival_tools.read_modeldna, modeldna("SAME_FAMILY_UNRESOLVED", 0.7), "none"),
        (_rival_tools.read_modeldna, modeldna("INSUFFICIENT", 0.1), "none"),
        (_rival_tools.read_mpk, mpk("Confirmed Match", 1.0, 1, 0.4), "kin"),
        (_rival_tools.read_mpk, mpk("High-Confidence Match", 0.8, 3, 0.8), "kin"),
        (_rival_tools.read_mpk, mpk("Weak Match", 0.7, 3, 0.7), "none"),
        (_rival_tools.read_mpk, mpk("Not Matched", 0.4, 3, 0.4), "strangers"),
        (_rival_tools.read_paper, 'block 0\n{"p": 1e-9}', "kin"),
        (_rival_tools.read_paper, '{"p": 0.3, "block": 1}', "strangers"),
        (_rival_tools.read_paper, '{"p": NaN}', "none"),
    ],
)
def test_each_tool_is_read_by_its_own_words(read, out, call):
    assert read(out).call == call


def test_mpk_says_when_it_decided_by_shape_alone():
    said = _rival_tools.read_mpk(mpk("Confirmed Match", 1.0, 1, 0.4)).said
    assert said == "Confirmed Match, 1.000 by tier 1 (weights 0.400)"


NEEDS = _rival_venv.Needs("some", ("some",), (3, 0))


def test_an_environment_that_holds_the_requirements_is_kept(tmp_path):
    (tmp_path / "some").mkdir()
    record = {"requirements": ["some"], "installed": {"Some_Tool": "1.2"}}
    (tmp_path / "some" / "installed.json").write_text(json.dumps(record))
    found = _rival_venv.environment(NEEDS, tmp_path, [], pytest.fail)
    assert (found.version("some-tool"), found.version("other")) == ("1.2", "?")


def test_no_interpreter_is_new_enough(tmp_path):
    needs = replace(NEEDS, python=(99, 1))
    with pytest.raises(_rival_venv.UnavailableError, match=r"needs Python 99\.1 .* --python"):
        _rival_venv.environment(needs, tmp_path, [], print)


@pytest.mark.slow
def test_what_cannot_be_installed_says_so_in_one_line(tmp_path):
    needs = replace(NEEDS, requirements=(str(tmp_path / "none-1.0-py3-none-any.whl"),))
    with pytest.raises(_rival_venv.UnavailableError, match="cannot be installed: pip install: "):
        _rival_venv.environment(needs, tmp_path, [], print)
    assert not (tmp_path / "some" / "installed.json").exists()


def fake(name, code, needs=None, **options):
    def command(_, candidate, reference, __):
        return python(code, candidate.name, reference.name)

    read = options.pop("read", _rival_tools.read_ours)
    return Rival(name, needs, "pytest", command, read, "as it says", **options)


SEES = """
    import json, sys
    kin = sys.argv[1] == "finetuned"
    print(json.dumps({"verdict": "dependent" if kin else "independent", "log10_p": -9.0}))
"""
ALL_KIN = 'print(\'{"verdict": "dependent", "log10_p": -9.0}\')'
FAKES = (
    fake("provenance", SEES),
    fake("credulous", ALL_KIN, outside={"gemma": "says that it cannot"}),
    fake("crashing", "raise SystemExit('out of | luck')"),
    fake("babbling", "print('<b>')"),
    fake("absent", ALL_KIN, needs=replace(NEEDS, python=(99, 1))),
)


@pytest.fixture
def models(tmp_path):
    for name in ("smollm2", "gemma", "kin/finetuned", "work/models/twin"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(name.encode())
    return tmp_path


def compare(models, *options):
    arguments = [str(models), "--folder", str(models / "work"), *options]
    rivals.main(arguments, FAKES)


def test_every_tool_has_its_row_whatever_became_of_it(models, capsys):
    page = models / "comparison.md"
    compare(models, "--output", str(page), "--counts", str(models))
    text = page.read_text()
    assert re.search(r"\| provenance \| .* \| 1 \| 0 \| 0 \| 0 \| 2 \| 0 \| 0 \|", text)
    assert re.search(r"\| crashing \| .* \| 0 \| 0 \| 1 \| 0 \| 0 \| 0 \| 2 \|", text)
    assert "| absent | needs Python 99.1 or newer: name an interpreter with --python |" in text
    assert "✗ dependent, log10 p = -9.0" in text
    assert "○ dependent, log10 p = -9.0" in text
    assert "– exit code 1: out of \\| luck" in text
    assert "– no answer in what it printed: &lt;b>" in text
    assert "| credulous | says that it cannot | gemma |" in text
    assert UNREAD in text
    (counted,) = _counts.sources(models)
    assert [dict(row.verdicts) for row in counted.counted] == [{"dependent": 1}, {"independent": 2}]
    assert [row.disjoint for row in counted.counted] == [1, 1]


@pytest.mark.parametrize(
    ("pairs", "most"),
    [
        ((), 0),
        (("ab",), 1),
        (("ab", "ac", "ad"), 1),
        (("ab", "bc", "cd"), 2),
        (("bc", "ab", "cd"), 2),
    ],
)
def test_pairs_that_share_no_model(pairs, most):
    assert _counts.disjoint(pairs) == most


def test_what_was_answered_is_not_asked_again_and_what_was_written_is_kept(models, capsys):
    page = models / "comparison.md"
    compare(models, "--output", str(page))
    page.write_text(page.read_text().replace(UNREAD, "All is well"))
    capsys.readouterr()
    compare(models, "--output", str(page), "--only", "provenance", "credulous")
    assert not capsys.readouterr().err
    assert page.read_text().count("All is well") == page.read_text().count(BEGIN) == 1
    (models / "gemma" / "model.safetensors").write_bytes(b"another model")
    compare(models, "--only", "provenance")
    assert capsys.readouterr().err.splitlines()[0] == "provenance: gemma-smollm2"


def test_only_named_pairs_are_run(models, capsys):
    compare(models, "--only", "provenance", "--pairs", "twin-smollm2")
    assert [line for line in capsys.readouterr().err.splitlines() if ": " in line] == [
        "provenance: twin-smollm2"
    ]
    with pytest.raises(SystemExit, match="no pair qwen-smollm2: there are finetuned-smollm2, "):
        compare(models, "--pairs", "qwen-smollm2")


def test_the_papers_code_is_asked_for(models, capsys):
    asked = [str(models), "--folder", str(models / "work"), "--only", "paper, csu"]
    rivals.main(asked)
    assert "paper, csu: needs a clone of the paper's code" in capsys.readouterr().err


def test_a_pair_is_right_wrong_none_or_outside():
    pair = Pair(Path("deep"), Path("smollm2"), "kin")
    result = _rival_results.Result(
        "x", "1", "", "", "none", answered=True, seconds=1.0, peak=1, read=None, stamp=[]
    )
    inside, outside = fake("x", ""), fake("x", "", outside={"deep": "no depths"})
    marks = [
        _rival_page.mark(replace(result, call=call), pair, rival)
        for call in ("kin", "strangers", "none")
        for rival in (inside, outside)
    ]
    assert marks == ["✓", "✓", "✗", "○", "–", "○"]


@pytest.mark.slow
def test_a_sample_is_asked_for_as_its_user_does(tmp_path):
    small(tmp_path / "base", 0)
    model = LlamaForCausalLM.from_pretrained(tmp_path / "base")
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight *= 1.5
    model.save_pretrained(tmp_path / "copy")
    (rival,) = (rival for rival in RIVALS if rival.name == "provenance, sample 4")

    pair = Pair(tmp_path / "copy", tmp_path / "base", "kin")
    command = rival.command(Path(sys.executable), pair.candidate, pair.reference, None)
    assert (
        " ".join(command[3:])
        == f"compare {pair.candidate} {pair.reference} --sample 4 --json --quiet"
    )
    found = run(
        command,
        LIMITS,
        variables=rivals._variables(str(tmp_path), own=True),
        folder=tmp_path,
        watched=_rival_results.weight_files(pair),
    )
    answer, was_answered = _rival_results.judged(rival, found, LIMITS)
    assert was_answered
    assert answer.call == "kin"
    assert answer.said.startswith("dependent, log10 p = -")


def test_a_tool_is_added_to_what_is_kept_without_running_the_others(models, capsys):
    page, added = models / "comparison.md", fake("provenance, sample 4", SEES)
    compare(models, "--output", str(page), "--only", "provenance", "credulous")
    before = page.read_text()
    capsys.readouterr()
    tools = (FAKES[0], added, *FAKES[1:])
    asked = [str(models), "--folder", str(models / "work"), "--output", str(page)]
    rivals.main([*asked, "--only", added.name], tools)
    ran = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(" ")]
    assert {line.partition(":")[0] for line in ran} == {added.name}
    rows = page.read_text().splitlines()
    assert [row for row in rows if row.startswith("| credulous |")] == [
        row for row in before.splitlines() if row.startswith("| credulous |")
    ]
    (head,) = [row for row in rows if row.startswith("| pair | truth |")]
    cells = [cell.strip() for cell in head.strip("|").split("|")]
    assert cells[2:5] == ["provenance", "provenance, sample 4", "credulous"]
    (verdict,) = [row for row in rows if row.startswith("| finetuned against smollm2 | kin")]
    assert verdict.count("✓ dependent, log10 p = -9.0") == 3


CODE = {
    "statistics/csu.py": """
        def statistic(base, finetuned):
            a, b = (model.model.layers[0].mlp.up_proj.weight for model in (base, finetuned))
            same = bool((a.to("cuda") == b.to(device="cpu")).all())
            print("a line of their own")
            return (0.0 if same else 0.5), []
    """,
    "statistics/match.py": """
        def statistic_layer(base, finetuned, dataloader, i):
            return sum(batch.to("cuda").shape[0] for batch in dataloader) / (1000 + i)
    """,
    "utils/evaluate.py": """
        import torch

        def prepare_random_sample_dataset(number, length):
            return torch.ones(number, length)

        def prepare_hf_dataloader(dataset, batch):
            return dataset.split(batch)
    """,
}


@pytest.mark.slow
def test_the_papers_code_is_called_on_the_processor_where_there_is_no_gpu(tmp_path):
    for name, text in CODE.items():
        file = tmp_path / "code" / "tracing" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    small(tmp_path / "a", 0)
    small(tmp_path / "b", 1)

    def answer(name, candidate):
        (rival,) = (rival for rival in RIVALS if rival.name == name)
        folders = (tmp_path / candidate, tmp_path / "a", tmp_path / "code")
        command = rival.command(Path(sys.executable), *folders)
        found = run(command, LIMITS, variables=dict(os.environ), folder=tmp_path)
        return _rival_results.judged(rival, found, LIMITS)[0]

    assert answer("paper, csu", "a") == Answer("p = 0, which is below 1e-308", "kin")
    assert answer("paper, csu", "b") == Answer("p = 5.0e-01", "strangers")
    assert answer("paper, match", "a") == Answer("p = 2.0e-02, block 1 alone", "strangers")


def small(folder, seed):
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)


@pytest.mark.slow
def test_a_twin_has_the_bases_shape_and_tokenizer_and_weights_of_its_own(tmp_path, monkeypatch):
    from benchmarks import _rival_pairs
    from provenance.recipes.settings import CorpusSettings, TokenizerSettings, TrainSettings
    from provenance.recipes.tokenizer import train_tokenizer

    base = tmp_path / "smollm2"
    small(base, 0)
    train_tokenizer(TokenizerSettings(320, CorpusSettings("topics", 20_000))).save_pretrained(base)
    short = TrainSettings(steps=2, batch=2, length=32)
    monkeypatch.setattr(_rival_pairs, "TRAINING", short)
    said = []
    make_twin(base, tmp_path / "work", said.append)
    make_twin(base, tmp_path / "work", said.append)
    twin = tmp_path / "work" / TWIN
    assert len(said) == 2  # it was made once
    configs = [json.loads((folder / "config.json").read_text()) for folder in (base, twin)]
    assert configs[0]["intermediate_size"] == configs[1]["intermediate_size"]
    assert (twin / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    weights = [LlamaForCausalLM.from_pretrained(folder).lm_head.weight for folder in (base, twin)]
    assert not torch.allclose(*(weight.float() for weight in weights))
    assert [pair.name for pair in pairs(tmp_path, tmp_path / "work")] == ["twin-smollm2"]
