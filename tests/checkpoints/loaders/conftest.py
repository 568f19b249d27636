"""What the loaders' tests share: a small checkpoint as bytes, and an executor with an empty store."""

import pytest

from fixtures.models import save_checkpoint, tiny_llama
from provenance import Executor, Store
from provenance.errors import SourceError
from provenance.vocabulary import ModelSpec


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A checkpoint's folder."""
    return save_checkpoint(tiny_llama(0), tmp_path_factory.mktemp("loaders") / "base")


@pytest.fixture(scope="session")
def content(base):
    """Its files, by name."""
    return {file.name: file.read_bytes() for file in sorted(base.iterdir())}


@pytest.fixture
def executor(tmp_path, monkeypatch):
    monkeypatch.setattr("provenance.checkpoints.ranged.patience.PAUSE", 0.001)
    return Executor(Store(tmp_path / "store"), "cpu")


@pytest.fixture
def opened(executor):
    return lambda url, **settings: executor.checkpoint(ModelSpec(url=url, **settings))


@pytest.fixture
def refused(executor):
    """See that an address is refused in one line, and that nothing of it is kept."""

    def refused(url, match, **settings):
        with pytest.raises(SourceError, match=match) as caught:
            executor.checkpoint(ModelSpec(url=url, **settings))
        assert "\n" not in str(caught.value)
        assert executor.store.size().get("checkpoint", (0, 0))[0] == 0

    return refused
