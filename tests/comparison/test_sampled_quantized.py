"""Samples of quantized models: found kin with the models that they were made of, without reading more."""

from __future__ import annotations

import pytest

from fixtures.synthetic_weights import Size, Weights, write_checkpoint
from provenance import Executor, ProvenanceError, Store, compare
from provenance.evidence.decide import decide
from tests.support.quantized_weights import KINDS, write_mxfp4, write_quantized

DENSE = Size(blocks=3, hidden=64, units=96, vocabulary=400)
MIXTURE = Size(blocks=2, hidden=64, units=96, vocabulary=400, experts=12)
SEEDS = {"copy": {"seed": 0, "disguise": 7}, "stranger": {"seed": 1}}
ALPHA = 1e-6


@pytest.fixture
def executor(tmp_path):
    return Executor(Store(tmp_path / "store"), "cpu")


@pytest.mark.parametrize(
    ("size", "kind"),
    [*((DENSE, kind) for kind in KINDS), (MIXTURE, "fp8 blocks"), (MIXTURE, "compressed int4")],
)
def test_a_permuted_and_quantized_copy_is_found(tmp_path, executor, size, kind):
    copy = write_quantized(tmp_path / "copy", Weights(size, **SEEDS["copy"]), kind)
    base = write_checkpoint(tmp_path / "base", Weights(size, 0))
    found = compare(str(copy), str(base), sample=2, executor=executor)
    assert decide(found, ALPHA) == "dependent"
    assert found.scope == "sampled"
    assert found.candidate.conversion.endswith("dequantized, as far as it was read")
    assert found.reference.conversion is None


@pytest.mark.parametrize(("name", "verdict"), [("copy", "dependent"), ("stranger", "not found")])
def test_mxfp4_meets_what_it_was_made_of(tmp_path, executor, name, verdict):
    quantized = write_mxfp4(tmp_path / "quantized", Weights(MIXTURE, **SEEDS[name]))
    base = write_mxfp4(tmp_path / "base", Weights(MIXTURE, 0), quantized=False)
    found = compare(str(quantized), str(base), sample=2, executor=executor)
    assert decide(found, ALPHA) == verdict
    assert found.candidate.by_names == ()


@pytest.mark.parametrize("kind", ["fp8 blocks", "compressed int4"])
def test_of_a_quantized_stranger_nothing_is_found(tmp_path, executor, kind):
    stranger = write_quantized(tmp_path / "other", Weights(DENSE, **SEEDS["stranger"]), kind)
    base = write_quantized(tmp_path / "base", Weights(DENSE, 0), kind)
    found = compare(str(stranger), str(base), sample=2, executor=executor)
    assert decide(found, ALPHA) == "not found"
    assert {record.found_at(ALPHA) for record in found.power.values()} == {True}


def test_a_method_whose_rows_are_not_read_alone_is_refused(tmp_path, executor, monkeypatch):
    settings, make = KINDS["fp8 rows"]
    monkeypatch.setitem(KINDS, "gptq", (settings | {"quant_method": "gptq"}, make))
    quantized = write_quantized(tmp_path / "quantized", Weights(DENSE, 0), "gptq")
    base = write_checkpoint(tmp_path / "base", Weights(DENSE, 0))
    with pytest.raises(
        ProvenanceError, match=r"is quantized \(gptq\), of which no part is read: compare without"
    ):
        compare(str(quantized), str(base), sample=2, executor=executor)
