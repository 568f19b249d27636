"""Where pytest would root a run: its own answer, in all the ways that there are to configure it."""

import os
from pathlib import Path

import pytest
from _pytest.pathlib import resolve_from_str

from provenance.errors import ProvenanceError
from provenance.gate.pytest_root import pytest_root

FILE = "top/sub/deep/a.suite.yaml"
TREES = {
    "nothing": {},
    "own file, empty": {"top/pytest.ini": ""},
    "own file, hidden": {"top/sub/.pytest.ini": "", "top/pytest.ini": "[pytest]\n"},
    "two": {"top/pytest.ini": "[pytest]\n", "top/sub/pytest.ini": "[pytest]\n"},
    "project": {"top/pyproject.toml": "[tool.pytest.ini_options]\ncache_dir = 'kept'\n"},
    "native": {"top/pyproject.toml": "[tool.pytest]\ncache_dir = 'kept'\n"},
    "own toml": {"top/pytest.toml": "[pytest]\ncache_dir = 'kept'\n", "top/sub/setup.py": ""},
    "project of others": {"top/sub/pyproject.toml": "[project]\nname = 'x'\n", "setup.py": ""},
    "project of others, below one": {
        "top/sub/pyproject.toml": "[tool.ruff]\n",
        "top/tox.ini": "[pytest]\n",
    },
    "tox of others": {"top/sub/tox.ini": "[tox]\n", "top/setup.py": ""},
    "cfg": {"top/sub/setup.cfg": "[tool:pytest]\ncache_dir = $CACHES/there\n"},
    "cfg of others": {"top/sub/setup.cfg": "[metadata]\n", "top/setup.py": ""},
    "added": {"top/pytest.ini": "[pytest]\naddopts = -o cache_dir=kept --rootdir=top/sub\n"},
    "listed": {"top/pytest.toml": "[pytest]\naddopts = ['-o', 'cache_dir=kept']\n"},
    "setup": {"top/sub/setup.py": ""},
}
ADDED = [
    "",
    "--rootdir=top/sub -q",
    "-c other.ini",
    "-n 0 -o cache_dir=~/kept",
    "-c /dev/null",
]


@pytest.fixture
def plant(pytester, monkeypatch):
    """Make a tree of files, with a suite deep within."""

    def plant(files):
        for name, text in {"other.ini": "[pytest]\ncache_dir=others\n", FILE: "", **files}.items():
            path = pytester.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return pytester.path

    monkeypatch.setenv("CACHES", "/caches")
    return plant


def answers(pytester, folder, file):
    """Pytest's own answer, and ours."""
    arguments = () if file is None else (os.path.relpath(file, folder),)
    config = pytester.parseconfig(*arguments)
    own = (config.rootpath, resolve_from_str(config.getini("cache_dir"), config.rootpath))
    root = pytest_root(folder, file, os.environ)
    return own, (root.folder, root.cache)


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("within", ["top/sub/deep", "top", "top/beside"])
@pytest.mark.parametrize("named", [True, False])
def test_the_root_is_pytests_own(plant, pytester, monkeypatch, tree, within, named):
    if "toml" in str(TREES[tree]) and pytest.version_tuple < (9,):
        pytest.skip("pytest reads its own toml since version 9")
    top = plant(TREES[tree])
    folder = top / within
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    own, ours = answers(pytester, folder, top / FILE if named else None)
    assert ours == own


@pytest.mark.parametrize("added", ADDED)
@pytest.mark.parametrize("tree", ["nothing", "project", "added"])
def test_so_it_is_with_added_options(plant, pytester, monkeypatch, tree, added):
    top = plant(TREES[tree])
    monkeypatch.setenv("PYTEST_ADDOPTS", added)
    own, ours = answers(pytester, top, top / FILE)
    assert ours == own


def test_files_of_nothing_in_common_are_rooted_where_they_lie():
    assert pytest_root(Path("/here"), Path("/there/x/a.suite.yaml"), {}).folder == Path("/there/x")


@pytest.mark.parametrize(
    ("files", "added", "words"),
    [
        ({"top/pyproject.toml": "[tool"}, "", "top/pyproject.toml: pytest's configuration"),
        ({"top/pytest.ini": "x\n"}, "", "top/pytest.ini: pytest's configuration"),
        ({}, "--rootdir='", "PYTEST_ADDOPTS cannot be read: No closing quotation"),
        ({}, "--rootdir", "pytest's options cannot be read: argument --rootdir"),
    ],
)
def test_what_pytest_cannot_read_is_one_line(plant, files, added, words):
    top = plant(files)
    with pytest.raises(ProvenanceError, match=words) as refused:
        pytest_root(top, top / FILE, {"PYTEST_ADDOPTS": added})
    assert "\n" not in str(refused.value)
