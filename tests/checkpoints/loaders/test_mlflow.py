"""checkpoints/loaders/mlflow.py: a registry of MLflow on disk; skipped where MLflow is not installed."""

import shutil
import sys

import pytest

from provenance.checkpoints.loaders.mlflow import LOADER
from provenance.vocabulary import ModelSpec

pytestmark = pytest.mark.slow


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """Register folders as versions of models; MLflow numbers them."""
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    place = f"file://{tmp_path / 'registry'}"
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", place)
    client = MlflowClient(place, place)
    client.create_registered_model("churn")

    def register(folder, alias=None):
        version = client.create_model_version("churn", source=f"file://{folder}").version
        if alias is not None:
            client.set_registered_model_alias("churn", alias, version)
        return version

    return register


@pytest.fixture
def logged(base, tmp_path):
    """A checkpoint as MLflow's flavor for transformers logs it."""
    folder = tmp_path / "logged"
    shutil.copytree(base, folder / "model")
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "components" / "tokenizer").mkdir(parents=True)
    (folder / "components" / "tokenizer" / "tokenizer.json").write_text("{}")
    (folder / "components" / "tokenizer" / "notes.txt").write_text("x")
    return folder


def test_a_version_is_brought_with_its_tokenizer(registry, logged, opened, executor, base, capfd):
    version = registry(logged, alias="best")
    capfd.readouterr()
    found = opened(f"models:/churn/{version}")
    assert capfd.readouterr() == ("", "")
    assert found.weights_digest == executor.checkpoint(ModelSpec(path=str(base))).weights_digest
    assert found.source == f"models:/churn/{version}"
    assert (found.folder / "tokenizer.json").read_text() == "{}"
    assert not (found.folder / "notes.txt").exists()


def test_an_alias_is_the_version_that_it_means(registry, logged, opened, base):
    registry(logged)
    second = registry(base, alias="best")  # files of a checkpoint, right in the version
    assert opened("models:/churn@best").source == f"models:/churn/{second}"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("models:/churn/9", r"models:/churn/9 cannot be had from MLflow \("),
        ("models:/nobody/1", r"cannot be had from MLflow \("),
        ("models:/churn@nothing", r"cannot be had from MLflow \("),
        ("models:/churn/Production", "names no version of a model; write models:/NAME/VERSION"),
        ("models:/churn", "names no version of a model"),
    ],
)
def test_what_is_no_version_is_refused(registry, logged, refused, address, message):
    registry(logged)
    refused(address, message)


def test_a_version_without_weights_is_refused(registry, logged, refused):
    (logged / "model" / "model.safetensors").unlink()
    refused(f"models:/churn/{registry(logged)}", "has no weights")


def test_a_file_that_changes_between_listing_and_bringing_is_refused(
    registry, logged, refused, monkeypatch
):
    version = registry(logged)
    listed = LOADER.look_up(ModelSpec(url=f"models:/churn/{version}"))
    monkeypatch.setattr(type(LOADER), "look_up", lambda _self, _spec: listed)
    (logged / "model" / "config.json").write_text("{}")
    refused(f"models:/churn/{version}", "model/config.json came in another size; try again")


def test_without_mlflow_the_extra_is_named(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    refused("models:/churn/1", r"pip install 'pytest-provenance\[mlflow\]'")
