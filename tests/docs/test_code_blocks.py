"""Every code block of README and of the documentation does what a reader will expect of it.

A suite is read, a command and a script are run where the paths that they name exist, and what is shown as
output is what is printed. Before a block may stand a comment that its readers do not see:

``<!-- not run: why -->``     it cannot be run here
``<!-- command: name -->``    `.ci/run` runs it on a fresh clone
``<!-- after: command -->``   what a reader has done before
``<!-- output: name -->``     what a function of this file prints
``<!-- cell: language -->``   its page is a notebook: its cells run in order, as one script
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

import provenance
from provenance import SuiteError, load_suite
from provenance.evidence.decide import SUSPICION
from provenance.suite.read import loads
from tests.support.places import ROOT

pytestmark = pytest.mark.slow

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md"))]
DIRECTIVE = re.compile(r"<!-- (not run|command|after|output|cell): (.+?) -->", re.DOTALL)
COMMIT = "8a0d1e6c2b" * 4


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str
    directives: dict[str, str]

    def __str__(self):
        return f"{self.page}:{self.line}-{self.language}"


def blocks():
    for page in PAGES:
        directives = {}
        for token in MarkdownIt("commonmark").parse(page.read_text("utf-8")):
            if token.type == "html_block":
                directives |= dict(DIRECTIVE.findall(token.content))
            elif token.type in {"fence", "code_block"}:
                name = page.relative_to(ROOT).as_posix()
                yield Block(name, token.map[0] + 1, token.info, token.content, directives)
                directives = {}
            elif token.level == 0:
                directives = {}


BLOCKS = list(blocks())


def these(*languages, directive=None):
    found = [
        block
        for block in BLOCKS
        if block.language in languages
        and "not run" not in block.directives
        and not {"command", "cell"} & set(block.directives)
        and (directive in block.directives if directive else "output" not in block.directives)
    ]
    return pytest.mark.parametrize("block", found, ids=str)


KNOWN = {"yaml", "sh", "python", "json", "toml", "text", "console"}


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_is_run_or_says_why_not(block):
    assert block.language in KNOWN, "name the language after the fence"
    if block.language in {"text", "console"}:
        assert {"output", "not run"} & set(block.directives)
    reason = block.directives.get("not run")
    assert reason is None or len(reason) > 10


def test_what_is_not_run_is_the_exception():
    left = [block for block in BLOCKS if "not run" in block.directives]
    assert len(left) < len(BLOCKS) / 3, [str(block) for block in left]


@these("yaml")
def test_yaml_is_a_suite_or_holds_the_commands_of_a_ci_system(block):
    if is_suite(block):
        loads(block.text, Path("docs.suite.yaml"))
    else:
        assert list(commands_in(yaml.safe_load(block.text)))


def is_suite(block):
    found = yaml.safe_load(block.text)
    return "models" in found and bool({"pairs", "lineage"} & set(found))


def commands_in(part):
    """What a CI system would run, apart from installing."""
    for key, value in part.items() if isinstance(part, dict) else enumerate(part):
        if key in {"run", "script"}:
            lines = value if isinstance(value, list) else [value]
            yield from (line for line in lines if not line.startswith("pip install"))
        elif key == "entry":  # pre-commit adds the files
            yield f"{value} suites/quickstart.suite.yaml"
        elif isinstance(value, (dict, list)):
            yield from commands_in(value)


@these("json")
def test_json_is_json(block):
    json.loads(block.text)


@these("toml")
def test_toml_is_toml(block):
    tomllib.loads(block.text)


# what a reader runs


@pytest.fixture(scope="session")
def furnished(tmp_path_factory, family):
    """A folder as a reader's is: suites, checkpoints, and a cache with repositories of the hub."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "suites", folder / "suites")
    (folder / "pytest.ini").write_text(
        "[pytest]\nmarkers =\n extended\n nightly\naddopts = -m 'not extended and not nightly'\n"
    )
    (folder / "conftest.py").write_text('pytest_plugins = ["fixtures.recipes"]\n')
    for name in ("ours", "step-9000"):
        shutil.copytree(family.kin, folder / "checkpoints" / name)
    hub = {"org/base-7b": family.base, "org/theirs": family.other, "acme/base-7b": family.base}
    for repo, source in hub.items():
        home = folder / "hub" / ("models--" + repo.replace("/", "--"))
        shutil.copytree(source, home / "snapshots" / COMMIT)
        (home / "refs").mkdir()
        for ref in ("main", "8a0d1e6c2b", "1f2e3d"):
            (home / "refs" / ref).write_text(COMMIT)
    return folder


@pytest.fixture
def reader(furnished, tmp_path, warm):
    """Run a shell script there; models come from the store of this user, as theirs do."""
    folder = tmp_path / "reader"
    shutil.copytree(furnished, folder)

    def reader(script, expected=0):
        path = os.pathsep.join([str(warm), str(Path(sys.executable).parent), os.environ["PATH"]])
        settings = {"PATH": path, "PYTHONPATH": str(ROOT)}
        settings |= {"HF_HUB_CACHE": str(folder / "hub"), "HF_HUB_OFFLINE": "1"}
        settings |= {"PROVENANCE_HISTORY": str(folder / "history.sqlite")}
        settings |= {"PYTEST_ADDOPTS": "-p no:cacheprovider", "COLUMNS": "80", "NO_COLOR": "1"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            check=False,
            cwd=folder,
            env=os.environ | settings,
            capture_output=True,
            text=True,
        )
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout

    reader.folder = folder
    return reader


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@these("sh")
def test_a_command_does_what_it_says(block, reader):
    if "after" in block.directives:
        reader(block.directives["after"])
    reader(block.text)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@these("yaml")
def test_what_a_ci_system_would_run_runs(block, reader):
    if is_suite(block):
        pytest.skip("a suite, which is read above")
    reader("\n".join(commands_in(yaml.safe_load(block.text))))


@these("python")
def test_a_script_runs(block, reader):
    if "after" in block.directives:
        reader(block.directives["after"])
    if "def test_" in block.text:
        (reader.folder / "test_page.py").write_text(block.text)
        assert "1 passed" in reader("python -m pytest test_page.py")
        return
    (reader.folder / "page.py").write_text(block.text)
    reader("python -W error page.py")


NOTEBOOKS = sorted({block.page for block in BLOCKS if "cell" in block.directives})


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize("page", NOTEBOOKS)
def test_the_cells_of_a_notebook_run_from_top_to_bottom(page, reader):
    cells = [block for block in BLOCKS if block.page == page and "cell" in block.directives]
    assert all(block.directives["cell"] == block.language for block in cells)
    for block in cells:
        if block.language == "sh":
            reader(block.text)
    script = "\n".join(block.text for block in cells if block.language == "python")
    (reader.folder / "page.py").write_text(script)
    reader("python -W error page.py")


def test_every_public_name_has_its_reference_and_an_example_that_is_run():
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    sections = {part.split("\n")[0]: part for part in page.split("\n### ")[1:]}
    assert sorted(sections) == sorted(provenance.__all__)
    for name, section in sections.items():
        assert f"::: provenance.{name}\n" in section
        (example,) = re.findall(r"<!-- cell: python -->\n```python\n(.*?)```", section, re.DOTALL)
        used = {"Evidence": "evidence", "Suite": "suite", "Results": "results"}
        assert f"provenance.{name}" in example or used[name] in example


# what a reader sees


MEASURED = r"[+-]?\d+(?:\.\d+)?e-\d+|[+-]?\d+\.\d+|\d+(?= of \d+ units)"


def shown(text):
    """Output without what differs from machine to machine: measured numbers, times, spaces, rules.

    Counts of tests, claims and blocks are the same everywhere, and stay.
    """
    return re.sub(MEASURED, "#", squeezed(text))


def squeezed(text):
    text = re.sub(r"\bin \d+\.\d+s( \([\d:]+\))?", "in #", text)
    text = re.sub(r"\d{4}-\d\d-\d\d(T[\d:+]+)?", "#", text)
    text = re.sub(r"([=_.\-])\1+", r"\1", " ".join(text.split()))
    return text.replace("= ", "=").replace(" =", "=")


def sizes(paragraph, printed):
    """Every measured number of a paragraph, with the number that was printed in its place."""
    pattern = re.escape(shown(paragraph)).replace(re.escape("#"), f"({MEASURED}|#)")
    places = re.search(pattern, squeezed(printed))
    assert places, paragraph
    return list(zip(re.findall(f"{MEASURED}|#", squeezed(paragraph)), places.groups(), strict=True))


def near(written, printed):
    """Of one order: exponents that differ by half at most, p-values of strangers, correlations within 0.05.

    Processors of other kinds round otherwise, and other releases of Python bring another text: both train
    other models from the same recipe.
    """
    if "#" in {written, printed}:
        return written == printed
    if written.startswith(("+", "-")):
        return abs(float(written) - float(printed)) <= 0.05
    if min(float(written), float(printed)) >= SUSPICION:
        return True
    least, most = sorted((abs(log10(written)), abs(log10(printed))))
    return least >= most / 2


def log10(number):
    """Of a number that may lie far below what a float holds, such as 2.7e-2784."""
    digits, _, exponent = number.partition("e")
    return math.log10(float(digits)) + int(exponent or 0)


@pytest.mark.parametrize(
    ("written", "printed", "expected"),
    [
        ("6.2e-1513", "1.7e-1511", True),
        ("6.2e-1513", "1.7e-751", False),
        ("0.34", "0.8", True),
        ("0.34", "9.0e-3", True),
        ("0.34", "9.0e-4", False),
        ("+0.988", "+1.000", True),
        ("+0.988", "-0.988", False),
    ],
)
def test_a_number_is_near_another_of_its_size(written, printed, expected):
    assert near(written, printed) is expected


def test_numbers_are_compared_in_the_places_where_they_stand():
    paragraph = "chat  4.4e-3299   3 of 384 units"
    assert sizes(paragraph, "a 0.1 chat 1.0e-3300 4 of 384 units in 0.2s") == [
        ("4.4e-3299", "1.0e-3300"),
        ("3", "4"),
    ]


def the_quickstart(reader):
    return reader("pytest suites/")


def a_comparison(reader):
    return reader("provenance compare quickstart/rebranded quickstart/base")


def a_false_claim(reader):
    suite = next(b for b in BLOCKS if b.page == "README.md" and b.language == "yaml")
    (reader.folder / "release.suite.yaml").write_text(suite.text)
    return reader("pytest release.suite.yaml", expected=1)


def names_of_tests(reader):
    return reader("pytest --collect-only -q suites/quickstart.suite.yaml")


def mistakes(reader):
    path = reader.folder / "acme.suite.yaml"
    path.write_text(
        "version: 1\n"
        "models:\n"
        "  base: {recipe: quickstart/base}\n"
        "  chat: {repo: acme/chat-with-a-name-, revison: main}\n"
        "  chat: {repo: acme/chat}\n"
        "pairs:\n"
        "  - {candidate: chta, reference: base, expect: finetuned, alpha: 2}\n"
    )
    with pytest.raises(SuiteError) as found:
        load_suite(path)
    return str(found.value).replace(str(path), path.name)


def a_first_audit(reader):
    """Models as the page has them; other is a stranger at first."""
    hub, models = reader.folder / "hub", reader.folder / "models"
    for name, repo in (("base", "base-7b"), ("other", "theirs")):
        shutil.copytree(hub / f"models--org--{repo}" / "snapshots" / COMMIT, models / name)
    shutil.copytree(reader.folder / "checkpoints" / "ours", models / "chat")
    return reader("provenance audit models").replace(str(reader.folder), "/srv")


def a_second_audit(reader):
    a_first_audit(reader)
    models = reader.folder / "models"
    shutil.rmtree(models / "other")
    shutil.copytree(models / "chat", models / "other")
    return reader("provenance audit models").replace(str(reader.folder), "/srv")


OUTPUTS = {
    "a first audit": a_first_audit,
    "a second audit": a_second_audit,
    "quickstart": the_quickstart,
    "compare": a_comparison,
    "a false claim": a_false_claim,
    "names of tests": names_of_tests,
    "mistakes": mistakes,
}


@these("text", "console", "sh", directive="output")
def test_what_is_shown_is_what_is_printed(block, reader):
    printed = OUTPUTS[block.directives["output"]](reader)
    assert block.text.strip()
    for paragraph in re.split(r"\n\s*\n", block.text):
        assert shown(paragraph) in shown(printed)
        if block.page == "README.md":
            assert [pair for pair in sizes(paragraph, printed) if not near(*pair)] == []


def test_every_output_is_shown_somewhere():
    assert {b.directives["output"] for b in BLOCKS if "output" in b.directives} == set(OUTPUTS)
