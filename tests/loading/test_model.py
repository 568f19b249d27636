"""provenance/loading/model.py: a verified folder to a model and a tokenizer, or one line."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import pickle
import shutil
import sys
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    PreTrainedTokenizerFast,
)

from provenance.checkpoints.checkpoint import open_checkpoint
from provenance.checkpoints.contents import inspect
from provenance.checkpoints.folder import TOKENIZER_FILES
from provenance.conversions import copy_tokenizer
from provenance.errors import DeviceError, InputError, SourceError
from provenance.loading.model import load_model, load_skeleton, quiet
from provenance.loading.tokenizer import encode, load_tokenizer
from provenance.vocabulary import Memory, ModelSpec

pytestmark = pytest.mark.slow

WEIGHTS = "model.safetensors"


def made(folder, *, dtype=torch.float32, tied=False):
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        vocab_size=128,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
    )
    with quiet():
        torch.manual_seed(0)
        LlamaForCausalLM(config).to(dtype).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    return made(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "tiny")


def opened(folder):
    def sha256(file):
        return hashlib.sha256(file.read_bytes()).hexdigest()

    return open_checkpoint(inspect(folder), ModelSpec(path=str(folder)), sha256)


def change_config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def change_weights(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def refused(folder, match, kind=SourceError, device="cpu"):
    with pytest.raises(kind, match=match) as caught:
        load_model(opened(folder), device)
    assert "\n" not in str(caught.value)


# --- models --------------------------------------------------------------------------------------


def test_a_model_comes_in_evaluation_mode_without_gradients_and_without_a_word(folder, capfd):
    model = load_model(opened(folder), "cpu")
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert capfd.readouterr() == ("", "")


def test_the_weights_are_the_files(folder):
    model = load_model(opened(folder), "cpu")
    stored = load_file(folder / WEIGHTS)
    assert set(stored) == set(model.state_dict())
    assert all(torch.equal(stored[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("asked", "got"),
    [(None, torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)],
)
def test_dtype_is_the_one_asked_for_and_float32_on_a_cpu(tmp_path, asked, got):
    model = load_model(opened(made(tmp_path / "half", dtype=torch.bfloat16)), "cpu", asked)
    assert {parameter.dtype for parameter in model.parameters()} == {got}


def test_tied_weights_are_not_missing(tmp_path):
    folder = made(tmp_path / "tied", tied=True)
    assert "lm_head.weight" not in load_file(folder / WEIGHTS)
    model = load_model(opened(folder), "cpu")
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_shards_are_loaded(tmp_path, original):
    folder = tmp_path / "shards"
    with quiet():
        LlamaForCausalLM.from_pretrained(original).save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    model, whole = load_model(opened(folder), "cpu"), load_model(opened(original), "cpu")
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), whole.parameters(), strict=True)
    )


@pytest.mark.parametrize(("units", "hidden"), [(101, 32), (24, 33), (102, 32)])
@pytest.mark.parametrize("streamed", [False, True])
def test_experts_of_any_width_are_run(tmp_path, units, hidden, streamed):
    torch.manual_seed(0)
    config = MixtralConfig(
        hidden_size=hidden,
        intermediate_size=units,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=8,
        num_local_experts=4,
        vocab_size=64,
    )
    original = AutoModelForCausalLM.from_config(config).eval()
    original.save_pretrained(tmp_path)
    memory = Memory(resident=1) if streamed else None
    model = load_model(opened(tmp_path), "cpu", memory=memory)
    original.set_experts_implementation("eager")
    ids = torch.arange(16)[None]
    torch.testing.assert_close(model(ids).logits, original(ids).logits)


def test_missing_weights_are_named_three_at_most(folder):
    change_weights(folder, lambda tensors: [tensors.pop(name) for name in list(tensors)[:5]])
    refused(folder, r"weights missing: \S+, \S+, \S+ and 2 more; download")


def test_weights_of_another_shape_are_named(folder):
    change_config(folder, vocab_size=130)
    refused(folder, r"lm_head\.weight is \[128, 32\], not \[130, 32\]")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_named(folder, value):
    name = "model.layers.1.mlp.up_proj.weight"
    change_weights(folder, lambda tensors: tensors[name][3].__setitem__(5, value))
    refused(folder, f"{name} holds NaN or infinity; the checkpoint is broken")


def test_an_unknown_family(folder):
    change_config(folder, model_type="llama99")
    refused(folder, r"this transformers \(5\S+\) does not know model_type 'llama99'; upgrade it")


def code_that_leaves_a_marker(folder, marker):
    for name in ("modeling_evil", "configuration_evil", "tokenization_evil"):
        (folder / f"{name}.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    return {
        "AutoConfig": "configuration_evil.EvilConfig",
        "AutoModelForCausalLM": "modeling_evil.EvilModel",
    }


@pytest.mark.parametrize("family", ["evil", "llama"])
def test_code_of_a_checkpoint_is_never_run(folder, tmp_path, family):
    marker = tmp_path / "marker"
    change_config(folder, model_type=family, auto_map=code_that_leaves_a_marker(folder, marker))
    if family == "evil":
        refused(
            folder,
            "'evil' needs code of its own; if you trust its maker, set trust_remote_code: true",
        )
    else:
        load_model(opened(folder), "cpu")
    assert not marker.exists()


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


def test_a_pickle_beside_the_weights_is_never_read(folder, tmp_path):
    marker = tmp_path / "marker"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(marker)))
    load_model(opened(folder), "cpu")
    assert not marker.exists()


def test_weights_that_the_configuration_has_no_place_for(folder):
    change_weights(folder, lambda tensors: tensors.update({"model.layers.2.x": torch.ones(2)}))
    refused(folder, r"model\.safetensors has weights that .* no place for: model\.layers\.2\.x")
    change_config(folder, num_hidden_layers=1)
    refused(folder, r"no place for: model\.layers\.1\.\S+, \S+, \S+ and \d+ more")


def test_what_older_versions_saved_of_positions_is_let_pass(folder):
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    change_weights(folder, lambda tensors: tensors.update({name: torch.ones(4)}))
    load_model(opened(folder), "cpu")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"hidden_size": 10**6, "vocab_size": 10**6}, "asks for [0-9,]{17,} parameters, but the f"),
        ({"intermediate_size": 10**12}, "asks for [0-9,]{17,} parameters, but the files hold 2"),
        ({"num_hidden_layers": 9_999}, "claims 9,999 blocks, but there are 21 tensors"),
        ({"num_attention_heads": 10**9}, "num_attention_heads 1,000,000,000; no model has so many"),
    ],
)
def test_a_configuration_of_a_far_greater_model_takes_no_memory(folder, changes, match):
    change_config(folder, **changes)
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(folder, match)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


def test_a_skeleton_of_a_far_greater_model_is_refused(folder):
    change_config(folder, intermediate_size=10**12)
    with pytest.raises(SourceError, match=r"asks for [0-9,]{17,} parameters, but the files hold 2"):
        load_skeleton(opened(folder))


def test_a_skeleton_that_is_given_is_not_built_again(folder, monkeypatch):
    checkpoint = opened(folder)
    skeleton = load_skeleton(checkpoint)
    monkeypatch.setattr("provenance.loading.model.load_skeleton", None)
    loaded = load_model(checkpoint, "cpu", skeleton=skeleton)
    assert not any(parameter.is_meta for parameter in loaded.parameters())


def test_a_package_that_a_tower_needs_is_named_with_what_installs_it(folder, monkeypatch):
    def lacks(*_, **__):
        raise ImportError(
            "\nTimmWrapperModel requires the PIL library but it was not found in your environment. You can "
            "install it with pip:\n`pip install pillow`. Please note that you may need to restart."
        )

    monkeypatch.setattr("provenance.loading.model.build_whole", lacks)
    refused(folder, r"requires the PIL library .* in your environment; pip install pillow$")


def test_a_family_that_is_not_causal(folder):
    change_config(folder, model_type="t5")
    refused(folder, "'t5' is not a causal language model")


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": "wide"},
        {"hidden_size": -1},
        {"num_attention_heads": 0},
        {"hidden_act": "no-such-thing"},
        {"rope_parameters": 3},
    ],
)
def test_a_configuration_that_cannot_be_meant_is_one_line(folder, changes):
    change_config(folder, **changes)
    refused(folder, "tiny: ")


def test_weights_torn_after_they_were_verified(folder):
    checkpoint = opened(folder)
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])
    with pytest.raises(SourceError, match="transformers cannot load it"):
        load_model(checkpoint, "cpu")


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "cpu:x", ""])
def test_a_device_that_is_not_there(folder, device):
    refused(folder, "there is no device", DeviceError, device)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: x"),
    ],
)
def test_too_little_memory_is_the_devices_fault(folder, monkeypatch, error):
    def exhausted(*_args, **_settings):
        raise error

    monkeypatch.setattr(LlamaForCausalLM, "to", exhausted)
    refused(folder, "does not fit into the memory of cpu", DeviceError)


# --- silence -------------------------------------------------------------------------------------


def test_silence_ends_with_the_block(capfd):
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers.utils import logging as bars

    logger = logging.getLogger("transformers")
    before = (logger.level, bars.is_progress_bar_enabled(), are_progress_bars_disabled())
    with contextlib.suppress(ZeroDivisionError), quiet():
        warnings.warn("unheard", stacklevel=1)
        logging.getLogger("transformers.modeling_utils").error("unheard")
        assert not bars.is_progress_bar_enabled()
        raise ZeroDivisionError
    assert (logger.level, bars.is_progress_bar_enabled(), are_progress_bars_disabled()) == before
    assert capfd.readouterr() == ("", "")
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


def test_silence_leaves_a_bar_off_that_was_off():
    from transformers.utils import logging as bars

    with quiet():
        with quiet():
            pass
        assert not bars.is_progress_bar_enabled()


def test_silence_needs_no_transformers(monkeypatch):
    monkeypatch.delitem(sys.modules, "transformers")
    with quiet():
        assert "transformers" not in sys.modules


# --- tokenizers ----------------------------------------------------------------------------------


@pytest.fixture
def worded(folder):
    words = {"<unk>": 0, "<s>": 1, "one": 2, "two": 3}
    inner = Tokenizer(WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = Whitespace()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", model_max_length=4
    )
    wrapped.save_pretrained(folder)
    return folder


def test_text_is_encoded_without_special_tokens_and_without_a_word(worded, capfd):
    tokenizer = load_tokenizer(opened(worded))
    assert encode(tokenizer, "one two three").ids == [2, 3, 0]
    assert encode(tokenizer, "one " * 50).ids == [2] * 50
    assert encode(tokenizer, "").ids == []
    assert capfd.readouterr() == ("", "")


def test_a_text_says_where_its_tokens_end(worded):
    assert encode(load_tokenizer(opened(worded)), "one  two\nthree").ends == [3, 8, 14]


@pytest.mark.parametrize(
    ("template", "front"),
    [(None, ()), ("<s> $A", (1,)), ("<s> <s> $A <s>", (1, 1)), ("$A <s>", ())],
)
def test_what_a_tokenizer_puts_in_front_stands_apart(worded, template, front):
    tokenizer = load_tokenizer(opened(worded))
    if template is not None:
        special = [("<s>", 1)]
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(template, None, special)
    read = encode(tokenizer, "two one")
    assert (read.ids, read.front, read.ends) == ([3, 2], front, [3, 7])


def test_a_tokenizer_in_python_does_not_say_where_its_tokens_end():
    def by_byte(text, *, add_special_tokens, **_settings):
        return {"input_ids": [9] * add_special_tokens + list(text.encode())}

    read = encode(by_byte, "ab")
    assert (read.ids, read.ends, read.front) == ([97, 98], None, (9,))


def test_a_checkpoint_without_a_tokenizer_has_none(folder):
    assert load_tokenizer(opened(folder)) is None


@pytest.mark.parametrize("content", ["{", "{}", '{"model": {"type": "Odd"}}', "[]", ""])
def test_a_broken_tokenizer_is_one_line(worded, content):
    (worded / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match="the tokenizer cannot be loaded") as caught:
        load_tokenizer(opened(worded))
    assert "\n" not in str(caught.value)


SETTINGS = '{"tokenizer_class": "LlamaTokenizer"}'


def bare(folder, **files):
    """A folder with these files of a tokenizer and no others."""
    for name in TOKENIZER_FILES:
        (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return opened(folder)


@pytest.mark.parametrize("name", ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model"])
@pytest.mark.parametrize(
    ("absent", "command"),
    [
        ({"sentencepiece"}, "pip install sentencepiece, or"),
        ({"google.protobuf"}, "pip install protobuf, or"),
        ({"sentencepiece", "google.protobuf"}, "pip install sentencepiece protobuf, or"),
    ],
)
def test_a_sentencepiece_model_alone_needs_its_library(folder, monkeypatch, name, absent, command):
    monkeypatch.setattr(
        "provenance.loading.tokenizer.find_spec", lambda module: None if module in absent else 1
    )
    checkpoint = bare(folder, **{name: b"\n\x0e\n\x05<unk>"})
    with pytest.raises(InputError, match=rf"SentencePiece model alone \({name}\): {command}"):
        load_tokenizer(checkpoint)


def test_a_vocabulary_of_tiktoken_under_the_same_name_is_not_said_to_be_one(folder, monkeypatch):
    monkeypatch.setattr("provenance.loading.tokenizer.find_spec", lambda _module: None)
    checkpoint = bare(folder, **{"tokenizer.model": "IQ== 0\n", "tokenizer_config.json": SETTINGS})
    with pytest.raises(InputError, match="tiktoken"):
        load_tokenizer(checkpoint)


def test_a_fast_tokenizer_beside_a_sentencepiece_model_needs_no_library(worded, monkeypatch):
    monkeypatch.setattr("provenance.loading.tokenizer.find_spec", lambda _module: None)
    (worded / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>")
    assert encode(load_tokenizer(opened(worded)), "one two").ids == [2, 3]


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer_config.json": SETTINGS},
        {"special_tokens_map.json": "{}"},
        {"added_tokens.json": "{}", "tokenizer_config.json": SETTINGS},
        {"merges.txt": "a b"},
    ],
    ids=range(4),
)
def test_files_around_a_vocabulary_that_is_not_there_are_no_tokenizer(folder, tmp_path, files):
    checkpoint = bare(folder, **files)
    assert checkpoint.tokenizer_digest is None
    assert load_tokenizer(checkpoint) is None
    copy = tmp_path / "copy"
    copy.mkdir()
    assert not copy_tokenizer(folder, copy)
    assert list(copy.iterdir()) == []


@pytest.mark.parametrize("name", ["ByT5Tokenizer", "CanineTokenizer"])
def test_a_tokenizer_of_bytes_needs_no_vocabulary(folder, name):
    settings = json.dumps({"tokenizer_class": name})
    checkpoint = bare(folder, **{"tokenizer_config.json": settings})
    assert len(encode(load_tokenizer(checkpoint), "abc").ids) == 3


@pytest.mark.parametrize("vocabulary", ["qwen.tiktoken", "tokenizer.model", "words.bin"])
def test_a_tokenizer_with_code_of_its_own_says_what_allows_it(folder, vocabulary):
    settings = {"auto_map": {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}}
    code = "class OwnTokenizer: pass"
    checkpoint = bare(
        folder,
        **{
            "tokenizer_config.json": json.dumps(settings),
            "tokenization_own.py": code,
            vocabulary: "IQ== 0\n",
        },
    )
    with pytest.raises(
        InputError, match=r"code of its own; .* set trust_remote_code: true on this"
    ):
        load_tokenizer(checkpoint)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_settings_of_a_tokenizer_in_another_encoding_are_named(worded, encoding):
    (worded / "tokenizer_config.json").write_text(SETTINGS, encoding=encoding)
    with pytest.raises(
        InputError, match=r"tokenizer_config\.json (begins with a byte|is not valid)"
    ):
        load_tokenizer(opened(worded))


@pytest.mark.parametrize("content", ["{", "[]", "\ufeff{}"])
def test_settings_alone_that_cannot_be_read_are_no_tokenizer(folder, content):
    assert bare(folder, **{"tokenizer_config.json": content}).tokenizer_digest is None


def test_a_configuration_that_cannot_be_read_is_not_the_tokenizers_fault(worded):
    config = json.loads((worded / "config.json").read_text())
    checkpoint = opened(worded)
    (worded / "config.json").write_text(json.dumps(config | {"hidden_size": "wide"}))
    with pytest.raises(InputError, match=r"config\.json cannot be read \(.*hidden_size"):
        load_tokenizer(checkpoint)


def test_code_of_a_tokenizer_is_never_run(worded, tmp_path):
    marker = tmp_path / "marker"
    code_that_leaves_a_marker(worded, marker)
    file = worded / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    settings |= {
        "tokenizer_class": "EvilTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_evil.EvilTokenizer", None]},
    }
    file.write_text(json.dumps(settings))
    try:
        load_tokenizer(opened(worded))
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
    assert not marker.exists()


def test_text_that_cannot_be_encoded_is_one_line():
    def broken(*_args, **_settings):
        raise ValueError("no\nsuch text")

    with pytest.raises(InputError, match=r"cannot encode the text .no such text."):
        encode(broken, "x")
