"""Evidence is kept under names that every file system takes, however long the suite's names are."""

import json
import subprocess
import sys

import pytest

from provenance._text import LONGEST_FILE_NAME, file_name

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

LONG = 96  # characters that the hub lets a name have
SUITE = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64}}
models:
  {base}: {{path: {family.base}}}
  {kin}: {{path: {family.kin}}}
  {other}: {{path: {family.other}}}
pairs:
  - {{candidate: {kin}, reference: {base}, expect: finetune, statistic: [match, match_weights]}}
  - {{candidate: {other}, reference: {base}, expect: independent{more}}}
"""


@pytest.mark.parametrize(
    ("place", "lengths", "more"),
    [
        ("a.suite.yaml", (124, 124, 124), ""),
        ("a.suite.yaml", (LONG, LONG, LONG), ""),
        ("a.suite.yaml", (1, 250, 300), ""),
        ("a.suite.yaml", (1, 1, 1), f", id: {'i' * 500}"),
        (f"{'s' * 200}.suite.yaml", (1, 1, 1), ""),
        (f"{'d' * 100}/{'e' * 100}/{'f' * 100}/a.suite.yaml", (124, 124, 124), ""),
    ],
    ids=["the-issue", "hub", "over-255", "id", "file", "folders"],
)
def test_evidence_is_kept_under_names_of_any_length(
    pytester, family, shared_store, place, lengths, more
):
    base, kin, other = (letter * n for letter, n in zip("abc", lengths, strict=True))
    path = pytester.path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SUITE.format(base=base, kin=kin, other=other, family=family, more=more))
    kept = pytester.path / "kept"
    result = pytester.runpytest_inprocess(
        "-p",
        "no:cacheprovider",
        f"--provenance-store={shared_store}",
        f"--provenance-evidence={kept}",
    )
    result.assert_outcomes(passed=12)
    files = sorted(kept.rglob("*/*.json"))
    assert len(files) == 3  # none was written over
    assert all(len(file.name) <= LONGEST_FILE_NAME for file in files)
    assert {json.loads(file.read_text())["statistic"] for file in files} == {
        "kinship",
        "match",
        "match_weights",
    }
    # finds each claim's file by its name; in another process, as pytester has modules of its own
    command = [sys.executable, "-m", "provenance", "verify", *map(str, files)]
    done = subprocess.run(
        [*command, "--suite", str(path), "--json"], capture_output=True, check=False
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["stands"]


def test_a_name_that_is_short_stays_and_long_ones_differ():
    assert file_name("a-vs-b", ".json") == "a-vs-b.json"
    assert file_name("a" * 135, ".json") == "a" * 135 + ".json"
    one, other = (file_name("a" * 300 + end, ".json") for end in "xy")
    assert one != other
    assert one.endswith(".json")
    assert len(file_name("é" * 100, ".json").encode()) <= LONGEST_FILE_NAME
