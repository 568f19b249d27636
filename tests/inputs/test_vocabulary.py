"""A token is the bytes of text that it stands for, however a tokenizer spells it."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provenance.errors import InputError, ProvenanceError
from provenance.inputs.vocabulary import read_vocabulary
from tests.reference import byte_level_spelling

TEXTS = [b" the", b"the", b"\n", b"\xc3\xa9", b" \xe4\xb8\x96", b"\xf0"]


@pytest.fixture
def read(tmp_path):
    """Read a ``tokenizer.json`` that is given as a mapping, or as it is written."""

    def read(content, size=100):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "tokenizer.json").write_text(text)
        return read_vocabulary(checkpoint(tmp_path), size)

    return read


def checkpoint(folder, digest="sha256:0"):
    return SimpleNamespace(
        folder=folder, source="path:chat", tokenizer_digest=digest, remote_code=False
    )


def tokens(*spelled):
    return {token: index for index, token in enumerate(spelled)}


def byte_level(*spelled, added=()):
    model = {"type": "BPE", "vocab": tokens(*spelled), "merges": []}
    return {"model": model, "decoder": {"type": "ByteLevel"}, "added_tokens": list(added)}


def sentence_piece(*spelled, added=()):
    model = {"type": "BPE", "vocab": tokens(*spelled), "merges": [], "byte_fallback": True}
    replace = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
    decoder = {"type": "Sequence", "decoders": [replace, {"type": "ByteFallback"}]}
    return {"model": model, "decoder": decoder, "added_tokens": list(added)}


def word_piece(*spelled, prefix="##"):
    model = {"type": "WordPiece", "vocab": tokens(*spelled), "continuing_subword_prefix": prefix}
    return {"model": model, "decoder": {"type": "WordPiece", "prefix": prefix}}


def unigram(*pieces):
    model = {"type": "Unigram", "vocab": [[piece, -1.5] for piece in pieces], "unk_id": 0}
    return {"model": model, "decoder": {"type": "Metaspace", "replacement": "\u2581"}}


def special(content, index, *, is_special=True):
    return {"content": content, "id": index, "special": is_special}


def test_bytes_are_told_from_the_characters_that_spell_them(read):
    spelled = [byte_level_spelling(text) for text in TEXTS]
    assert spelled[:3] == ["\u0120the", "the", "\u010a"]
    found = read(byte_level(*spelled))
    assert found.texts == {text: index for index, text in enumerate(TEXTS)}


@given(st.binary(min_size=1, max_size=8))
def test_any_bytes_are_read_back(text):
    from provenance.inputs.vocabulary import _byte_level

    assert _byte_level(byte_level_spelling(text)) == text


def test_a_pre_tokenizer_tells_bytes_where_there_is_no_decoder(read):
    content = byte_level("\u0120the") | {"decoder": None}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}]}
    assert read(content).texts == {b" the": 0}


def test_pieces_and_single_bytes_are_told_of_sentencepiece(read):
    found = read(sentence_piece("\u2581the", "the", "<0x0A>", "\u00e9", "<0xF0>", "\u2581\u2581"))
    assert found.texts == {b" the": 0, b"the": 1, b"\n": 2, b"\xc3\xa9": 3, b"\xf0": 4, b"  ": 5}


def test_pieces_are_told_of_a_list_with_scores(read):
    assert read(unigram("<unk>", "\u2581the", "the")).texts == {b" the": 1, b"the": 2}


@pytest.mark.parametrize("prefix", ["##", "@@"])
def test_a_piece_that_begins_a_word_has_a_space_before_it(read, prefix):
    found = read(word_piece("[MASK]", "the", f"{prefix}the", "[unused3]", prefix=prefix))
    assert found.texts == {b" the": 1, b"the": 2}


def test_every_spelling_meets_the_others(read):
    """The same text has the same bytes, whatever the kind of tokenizer."""
    found = [
        read(content).texts
        for content in (
            byte_level("\u0120the", "the"),
            sentence_piece("\u2581the", "the"),
            unigram("\u2581the", "the"),
            word_piece("the", "##the"),
        )
    ]
    assert all(texts == {b" the": 0, b"the": 1} for texts in found)


def test_special_and_unused_tokens_stand_for_no_text(read):
    added = [special("<s>", 0), special("END", 1), special("<|user|>", 2, is_special=False)]
    found = read(
        sentence_piece("<s>", "END", "<|user|>", "<unused4>", "[MASK]", "word", added=added)
    )
    assert found.texts == {b"word": 5}


def test_an_added_token_that_no_vocabulary_holds_is_left_out(read):
    assert read(byte_level("a", added=[special("<|end|>", 1)])).texts == {b"a": 0}


def test_tokens_without_a_row_are_left_out(read):
    assert read(byte_level("a", "b", "c"), size=2).texts == {b"a": 0, b"b": 1}


def test_of_two_tokens_of_one_text_the_first_counts(read):
    assert read(sentence_piece("<0x41>", "A")).texts == {b"A": 0}


def test_without_a_tokenizer_there_are_no_texts(tmp_path):
    found = read_vocabulary(checkpoint(tmp_path, None), 7)
    assert (found.texts, found.size, found.name) == (None, 7, "path:chat")


def of(vocabulary, **more):
    return {"model": {"type": "BPE", "vocab": vocabulary}, **more}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "[" * 100_000,
        {},
        {"model": None},
        of(5),
        of(None),
        of({"a": "b"}),
        of({"a": None}),
        of({"a": [1]}),
        of({"a": 1e400}),
        of([["a"]]),
        of([5]),
        of(["abc"]),
        of({"a": 1}, added_tokens=5),
        of({"a": 1}, added_tokens=[5]),
        of({"a": 1}, added_tokens=[{"content": "a"}]),
        of({"a": 1}, added_tokens=[special(["a"], 0)]),
        of({"a": 1}, added_tokens=[special("a", "x")]),
        of({"a": 1}, added_tokens=[special("a", [0])]),
    ],
    ids=repr,
)
def test_a_damaged_tokenizer_is_one_line(read, content):
    with pytest.raises(InputError, match=r"chat: .*tokenizer.json is no tokenizer") as raised:
        read(content)
    assert "\n" not in str(raised.value)


def test_pieces_that_are_no_text_are_read_as_such(read):
    assert read(of([[5, 0.0], ["\ud800", 0.0]])).texts == {b"5": 0, b"\xed\xa0\x80": 1}


def test_a_tokenizer_that_lies_outside_its_folder_is_refused(tmp_path):
    inside, outside = tmp_path / "model", tmp_path / "tokenizer.json"
    inside.mkdir()
    outside.write_text(json.dumps(byte_level("a")))
    (inside / "tokenizer.json").symlink_to(outside)
    with pytest.raises(ProvenanceError, match="link out of its folder"):
        read_vocabulary(checkpoint(inside), 9)


def test_the_file_says_what_transformers_says(tiny_tokenizer, tmp_path, monkeypatch):
    """Each way of reading is the twin of the other."""
    from provenance.inputs import vocabulary

    tiny_tokenizer.save_pretrained(tmp_path)
    by_file = read_vocabulary(checkpoint(tmp_path), 300)
    monkeypatch.setattr(vocabulary, "_read_file", lambda _: None)
    loaded = read_vocabulary(checkpoint(tmp_path), 300)
    assert loaded == by_file
    assert len(by_file.texts) > 250
    for text, index in by_file.texts.items():
        assert tiny_tokenizer.decode([index]).encode() == text or b"\xef\xbf\xbd" in (
            tiny_tokenizer.decode([index]).encode()
        )
