"""checkpoints/loaders/mlflow_server.py: a server on 127.0.0.1 that answers as MLflow 3.17.2 does.

Its answers are those that a real one gave to the same requests, with other names.
"""

import base64
import json
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest

from provenance.checkpoints.loaders import mlflow_server
from provenance.checkpoints.loaders.mlflow import LOADER
from provenance.vocabulary import ModelSpec
from tests.support.local_server import answering

ROOT = "1/8cb3/artifacts/tiny"
MISSING = {"error_code": "RESOURCE_DOES_NOT_EXIST", "sqlstate": "KAM00"}


def said(fields, status=200):
    return status, {"Content-Type": "application/json"}, json.dumps(fields).encode()


def missing(message, status=404):
    return said(MISSING | {"message": message}, status)


@dataclass
class MLflow:
    """The registered model ``churn``: its versions by number, an alias, and files by their paths."""

    files: dict = field(default_factory=dict)
    uris: dict = field(default_factory=dict)
    host: str = ""
    shown: str = ""
    instead: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)

    def reply(self, path, headers):
        self.requests.append((path, headers.get("authorization", "")))
        parts = urlsplit(path)
        for end, answer in self.instead.items():
            if parts.path.endswith(end):
                return answer
        if self.shown and headers.get("authorization") != self.shown:
            return 401, {"WWW-Authenticate": 'Basic realm="mlflow"'}, b"You are not authenticated."
        asked = {key: value[0] for key, value in parse_qs(parts.query).items()}
        place = parts.path.removeprefix("/api/2.0/mlflow-artifacts/artifacts")
        if place != parts.path:
            return self._listed(asked["path"]) if not place else self._file(place.strip("/"))
        return self._registry(parts.path.removeprefix("/api/2.0/mlflow/"), asked)

    def _registry(self, what, asked):
        if what == "runs/get":
            return said({"run": {"info": {"artifact_uri": "mlflow-artifacts:/1/8cb3/artifacts"}}})
        if what == "registered-models/alias":
            if asked["alias"] != "best":
                return missing(f"Registered model alias {asked['alias']} not found.", 400)
            asked = asked | {"version": max(self.uris)}
        version = asked["version"]
        if asked["name"] != "churn" or version not in self.uris:
            return missing(f"Model Version (name={asked['name']}, version={version}) not found")
        if what == "model-versions/get-download-uri":
            return said({"artifact_uri": self.uris[version]})
        about = {"name": "churn", "version": version, "creation_timestamp": 1, "source": "x"}
        return said({"model_version": about})

    def _listed(self, folder):
        below = {
            name.removeprefix(f"{folder}/"): data
            for name, data in self.files.items()
            if name.startswith(f"{folder}/")
        }
        files = {name: len(data) for name, data in below.items() if "/" not in name}
        folders = sorted({name.partition("/")[0] for name in below if "/" in name})
        rows = [{"path": name, "is_dir": False, "file_size": n} for name, n in files.items()]
        rows += [{"path": name, "is_dir": True} for name in folders]
        return said({"files": rows} if rows else {})

    def _file(self, place):
        if place not in self.files:
            return missing(f"No such artifact: '{place}'")
        return 200, {"Content-Type": "application/octet-stream"}, self.files[place]


@pytest.fixture
def mlflow(monkeypatch, content):
    for name in ("MLFLOW_REGISTRY_URI", *(f"MLFLOW_TRACKING_{x}" for x in ("TOKEN", "USERNAME"))):
        monkeypatch.delenv(name, raising=False)
    found = MLflow(uris={"1": f"mlflow-artifacts:/{ROOT}"})
    found.files = {f"{ROOT}/model/{name}": data for name, data in content.items()} | {
        f"{ROOT}/MLmodel": b"flavors: {}\n",
        f"{ROOT}/components/tokenizer/tokenizer.json": b"{}",
        f"{ROOT}/components/tokenizer/notes.txt": b"x",
    }
    with answering(found.reply) as host:
        found.host = host
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{host}")
        yield found


@pytest.mark.parametrize(
    "uri",
    [
        f"mlflow-artifacts:/{ROOT}",
        "mlflow-artifacts://{host}/" + ROOT,
        "runs:/8cb3/tiny",
    ],
)
def test_a_version_is_brought_with_its_tokenizer_wherever_the_server_has_it(
    mlflow, opened, executor, base, uri
):
    mlflow.uris["1"] = uri.format(host=mlflow.host)
    found = opened("models:/churn/1")
    assert found.weights_digest == executor.checkpoint(ModelSpec(path=str(base))).weights_digest
    assert found.source == "models:/churn/1"
    assert (found.folder / "tokenizer.json").read_text() == "{}"
    assert not (found.folder / "notes.txt").exists()
    assert not any(path.endswith(("MLmodel", "notes.txt")) for path, _ in mlflow.requests)


def test_an_alias_is_the_version_that_it_means(mlflow, opened):
    mlflow.uris["12"] = mlflow.uris.pop("1")
    assert opened("models:/churn@best").source == "models:/churn/12"


@pytest.mark.parametrize("scheme", ["file://", ""])
def test_artifacts_in_a_folder_that_both_see_are_copied(
    mlflow, opened, executor, base, tmp_path, scheme
):
    folder = tmp_path / "artifacts of a run" / "tiny"
    for name, data in mlflow.files.items():
        place = folder / name.removeprefix(f"{ROOT}/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    mlflow.uris["1"] = f"{scheme}{folder}"
    found = opened("models:/churn/1")
    assert found.weights_digest == executor.checkpoint(ModelSpec(path=str(base))).weights_digest
    assert (found.folder / "tokenizer.json").read_text() == "{}"


def test_artifacts_in_a_bucket_are_read_from_there(mlflow, opened, executor, base, s3):
    import s3fs

    bucket = s3fs.S3FileSystem()
    bucket.mkdir("artifacts")
    for name, data in mlflow.files.items():
        bucket.pipe(f"artifacts/{name}", data)
    mlflow.uris["1"] = f"s3://artifacts/{ROOT}"
    found = opened("models:/churn/1")
    assert found.weights_digest == executor.checkpoint(ModelSpec(path=str(base))).weights_digest


# who asks


def test_a_name_and_its_password_come_before_a_token(mlflow, opened, refused, monkeypatch):
    mlflow.shown = "Basic " + base64.b64encode(b"me:secret").decode()
    refused("models:/churn/1", "access is refused; set MLFLOW_TRACKING_USERNAME and ")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0")
    refused("models:/churn/1", "access is refused")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    assert opened("models:/churn/1").weights_digest


def test_a_token_is_shown(mlflow, opened, monkeypatch):
    mlflow.shown = "Bearer t0"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0")
    assert opened("models:/churn/1").weights_digest


def test_no_credentials_go_to_a_store_to_which_the_server_sends_on(mlflow, opened, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0")
    weights = mlflow.files[f"{ROOT}/model/model.safetensors"]
    elsewhere = []

    def store(_path, headers):
        elsewhere.append(headers.get("authorization", ""))
        return 200, {}, weights

    with answering(store) as host:
        there = f"http://localhost:{host.rpartition(':')[2]}/presigned"
        mlflow.instead = {"model.safetensors": (302, {"Location": there}, b"")}
        assert opened("models:/churn/1").weights_digest
    assert elsewhere == [""]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://me:secret@127.0.0.1:1", "must be http://HOST:PORT without user and password"),
        ("http://", "must be http://HOST:PORT"),
        ("http://127.0.0.1:1", "cannot be reached"),
    ],
)
def test_an_address_of_no_server_is_refused_without_its_password(
    refused, monkeypatch, mlflow, uri, message
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    refused("models:/churn/1", f"^(?!.*secret).*{message}")


def test_a_token_that_no_header_can_hold_is_refused(mlflow, refused, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a\nb")
    refused("models:/churn/1", "MLFLOW_TRACKING_TOKEN has characters that no token has")


def test_the_registry_may_be_another_than_where_runs_are(mlflow, opened, monkeypatch):
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"http://{mlflow.host}/")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///nowhere.db")
    assert opened("models:/churn/1").weights_digest


# what is not there, and what misbehaves


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "models:/churn/9",
            r"models:/churn/9 is not there \(Model Version \(name=churn, version=9\) ",
        ),
        (
            "models:/nobody/1",
            r"is not there \(Model Version \(name=nobody, version=1\) not found\)",
        ),
        ("models:/churn@none", r"is not there \(Registered model alias none not found\.\)"),
        ("models:/churn/01", "names no version of a model; write models:/NAME/VERSION"),
        ("models:/churn/Production", "names no version of a model"),
    ],
)
def test_what_is_no_version_is_said_as_the_server_says_it(mlflow, refused, address, message):
    refused(address, message)


HTML = (200, {"Content-Type": "text/html"}, b"<html>sign in</html>")
VERSION, URI, LIST = "versions/get", "get-download-uri", "/artifacts"


@pytest.mark.parametrize(
    ("end", "answer", "message"),
    [
        (VERSION, HTML, "the answer is no JSON; check the address"),
        (VERSION, said([]), "the answer is no JSON object"),
        (VERSION, said({}), "answers without model_version; is it MLflow's?"),
        (VERSION, said({"model_version": {"version": "2"}}), "answers with no such version"),
        (VERSION, (404, {}, b"<html>"), "models:/churn/1 is not there; check the address"),
        (VERSION, missing("a\x1b[31m\nb"), r"is not there \(a⟨U\+001B⟩\[31m⟨U\+000A⟩b\)"),
        (VERSION, (503, {}, b""), "the server answers 503; .*5 tries failed"),
        (VERSION, (302, {"Location": "/api/2.0/mlflow/model-versions/get"}, b""), "redirects"),
        (URI, said({}), "does not say where its files are"),
        (
            URI,
            said({"artifact_uri": "dbfs:/x"}),
            "its artifacts are at 'dbfs:/x', which is not read",
        ),
        (URI, said({"artifact_uri": "http://x/y"}), "which is not read"),
        (URI, said({"artifact_uri": "memory://x"}), "which is not read"),
        (URI, said({"artifact_uri": "relative/path"}), "which is not read"),
        (URI, said({"artifact_uri": "mlflow-artifacts:/../x"}), "is no place of artifacts"),
        (
            URI,
            said({"artifact_uri": "mlflow-artifacts://other:5000/x"}),
            "are behind another server .other:5000.; set MLFLOW_TRACKING_URI to that one",
        ),
        (
            URI,
            said({"artifact_uri": "file:///no/such/folder"}),
            "there is nothing at file:///no/such",
        ),
        (LIST, said({}), "models:/churn/1 has no files"),
        (LIST, said({"files": {}}), "has no list of files"),
        (LIST, said({"files": [{"path": "..", "is_dir": True}]}), "is no place in a folder"),
        (
            LIST,
            said({"files": [{"path": "model.safetensors"}, {"path": "config.json"}]}),
            "its store does not say how large",
        ),
        ("model.safetensors", (200, {}, b"short"), "broke off after 5 of .* bytes"),
        ("config.json", (200, {}, b"x" * 4096), "is longer than the .* bytes"),
        ("config.json", missing("No such artifact"), "config.json is not there"),
    ],
)
def test_a_server_that_answers_with_something_else_is_a_line(mlflow, refused, end, answer, message):
    mlflow.instead = {end: answer}
    refused("models:/churn/1", message)


def test_a_large_size_may_be_a_text_as_protocol_buffers_write_it(mlflow, opened, content):
    rows = [
        {"path": name, "is_dir": False, "file_size": str(len(data))}
        for name, data in content.items()
    ]
    mlflow.files = {f"{ROOT}/{name}": data for name, data in content.items()}
    mlflow.instead = {LIST: said({"files": rows})}
    assert opened("models:/churn/1").weights_digest


def test_a_folder_that_holds_itself_ends(mlflow, refused):
    mlflow.instead = {LIST: said({"files": [{"path": "again", "is_dir": True}]})}
    refused("models:/churn/1", "has no files")
    assert len(mlflow.requests) < 10


def test_without_a_server_mlflow_itself_is_asked(monkeypatch):
    for address in ("", "sqlite:///x.db", "file:///x", "databricks"):
        assert mlflow_server.server_of({"MLFLOW_TRACKING_URI": address}) is None
    assert LOADER is not None
