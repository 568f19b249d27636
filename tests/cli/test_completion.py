"""What a shell asks of the command, and what it is answered."""

import os
import shutil
import subprocess
import sys

import pytest

from provenance.cli import cli, main
from provenance.recipes import RECIPES
from tests.docs.test_docs import commands

pytestmark = pytest.mark.slow

WITHOUT_JSON = {
    "provenance attest make",  # JSON already
    "provenance attest sign",  # likewise
    "provenance bom",  # likewise
    "provenance completion",  # a script
    "provenance demo",  # likewise
    "provenance schema",  # JSON already
    "provenance summary",  # Markdown of what is JSON
    "provenance suite schema",
}
DOCUMENTS = {
    "provenance attest make",
    "provenance attest sign",
    "provenance bom",
    "provenance completion",
    "provenance fingerprint",
    "provenance graph",
    "provenance init",
    "provenance report",
    "provenance schema",
    "provenance suite schema",
    "provenance summary",
}
"""Commands that make one document, which is written where -o says."""


def answers(*words, shell="bash"):
    """What completes the last of the words."""
    environment = os.environ | {
        "_PROVENANCE_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(["provenance", *words]),
        "COMP_CWORD": str(len(words)),
    }
    command = [sys.executable, "-m", "provenance"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return [tuple(line.split(",", 1)) for line in done.stdout.splitlines()]


def test_commands_are_completed():
    assert {("plain", "compare"), ("plain", "completion")} <= set(answers("comp"))
    assert ("plain", "check") in answers("suite", "")


def test_options_and_statistics_are_completed():
    assert ("plain", "--statistic") in answers("compare", "--stat")
    found = answers("compare", "--statistic", "match")
    assert found == [
        ("plain", name) for name in ("match", "match_cosine", "match_tokens", "match_weights")
    ]


def test_recipes_are_completed_where_a_model_is_asked_for():
    found = answers("compare", "quickstart/")
    assert found == [("plain", name) for name in sorted(RECIPES) if name.startswith("quickstart/")]
    assert ("plain", "quickstart/base") in answers("compare", "quickstart/base", "quick")


def test_what_begins_no_recipe_is_completed_as_a_file():
    assert answers("compare", "./chec") == [("file", "./chec")]
    assert answers("compare", "")[0] == ("file", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_script_asks_by_the_protocol_and_parses(shell, capfd, tmp_path):
    with pytest.raises(SystemExit) as stop:
        main(["completion", shell])
    out, err = capfd.readouterr()
    assert (stop.value.code, err) == (0, "")
    assert f"_PROVENANCE_COMPLETE={shell}_complete" in out
    if shutil.which(shell):
        (tmp_path / "script").write_text(out)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True, capture_output=True)


def test_bash_completes_by_the_script(tmp_path, capfd):
    """The script itself, in a shell, against the command."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not here")
    with pytest.raises(SystemExit):
        main(["completion", "bash"])
    program = tmp_path / "provenance"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m provenance "$@"\n')
    program.chmod(0o755)
    (tmp_path / "script").write_text(capfd.readouterr().out)
    lines = (
        f"source {tmp_path}/script; COMP_WORDS=(provenance compare quickstart/b); COMP_CWORD=2; "
        '_provenance_completion provenance; echo "${COMPREPLY[@]}"'
    )
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", lines], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.split() == ["quickstart/base"]


def test_another_shell_is_a_mistake(capfd):
    with pytest.raises(SystemExit) as stop:
        main(["completion", "tcsh"])
    assert stop.value.code == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in capfd.readouterr().err


# the same everywhere


@pytest.mark.parametrize("words", [words for words, _ in commands()])
def test_every_command_that_prints_results_has_json(words):
    flags = {flag for param in dict(commands())[words].params for flag in param.opts}
    assert ("--json" in flags) == (words not in WITHOUT_JSON)


@pytest.mark.parametrize("words", [words for words, _ in commands()])
def test_every_command_that_runs_models_can_be_quiet(words):
    flags = {flag for param in dict(commands())[words].params for flag in param.opts}
    if "--memory" in flags:
        assert {"-q", "--quiet", "--store", "--device"} <= flags


@pytest.mark.parametrize("words", [words for words, _ in commands()])
def test_every_command_that_makes_a_document_says_where_to_in_one_way(words):
    flags = {flag for param in dict(commands())[words].params for flag in param.opts}
    assert ({"-o", "--output"} <= flags) == (words in DOCUMENTS)
    assert ("-o" in flags) == ("--output" in flags)


@pytest.mark.parametrize(
    "words", ["", "attest", "suite", "store", *(words for words, _ in commands())]
)
@pytest.mark.parametrize("width", [40, 80])
def test_a_help_text_is_whole(words, width, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit) as stop:
        main([*words.split()[words.startswith("provenance") :], "--help"])
    out = capfd.readouterr().out
    assert stop.value.code == 0
    assert "\\b" not in out
    assert "\b" not in out
    listed = out.partition("Start here:")[0]
    assert "..." not in listed.partition("Options:")[2]


def test_a_shell_that_tells_what_a_command_does_has_the_whole_sentence():
    cut = [text for kind, *text in answers("attest", "", shell="zsh") if "..." in "".join(text)]
    assert cut == []
    lines = [kind for kind, *_ in answers("attest", "", shell="zsh")]
    assert "Check the signature of ENVELOPE" in lines


def test_the_help_teaches_and_groups_every_command(capfd):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    out = capfd.readouterr().out
    assert stop.value.code == 0
    lines = [line.split()[0] for line in out.splitlines() if line.startswith("  ") and line.strip()]
    for name in cli.commands:
        assert lines.count(name) == 1
    for words in ("Check models and claims:", "Keep house:", "Start here:", "Exit codes:"):
        assert words in out
