"""What `suite check` notes of a sound suite: models of no claim, paths at which nothing is."""

import json
import os

import pytest

from provenance.cli import main
from provenance.suite.oversights import oversights
from provenance.suite.read import load

HEAD = """\
version: 1
models:
  a: {{recipe: quickstart/base}}
  b: {{recipe: quickstart/other}}
{models}
pairs:
  - {{candidate: a, reference: b, expect: independent}}
{more}
"""


@pytest.fixture
def noted(tmp_path, monkeypatch):
    """The notes on a suite with these further models and lines, by their lines and columns."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here/weights.gguf").touch()
    (tmp_path / "here/broken").symlink_to("gone")
    monkeypatch.setenv("HOME", str(tmp_path))

    def noted(models="", more=""):
        file = tmp_path / "a.suite.yaml"
        file.write_text(HEAD.format(models=models, more=more))
        return [(note.line, note.column, note.message) for note in oversights(load(file))]

    return noted


@pytest.mark.parametrize(
    ("models", "more", "unused"),
    [
        ("", "", []),
        ("  c: {repo: x/c}", "", ["c"]),
        ("  c: {repo: x/c}\n  d: {repo: x/d}", "", ["c", "d"]),
        ("  c: {repo: x/c}", "  - {candidate: c, reference: a, expect: derived}", []),
        ("  c: {repo: x/c}", "  - {candidate: c, reference: a, expect: derived, skip: x}", []),
        ("  c: {repo: x/c}", "lineage: {a: {c: {}}}", []),
        (  # a base is used where its adapter is
            "  c: {repo: x/c}\n  d: {repo: x/d, base: c}\n  e: {repo: x/e, base: d}",
            "  - {candidate: e, reference: a, expect: derived}",
            [],
        ),
        ("  c: {repo: x/c}\n  d: {repo: x/d, base: c}", "", ["c", "d"]),
        ("  true: {repo: x/c}", "", ["true"]),
    ],
)
def test_a_model_that_no_claim_is_about_is_noted(noted, models, more, unused):
    found = noted(models, more)
    assert [message.partition(",")[0] for _, _, message in found] == [
        f"no claim is about model {name!r}" for name in unused
    ]
    assert [(line, column) for line, column, _ in found] == [(5 + i, 3) for i in range(len(unused))]


@pytest.mark.parametrize(
    ("model", "more", "absent"),
    [
        ("{path: here}", "", None),
        ("{path: ./here/weights.gguf}", "", None),
        ("{path: gone}", "", "~/gone"),
        ("{path: ../gone/x}", "", "gone/x"),
        ("{path: /nowhere/x}", "", "/nowhere/x"),
        ("{path: here/broken}", "", "~/here/broken"),
        ("{path: here/weights.gguf/x}", "", "~/here/weights.gguf/x"),
        (f"{{path: {'x' * 300}}}", "", "x" * 300),
        ("{path: here, base: ./gone}", "", "~/gone"),
        ("{path: here, base: /nowhere/x}", "", "/nowhere/x"),
        ("{path: here, base: org/name}", "", None),
        ("{path: here, base: a}", "", None),
        ("{url: 's3://bucket/x'}", "", None),
        ("{path: here}", "inputs: {text: gone.txt}", "~/gone.txt"),
        ("{path: here}", "inputs: {text: a.suite.yaml}", None),
        ("{path: here}", "inputs: {kind: tokens}", None),
    ],
)
def test_a_local_path_at_which_nothing_is_is_noted(noted, model, more, absent):
    found = noted(f"  c: {model}", f"  - {{candidate: c, reference: a, expect: derived}}\n{more}")
    assert len(found) == (absent is not None)
    if absent is not None:
        ((line, _, message),) = found
        assert line == (9 if more else 5)
        assert message.startswith("nothing is at ")
        assert f"{absent}, or it may not be read: check the path" in message


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_says_so_and_finds_no_mistake(noted, tmp_path, capfd, as_json):
    noted("  c: {path: gone}")
    file = os.path.relpath(tmp_path / "a.suite.yaml")
    with pytest.raises(SystemExit) as stop:
        main(["suite", "check", file, *["--json"][: int(as_json)]])
    out, err = capfd.readouterr()
    assert stop.value.code == 0
    if as_json:
        (suite,) = json.loads(out)["suites"]
        assert (err, suite["problems"], len(suite["notes"])) == ("", [], 2)
        return
    assert out == f"{file}: 1 claim on 3 models\n"
    first, second = err.splitlines()
    assert first.startswith(f"{file}:5:3: note: no claim is about model 'c'")
    assert second.startswith(f"{file}:5:13: note: nothing is at ~/gone")
