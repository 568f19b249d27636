"""A library of fingerprints: what is added is found, what was changed is refused, and signatures hold."""

import json
import math
import shutil

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from provenance import Executor, Store, identify
from provenance.checkpoints.token_fingerprint_file import KEY
from provenance.cli import main
from provenance.comparison.make_token_fingerprint import fingerprint_tokens
from provenance.errors import ProvenanceError
from provenance.identification.library import (
    INDEX,
    SIGNATURE,
    Library,
    LibraryError,
    add,
    faults,
    file_of,
    read_library,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory, family, shared_store):
    """A library of a base and a stranger."""
    folder = tmp_path_factory.mktemp("made")
    executor = Executor(Store(shared_store), "cpu")
    for name in ("base", "other"):
        file = folder / file_of(name)
        fingerprint_tokens(getattr(family, name), file, name=name, executor=executor)
        add(folder, file)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "library")


@pytest.fixture
def keys(tmp_path):
    private = ec.generate_private_key(ec.SECP256R1())
    places = tmp_path / "private.pem", tmp_path / "public.pem"
    places[0].write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    places[1].write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return places


@pytest.fixture
def run(capfd):
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["library", *map(str, arguments)])
        out, err = capfd.readouterr()
        return stop.value.code, " ".join(out.split()), err

    return run


def test_the_nearest_kin_is_found_in_a_library(folder, family, shared_store):
    executor = Executor(Store(shared_store), "cpu")
    found = identify(family.kin, [folder], executor=executor)
    assert found.nearest.name == f"{folder}/base"
    assert [one.finding for one in found.references] == ["kin", "none found"]
    assert found.nearest.closeness.measured_on == "token fingerprint"


def test_the_index_says_what_every_file_is(folder, run):
    library = read_library(folder)
    assert [one.name for one in library.entries] == ["base", "other"]
    assert {one.statistic for one in library.entries} == {"match_tokens"}
    assert faults(folder, library) == []
    code, out, _ = run("list", folder, "--json")
    assert code == 0
    assert [one["blocks"] for one in json.loads(out)["entries"]] == [3, 3]
    assert "LlamaForCausalLM" in run("list", folder)[1]


def test_an_entry_of_a_name_takes_the_place_of_the_one_before(folder):
    (entry,) = [one for one in read_library(folder).entries if one.name == "other"]
    add(folder, folder / entry.file, "base")
    assert [one.name for one in read_library(folder).entries] == ["base"]


def test_models_are_added_and_what_cannot_be_loses_no_other(
    family, tmp_path, run, shared_store, made
):
    where = ["--store", shared_store, "--device", "cpu"]
    mark = made / file_of("other")
    code, out, err = run("add", tmp_path / "new", family.base, family.broken, mark, *where)
    assert code in {0, 1}
    assert f"{family.base}: " in out
    names = [one.name for one in read_library(tmp_path / "new").entries]
    assert {str(family.base), "other"} <= set(names)
    code, _, err = run("add", tmp_path / "new", family.base, family.kin, "--name", "x", *where)
    assert (code, err.count("\n")) == (2, 1)
    cut = shutil.copytree(family.base, tmp_path / "cut")
    (cut / "model.safetensors").write_bytes(b"")
    code, out, err = run("add", tmp_path / "more", cut, family.base, *where)
    assert code == 1
    assert err.count("\n") == 1
    assert len(read_library(tmp_path / "more").entries) == 1


def test_all_models_of_a_suite_are_added_by_their_names(family, tmp_path, run, shared_store):
    suite = tmp_path / "some.yaml"
    suite.write_text(
        "version: 1\nmodels:\n"
        f"  ours: {{path: {json.dumps(str(family.base))}}}\n"
        f"  theirs: {{path: {json.dumps(str(family.other))}}}\n"
    )
    code, _, err = run("add", tmp_path / "l", suite, "--store", shared_store, "--device", "cpu")
    assert (code, err) == (0, "")
    assert [one.name for one in read_library(tmp_path / "l").entries] == ["ours", "theirs"]


def test_a_changed_file_is_refused_and_said_in_a_line(folder, family, run):
    shutil.copyfile(folder / file_of("other"), folder / file_of("base"))
    with pytest.raises(LibraryError, match="is not what the index says"):
        identify(family.kin, [folder])
    code, out, err = run("verify", folder)
    assert (code, err) == (1, "")
    assert "base: " in out
    assert "its SHA-256 is another" in out


def test_a_file_that_is_missing_or_beside_the_index_is_said(folder, run):
    shutil.copyfile(folder / file_of("base"), folder / "more.safetensors")
    (folder / file_of("other")).unlink()
    code, out, _ = run("verify", folder)
    assert code == 1
    assert "cannot be read: No such file" in out
    assert "more.safetensors: the index does not have it" in out


def test_a_signature_holds_until_anything_changes(folder, keys, run):
    private, public = keys
    assert run("verify", folder)[0] == 0
    code, out, _ = run("verify", folder, "--key", public)
    assert (code, "cannot be read" in out) == (1, True)
    assert run("sign", folder, "--key", private)[0] == 0
    code, out, _ = run("verify", folder, "--key", public)
    assert code == 0
    assert "2 fingerprints are what the index says, and the index was signed by" in out
    add(folder, folder / file_of("base"), "renamed")
    code, out, _ = run("verify", folder, "--key", public)
    assert code == 1
    assert "is not the index that was signed" in out
    (folder / SIGNATURE).write_text("{}")
    code, out, _ = run("verify", folder, "--key", public)
    assert (code, "no signed envelope" in out) == (1, True)


def test_json_says_the_same(folder, keys, run, family, shared_store):
    private, public = keys
    code, out, _ = run("sign", folder, "--key", private, "--json")
    assert (code, json.loads(out)) == (0, {"signature": str(folder / SIGNATURE)})
    code, out, _ = run("verify", folder, "--key", public, "--json")
    assert (code, json.loads(out)) == (0, {"fingerprints": 2, "faults": [], "key": str(public)})
    (folder / file_of("base")).unlink()
    code, out, _ = run("verify", folder, "--json")
    assert (code, len(json.loads(out)["faults"])) == (1, 1)
    where = ["--store", shared_store, "--device", "cpu"]
    code, out, _ = run("add", folder, family.base, "--name", "base", "--json", *where)
    assert (code, json.loads(out)["failed"]) == (0, {})
    assert json.loads(out)["added"][0]["name"] == "base"


def test_an_unsound_library_is_not_signed(folder, keys, run):
    (folder / file_of("base")).write_bytes(b"")
    code, out, err = run("sign", folder, "--key", keys[0])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert not (folder / SIGNATURE).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said | {"schema": 9}, "schema"),
        (lambda said: said | {"more": 1}, "more"),
        (lambda said: said | {"entries": [*said["entries"], said["entries"][0]]}, "of one name"),
        (lambda said: entry(said, file="../x.safetensors"), "no name of a fingerprint"),
        (lambda said: entry(said, sha256="none"), "no SHA-256"),
        (lambda said: entry(said, name="a\x1b[31m"), "not seen"),
        (lambda said: entry(said, blocks=0), "counts nothing"),
    ],
)
def test_an_index_that_says_what_cannot_be_is_refused(folder, change, message):
    said = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(change(said)))
    with pytest.raises(LibraryError, match=message) as refused:
        read_library(folder)
    assert "\n" not in str(refused.value)


def entry(said, **fields):
    return said | {"entries": [said["entries"][0] | fields]}


@given(st.text(max_size=300))
def test_a_file_is_named_by_characters_that_every_disk_takes(name):
    file = file_of(name)
    assert file.endswith(".safetensors")
    assert file.isascii()
    assert "/" not in file
    assert not file.startswith(".")
    assert len(file) <= 140


def test_a_folder_without_an_index_is_no_library(tmp_path):
    with pytest.raises(ProvenanceError, match=r"no library, since it holds no library\.json: make"):
        read_library(tmp_path)


def test_an_index_without_fingerprints_proves_nothing(tmp_path, run):
    (tmp_path / INDEX).write_text(Library().to_json(), encoding="utf-8")
    code, out, _ = run("verify", tmp_path)
    assert code == 1
    assert "nothing was checked: provenance library add" in out


@pytest.mark.parametrize("kind", ["loop", "folder"])
def test_a_folder_whose_index_cannot_be_read_is_a_library_of_which_nothing_is_proven(
    folder, family, run, kind
):
    (folder / INDEX).unlink()
    if kind == "loop":
        (folder / INDEX).symlink_to(INDEX)
    else:
        (folder / INDEX).mkdir()
    with pytest.raises(LibraryError, match=r"library\.json cannot be read: "):
        identify(family.kin, [folder])
    code, _, err = run("add", folder, folder / "other.safetensors")
    assert code == 1
    assert "library.json cannot be read: " in err


def edited(source, target, document=None, tensors=None):
    """Write a fingerprint anew, its document and its tensors changed."""
    with safe_open(source, "pt") as file:
        metadata = file.metadata()
    found = load_file(source)
    metadata[KEY] = json.dumps(json.loads(metadata[KEY]) | (document or {}))
    save_file(
        {key: (tensors or (lambda _, x: x))(key, x) for key, x in found.items()}, target, metadata
    )
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"tensors": lambda key, x: x * math.nan if "share" in key else x},
            "units add is no share",
        ),
        (
            {"tensors": lambda key, x: x + 1 if "share" in key else x},
            "what its units add is no share",
        ),
        (
            {"tensors": lambda key, x: x.flip(0) if "live" in key else x},
            "live units are in no order",
        ),
        (
            {"document": {"listed": "sha256:" + "0" * 64}},
            "is a fingerprint of another list of tokens",
        ),
        ({"document": {"serves": {}}}, "is a fingerprint for version None of "),
    ],
)
def test_a_fingerprint_that_could_be_compared_with_nothing_is_not_added(
    folder, tmp_path, run, change, message
):
    file = edited(folder / "base.safetensors", tmp_path / "theirs.safetensors", **change)
    code, out, err = run("add", tmp_path / "new", file)
    assert (code, out) == (1, "")
    assert message in err
    assert not (tmp_path / "new" / INDEX).exists()
    assert not (tmp_path / "new" / "theirs.safetensors").exists()


def test_a_model_without_a_tokenizer_is_a_line(tmp_path, family, run):
    bare = shutil.copytree(family.base, tmp_path / "bare")
    for file in bare.glob("tokenizer*"):
        file.unlink()
    code, _, err = run("add", tmp_path / "new", bare)
    assert code == 1
    assert "has no tokenizer: token embeddings need one" in err


def test_each_fault_is_a_line_however_narrow_the_terminal(folder, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    for name in ("base", "other"):
        (folder / f"{name}.safetensors").write_bytes(b"")
    with pytest.raises(SystemExit):
        main(["library", "verify", str(folder)])
    assert len(capfd.readouterr().out.splitlines()) == 2
