"""Which files are the weights, told from names: other pickles, GGUF beside projectors, other formats."""

import pytest

from provenance.checkpoints.formats import detect_format, no_weights, unwanted, wanted
from provenance.checkpoints.pickles import choose_pickles
from provenance.errors import SourceError

SHARDS = tuple(f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2))
BESIDE = ["config.json", "training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state_0.pth"]

CHOSEN = [
    (["model.pt"], ("model.pt",)),
    (["model.bin"], ("model.bin",)),
    (["model_best.pth"], ("model_best.pth",)),
    (["last.ckpt"], ("last.ckpt",)),
    (["consolidated.00.pth"], ("consolidated.00.pth",)),
    (["consolidated.00.pth", "pytorch_model.bin"], ("pytorch_model.bin",)),
    (["pytorch_model-00001-of-00001.bin"], ("pytorch_model-00001-of-00001.bin",)),
    ([*SHARDS], SHARDS),
    (["original/consolidated.00.pth", "model.pt"], ("model.pt",)),
    (["hf_model_0001_0.pt", "adapter_model.bin"], ("hf_model_0001_0.pt",)),
]

UNSURE = [
    ([SHARDS[1]], f"lacks {SHARDS[0]}; download"),
    ([*SHARDS, "x-00001-of-00002.bin"], "has shards of several saves"),
    (["a.pt", "b.pt"], r"has several pickles \(a\.pt, b\.pt\); leave the one that is meant"),
    (["consolidated.00.pth", "consolidated.01.pth"], "cut over 2 files"),
    (["mp_rank_00_model_states.pt", "mp_rank_01_model_states.pt"], "cut over 2 files"),
    ([], "has no pickled weights"),
]


@pytest.mark.parametrize(("names", "files"), CHOSEN)
def test_the_pickles_that_are_the_weights(names, files):
    assert choose_pickles([*BESIDE, *names]) == (files, "")


@pytest.mark.parametrize(("names", "reason"), UNSURE)
def test_pickles_of_which_none_is_chosen(tmp_path, names, reason):
    files, found = choose_pickles([*BESIDE, *names])
    assert files == ()
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found)
    for name in [*BESIDE, *names]:
        (tmp_path / name).touch()
    reason = reason if names else "has no weights"
    for allowed in (True, False):
        with pytest.raises(SourceError, match=reason):
            detect_format(tmp_path, allow_pickle=allowed)


@pytest.mark.parametrize(("names", "files"), CHOSEN)
def test_a_download_brings_them_where_that_is_allowed(names, files):
    given = {"trust_remote_code": False}
    chosen = wanted([*BESIDE, *names], allow_pickle=True, **given)
    assert set(chosen) & {*BESIDE, *names} == {"config.json", *files}
    assert ("consolidated*" in unwanted(chosen)) == ("consolidated.00.pth" not in files)
    assert wanted([*BESIDE, *names], allow_pickle=False, **given) is None


OTHERS = [
    (
        ["params.json", "consolidated.00.pth"],
        r"own format \(params\.json\); convert it with convert_l",
    ),
    (["params.json", "consolidated.safetensors", "tekken.json"], "Meta's or Mistral's own format"),
    (["zero_to_fp32.py", "latest"], "is a checkpoint of DeepSpeed"),
    (["config.json", ".metadata", "__0_0.distcp"], "accelerate merge-weights"),
    (["config.json", "tf_model.h5"], "weights of TensorFlow"),
    (["config.json", "flax_model.msgpack"], "weights of Flax"),
    (["config.json", "weights.safetensors"], r"but no model\.safetensors; rename it"),
    (["config.json", "model-00001-of-00002.safetensors"], "download or save it again"),
]


@pytest.mark.parametrize(("names", "match"), OTHERS)
@pytest.mark.parametrize("allowed", [True, False])
def test_another_format_is_called_by_its_name(tmp_path, names, match, allowed):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(SourceError, match=match):
        detect_format(tmp_path, allow_pickle=allowed)
    assert wanted(names, allow_pickle=allowed, trust_remote_code=False) is None


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (
            ["README.md", "adapter/adapter_config.json"],
            "a folder in it has: adapter has an adapter",
        ),
        (
            ["a/adapter_config.json", "a/adapter_model.safetensors", "b/adapter_config.json"],
            r"2 folders in it have: a has an adapter; give path: .*/a$",
        ),
        (["config.json", "checkpoint-500/model.safetensors"], "checkpoint-500 has a model"),
        (["checkpoint-10/model.safetensors.index.json"], "checkpoint-10 has a model"),
        (["a/b/model.safetensors"], "has no weights: neither"),
        (["a/README.md"], "has no weights: neither"),
    ],
)
def test_what_lies_in_a_folder_below_is_named(tmp_path, names, match):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(SourceError, match=match):
        detect_format(tmp_path, allow_pickle=False)


def test_what_tensorflow_left_beside_a_pickle_is_in_nobodys_way():
    assert "allow_pickle: true" in no_weights(["config.json", "pytorch_model.bin", "tf_model.h5"])


GGUF = [
    (["a.gguf", "mmproj-a-f16.gguf"], "a.gguf"),
    (["a.gguf", "a-mmproj.gguf", "imatrix.gguf"], "a.gguf"),
    (["a.Q4.GGUF"], "a.Q4.GGUF"),
    (["mmproj.gguf"], "mmproj.gguf"),
]


@pytest.mark.parametrize(("names", "file"), GGUF)
def test_the_gguf_file_of_the_language_model(tmp_path, names, file):
    for name in names:
        (tmp_path / name).touch()
    for place in (tmp_path, tmp_path / file):
        assert detect_format(place, allow_pickle=False).files == (tmp_path / file,)
    assert wanted(names, allow_pickle=False, trust_remote_code=False) == [file]


def test_a_part_of_a_gguf_file_in_capitals(tmp_path):
    (tmp_path / "A-00001-OF-00002.GGUF").touch()
    with pytest.raises(SourceError, match="llama-gguf-split --merge"):
        detect_format(tmp_path, allow_pickle=False)
