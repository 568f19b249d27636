"""Whatever ends a measurement, nothing of its models stays in memory: neither Ctrl-C nor an error."""

import gc
import json
import pkgutil
import traceback
import weakref
from xml.etree import ElementTree as ET

import pytest
import torch

from provenance import Executor, InputsSpec, ModelSpec, Results, Store
from provenance.attest import read_statement
from provenance.comparison.plan import Comparison
from provenance.errors import DegenerateError, DeviceError, release_frames
from provenance.vocabulary import DistillSettings, Memory

pytestmark = pytest.mark.slow

INPUTS = InputsSpec(tokens=512, sequence_length=64)
DISTILLATION = DistillSettings(steps=20, batch=128, held_out=1024, least_fit=-100.0)


SUITE = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64}}
defaults: {{statistic: match, alpha: 1e-6}}
models:
  base: {{path: {family.base}}}
  kin: {{path: {family.kin}}}
  other: {{path: {family.other}}}
pairs:
  - {{candidate: kin, reference: base, expect: finetune}}
  - {{candidate: other, reference: base, expect: independent}}
"""


def parameters():
    """Those alive, of whatever model."""
    # isinstance() would ask torch's lazy objects what they are
    return sum(type(thing) is torch.nn.Parameter for thing in gc.get_objects())


def leftovers(store):
    return list((store / "v1" / "tmp").iterdir())


@pytest.fixture
def before():
    gc.collect()
    return parameters()


def of(family, candidate="kin", statistic="match"):
    specs = (ModelSpec(path=str(getattr(family, name))) for name in (candidate, "base"))
    return Comparison.of(*specs, INPUTS, statistic)


def interrupted(at):
    """What a person's Ctrl-C does in the middle of a stage."""

    def tell(stage):
        if stage.action == at and (stage.done or at in {"load", "match"}):
            raise KeyboardInterrupt

    return tell


@pytest.mark.parametrize("memory", [None, Memory(resident=1)], ids=["loaded", "streamed"])
@pytest.mark.parametrize(
    ("at", "statistic"),
    [
        ("load", "match"),
        ("capture", "match"),
        ("match", "match"),
        ("match", "kinship"),
        ("distil", "generalized"),
    ],
)
def test_an_interrupt_lets_the_models_go(family, tmp_path, before, at, statistic, memory):
    store = Store(tmp_path)
    executor = Executor(store, "cpu", interrupted(at), DISTILLATION, memory)
    with pytest.raises(KeyboardInterrupt) as kept:
        executor.evidence(of(family, statistic=statistic))
    # a notebook keeps the traceback, and with it every frame that the interrupt went through
    assert kept.traceback
    assert parameters() == before
    assert leftovers(tmp_path) == []
    again = Executor(store, "cpu", None, DISTILLATION, memory)
    assert again.evidence(of(family, statistic=statistic)).statistic == statistic


FORWARD = "transformers.models.llama.modeling_llama.LlamaModel.forward"


def failing(where, kind, text):
    """What raises in the place of a function, save where no numbers are: a model is traced there."""
    really = pkgutil.resolve_name(where)

    def fail(*arguments, **options):
        if getattr(options.get("input_ids"), "is_meta", False):
            return really(*arguments, **options)
        raise kind(text)

    return fail


@pytest.mark.parametrize("memory", [None, Memory(resident=1)], ids=["loaded", "streamed"])
@pytest.mark.parametrize(
    ("where", "statistic", "says"),
    [
        (FORWARD, "match", "not even one"),
        ("provenance.capture.proxies.distil", "generalized", "the memory of cpu is too small"),
        ("provenance.comparison.blocks.tests_of", "match", "the memory of cpu is too small"),
        ("provenance.comparison.blocks.tests_of", "kinship", "the memory of cpu is too small"),
        (
            "provenance.capture.embeddings.TokenUnits.block",
            "kinship",
            "the memory of cpu is too small",
        ),
        ("provenance.capture.embeddings.embed", "kinship", "the memory of cpu is too small"),
    ],
)
def test_an_error_is_kept_and_the_models_are_not(
    family, tmp_path, before, monkeypatch, where, statistic, says, memory
):
    executor = Executor(Store(tmp_path), "cpu", None, DISTILLATION, memory)
    monkeypatch.setattr(where, failing(where, torch.OutOfMemoryError, "CUDA out of memory."))
    for _ in range(2):
        with pytest.raises(DeviceError, match=says) as kept:
            executor.evidence(of(family, statistic=statistic))
        assert kept.traceback
        assert "\n" not in str(kept.value)
    assert parameters() == before
    monkeypatch.undo()
    again = Executor(Store(tmp_path), "cpu", None, DISTILLATION, memory)
    assert again.evidence(of(family, statistic=statistic)).statistic == statistic


def test_an_error_that_is_a_bug_keeps_its_frames_for_who_debugs_it(family, tmp_path, monkeypatch):
    ours = "provenance.capture.run.measure_coverage"
    monkeypatch.setattr(ours, failing(ours, RuntimeError, "a bug"))
    with pytest.raises(RuntimeError, match="a bug") as kept:
        Executor(Store(tmp_path), "cpu").evidence(of(family))
    frames = [entry.frame for entry in kept.traceback]
    assert any(
        "checkpoint" in frame.f_locals for frame in frames if frame.code.name == "capture_to"
    )


def test_what_led_to_an_error_is_let_go_with_it():
    class Held:
        pass

    def inner():
        thing = Held()
        held.append(weakref.ref(thing))
        raise ValueError

    def outer(*, cause):
        try:
            inner()
        except ValueError as error:
            raise DegenerateError("it failed") from (error if cause else None)

    for cause in (True, False):
        held = []
        with pytest.raises(DegenerateError) as kept:
            outer(cause=cause)
        assert held[0]() is not None
        release_frames(kept.value)
        assert held[0]() is None
        assert "inner" in "".join(traceback.format_exception(kept.value)) or not cause


def test_a_run_that_is_interrupted_lets_the_models_go_and_writes_what_it_has(
    pytester, family, before, monkeypatch
):
    from provenance.plugin.progress import Progress

    captured = []

    def interrupt(_progress, stage):
        if stage.action == "capture" and stage.done and stage.subject not in captured:
            captured.append(stage.subject)
            if len(captured) == 3:  # with the first claim checked, in the model of the second
                raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "__call__", interrupt)
    (pytester.path / "a.suite.yaml").write_text(SUITE.format(family=family))
    options = ["store", "evidence", "report", "sarif", "attestation"]
    written = [f"--provenance-{name}={name}" for name in options] + ["--junitxml=junit"]
    run = pytester.inline_run("-p", "no:cacheprovider", *written, no_reraise_ctrlc=True)
    # the run's hooks are recorded, and with them the interrupt and where it came through
    assert [call.excinfo.typename for call in run.getcalls("pytest_keyboard_interrupt")] == [
        "KeyboardInterrupt"
    ]
    assert run.ret == pytest.ExitCode.INTERRUPTED
    assert parameters() == before
    results = Results.from_json((pytester.path / "evidence" / "results.json").read_text())
    assert [result.state for result in results.claims] == ["pass", "not run"]
    assert "not checked" in (pytester.path / "report").read_text()
    junit = ET.parse(pytester.path / "junit").getroot()
    # pytest has begun a case for the test that was interrupted, and given it no name yet
    names = [case.get("name") for case in junit.iter("testcase")]
    assert {name.partition("[")[0] for name in names if name} == {"kin-vs-base"}
    assert json.loads((pytester.path / "sarif").read_text())["version"] == "2.1.0"
    assert read_statement((pytester.path / "attestation").read_text()).passed
    assert leftovers(pytester.path / "store") == []
