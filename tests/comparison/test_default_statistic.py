"""The statistic of a pair that names none: the same whoever asks, and what a fingerprint carries of it."""

import json

import pytest

from fixtures.models import save_checkpoint, tiny_llama
from fixtures.transforms import transplant_mlp
from provenance import Executor, ModelSpec, Store, compare, decide
from provenance.audit import History, audit_registry, load_registry
from provenance.cli import main
from provenance.evidence.decide import decide_blocks
from provenance.statistics import default_statistic


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``base``, and ``chat``: a stranger with the MLP of one block of the base."""
    home = tmp_path_factory.mktemp("models")
    base, stranger = tiny_llama(0), tiny_llama(1)
    save_checkpoint(base, home / "base")
    save_checkpoint(transplant_mlp(stranger, base, [1]), home / "chat")
    return home


@pytest.mark.slow
def test_a_transplanted_mlp_is_dependent_whoever_asks(pytester, folder, tmp_path, capsys):
    pytest.importorskip("sqlalchemy")
    store = Store(tmp_path / "store")
    chat, base = folder / "chat", folder / "base"
    evidence = compare(chat, base, executor=Executor(store))
    assert (evidence.statistic, decide(evidence, 1e-6)) == ("kinship", "dependent")

    with pytest.raises(SystemExit) as ended:
        main(["compare", str(chat), str(base), "--store", str(store.root), "-q", "--json"])
    fields = json.loads(capsys.readouterr().out)
    assert (ended.value.code, fields["statistic"], fields["verdict"]) == (
        0,
        "kinship",
        "dependent",
    )

    with History(f"sqlite:///{tmp_path / 'history.sqlite'}") as history:
        audit = audit_registry(load_registry(folder), Executor(store), history)
    assert [(pair.candidate, pair.verdict) for pair in audit.pairs] == [("chat", "dependent")]

    pytester.path.joinpath("a.suite.yaml").write_text(
        f"version: 1\nmodels:\n  chat: {{path: {chat}}}\n  base: {{path: {base}}}\n"
        "pairs: [{candidate: chat, reference: base, expect: derived, blocks: [1]}]\n"
    )
    pytester.makeini("[pytest]")
    pytester.runpytest("a.suite.yaml", "--provenance-store", store.root).assert_outcomes(passed=2)
    assert [entry["kind"] for entry in store.journal()].count("evidence") == 1

    alone = compare(chat, base, statistic="match", executor=Executor(store))
    assert decide_blocks(alone.blocks, 1e-6) == "independent"


def test_of_a_fingerprint_it_is_what_that_carries():
    model, fingerprint = ModelSpec(path="/models/a"), ModelSpec(path="/models/a.safetensors")
    assert default_statistic(model, ModelSpec(repo="org/b")) == "kinship"
    assert default_statistic(model, fingerprint) == default_statistic(fingerprint, model) == "match"
