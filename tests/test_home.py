"""The user's home folder: written as ``~`` wherever a path is named, and not there for a bare uid."""

import os
import re

import pytest

from provenance import ProvenanceError, Store, load_registry, load_suite
from provenance._text import home_folder, without_home
from provenance.audit import History
from provenance.cli import main
from provenance.inputs.corpus import text

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

SUITE = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64{text}}}
models:
  base: {{path: {base}}}
  kin: {{path: {kin}}}
pairs:
  - {{candidate: kin, reference: base, expect: finetune}}
"""


@pytest.fixture
def bare_uid(monkeypatch):
    """A user without HOME and without an entry in the password file, as of ``docker run --user``."""

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in (
        "HOME",
        "PROVENANCE_STORE",
        "PROVENANCE_HISTORY",
        "XDG_CACHE_HOME",
        "XDG_DATA_HOME",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(family, tmp_path, monkeypatch):
    """A home folder with links to a family's models, and a text."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("base", "kin"):
        (folder / name).symlink_to(getattr(family, name))
    (folder / "corpus.txt").write_text("def f(x):\n    return x + 1\n" * 400)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def call(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    return stop.value.code


# --- without a home ------------------------------------------------------------------------------


def test_a_suite_runs_without_a_home_where_a_store_is_named(
    pytester, bare_uid, family, shared_store
):
    assert "HOME" not in os.environ  # which pytester sets
    pytester.path.joinpath("a.suite.yaml").write_text(
        SUITE.format(base=family.base, kin=family.kin, text="")
    )
    store = f"--provenance-store={shared_store}"
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", store)
    result.assert_outcomes(passed=4)


@pytest.mark.usefixtures("bare_uid")
def test_a_pair_is_compared_without_a_home_where_a_store_is_named(capfd, family, shared_store):
    how = ("--tokens", "512", "--sequence-length", "64", "--store", shared_store)
    assert call("compare", family.kin, family.base, *how) == 0
    assert "dependent" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        (("compare", "{base}", "{base}"), "PROVENANCE_STORE"),
        (("compare", "{base}", "{base}", "--store", "~/store"), "PROVENANCE_STORE"),
        (("store", "ls"), "PROVENANCE_STORE"),
        (("store", "ls", "--store", "memory://bucket"), "PROVENANCE_STORE_CACHE"),
        (("audit", "{audited}", "--store", "{store}"), "PROVENANCE_HISTORY"),
        (("compare", "org/name", "{base}", "--store", "{store}"), "HF_HOME"),
    ],
)
@pytest.mark.usefixtures("bare_uid")
def test_one_line_says_what_to_set_where_there_is_no_home(
    capfd, family, tmp_path, monkeypatch, arguments, variable
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "~/.cache/huggingface/hub")
    monkeypatch.chdir(tmp_path)
    names = {"base": family.base, "audited": family.base.parent, "store": tmp_path / "store"}
    code = call(*(argument.format(**names) for argument in arguments))
    err = capfd.readouterr().err
    assert code == 2
    assert re.fullmatch(rf"provenance: .*no home folder.*: set {variable} to a \w+\n", err)
    assert not (tmp_path / "~").exists()


def test_a_suite_says_in_one_line_that_there_is_no_home(pytester, bare_uid, family):
    pytester.path.joinpath("a.suite.yaml").write_text(
        SUITE.format(base=family.base, kin=family.kin, text="")
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(errors=4)
    assert not re.search(r"Traceback|INTERNALERROR|\.py:\d+", result.stdout.str())
    assert "set PROVENANCE_STORE to a folder" in result.stdout.str()


@pytest.mark.parametrize("home", ["", "relative", "/", None])
def test_texts_are_as_they_were_where_there_is_no_home(monkeypatch, bare_uid, home):
    if home is not None:
        monkeypatch.setenv("HOME", home)
    assert home_folder() is None
    assert without_home("path:/home/me/relative/x") == "path:/home/me/relative/x"


# --- ~ -------------------------------------------------------------------------------------------


def test_a_suites_paths_may_begin_with_the_home(pytester, home, shared_store):
    pytester.path.joinpath("a.suite.yaml").write_text(
        SUITE.format(base="~/base", kin="~/kin", text=", text: ~/corpus.txt")
    )
    store = f"--provenance-store={shared_store}"
    out = ("--provenance-evidence=~/evidence", "--provenance-report=~/report.html")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", store, *out)
    result.assert_outcomes(passed=4)
    assert (home / "evidence").is_dir()
    assert (home / "report.html").is_file()
    assert not (pytester.path / "~").exists()


def test_paths_of_suites_and_registries_are_those_of_the_home(home, tmp_path):
    path = tmp_path / "a.suite.yaml"
    path.write_text(SUITE.format(base="~/base", kin="./~/kin", text=", text: ~/corpus.txt"))
    suite = load_suite(path)
    assert suite.models["base"].path == str(home / "base")
    assert suite.models["kin"].path == str(tmp_path / "~/kin")  # a folder of that name
    assert suite.inputs.text == str(home / "corpus.txt")
    registry = tmp_path / "registry.yaml"
    registry.write_text("version: 1\nmodels:\n  a: {path: ~/base}\n  b: {path: '~/kin'}\n")
    assert [spec.path for spec in load_registry(registry).models.values()] == [
        str(home / "base"),
        str(home / "kin"),
    ]
    registry.write_text("version: 1\nfolder: ~/\n")
    assert set(load_registry("~/").models) == {"base", "kin"} == set(load_registry(registry).models)


def test_an_adapters_base_may_begin_with_the_home(home, tmp_path):
    path = tmp_path / "a.suite.yaml"
    path.write_text(SUITE.format(base="./base, base: ~/base", kin="./kin", text=""))
    assert load_suite(path).models["base"].base == "~/base"  # read when it is opened, as typed


def test_stores_histories_and_texts_may_lie_in_the_home(home):
    assert Store("~/store").root == home / "store"
    with History("~/history.sqlite"):
        assert (home / "history.sqlite").is_file()
    assert text("~/corpus.txt", 5) == "def f"


def test_a_home_of_nobody_is_a_path_like_any_other(tmp_path):
    path = tmp_path / "a.suite.yaml"
    path.write_text(SUITE.format(base="~nobody-of-that-name/x", kin="~/kin", text=""))
    found = load_suite(path).models["base"].path
    assert found == str(tmp_path / "~nobody-of-that-name/x")
    with pytest.raises(ProvenanceError, match="no text file"):
        text("~nobody-of-that-name/x", 5)
    assert not os.path.lexists(found)
