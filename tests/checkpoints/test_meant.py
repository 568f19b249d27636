"""provenance/checkpoints/meant.py: what a person meant who mistyped a model."""

from __future__ import annotations

import re

import pytest

from provenance.checkpoints.checkpoint import parse
from provenance.checkpoints.contents import inspect
from provenance.errors import SourceError
from provenance.vocabulary import ModelSpec

NEARBY = ("runs/chat", "runs/base", "chat", "gpt2-ft", "meta-llama/x", "Org")


@pytest.fixture
def nearby(tmp_path, monkeypatch):
    """A working directory with folders of these names, and a GGUF file."""
    for name in NEARBY:
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "model.gguf").touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("runs/chta", "runs/chat"),
        ("runz/chat", "runs/chat"),
        ("runz/chta", "runs/chat"),
        ("chta", "chat"),
        ("chta/", "chat"),
        ("Chat", "chat"),
        ("model.ggfu", "model.gguf"),
        ("./chta", "./chat"),
        ("path:chta", "chat"),
        ("./runs/bse", "./runs/base"),
        ("a chta", "chat"),
    ],
)
@pytest.mark.usefixtures("nearby")
def test_a_path_with_a_typo_is_no_hub_id(text, meant):
    with pytest.raises(SourceError, match=f"did you mean '{re.escape(meant)}'") as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("nearby")
def test_what_is_not_in_a_folder_here_is_no_hub_id():
    with pytest.raises(SourceError, match="write repo:meta-llama/Llama-3-8B if the hub's"):
        parse("meta-llama/Llama-3-8B")
    assert parse("repo:meta-llama/Llama-3-8B").repo == "meta-llama/Llama-3-8B"
    assert parse("meta-llama/Llama-3-8B", typed=False).repo == "meta-llama/Llama-3-8B"


@pytest.mark.parametrize("text", ["gpt2", "gpt2@main", "org/name", "chat-v2", "runs/chta@v1"])
@pytest.mark.usefixtures("nearby")
def test_other_names_beside_folders_stay_hub_ids(text):
    assert parse(text).source == f"repo:{text}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hf://org/name", "write org/name"),
        ("hf://org/name@v1/model.safetensors", "write org/name@v1"),
        ("https://huggingface.co/org/name", "write org/name"),
        ("https://huggingface.co/org/name/tree/v2", "write org/name@v2"),
        ("https://huggingface.co/org/name/blob/main/config.json", "write org/name"),
        ("https://huggingface.co/gpt2/tree/main", "write gpt2"),
        ("huggingface.co/org/name", "write org/name"),
        ("https://hf.co/org/name?x=1", "write org/name"),
        ("path:hf://org/name", "write org/name"),
        ("repo:https://huggingface.co/org/name.git", "write org/name"),
        ("repo:./folder", "write path:./folder"),
        ("repo:~/folder", "write path:~/folder"),
        ("repo:/folder", "write path:/folder"),
        ("path:org/name", "repo:org/name"),
    ],
)
def test_another_form_of_an_address_is_answered_with_the_right_one(
    text, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=re.escape(words) + "$"):
        parse(text)


@pytest.mark.parametrize("text", ["https://huggingface.co/datasets/a/b", "https://example.com/a/b"])
def test_other_addresses_are_urls(text):
    assert parse(text) == ModelSpec(url=text)


def test_a_folder_of_a_suite_that_is_not_there_is_answered_with_what_may_be_meant(tmp_path):
    (tmp_path / "chat").mkdir()
    with pytest.raises(SourceError, match=r"is not there; did you mean .*chat\?"):
        inspect(tmp_path / "chta")
    with pytest.raises(
        SourceError, match=r"is not there; a repository of the hub is repo: org/name"
    ):
        inspect(tmp_path / "org/name")
