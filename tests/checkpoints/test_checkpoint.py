"""provenance/checkpoints/checkpoint.py: what is typed, what lies in a folder, what the hub answers."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from provenance.checkpoints.checkpoint import (
    fetch,
    open_checkpoint,
    parse,
    peek_blocks,
)
from provenance.checkpoints.contents import inspect
from provenance.errors import SourceError
from provenance.vocabulary import ModelSpec
from tests.support import hub_server

COMMIT = hub_server.COMMIT
CONFIG = {"model_type": "llama", "num_hidden_layers": 2, "vocab_size": 128}
WEIGHTS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, dtype=np.float16)}


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write_config(folder: Path, **changes) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))


def write_index(folder: Path, *names, last="b") -> None:
    weight_map = dict(zip(["a", last], names, strict=False))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def opened(folder: Path):
    return open_checkpoint(inspect(folder), ModelSpec(path=str(folder)), sha256)


def refused(folder: Path, match: str) -> None:
    with pytest.raises(SourceError, match=match) as caught:
        opened(folder)
    assert "\n" not in str(caught.value)


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "model"
    home.mkdir()
    write_config(home)
    save_file(WEIGHTS, home / "model.safetensors")
    return home


@pytest.fixture
def sharded(folder):
    (folder / "model.safetensors").unlink()
    for number, (name, array) in enumerate(WEIGHTS.items()):
        save_file({name: array}, folder / f"part{number}.safetensors")
    write_index(folder, "part0.safetensors", "part1.safetensors")
    return folder


# --- parse ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("recipe:quickstart/base", ModelSpec(recipe="quickstart/base")),
        ("quickstart/base", ModelSpec(recipe="quickstart/base")),
        ("repo:quickstart/base", ModelSpec(repo="quickstart/base")),
        ("hf:org/name@v1", ModelSpec(repo="org/name", revision="v1")),
        ("org/name", ModelSpec(repo="org/name")),
        ("gpt2", ModelSpec(repo="gpt2")),
        ("gpt2@main", ModelSpec(repo="gpt2", revision="main")),
        ("org/name@refs/pr/1", ModelSpec(repo="org/name", revision="refs/pr/1")),
        (" org/name ", ModelSpec(repo="org/name")),
        ("s3://bucket/model", ModelSpec(url="s3://bucket/model")),
    ],
)
def test_each_form_has_its_meaning(text, spec):
    assert parse(text, ["quickstart/base"]) == spec


@pytest.mark.parametrize("text", ["model", "./model", "path:model", "path:./model"])
def test_an_existing_folder_is_a_path(text, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert parse(text, ["model"]) == ModelSpec(path=text.removeprefix("path:"))


def test_the_home_folder_is_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert parse("~/model") == ModelSpec(path=str(folder))


@pytest.mark.parametrize(
    "text", ["./x", "/x/y", "~/x", "a/b/c", r"C:\x", r"a\b", "path:x", "path:"]
)
def test_a_path_that_is_not_there_is_named(text):
    with pytest.raises(SourceError, match="there is no folder"):
        parse(text)


def test_a_file_is_answered_with_its_folder(folder):
    with pytest.raises(SourceError, match=r"give the folder that it is in: .*model$"):
        parse(str(folder / "config.json"))


@pytest.mark.parametrize(
    "text", ["", "a b", "-x", "a--b/c", "x.git", "org/n@", "org/n@../x", "é/a"]
)
def test_text_of_no_form_is_answered_with_all_of_them(text):
    forms = r"a folder .*, a hub repository .*, a URL .*, or a recipe"
    with pytest.raises(SourceError, match=forms):
        parse(text)


@pytest.mark.parametrize("text", ["recipe:quickstart/bas", "quickstart/bas"])
def test_a_recipe_nearly_right_is_suggested(text):
    with pytest.raises(SourceError, match="did you mean 'quickstart/base'"):
        parse(text, ["quickstart/base", "quickstart/finetuned"])


def test_an_unknown_recipe_is_answered_with_the_list():
    with pytest.raises(SourceError, match="there are: a, b"):
        parse("recipe:zzz", ["b", "a"])


@pytest.mark.slow
@given(st.one_of(st.text(), st.text(alphabet="ab./@:~\\ \0-", max_size=12)))
@example("a" * 5000)
@example("/" + "a" * 5000)
@example("~nobody-of-that-name")
@example("./\0")
@example("~\0")
@example("~\ud800")
@example("\ud800/a")
@example("path:\0")
def test_parse_gives_a_spec_or_one_line(text):
    try:
        spec = parse(text, ["quickstart/base"])
    except SourceError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert isinstance(spec, ModelSpec)
        places = (spec.recipe, spec.path, spec.repo, spec.url)
        assert sum(part is not None for part in places) == 1


# --- a sound folder ------------------------------------------------------------------------------


def test_what_is_known_without_loading(folder):
    write_config(folder, architectures=["LlamaForCausalLM"], max_position_embeddings=64)
    checkpoint = opened(folder)
    assert checkpoint.source == f"path:{folder}"
    assert checkpoint.digest.startswith("sha256:")
    assert checkpoint.tokenizer_digest is None
    assert (checkpoint.model_type, checkpoint.architecture) == ("llama", "LlamaForCausalLM")
    assert (checkpoint.blocks, checkpoint.vocabulary, checkpoint.positions) == (2, 128, 64)
    assert checkpoint.parameters == 10
    assert isinstance(hash(checkpoint), int)


def test_what_the_configuration_does_not_say_is_none(folder):
    (folder / "config.json").write_text('{"model_type": "odd", "n_layer": true}')
    checkpoint = opened(folder)
    assert (checkpoint.blocks, checkpoint.vocabulary, checkpoint.positions) == (None, None, None)
    assert checkpoint.architecture == "odd"


def test_a_multimodal_models_text_part_is_read(folder):
    text = {"num_hidden_layers": 3, "vocab_size": 7, "max_position_embeddings": 9}
    (folder / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": text}))
    checkpoint = opened(folder)
    assert (checkpoint.blocks, checkpoint.vocabulary, checkpoint.positions) == (3, 7, 9)


def test_a_folder_is_inspected_once_and_opened_from_what_was_found(sharded, monkeypatch):
    contents = inspect(sharded)
    assert (contents.format, contents.method) == ("plain", None)
    assert [file.name for file in contents.files] == ["part0.safetensors", "part1.safetensors"]
    assert contents.config == CONFIG
    assert {name: tensor.shape for name, tensor in contents.tensors.items()} == {
        "a": (2, 3),
        "b": (4,),
    }
    expected = opened(sharded)
    for name in ("read_object", "stored_tensors"):
        monkeypatch.setattr(f"provenance.checkpoints.contents.{name}", None)
    assert open_checkpoint(contents, ModelSpec(path=str(sharded)), sha256) == expected


def test_shards_are_counted_and_digested_together(sharded):
    assert opened(sharded).parameters == 10


def test_the_digest_ignores_what_saving_writes(folder):
    before = opened(folder).digest
    (folder / "config.json").write_text(
        json.dumps({"transformers_version": "9", "_name_or_path": "x"} | CONFIG, indent=3)
    )
    (folder / "README.md").write_text("x")
    assert opened(folder).digest == before


@pytest.mark.parametrize("change", ["config", "weights", "shape", "dtype", "name"])
def test_the_digest_sees_what_matters(sharded, change):
    before = opened(sharded)
    changed = {
        "weights": {"b": np.zeros(4, dtype=np.float16)},
        "shape": {"b": np.ones((2, 2), dtype=np.float16)},
        "dtype": {"b": np.ones(4, dtype=np.float16).view(np.uint16)},
        "name": {"c": np.ones(4, dtype=np.float16)},
    }
    if change == "config":
        write_config(sharded, dtype="bfloat16")
    else:
        save_file(changed[change], sharded / "part1.safetensors")
        write_index(
            sharded, "part0.safetensors", "part1.safetensors", last=next(iter(changed[change]))
        )
    after = opened(sharded)
    assert after.digest != before.digest
    assert (after.weights_digest == before.weights_digest) == (change == "config")


@pytest.mark.parametrize(
    "shards",
    [[["a", "b"]], [["b"], ["a"]], [["a"], ["b"], []]],
    ids=["one file", "two files", "an empty file"],
)
def test_the_digest_is_of_the_tensors_however_they_are_spread(folder, shards):
    whole = opened(folder)
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for number, names in enumerate(shards):
        file = f"other-{number}.safetensors"
        save_file({name: WEIGHTS[name] for name in names}, folder / file, {"format": "np"})
        weight_map |= dict.fromkeys(names, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert opened(folder).digest == whole.digest
    assert opened(folder).weights_digest == whole.weights_digest


def test_the_digest_is_the_one_that_is_documented(folder):
    tensors = {
        name: [kind, list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
        for (name, array), kind in zip(WEIGHTS.items(), ["F32", "F16"], strict=True)
    }
    weights = canonical_digest(tensors)
    assert opened(folder).weights_digest == weights
    assert opened(folder).digest == canonical_digest({"config": CONFIG, "weights": weights})


def canonical_digest(value):
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_a_tensor_in_two_files_is_refused(sharded):
    save_file(WEIGHTS, sharded / "part1.safetensors")
    refused(sharded, r"part1\.safetensors holds 'a', and so does part0\.safetensors")


def test_an_index_that_names_an_absent_tensor_is_refused(sharded):
    save_file({"c": np.ones(4)}, sharded / "part1.safetensors")
    refused(sharded, r"part1\.safetensors has no tensor 'b', which the index says it has")


def test_a_tensor_that_the_index_does_not_list_is_refused(sharded):
    save_file({"b": np.ones(4), "c": np.ones(4)}, sharded / "part1.safetensors")
    refused(sharded, r"part1\.safetensors has the tensor 'c', which the index does not list")


def test_the_tokenizer_has_a_digest_of_its_own(folder):
    plain = opened(folder)
    (folder / "tokenizer.json").write_text("{}")
    first = opened(folder)
    (folder / "tokenizer.json").write_text("{} ")
    assert first.tokenizer_digest not in {None, opened(folder).tokenizer_digest}
    assert first.digest == plain.digest


def test_a_folder_is_opened_without_torch(folder):
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from provenance.checkpoints.checkpoint import open_checkpoint, parse, peek_blocks\n"
        "from provenance.checkpoints.contents import inspect\n"
        "folder = sys.argv[1]\n"
        "assert peek_blocks(parse(folder)) == 2\n"
        "open_checkpoint(inspect(Path(folder)), parse(folder), lambda file: 'x')\n"
        "print({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, check=True)
    assert ran.stdout.strip() == b"set()"


# --- folders that are refused --------------------------------------------------------------------


def test_a_folder_that_is_not_there(tmp_path):
    refused(tmp_path / "none", "is not there")


def test_a_file_instead_of_a_folder(folder):
    refused(folder / "config.json", "give the folder that it is in")


def test_no_configuration(folder):
    (folder / "config.json").unlink()
    refused(folder, r"has no config\.json")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        ("\xff", "not valid JSON"),
        ('{"a":' * 100_000, "not valid JSON"),
        ("9" * 10_000, "not valid JSON"),
        ("[]", "a JSON list, not an object"),
        ("{}", "no 'model_type'"),
        ('{"model_type": 3}', "no 'model_type'"),
        ('{"model_type": "llama", "n_layer": 1000000000}', "more than 10,000 blocks"),
        ('{"model_type": "llama", "x": ' + "[" * 800 + "]" * 800 + "}", "nested|not valid JSON"),
        (
            '{"model_type": "llama", "transformers_weights": "x.safetensors"}',
            "asks for the weights",
        ),
        ('{"model_type": "llama", "transformers_weights": ["x"]}', "asks for the weights"),
    ],
    ids=range(12),
)
def test_a_bad_configuration(folder, content, match):
    (folder / "config.json").write_bytes(content.encode("latin-1"))
    refused(folder, match)


def test_a_huge_configuration_is_not_read(folder):
    with (folder / "config.json").open("r+b") as file:
        file.truncate(11 * 2**20)
    refused(folder, "more than 10,485,760 is refused")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(folder):
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    refused(folder, "not a regular file")
    assert peek_blocks(ModelSpec(path=str(folder))) is None


def test_an_adapter_beside_a_model(folder):
    (folder / "adapter_config.json").write_text("{}")
    refused(folder, "has an adapter .* beside its weights")


BOM = "\ufeff"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (f"{BOM}{{}}".encode(), "config.json begins with a byte order mark, .* save it as UTF-8"),
        (f"{BOM}{{}}".encode("utf-16-le"), "config.json is not valid JSON"),
        (b'{"model_type": "llama", "torch_dtype": "bf16"}', "has torch_dtype 'bf16', which is no"),
        (b'{"model_type": "llama", "dtype": 16}', "has dtype '16', which is no type of torch"),
        (
            b'{"model_type": "llava", "text_config": {"dtype": "fp16"}}',
            "has dtype 'fp16', which is no type of torch; write float32, bfloat16 or float16",
        ),
    ],
    ids=range(5),
)
def test_a_configuration_that_transformers_does_not_read(folder, content, match):
    (folder / "config.json").write_bytes(content)
    refused(folder, match)


@pytest.mark.parametrize("dtype", ["float32", "torch.bfloat16", "float8_e4m3fn", "auto", None])
def test_a_type_of_numbers_that_torch_has(folder, dtype):
    write_config(folder, torch_dtype=dtype)
    inspect(folder)


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    refused(folder, "has no weights")


def test_shards_without_an_index(sharded):
    (sharded / "model.safetensors.index.json").unlink()
    refused(sharded, r"has part0\.safetensors but neither")


class Payload:
    """A pickle that, if read, leaves a file behind."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


def test_a_pickle_is_refused_and_never_read(folder, tmp_path):
    marker = tmp_path / "marker"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(marker)))
    refused(folder, "pickle can run code; convert it to safetensors, or set allow_pickle: true")
    write_index(folder, "pytorch_model.bin")
    refused(folder, "pickle can run code; convert it to safetensors$")
    assert not marker.exists()


@pytest.mark.parametrize(
    "content", ["{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "[", "3"]
)
def test_a_bad_index(sharded, content):
    (sharded / "model.safetensors.index.json").write_text(content)
    refused(sharded, "weight_map|not valid JSON|not an object")


def test_a_listed_shard_that_is_missing_is_named(sharded):
    (sharded / "part1.safetensors").unlink()
    refused(sharded, r"part1\.safetensors is missing")


@pytest.mark.parametrize(
    "name",
    [
        "../other.safetensors",
        "{root}/other.safetensors",
        "a/../../other.safetensors",
        r"..\other.safetensors",
        r"C:\other.safetensors",
    ],
)
def test_a_shard_outside_of_the_folder(sharded, name):
    save_file(WEIGHTS, sharded.parent / "other.safetensors")
    write_index(sharded, name.format(root=sharded.parent))
    refused(sharded, "outside of the folder")


def test_a_shard_with_an_impossible_name(sharded):
    write_index(sharded, "a\0.safetensors")
    refused(sharded, "is missing")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_link_out_of_the_folder(folder, name):
    (folder / "tokenizer.json").write_text("{}")
    outside = (folder / name).rename(folder.parent / name)
    (folder / name).symlink_to(outside)
    refused(folder, "link out of its folder")


@pytest.mark.parametrize("target", ["nowhere", "model.safetensors"])
def test_a_link_that_leads_nowhere(folder, target):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(target)
    refused(folder, r"model\.safetensors is missing")


def test_links_within_the_folder_and_into_the_hub_cache_are_followed(folder):
    expected = opened(folder).digest
    repo = folder.parent / "models--org--tiny"
    snapshot = repo / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).rename(repo / "blobs" / name)
        (snapshot / name).symlink_to(Path("../../blobs") / name)
    assert opened(snapshot).digest == expected
    inside = (snapshot / "model.safetensors").rename(snapshot / "real.bin")
    (snapshot / "model.safetensors").symlink_to(inside.name)
    assert opened(snapshot).digest == expected


def header(value, data=b"", length=None):
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(shape, size, dtype="F32"):
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234",
        b"<!doctype html><html>not found</html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        save(WEIGHTS)[:-1],
        save(WEIGHTS)[:20],
        save(WEIGHTS) + b"x",
        header(b"{", b""),
        header([], b""),
        header({}, length=2**62),
        header(tensor([2**40, 2**40], 8), bytes(8)),
        header(tensor([2**70], 8), bytes(8)),
        header(tensor([-1], 8), bytes(8)),
        header(tensor([4], 8), bytes(8)),
        header(tensor([2], 8, "F99"), bytes(8)),
    ],
    ids=range(15),
)
def test_a_torn_or_foreign_weight_file_is_named(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, r"model\.safetensors is not a whole safetensors file")


@pytest.mark.slow
@given(st.binary(max_size=64), st.integers(0, 200))
def test_no_weight_file_raises_anything_else(tmp_path_factory, noise, position):
    folder = tmp_path_factory.mktemp("noise")
    write_config(folder)
    whole = save(WEIGHTS)
    (folder / "model.safetensors").write_bytes(whole[:position] + noise + whole[position:])
    try:
        assert opened(folder).parameters >= 0
    except SourceError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_a_file_that_cannot_be_hashed(folder):
    (folder / "tokenizer.json").write_text("{}")

    def denied(file):
        raise PermissionError(13, "Permission denied", str(file))

    with pytest.raises(SourceError, match=r"tokenizer\.json cannot be read: Permission denied"):
        open_checkpoint(inspect(folder), ModelSpec(path=str(folder)), denied)


# --- peek_blocks ---------------------------------------------------------------------------------


def test_stated_blocks_win():
    assert peek_blocks(ModelSpec(repo="org/tiny", blocks=5)) == 5


def test_blocks_of_a_folder(folder):
    assert peek_blocks(ModelSpec(path=str(folder))) == 2


@pytest.mark.parametrize("content", ["{", "[]", '{"n_layer": 99999999}', '{"n_layer": "x"}'])
def test_blocks_of_a_bad_configuration_are_unknown(folder, content):
    (folder / "config.json").write_text(content)
    assert peek_blocks(ModelSpec(path=str(folder))) is None


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(recipe="a"),
        ModelSpec(path="./none"),
        ModelSpec(path="\0"),
        ModelSpec(path="~\0"),
        ModelSpec(repo="org/tiny"),
        ModelSpec(repo="../..", revision="x"),
        ModelSpec(repo="org/tiny", revision="../../x"),
        ModelSpec(repo="org/tiny", revision="\0"),
    ],
)
def test_blocks_of_what_is_not_there_are_unknown(spec, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert peek_blocks(spec) is None


# --- fetch ---------------------------------------------------------------------------------------


FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": save(WEIGHTS),
    "tokenizer.json": b"{}",
    "README.md": b"x",
    "modeling.py": b"raise SystemExit",
    "pytorch_model.bin": b"x",
    "consolidated.safetensors": b"x",
    "original/model.safetensors": b"x",
}
TINY = ModelSpec(repo="org/tiny")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    home = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))
    return home


@pytest.fixture
def hub(cache):
    with hub_server.serve(FILES) as running:
        yield running
    close_clients()


def close_clients():
    """Close huggingface_hub's pooled connections, which Python would warn of."""
    from huggingface_hub import close_session

    close_session()


def test_only_what_is_needed_is_downloaded(hub, cache, capfd):
    folder, commit = fetch(TINY, endpoint=hub.endpoint)
    assert commit == COMMIT
    assert folder == cache / "models--org--tiny" / "snapshots" / COMMIT
    wanted = {"config.json", "model.safetensors", "tokenizer.json"}
    assert {entry.name for entry in folder.iterdir()} == wanted
    assert hub.fetched() == wanted
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_download_opens_as_a_checkpoint_with_its_commit(hub):
    folder, commit = fetch(TINY, endpoint=hub.endpoint)
    checkpoint = open_checkpoint(inspect(folder), replace(TINY, revision=commit), sha256)
    assert checkpoint.source == f"repo:org/tiny@{COMMIT}"
    assert checkpoint.parameters == 10
    assert peek_blocks(TINY) == peek_blocks(replace(TINY, revision=COMMIT)) == 2


def test_progress_is_told_in_bytes(hub):
    told = []
    fetch(TINY, lambda done, total: told.append((done, total)), endpoint=hub.endpoint)
    total = sum(len(FILES[name]) for name in ("config.json", "model.safetensors", "tokenizer.json"))
    assert (total, total) in told


def test_a_cached_commit_is_not_asked_for_again(hub):
    fetch(TINY, endpoint=hub.endpoint)
    hub.requests.clear()
    assert fetch(replace(TINY, revision=COMMIT), endpoint=hub.endpoint)[1] == COMMIT
    assert hub.requests == []


@pytest.mark.slow
def test_a_torn_cached_snapshot_is_completed(hub):
    folder, _ = fetch(TINY, endpoint=hub.endpoint)
    (folder / "model.safetensors").unlink()
    fetch(replace(TINY, revision=COMMIT), endpoint=hub.endpoint)
    assert (folder / "model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("answer", [None, (503, "", ""), (429, "", "")])
def test_a_hub_that_does_not_answer_is_replaced_by_the_cache(hub, answer):
    folder, _ = fetch(TINY, endpoint=hub.endpoint)
    hub.answers["info"] = answer or (200, "", "")
    endpoint = hub.endpoint if answer else "http://127.0.0.1:9"
    assert fetch(TINY, endpoint=endpoint) == (folder, COMMIT)


def refused_by(hub, match, spec=TINY):
    with pytest.raises(SourceError, match=match) as caught:
        fetch(spec, endpoint=hub.endpoint)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(spec.source)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (
            (401, "GatedRepo", "restricted"),
            "gated; ask for access on https://huggingface.co/org/tiny",
        ),
        ((403, "GatedRepo", "restricted"), "gated"),
        ((401, "", "Invalid username or password."), "no such repository, or it is private"),
        ((404, "RepoNotFound", "Repository not found"), "no such repository, or it is private"),
        ((401, "", "Invalid credentials in Authorization header"), "refuses access .401.; log in"),
        ((403, "", "Forbidden"), "refuses access .403.; log in"),
        ((403, "", "Access to this resource is disabled."), "disabled this repository"),
        ((429, "", "Too many"), "limits the rate .429.; wait"),
        ((500, "", "oops"), "has trouble .500.; try again"),
        ((418, "", "teapot"), "answers 418"),
    ],
)
def test_what_the_hub_refuses_is_one_line_with_what_to_do(hub, answer, match):
    hub.answers["info"] = answer
    refused_by(hub, match)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ((403, "GatedRepo", "restricted"), "gated"),
        ((404, "EntryNotFound", "Entry not found"), "a file of it is missing on the hub"),
        ((403, "", "Access to this resource is disabled."), "disabled this repository"),
    ],
)
def test_files_refused_after_the_listing_was_given(hub, answer, match):
    hub.answers["resolve"] = answer
    refused_by(hub, match)


def test_a_repository_that_is_not_there(hub):
    refused_by(hub, "no such repository, or it is private", ModelSpec(repo="org/other"))


def test_a_revision_that_is_not_there(hub):
    refused_by(hub, "no revision 'v9'", replace(TINY, revision="v9"))


@pytest.mark.parametrize("spec", [ModelSpec(repo="a b"), ModelSpec(repo="a", revision="../x")])
def test_an_id_that_cannot_be_is_not_asked_for(hub, spec):
    with pytest.raises(SourceError, match=r"is not a re(pository's id|vision)"):
        fetch(spec, endpoint=hub.endpoint)
    assert hub.requests == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("pytorch_model.bin", "pickle can run code"),
        ("two.gguf", "has 2 GGUF files; download one, and give it as path: .one.gguf"),
        ("adapter_config.json", r"adapter_config\.json but no adapter_model\.safetensors"),
        ("README.md", "no weights"),
    ],
)
def test_a_repository_without_anything_to_load_downloads_nothing(hub, name, match):
    hub.files = {"config.json": b"{}", name: b"x"}
    if name.endswith(".gguf"):
        hub.files["one.gguf"] = b"x"
    refused_by(hub, match)
    assert hub.fetched() == set()


def test_an_endpoint_that_is_no_hub(hub):
    hub._info = lambda *_: {"id": "org/tiny", "sha": "x", "siblings": []}
    refused_by(hub, "names no commit for it; check HF_ENDPOINT")


def test_no_network_and_no_cache(cache):
    with pytest.raises(SourceError, match="cannot be reached; check the network"):
        fetch(TINY, endpoint="http://127.0.0.1:9")
    with pytest.raises(SourceError, match="cannot be reached; check the network"):
        fetch(replace(TINY, revision=COMMIT), endpoint="http://127.0.0.1:9")
    close_clients()


@pytest.fixture
def large(hub, monkeypatch):
    """A hub whose weights are a large file, and a client that does not wait before it tries again."""
    import time

    from huggingface_hub import constants

    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1)  # what is less than one is lost
    hub.files = hub.files | {"model.safetensors": save({"a": np.arange(10**4, dtype=np.float32)})}
    hub.large = {"model.safetensors"}
    return hub


@pytest.mark.slow
def test_a_large_file_is_found_where_the_hub_keeps_it(large):
    folder, _ = fetch(TINY, endpoint=large.endpoint)
    data = large.files["model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == data
    assert (folder / "model.safetensors").resolve().name == hashlib.sha256(data).hexdigest()


@pytest.mark.slow
def test_a_download_that_breaks_off_is_taken_up_where_it_stopped(large):
    large.cuts = 2
    folder, _ = fetch(TINY, endpoint=large.endpoint)
    data = large.files["model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == data
    half = len(data) // 2
    assert large.ranges == [f"bytes={half}-", f"bytes={half + (len(data) - half) // 2}-"]


@pytest.mark.slow
def test_a_download_that_breaks_off_for_good_is_one_line_and_whole_files_stay(large):
    large.cuts = 100
    refused_by(large, "the hub cannot be reached; check the network")
    large.cuts = 0
    large.requests.clear()
    folder, _ = fetch(TINY, endpoint=large.endpoint)
    assert (folder / "model.safetensors").read_bytes() == large.files["model.safetensors"]
    gets = {line for line in large.requests if line.startswith("GET") and "/api/" not in line}
    assert gets == {"GET /large/model.safetensors"}


@pytest.mark.slow
def test_a_large_file_that_comes_damaged_is_not_kept(large):
    whole = large.files["model.safetensors"]
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    large.reply, honest = (
        lambda path: (200, {}, flipped) if path.startswith("/large/") else honest(path),
        large.reply,
    )
    refused_by(large, r"model\.safetensors came damaged; download it again")
    large.reply = honest
    folder, _ = fetch(TINY, endpoint=large.endpoint)
    assert (folder / "model.safetensors").read_bytes() == whole


@pytest.fixture
def torn(large):
    """The folder of a cached snapshot whose weights have lost their end."""
    folder, _ = fetch(TINY, endpoint=large.endpoint)
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(100)
    large.requests.clear()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("revision", [None, COMMIT])
def test_a_cached_file_that_lost_its_end_is_downloaded_again(large, torn, revision):
    assert fetch(replace(TINY, revision=revision), endpoint=large.endpoint) == (torn, COMMIT)
    assert (torn / "model.safetensors").read_bytes() == large.files["model.safetensors"]
    assert large.requests.count("GET /large/model.safetensors") == 1


@pytest.mark.slow
def test_a_cached_file_that_lost_its_end_does_not_serve_without_the_hub(torn):
    with pytest.raises(SourceError, match="cannot be reached"):
        fetch(TINY, endpoint="http://127.0.0.1:9")
    assert (torn / "model.safetensors").is_file()


def test_what_the_hub_has_unsound_is_downloaded_once(large):
    large.files = large.files | {"model.safetensors": b"no safetensors"}
    spec = replace(TINY, revision=COMMIT)
    fetch(spec, endpoint=large.endpoint)
    large.requests.clear()
    fetch(spec, endpoint=large.endpoint)
    assert large.requests == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], ["adapter_model.safetensors"]),
        (["x.gguf", "config.json"], ["x.gguf"]),
        (["config.json", "pytorch_model.bin"], ["pytorch_model.bin"]),
        (["config.json", "model.pt", "optimizer.pt"], ["model.pt"]),
        (["config.json", "consolidated.00.pth"], ["consolidated.00.pth"]),
        (["a.GGUF", "mmproj-a.gguf"], ["a.GGUF"]),
        (["config.json", "model.safetensors", "pytorch_model.bin", "x.py"], ["model.safetensors"]),
    ],
    ids=["adapter", "gguf", "pickle", "model.pt", "consolidated", "projector", "safetensors"],
)
def test_of_any_form_only_what_is_needed_is_downloaded(hub, files, wanted):
    hub.files = {
        name: FILES.get(name, f'{{"x": "{name}"}}'.encode()) for name in [*files, "README.md"]
    }
    spec = replace(TINY, allow_pickle=True)
    folder, commit = fetch(spec, endpoint=hub.endpoint)
    configs = {name for name in files if name.endswith("config.json") and "gguf" not in files[0]}
    assert hub.fetched() == {*wanted, *configs}
    hub.requests.clear()
    assert fetch(replace(spec, revision=commit), endpoint=hub.endpoint) == (folder, commit)
    assert hub.requests == []


@pytest.mark.slow
def test_code_is_downloaded_where_it_is_trusted(hub):
    fetch(replace(TINY, trust_remote_code=True), endpoint=hub.endpoint)
    assert "modeling.py" in hub.fetched()


@pytest.mark.slow
def test_code_that_was_left_out_is_fetched_when_it_is_trusted(hub):
    hub.files = hub.files | {
        "config.json": json.dumps(CONFIG | {"auto_map": {"AutoConfig": "modeling.X"}}).encode()
    }
    fetch(replace(TINY, revision=COMMIT), endpoint=hub.endpoint)
    assert "modeling.py" not in hub.fetched()
    fetch(replace(TINY, revision=COMMIT, trust_remote_code=True), endpoint=hub.endpoint)
    assert "modeling.py" in hub.fetched()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ((401, "", "Invalid credentials in Authorization header"), "refuses access .401.; log in"),
        ((403, "", "Forbidden"), "refuses access .403.; log in"),
        ((429, "", "Too many"), "limits the rate .429.; wait"),
        ((500, "", "oops"), "has trouble .500.; try again"),
    ],
)
def test_a_refusal_of_a_file_is_one_line(large, answer, match):
    large.answers["resolve"] = answer
    refused_by(large, match)


def fetched_in_a_process(cache, **environment):
    code = (
        "from provenance.checkpoints.checkpoint import fetch, parse\n"
        "from provenance.errors import SourceError\n"
        "try: print(fetch(parse('org/tiny'))[1])\n"
        "except SourceError as error: print(error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"HF_HUB_CACHE": str(cache)} | environment,
        capture_output=True,
        check=True,
        text=True,
    )
    assert ran.stderr == ""
    return ran.stdout.strip()


@pytest.mark.slow
def test_the_environments_endpoint_and_offline_mode_are_kept(hub, cache):
    assert "HF_HUB_OFFLINE is set" in fetched_in_a_process(cache, HF_HUB_OFFLINE="1")
    assert fetched_in_a_process(cache, HF_ENDPOINT=hub.endpoint) == COMMIT
    assert fetched_in_a_process(cache, HF_HUB_OFFLINE="1") == COMMIT
