"""What a run writes is for its owner: the store for them alone, the rest never for others to change."""

import os
import stat

import pytest

from provenance import Store
from provenance.audit import (
    History,
    _tables,  # noqa: F401 - pytester forgets what is imported later
)
from provenance.cli import main

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")

SUITE = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64}}
models:
  base: {{path: {family.base}}}
  kin: {{path: {family.kin}}}
pairs:
  - {{candidate: kin, reference: base, expect: finetune}}
"""


@pytest.fixture(params=[0o000, 0o022], ids=oct)
def _umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def below(folder):
    return [folder, *(path for path in folder.rglob("*") if not path.is_symlink())]


def open_to_others(paths, bits):
    return [(str(path), oct(mode(path))) for path in paths if mode(path) & bits]


def of_ours(folder):
    """What is in a folder, save what pytest has of its own in its cache."""
    found = below(folder)
    return [p for p in found if ".pytest_cache" not in p.parts or p.name == "results.json"]


@pytest.mark.slow
@pytest.mark.usefixtures("_umask")
def test_the_store_and_the_history_are_private_and_nothing_is_for_others_to_change(
    pytester, family, tmp_path, monkeypatch
):
    private = tmp_path / "private"  # made on the way to both
    monkeypatch.setenv("PROVENANCE_STORE", str(private / "deep" / "store"))
    monkeypatch.setenv("PROVENANCE_HISTORY", str(private / "data" / "audit.sqlite"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary"))
    (pytester.path / "a.suite.yaml").write_text(SUITE.format(family=family))
    given = set(below(pytester.path))
    outputs = ["evidence", "report", "attestation", "sarif", "lock"]
    options = [f"--provenance-{name}=out/put/{name}" for name in outputs]
    done = pytester.runpytest_inprocess(*options, "--update-lock", "--provenance-github=on")
    assert done.ret == pytest.ExitCode.OK
    for command in (
        ["audit", "a.suite.yaml", "--results", "out/audit.json"],
        ["report", "out/put/evidence", "--output", "out/again.html"],
        ["bom", "out/put/evidence/results.json", "-o", "out/bom.json"],
    ):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert not stop.value.code
    made = [path for path in of_ours(pytester.path) if path not in given]
    names = {*outputs, "summary", "audit.json", "again.html", "bom.json", "results.json"}
    assert {path.name for path in made} >= names
    assert open_to_others(made, 0o022) == []
    assert {path.name for path in below(private)} >= {"journal.jsonl", "audit.sqlite", "locks"}
    assert open_to_others(below(private), 0o077) == []


@pytest.mark.usefixtures("_umask")
def test_what_is_being_made_lies_where_nobody_else_can_look(tmp_path):
    seen = []

    def build(folder):
        (folder / "weights").write_bytes(b"1")
        (folder / "part").mkdir()
        (folder / "part" / "more").write_bytes(b"1")
        seen.extend(open_to_others([folder, folder.parent, *folder.parents[1:3]], 0o077))

    entry = Store(tmp_path / "store").get_or_create("evidence", {"a": 1}, build)
    assert seen == []
    assert open_to_others(below(entry.path), 0o077) == []


@pytest.mark.usefixtures("_umask")
def test_a_history_while_it_is_written_is_private_with_the_files_beside_it(tmp_path):
    with History(str(tmp_path / "audit.sqlite")) as history:
        history.keep_failure("key", "match", "why")
        files = list(tmp_path.glob("audit.sqlite*"))
        assert {path.name for path in files} >= {"audit.sqlite", "audit.sqlite-wal"}
        assert open_to_others(files, 0o077) == []


def test_a_history_that_is_shared_stays_so(tmp_path):
    file = tmp_path / "audit.sqlite"
    file.touch()
    file.chmod(0o660)
    History(str(file)).close()
    assert mode(file) == 0o660
