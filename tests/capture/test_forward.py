"""One pass, all blocks, hooks that are always removed, nothing kept in memory."""

from dataclasses import replace

import pytest
import torch
import transformers

from fixtures.models import tiny_llama, tiny_model
from provenance.architecture.find import find_mlps
from provenance.architecture.records import HiddenInput
from provenance.capture import forward as capture_module
from provenance.capture.file import ActivationReader, ActivationWriter, TextSink
from provenance.capture.forward import (
    Recording,
    capture,
    recording,
)
from provenance.capture.loss import POSITIONS, LossProbe
from provenance.errors import ArchitectureError, DegenerateError

MIXTRAL = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}


class Kept:
    """A sink that remembers, by name."""

    def __init__(self):
        self.parts = {}

    def write(self, name, start, values):
        self.parts.setdefault(name, []).append((start, values.clone()))

    def joined(self, name):
        parts = sorted(self.parts[name], key=lambda part: part[0])
        return torch.cat([values for _, values in parts])


@pytest.fixture
def model():
    return tiny_llama(num_hidden_layers=3)


def answers(model):
    return Recording(find_mlps(model), by_input=False)


def fed(model):
    return Recording(find_mlps(model), by_input=True)


both = pytest.mark.parametrize("what", [answers, fed])


def sequences(tokens=40, length=16):
    generator = torch.Generator().manual_seed(1)
    return list(torch.randint(128, (tokens,), generator=generator).split(length))


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def obvious(model, path, batches):
    """A module's output over all sequences, each run by itself, with a hook of our own."""
    found = []
    handle = model.get_submodule(path).register_forward_hook(lambda *call: found.append(call[2][0]))
    with torch.no_grad():
        for batch in batches:
            model(input_ids=batch[None])
    handle.remove()
    return torch.cat(found)


def obvious_input(model, path, batches):
    """What a module is given over all sequences, each run by itself."""
    found = []
    watch = lambda _, args: found.append(args[0][0].clone())  # noqa: E731
    handle = model.get_submodule(path).register_forward_pre_hook(watch)
    with torch.no_grad():
        for batch in batches:
            model(input_ids=batch[None])
    handle.remove()
    return torch.cat(found)


@pytest.mark.slow
@pytest.mark.parametrize("budget", [1, 1 << 30])
def test_activations_are_what_a_hook_on_each_module_sees(model, budget):
    batches, sink = sequences(), Kept()
    capture(model, answers(model), batches, sink, batch_bytes=budget)
    capture(model, fed(model), batches, sink, batch_bytes=budget)
    for mlp in find_mlps(model).mlps:
        inputs = sink.joined(mlp.input.module)
        for projection in ("gate", "up"):
            path = getattr(mlp, projection).parameter.removesuffix(".weight")
            expected = obvious(model, path, batches)
            seen = sink.joined(f"{mlp.block}.0.{projection}")
            assert torch.allclose(seen, expected, atol=1e-5)
            assert torch.allclose(model.get_submodule(path)(inputs), expected, atol=1e-5)


def test_every_expert_answers_every_token():
    """Whatever the router says, and though the experts' matrices are multiplied all at once."""
    config = transformers.MixtralConfig(**MIXTRAL)
    model, batches, sink = tiny_model(config), sequences(), Kept()
    capture(model, answers(model), batches, sink)
    capture(model, fed(model), batches, sink)
    for block, layer in enumerate(model.model.layers):
        hidden = sink.joined(f"model.layers.{block}.mlp.experts")
        entered = obvious_input(model, f"model.layers.{block}.mlp", batches)
        assert torch.allclose(hidden, entered, atol=1e-5)
        for expert, rows in enumerate(layer.mlp.experts.gate_up_proj):
            gate, up = (hidden @ rows.T).chunk(2, dim=-1)
            assert torch.allclose(sink.joined(f"{block}.{expert}.gate"), gate, atol=1e-5)
            assert torch.allclose(sink.joined(f"{block}.{expert}.up"), up, atol=1e-5)


def test_what_a_familys_own_code_cannot_do_is_one_line(model, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("strides should be\n multiple of 16 bytes")

    recorded = fed(model)
    monkeypatch.setattr(model.model.layers[1].self_attn, "forward", fails)
    message = r"its forward pass fails \(RuntimeError: strides should be multiple of 16 bytes\)"
    with pytest.raises(ArchitectureError, match=message):
        capture(model, recorded, [torch.arange(8)], Kept())


def test_a_module_that_runs_on_other_positions_is_refused(model):
    def doubled(_module, args):
        return (torch.cat([args[0], args[0]], dim=1),)

    what = fed(model)
    handle = model.model.layers[1].mlp.register_forward_pre_hook(doubled)
    with pytest.raises(ArchitectureError, match=r"layers\.1\.mlp runs on 64 positions.* 32 tokens"):
        capture(model, what, sequences(32), Kept())
    handle.remove()
    assert hooks(model) == 0


def test_a_module_that_runs_twice_is_refused(model):
    what = fed(model)
    layer, mlp = model.model.layers[0], model.model.layers[0].mlp

    def once_more(_module, args):
        mlp(args[0])

    layer.register_forward_pre_hook(once_more)
    with pytest.raises(ArchitectureError, match=r"layers\.0\.mlp runs more than once"):
        capture(model, what, sequences(32), Kept())


@both
def test_one_forward_pass_serves_all_blocks_and_never_reaches_the_head(model, what):
    recorded, calls = what(model), {"embed": 0, "head": 0}
    model.get_input_embeddings().register_forward_hook(
        lambda *_: calls.__setitem__("embed", calls["embed"] + 1)
    )
    model.lm_head.register_forward_hook(lambda *_: calls.__setitem__("head", 1))
    capture(model, recorded, sequences(32), Kept())
    assert calls == {"embed": 1, "head": 0}


def test_a_short_last_sequence_is_a_batch_of_its_own(model):
    sink = Kept()
    progress = []
    capture(model, answers(model), sequences(40), sink, lambda *step: progress.append(step))
    assert [start for start, _ in sink.parts["0.0.gate"]] == [0, 32]
    assert progress == [(2, 3), (3, 3)]


@pytest.mark.slow
@both
def test_hooks_are_removed_after_a_pass_and_after_a_failure(model, what):
    capture(model, what(model), sequences(), Kept())
    assert hooks(model) == 0

    class Broken:
        def write(self, *_):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        capture(model, what(model), sequences(), Broken())
    assert hooks(model) == 0


@both
def test_hooks_are_removed_when_one_cannot_be_registered(model, what):
    found = what(model)
    mlps = found.trace.mlps
    wrong = replace(mlps[2], input=HiddenInput("model.layers.9.mlp", scaled=False))
    broken = replace(found, trace=replace(found.trace, mlps=(mlps[0], wrong)))
    with pytest.raises(AttributeError), recording(model, broken, lambda *_: None):
        pass
    assert hooks(model) == 0


def test_not_a_number_is_a_named_error(model):
    wanted = answers(model), fed(model)
    model.model.layers[1].mlp.up_proj.weight.data[3, 3] = float("nan")
    with pytest.raises(DegenerateError, match="block 1: the up activations hold NaN"):
        capture(model, wanted[0], sequences(), Kept())
    with pytest.raises(DegenerateError, match="block 2: the MLP's inputs hold NaN"):
        capture(model, wanted[1], sequences(), Kept())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@both
def test_what_is_written_in_batches_reads_back_bit_for_bit(model, what, tmp_path, dtype):
    widths, kept = what(model).widths(), Kept()
    path = tmp_path / "a.safetensors"
    with ActivationWriter(path, widths, 40, dtype) as sink:
        for start in (0, 32):
            rows = 32 if start == 0 else 8
            for key, width in widths.items():
                values = torch.randn(rows, width).to(dtype)
                sink.write(key, start, values)
                kept.write(key, start, values)
    reader = ActivationReader(path)
    for key in kept.parts:
        assert torch.equal(reader.read(key), kept.joined(key))


def test_out_of_memory_halves_the_batch(model, monkeypatch):
    sizes = []
    run = capture_module._run

    def scarce(model, what, batch, *others):
        sizes.append(len(batch))
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        run(model, what, batch, *others)

    monkeypatch.setattr(capture_module, "_run", scarce)
    sink = Kept()
    capture(model, answers(model), sequences(64), sink)
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert sink.joined("0.0.gate").shape == (64, 64)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_memory_that_is_short_in_other_words_halves_the_batch_too(model, monkeypatch, error):
    sizes = []
    run = capture_module._run

    def scarce(model, what, batch, *others):
        sizes.append(len(batch))
        if len(batch) > 2:
            raise error
        run(model, what, batch, *others)

    monkeypatch.setattr(capture_module, "_run", scarce)
    capture(model, answers(model), sequences(64), Kept())
    assert sizes == [4, 2, 2]


# what is in front, and the loss


@pytest.mark.parametrize("front", [1, 3])
@pytest.mark.parametrize("budget", [1, 1 << 30])
def test_rows_of_the_text_alone_are_kept(model, front, budget):
    batches, whole, kept = sequences(), Kept(), Kept()
    capture(model, fed(model), batches, whole, batch_bytes=budget)
    capture(model, fed(model), batches, TextSink(kept, 16, front), batch_bytes=budget)
    for name in whole.parts:
        rows = whole.joined(name)
        text = [row for k, row in enumerate(rows) if k % 16 >= front]
        assert torch.equal(kept.joined(name), torch.stack(text))
        starts = [start for start, _ in kept.parts[name]]
        assert starts == [sum(len(v) for _, v in kept.parts[name][:k]) for k in range(len(starts))]


def loss_of(model, sequence, front):
    """Mean next-token loss of what is not in front, one token at a time."""
    with torch.no_grad():
        logits = model(input_ids=sequence[None]).logits[0].double()
    first = max(front, 1)
    losses = [
        -torch.log_softmax(logits[k - 1], dim=0)[sequence[k]] for k in range(first, len(sequence))
    ]
    return float(sum(losses) / len(losses))


@pytest.mark.parametrize("front", [0, 1, 3])
def test_the_loss_of_the_first_sequence_is_taken_on_the_way(model, front):
    probe, sink, alone = LossProbe(model.lm_head, front), Kept(), Kept()
    capture(model, fed(model), sequences(), sink, probe=probe)
    assert probe.loss.nats == pytest.approx(loss_of(model, sequences()[0], front), rel=1e-5)
    assert probe.loss.vocabulary == 128
    capture(model, fed(model), sequences(), alone)
    for name in alone.parts:
        assert torch.equal(sink.joined(name), alone.joined(name))
    assert hooks(model) == 0


def test_the_head_sees_a_short_stretch_of_one_sequence(model):
    seen, what, long = [], fed(model), sequences(4 * 300, 300)
    model.lm_head.register_forward_hook(lambda _, args, output: seen.append(output.shape))
    probe = LossProbe(model.lm_head)
    capture(model, what, long, Kept(), probe=probe)
    assert seen == [(1, POSITIONS, 128)]
    assert probe.loss.nats == pytest.approx(loss_of(model, long[0][:POSITIONS], 0), rel=1e-5)


@pytest.mark.parametrize("length", [1, 2])
def test_a_text_of_one_token_has_no_loss(model, length):
    probe = LossProbe(model.lm_head)
    capture(model, fed(model), sequences(length, length), Kept(), probe=probe)
    assert (probe.loss is None) == (length == 1)


def test_where_memory_is_too_small_for_the_head_there_is_no_loss(model):
    what, probe, sink = fed(model), LossProbe(model.lm_head), Kept()

    def scarce(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.lm_head.register_forward_hook(scarce)
    capture(model, what, sequences(64), sink, probe=probe)
    assert probe.loss is None
    starts = {start for start, _ in sink.parts["model.layers.2.mlp"]}
    assert starts == {0, 16, 32, 48}


def test_what_runs_again_behind_the_last_mlp_is_not_recorded(model):
    """A pass that stops at the last MLP never sees it, and one that goes on must record the same."""
    probe, sink, alone = LossProbe(model.lm_head), Kept(), Kept()
    what = fed(model)
    model.model.norm.register_forward_hook(
        lambda _, args, output: model.model.layers[0].mlp(output) * 0 + output
    )
    capture(model, what, sequences(), alone)
    capture(model, what, sequences(), sink, probe=probe)
    for name in alone.parts:
        assert torch.equal(sink.joined(name), alone.joined(name))
