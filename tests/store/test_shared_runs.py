"""Runs on machines that share a store at a URL: executors, pytest, a node's tasks and commands."""

from __future__ import annotations

import json
from hashlib import sha256

import fsspec
import pytest

from fixtures.models import save_checkpoint, tiny_llama
from provenance import Executor, InputsSpec, ModelSpec, Store, compare
from provenance.cli import main
from provenance.cluster import driver, tasks
from provenance.comparison.plan import Comparison
from provenance.errors import SourceError, StoreError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
INPUTS = InputsSpec(tokens=512, sequence_length=64)
SUITE = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64}}
models:
  base: {{path: {family.base}}}
  kin: {{path: {family.kin}}}
  other: {{path: {family.other}}}
pairs:
  - {{candidate: kin, reference: base, expect: finetune}}
  - {{candidate: other, reference: base, expect: independent}}
"""


@pytest.fixture
def bucket(s3, tmp_path):
    name = f"r{sha256(str(tmp_path).encode()).hexdigest()[:20]}"
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir(name)
    return f"s3://{name}/p"


@pytest.fixture(params=["file", "s3"])
def url(request, tmp_path):
    if request.param == "s3":
        return request.getfixturevalue("bucket")
    return (tmp_path / "shared").as_uri()


def kinds(store):
    return [line["kind"] for line in store.journal() if line["kind"] != "hashes"]


# --- executors -----------------------------------------------------------------------------------


def test_a_second_machine_measures_nothing_and_has_the_same_evidence(url, tmp_path, family):
    here, there = Store(url, tmp_path / "here"), Store(url, tmp_path / "there")
    how = {"inputs": INPUTS, "statistic": "match"}
    first = compare(family.kin, family.base, executor=Executor(here, "cpu"), **how)
    second = compare(family.kin, family.base, executor=Executor(there, "cpu"), **how)
    assert first == second
    assert kinds(here) == ["activations", "activations", "evidence"]
    assert kinds(there) == []
    assert "activations" not in there.size()  # nobody asked for them


def test_a_second_machine_uses_the_activations_of_the_first(url, tmp_path, family):
    here, there = Store(url, tmp_path / "here"), Store(url, tmp_path / "there")
    how = {"inputs": INPUTS, "statistic": "match"}
    compare(family.kin, family.base, executor=Executor(here, "cpu"), **how)
    compare(family.other, family.base, executor=Executor(there, "cpu"), **how)
    assert kinds(there) == ["activations", "evidence"]


def test_a_machine_without_the_weights_of_a_conversion_brings_what_was_made(url, tmp_path, family):
    """What is made on one machine is not made again on another, whose results might differ."""
    spec = ModelSpec(path=str(family.base), disguised="all")
    made = Executor(Store(url, tmp_path / "here"), "cpu").checkpoint(spec)
    there = Store(url, tmp_path / "there")
    assert Executor(there, "cpu").checkpoint(spec).digest == made.digest
    assert kinds(there) == []


def test_a_download_stays_on_its_machine(url, tmp_path):
    folder = save_checkpoint(tiny_llama(0), tmp_path / "model")
    here = Store(url, tmp_path / "here")
    Executor(here, "cpu").checkpoint(ModelSpec(url=folder.as_uri()))
    assert kinds(here) == ["checkpoint"]
    assert here.shared_size() == {}


def test_a_store_that_fails_is_no_result(tmp_path, family, monkeypatch):
    """A pair whose evidence could not be shared has failed, and is not measured again."""
    url = (tmp_path / "shared").as_uri()
    here = Store(url, tmp_path / "here")
    comparison = Comparison(
        ModelSpec(path=str(family.kin)), ModelSpec(path=str(family.base)), INPUTS, "match"
    )
    with monkeypatch.context() as patch:
        put = type(here._shared).put

        def refuse(self, kind, *arguments, **settings):
            if kind == "evidence":
                raise StoreError("cannot use the store x: access is refused")
            return put(self, kind, *arguments, **settings)

        patch.setattr(type(here._shared), "put", refuse)
        with pytest.raises(StoreError, match=r"access is refused; what was computed is kept in"):
            Executor(here, "cpu").ensure(comparison)
    done = kinds(here)
    Executor(here, "cpu").ensure(comparison)
    assert kinds(here) == done
    assert Executor(Store(url, tmp_path / "there"), "cpu").has(comparison)


def test_evidence_that_cannot_be_read_is_told_with_both_places(tmp_path, family):
    url = (tmp_path / "shared").as_uri()
    executor = Executor(Store(url, tmp_path / "here"), "cpu")
    comparison = Comparison(
        ModelSpec(path=str(family.kin)), ModelSpec(path=str(family.base)), INPUTS, "match"
    )
    fields = executor._fields(comparison, *executor._pair(comparison))
    executor.store.get_or_create(
        "evidence", fields, lambda folder: (folder / "evidence.json").write_text("{}") and None
    )
    with pytest.raises(Exception, match=f"remove that folder, and its like below {url}, and run"):
        executor.evidence(comparison)


# --- the tasks of a cluster ----------------------------------------------------------------------


def settings(store, token):
    return tasks.Settings.of(Executor(store, "cpu"), token)


@pytest.fixture(autouse=True)
def forgotten():
    tasks._executor.cache_clear()
    yield
    tasks._executor.cache_clear()


def test_a_node_finds_the_store_by_its_url(url, tmp_path, family, monkeypatch):
    here = Store(url, tmp_path / "here")
    comparison = Comparison(
        ModelSpec(path=str(family.kin)), ModelSpec(path=str(family.base)), INPUTS, "match"
    )
    monkeypatch.setenv("PROVENANCE_STORE_CACHE", str(tmp_path / "node"))
    with driver._token(here) as token:
        assert settings(here, token).store == url
        assert tasks.perform(settings(here, token), comparison, on_cpu=True) is None
    assert kinds(Store(url)) == ["activations", "activations", "evidence"]
    assert Executor(here, "cpu").has(comparison)
    assert kinds(here) == []


def test_a_node_that_is_led_elsewhere_says_so(url, tmp_path, monkeypatch):
    monkeypatch.setenv("PROVENANCE_STORE_CACHE", str(tmp_path / "node"))
    error = tasks.perform(
        settings(Store(url), "cluster/missing"), ModelSpec(path="x"), on_cpu=False
    )
    assert isinstance(error, tasks.UnlikeError)
    assert f"does not see the store {url}: " in str(error)
    assert "or a URL that leads all of them to the same place" in str(error)


def test_a_node_without_the_library_ends_the_plan(tmp_path, monkeypatch):
    def absent(*_args, **_settings):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", absent)
    given = settings(Store("s3://b/p", tmp_path), "cluster/x")
    error = tasks.perform(given, ModelSpec(path="x"), on_cpu=False)
    assert isinstance(error, tasks.UnlikeError)
    assert "Install s3fs to access S3: pip install 'pytest-provenance[s3]'" in str(error)
    assert "\n" not in str(error)


# --- pytest --------------------------------------------------------------------------------------


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*.json")
        if path.name != "results.json"
    }


@pytest.mark.usefixtures("warm_python")
def test_a_suite_on_two_machines_gives_the_same_bytes(url, pytester, family, tmp_path, monkeypatch):
    pytester.path.joinpath("a.suite.yaml").write_text(SUITE.format(family=family))
    found = {}
    for name in ("here", "there"):
        monkeypatch.setenv("PROVENANCE_STORE_CACHE", str(tmp_path / name))
        arguments = (f"--provenance-store={url}", f"--provenance-evidence={tmp_path / name}-out")
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)
        result.assert_outcomes(passed=8)
        found[name] = tree(tmp_path / f"{name}-out")
    assert len(found["here"]) == 2
    assert found["here"] == found["there"]
    monkeypatch.setenv("PROVENANCE_STORE_CACHE", str(tmp_path / "here"))
    assert kinds(Store(url)).count("evidence") == 2
    monkeypatch.setenv("PROVENANCE_STORE_CACHE", str(tmp_path / "there"))
    assert kinds(Store(url)) == []


@pytest.mark.usefixtures("warm_python")
def test_workers_share_what_is_at_a_url(pytester, family, tmp_path, monkeypatch):
    pytester.path.joinpath("a.suite.yaml").write_text(SUITE.format(family=family))
    monkeypatch.setenv("PROVENANCE_STORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PROVENANCE_STORE", (tmp_path / "shared").as_uri())
    result = pytester.runpytest_subprocess("-n2", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=8)
    assert kinds(Store()).count("evidence") == 2


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("http://host/x", "*http://host/x cannot hold a store, which needs puts*"),
        ("s3://me:secret@b/x", "*s3://b/x must be given without user, password and query*"),
    ],
)
@pytest.mark.parametrize("way", ["option", "environment"])
def test_a_url_that_cannot_hold_a_store_ends_pytest_in_one_line(
    pytester, family, monkeypatch, place, said, way
):
    pytester.path.joinpath("a.suite.yaml").write_text(SUITE.format(family=family))
    if way == "environment":
        monkeypatch.setenv("PROVENANCE_STORE", place)
    arguments = [f"--provenance-store={place}"] if way == "option" else []
    result = pytester.runpytest_inprocess(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])
    assert "secret" not in result.stderr.str().replace(place, "")


def test_a_claim_whose_results_cannot_be_shared_fails_and_says_so(
    pytester, family, tmp_path, monkeypatch
):
    pytester.path.joinpath("a.suite.yaml").write_text(SUITE.format(family=family))
    monkeypatch.setenv("PROVENANCE_STORE_CACHE", str(tmp_path / "cache"))
    shared = tmp_path / "shared"
    shared.write_text("a file is in the way")
    result = pytester.runpytest_inprocess(f"--provenance-store={shared.as_uri()}", "--tb=short")
    result.assert_outcomes(failed=8)
    result.stdout.fnmatch_lines(["*cannot use the store file:*check the network*"])
    assert "Traceback" not in result.stdout.str()


# --- commands ------------------------------------------------------------------------------------


@pytest.fixture
def run(capfd):
    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, arguments)))
        out, err = capfd.readouterr()
        return ended.value.code, out, err

    return run


def build(folder):
    (folder / "a").write_text("x" * 1000)


def test_both_tiers_are_shown_and_the_one_here_is_cleared(run, tmp_path, monkeypatch):
    url = (tmp_path / "shared").as_uri()
    monkeypatch.setenv("PROVENANCE_STORE_CACHE", str(tmp_path / "cache"))
    Store(url).get_or_create("evidence", {"a": 1}, build)
    root = str(Store(url).root)
    code, out, _ = run("store", "ls", "--store", url)
    lines = out.splitlines()
    assert (code, lines[0], lines[2]) == (0, url, root)
    assert lines[1].split() == lines[3].split() == ["evidence", "1", "entries", "0.0", "MB"]
    _, out, _ = run("store", "gc", "--keep", "0", "--store", url)
    assert out == "removed 1 entries\n"
    found = json.loads(run("store", "ls", "--store", url, "--json")[1])
    assert found["store"] == url
    assert found["folder"] == root
    assert found["kinds"] == {}
    assert found["shared"]["evidence"]["entries"] == 1


def test_a_comparison_keeps_what_it_finds_at_a_url(run, tmp_path, family, monkeypatch):
    url = (tmp_path / "shared").as_uri()
    pair = (family.kin, family.base, "--tokens", 512, "--sequence-length", 64, "--json")
    found = []
    for name in ("here", "there"):
        monkeypatch.setenv("PROVENANCE_STORE_CACHE", str(tmp_path / name))
        code, out, _ = run("compare", *pair, "--store", url)
        assert code == 0
        found.append(json.loads(out))
    assert found[0] == found[1]
    assert kinds(Store(url)) == []


@pytest.mark.parametrize("command", [("store", "ls"), ("doctor",)])
def test_a_command_refuses_a_url_that_cannot_hold_a_store(run, command):
    code, out, err = run(*command, "--store", "ftp://host/x")
    assert (code, out) == (2, "")
    assert err.startswith("provenance: ftp://host/x cannot hold a store")
    assert err.count("\n") == 1


def test_a_store_option_that_is_a_file_is_refused(run, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = run("store", "ls", "--store", tmp_path / "file")
    assert code == 2
    assert "is a file" in err


def test_an_unknown_model_is_told_before_the_store_is(tmp_path):
    executor = Executor(Store("s3://b/x", tmp_path), "cpu")
    with pytest.raises(SourceError):
        executor.checkpoint(ModelSpec(path=str(tmp_path / "gone")))
