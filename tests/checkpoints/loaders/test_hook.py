"""checkpoints/loaders: schemes, plug-ins of other distributions, and where an address may stand."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from provenance import ModelSpec, compare
from provenance.checkpoints import loaders
from provenance.checkpoints.checkpoint import parse
from provenance.checkpoints.loaders import GROUP, OWN, loader_at, loader_of, scheme_of
from provenance.checkpoints.remote import RemoteFiles
from provenance.errors import SourceError
from provenance.suite.read import loads


class Shelf:
    """A plug-in: ``shelf:NAME`` is a folder of this name beside the test's."""

    home: Path

    def look_up(self, spec):
        folder = self.home / spec.url.removeprefix("shelf:")
        states = tuple((file.name, file.stat().st_size, "") for file in sorted(folder.iterdir()))
        return RemoteFiles(spec.url, (), states, f"{spec.url}@1")

    def download(self, remote, folder, progress=None):
        for name, _, _ in remote.states:
            source = self.home / remote.url.removeprefix("shelf:") / name
            (folder / name).write_bytes(source.read_bytes())


@pytest.fixture
def plugged(monkeypatch):
    """Install plug-ins: scheme and object."""

    def plugged(**points):
        made = tuple(EntryPoint(name, value, GROUP) for name, value in points.items())
        monkeypatch.setattr(loaders, "entry_points", lambda group: made if group == GROUP else ())
        loaders._registered.cache_clear()

    yield plugged
    monkeypatch.undo()
    loaders._registered.cache_clear()


def test_our_own_are_loaders_of_their_schemes():
    assert {point.name for point in OWN} == {"models", "modelscope", "oci", "ollama"}
    for point in OWN:
        assert loader_of(f"{point.name}:x") is point.load()


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("ollama:llama3.2:1b", "ollama"),
        ("oci://ghcr.io/org/model:1", "oci"),
        ("models:/churn/3", "models"),
        ("modelscope:org/name", "modelscope"),
        ("s3://bucket/model", None),
        ("org/name", None),
        ("repo:org/name", None),
        ("ollama:", None),
        ("Ollama:x", None),
    ],
)
def test_an_address_is_known_by_its_scheme(text, scheme):
    assert scheme_of(text) == scheme
    if scheme is not None:
        assert parse(text) == ModelSpec(url=text)


def test_what_lies_here_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ollama:x").mkdir()
    assert parse("ollama:x") == ModelSpec(path="ollama:x")


def test_a_suite_names_an_address_under_url():
    suite = loads(
        "version: 1\nmodels: {a: {url: 'ollama:x:1b'}, b: {url: 'models:/churn@best'}}\n"
        "pairs: [{candidate: a, reference: b, expect: derived}]\n",
        Path("a.suite.yaml"),
    )
    assert suite.models["a"].source == "ollama:x:1b"


def test_a_plug_in_of_another_distribution_brings_its_models(plugged, base, opened, monkeypatch):
    plugged(shelf=f"{__name__}:Shelf", s3=f"{__name__}:Shelf", ollama="nowhere:X")
    monkeypatch.setattr(Shelf, "home", base.parent, raising=False)
    assert scheme_of("s3:x") is None  # what is a scheme already stays what it is
    assert loader_of("ollama:x").__class__.__name__ == "OllamaLoader"
    monkeypatch.setattr(f"{__name__}.Shelf", Shelf())
    found = opened("shelf:base")
    assert found.source == "shelf:base@1"
    assert found.weights_digest == opened_path(base).weights_digest


def opened_path(folder):
    from provenance import Executor, Store

    return Executor(Store(folder.parent / "s"), "cpu").checkpoint(ModelSpec(path=str(folder)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere.at.all:X", "the plug-in nowhere.at.all:X cannot be loaded"),
        ("json:loads", "json:loads has no look_up and download: it is no loader"),
    ],
)
def test_a_broken_plug_in_is_a_line(plugged, value, message):
    plugged(shelf=value)
    with pytest.raises(SourceError, match=message) as caught:
        loader_at(ModelSpec(url="shelf:x"))
    assert "\n" not in str(caught.value)


def test_a_sample_of_what_is_brought_whole_is_refused(executor):
    with pytest.raises(SourceError, match="is brought whole, and never in part"):
        compare("ollama:x", "ollama:y", sample=1, executor=executor)
