"""checkpoints/loaders/modelscope.py: the HTTP API on 127.0.0.1, and answers that cannot be relied on."""

import errno
import hashlib
import json
import os
from urllib.parse import parse_qs, urlsplit

import pytest

from provenance.checkpoints.loaders.modelscope import LOADER
from provenance.errors import SourceError, StoreError
from provenance.vocabulary import ModelSpec
from tests.support.local_server import answering

ID = "modelscope:org/tiny"


class Hub:
    """The repository ``org/tiny`` at two revisions; ``listed`` changes what is said of its files."""

    def __init__(self, content):
        self.revisions = {"master": dict(content), "v1.0": dict(content)}
        self.listed = lambda entries: entries
        self.status = 200
        self.requests = []

    def reply(self, path, headers):
        parts = urlsplit(path)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.requests.append((parts.path, headers.get("authorization", "")))
        files = self.revisions.get(asked.get("Revision"))
        if (
            self.status != 200
            or files is None
            or not parts.path.startswith("/api/v1/models/org/tiny/")
        ):
            return self.status if self.status != 200 else 404, {}, b'{"Success": false}'
        if parts.path.endswith("/repo/files"):
            return (
                200,
                {},
                json.dumps({"Success": True, "Data": {"Files": self._files(files)}}).encode(),
            )
        return 200, {}, files[asked["FilePath"]]

    def _files(self, files):
        entries = [{"Path": "original", "Type": "tree", "Size": 0, "Sha256": ""}]
        for name, data in files.items():
            sha256 = hashlib.sha256(data).hexdigest()
            entries.append({"Path": name, "Type": "blob", "Size": len(data), "Sha256": sha256})
        return self.listed(entries)


@pytest.fixture
def hub(content, monkeypatch):
    found = Hub(content | {"README.md": b"# x", "configuration.json": b"{}"})
    monkeypatch.delenv("MODELSCOPE_API_TOKEN", raising=False)
    with answering(found.reply) as host:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", f"http://{host}")
        yield found


def test_a_repository_is_brought_without_what_is_not_needed(hub, opened, executor, base):
    found = opened(ID)
    assert found.weights_digest == executor.checkpoint(ModelSpec(path=str(base))).weights_digest
    assert not (found.folder / "README.md").exists()
    assert found.source.startswith(f"{ID}@master@sha256:")
    assert opened(found.source).digest == found.digest


def test_a_revision_is_named_behind_an_at(hub):
    assert LOADER.look_up(ModelSpec(url=f"{ID}@v1.0")).pinned.startswith(f"{ID}@v1.0@sha256:")


def test_the_address_that_evidence_records_means_these_files_and_no_others(hub, refused):
    pinned = LOADER.look_up(ModelSpec(url=ID)).pinned
    hub.revisions["master"]["config.json"] += b" "
    refused(pinned, r"has other files by now: those of @master are sha256:[0-9a-f]{64}")


def test_a_token_is_sent_to_this_machine_or_over_tls(hub, monkeypatch):
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-secret")
    LOADER.look_up(ModelSpec(url=ID))
    assert hub.requests[-1][1] == "Bearer ms-secret"
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub_by_name())
    LOADER.look_up(ModelSpec(url=ID))
    assert hub.requests[-1][1] == ""
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "a\nb")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub_by_name().replace("localhost", "127.0.0.1"))
    with pytest.raises(SourceError, match="has characters that no token has"):
        LOADER.look_up(ModelSpec(url=ID))


def hub_by_name():
    return os.environ["MODELSCOPE_ENDPOINT"].replace("127.0.0.1", "localhost")


def test_other_bytes_than_were_listed_are_refused(hub, refused):
    hub.listed = lambda entries: [one | {"Sha256": "0" * 64} for one in entries]
    refused(ID, "came damaged: its SHA-256 is not the one that was said")
    hub.listed = lambda entries: [one | {"Size": max(0, one["Size"] - 1)} for one in entries]
    refused(ID, "is longer than the")


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (errno.ENOSPC, StoreError, "No space left on device"),
        (errno.EIO, SourceError, "config.json cannot be read or written: Input/output error"),
    ],
)
def test_a_disk_that_takes_no_more_is_a_line(hub, executor, monkeypatch, number, kind, message):
    def write(*_arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("provenance.checkpoints.loaders.web._write", write)
    with pytest.raises(kind, match=message) as caught:
        executor.checkpoint(ModelSpec(url=ID))
    assert "\n" not in str(caught.value)
    assert executor.store.size().get("checkpoint", (0, 0))[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"Path": "../config.json"},
        {"Path": 3},
        {"Size": "1"},
        {"Size": True},
        {"Sha256": None},
        {"Sha256": "x"},
    ],
)
def test_an_entry_that_cannot_be_is_no_file(hub, refused, change):
    hub.listed = lambda entries: [one | change for one in entries] + [3]
    refused(ID, "has no weights")


@pytest.mark.parametrize(
    "answer", [b"no JSON", b"[]", b'{"Data": 3}', b'{"Data": {"Files": 3}}', b"[" * 99999]
)
def test_an_answer_that_is_no_list_is_refused(monkeypatch, refused, answer):
    with answering(lambda _path, _headers: (200, {}, answer)) as host:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", f"http://{host}")
        refused(ID, "is no JSON|is not there, or is private")


def test_an_answer_without_an_end_is_refused(monkeypatch, refused):
    monkeypatch.setattr("provenance.checkpoints.loaders.web.ANSWER_LIMIT", 1000)
    with answering(lambda _path, _headers: (200, {}, b" " * 2000)) as host:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", f"http://{host}")
        refused(ID, "the answer has more than 1,000 bytes: refused")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "access is refused"),
        (404, "is not there"),
        (500, "answers 500; try again later; 5 tries"),
    ],
)
def test_a_hub_that_refuses_is_a_line(hub, refused, status, message):
    hub.status = status
    refused(ID, message)


@pytest.mark.parametrize(
    "address", ["modelscope:tiny", "modelscope:a/b/c", "modelscope:../tiny", f"{ID}@a/../b"]
)
def test_what_names_no_model_is_refused(hub, refused, address):
    refused(address, "names no model of ModelScope; write modelscope:ORG/NAME")


def test_an_endpoint_that_is_none_is_refused(monkeypatch, refused):
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "ftp://u:p@host")
    refused(ID, "MODELSCOPE_ENDPOINT is no address such as")
