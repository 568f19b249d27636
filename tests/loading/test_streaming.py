"""Models larger than memory are run block by block from their files, and give the same evidence."""

import json
import subprocess
import sys

import pytest
import torch

from fixtures.models import save_checkpoint, tiny_llama, tiny_model
from provenance import Executor, InputsSpec, ModelSpec, Store, compare
from provenance.errors import SourceError
from provenance.loading.devices import free_bytes
from provenance.loading.model import is_streamed, load_model, load_skeleton
from provenance.loading.streaming import device_map
from provenance.vocabulary import Memory

pytestmark = pytest.mark.slow

INPUTS = InputsSpec(tokens=512, sequence_length=64)
SMALL = Memory(resident=1)


@pytest.fixture
def opened(store):
    return lambda folder: Executor(store).checkpoint(ModelSpec(path=str(folder)))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_streamed_model_computes_what_the_loaded_one_does(opened, family, dtype):
    checkpoint = opened(family.base)
    loaded, streamed = (load_model(checkpoint, "cpu", dtype, m) for m in (None, SMALL))
    assert (is_streamed(loaded), is_streamed(streamed)) == (False, True)
    ids = torch.arange(24).reshape(2, 12)
    with torch.inference_mode():
        expected, found = (model.model(input_ids=ids)[0] for model in (loaded, streamed))
    assert found.dtype == getattr(torch, dtype)
    assert torch.equal(found, expected)
    block = streamed.model.layers[1]
    assert all(weight.is_meta for weight in block.parameters())  # let go again


def test_what_is_loaded_or_streamed_makes_no_difference_to_evidence(store, family, tmp_path):
    models, how = (family.kin, family.base), {"inputs": INPUTS, "statistic": "match"}
    one = compare(*models, executor=Executor(store), **how)
    executor = Executor(Store(tmp_path / "b"), memory=SMALL)
    other = compare(*models, executor=executor, **how)
    assert other.log10_p == pytest.approx(one.log10_p, rel=1e-6)
    assert other.blocks == one.blocks


def test_models_that_fit_are_loaded(opened, family):
    checkpoint = opened(family.base)
    size = checkpoint.parameters * 4
    assert is_streamed(load_model(checkpoint, "cpu", memory=Memory(resident=size - 1)))
    assert not is_streamed(load_model(checkpoint, "cpu", memory=Memory(resident=size)))
    assert not is_streamed(load_model(checkpoint, "cpu", memory=Memory()))
    assert is_streamed(load_model(checkpoint, "cpu", memory=Memory(working=free_bytes("cpu") * 2)))


def test_weights_that_must_be_cast_are_not_mapped_whole_beside_their_copy(opened, family):
    checkpoint = opened(family.base)
    scarce = Memory(working=10_000, resident=1 << 40)
    assert not is_streamed(load_model(checkpoint, "cpu", "float32", scarce))
    assert is_streamed(load_model(checkpoint, "cpu", "bfloat16", scarce))


def test_the_free_memory_is_the_containers_where_that_is_less(tmp_path, monkeypatch):
    from provenance.loading import devices

    monkeypatch.setattr(devices, "CGROUP", tmp_path)
    machine = free_bytes("cpu")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert free_bytes("cpu") == pytest.approx(machine, rel=0.2)
    (tmp_path / "memory.max").write_text("5000\n")
    assert free_bytes("cpu") == 4000


def test_a_nan_in_a_streamed_model_is_found_before_it_runs(opened, family):
    with pytest.raises(SourceError, match=r"model\.layers\.1\.mlp\.up_proj\.weight holds NaN"):
        load_model(opened(family.broken), "cpu", memory=SMALL)


@pytest.mark.parametrize("tied", [False, True])
def test_blocks_and_an_untied_head_stay_on_disk(opened, tmp_path, tied):
    folder = save_checkpoint(tiny_llama(tie_word_embeddings=tied), tmp_path / "m")
    places = device_map(load_skeleton(opened(folder)), "cpu")
    assert places["model.layers.0"] == places["model.layers.1"] == "disk"
    assert places["model.embed_tokens"] == "cpu"
    assert places["lm_head"] == ("cpu" if tied else "disk")


def test_other_architectures_stream_too(opened, tmp_path):
    from transformers import GPT2Config, Qwen2Config

    shape = {"vocab_size": 96, "bos_token_id": 0, "eos_token_id": 0}
    qwen = Qwen2Config(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        **shape,
    )
    gpt2 = GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, **shape)
    for index, config in enumerate((qwen, gpt2)):
        checkpoint = opened(save_checkpoint(tiny_model(config), tmp_path / str(index)))
        ids = torch.arange(16)[None]
        with torch.inference_mode():
            expected, found = (
                load_model(checkpoint, "cpu", memory=memory)(input_ids=ids).logits
                for memory in (None, SMALL)
            )
        assert torch.equal(expected, found)


CHILD = """
import json, sys
import torch
from provenance import Executor, InputsSpec, Store, compare
from provenance.vocabulary import Memory

torch.set_num_threads(1)
store, statistic, resident, *models = sys.argv[1:]

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

def run(candidate, reference):
    memory = Memory(working=64 << 20, resident=int(resident))
    inputs = InputsSpec(kind="random", tokens=512, sequence_length=128)
    executor = Executor(Store(store), "cpu", memory=memory)
    evidence = compare(candidate, reference, inputs=inputs, statistic=statistic, permutations=19,
                       executor=executor)
    return evidence.log10_p

run(*models[:2])  # what libraries and the smallest models take
before = peak()
log10_p = run(*models[2:])
print(json.dumps({"grown": peak() - before, "log10_p": log10_p}))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Two kin models of 8 blocks of 12 MiB, and two tiny ones."""
    root = tmp_path_factory.mktemp("large")
    shape = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8}
    for name, options in (("large", shape), ("tiny", {})):
        for kin in range(2):
            model = tiny_llama(0, **options)
            with torch.no_grad():
                for weight in model.parameters():
                    weight.mul_(1 + 0.01 * kin)
            save_checkpoint(model, root / f"{name}-{kin}")
    return root


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("statistic", ["match", "csu", "l2"])
def test_a_checkpoint_of_four_times_the_resident_memory_is_judged(large, tmp_path, statistic):
    size = sum(path.stat().st_size for path in (large / "large-0").glob("*.safetensors"))
    resident = size // 4
    models = [str(large / name) for name in ("tiny-1", "tiny-0", "large-1", "large-0")]
    command = [sys.executable, "-c", CHILD, str(tmp_path), statistic, str(resident), *models]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert size > 90 << 20
    assert found["grown"] < resident + (64 << 20)
    assert found["log10_p"] < -1
