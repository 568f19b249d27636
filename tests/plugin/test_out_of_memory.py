"""A GPU that is full: batches are halved, then the claim fails in a line, and the others go on."""

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaModel

from provenance import Results

pytestmark = pytest.mark.slow

SUITE = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64}}
defaults: {{statistic: match, alpha: 1e-6}}
models:
  base: {{path: {family.base}}}
  kin: {{path: {family.kin}}}
  other: {{path: {family.other}}}
pairs:
  - {{candidate: other, reference: base, expect: independent}}
  - {{candidate: kin, reference: base, expect: finetune}}
"""


@pytest.fixture
def device(monkeypatch):
    """A device on which batches of only so many sequences fit, by model; says what was tried."""
    room, tried = {}, []
    really = LlamaModel.forward

    def forward(self, input_ids=None, **arguments):
        if input_ids.is_meta:  # a model is traced before it is loaded
            return really(self, input_ids=input_ids, **arguments)
        name = self.config.name_or_path.rpartition("/")[2]
        tried.append((name, len(input_ids)))
        if len(input_ids) > room.get(name, 8):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return really(self, input_ids=input_ids, **arguments)

    monkeypatch.setattr(LlamaModel, "forward", forward)
    return room, tried


@pytest.fixture
def run(pytester, family, tmp_path):
    def run(store):
        pytester.makefile(".suite.yaml", a=SUITE.format(family=family))
        options = ("--provenance-evidence=kept", f"--provenance-store={tmp_path / store}")
        done = pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)
        return done, Results.from_json((pytester.path / "kept" / "results.json").read_text())

    return run


COVERAGE = (2, 2, 2)
"""Sequences of the passes that look how much of the model is compared."""


def test_batches_are_halved_until_they_fit_and_the_numbers_are_the_same(device, run):
    room, tried = device
    done, roomy = run("roomy")
    assert done.ret == pytest.ExitCode.OK
    tried.clear()
    room["other"] = 2
    done, scarce = run("scarce")
    assert done.ret == pytest.ExitCode.OK
    assert [size for name, size in tried if name == "other"] == [8, 4, 2, 2, 2, 2, *COVERAGE]
    for before, after in zip(roomy.claims, scarce.claims, strict=True):
        assert after.evidence.log10_p == pytest.approx(before.evidence.log10_p, rel=1e-3)


def test_a_model_of_which_nothing_fits_fails_its_claim_in_a_line_and_the_others_go_on(device, run):
    room, tried = device
    room["other"] = 0
    done, results = run("store")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert [result.state for result in results.claims] == ["fail", "pass"]
    assert "not even one sequence of 64 tokens fits the device's memory" in results.claims[0].error
    done.stdout.fnmatch_lines(
        ["*could not be checked: path:*other: not even one sequence*: lower sequence_length*"]
    )
    assert "Traceback" not in done.stdout.str()
    # once, though the claim has as many tests as the model has blocks, and one more; last without the head
    assert [size for name, size in tried if name == "other"] == [8, 4, 2, 1, 1]
    room.clear()
    done, results = run("store")
    assert done.ret == pytest.ExitCode.OK
