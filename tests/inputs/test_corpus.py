"""Text is deterministic, of the length asked for, and an error when there is too little."""

import random
import subprocess
import sys

import pytest

from provenance.errors import InputError
from provenance.inputs import corpus


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A standard library of a few files."""
    root = tmp_path / "lib"
    contents = {
        "a.py": b"aaaa",
        "pkg/b.py": b"bbbb",
        "pkg/c.py": b"cccc",
        "latin.py": b"\xe9\xe9\xe9\xe9",
        "notes.txt": b"nnnn",
        "pkg/tests/t.py": b"tttt",
        "test/t.py": b"tttt",
        "site-packages/s.py": b"ssss",
        "idlelib/i.py": b"iiii",
        "lib2to3/l.py": b"llll",
        "pkg/__pycache__/p.py": b"pppp",
    }
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    monkeypatch.setattr(corpus.sysconfig, "get_path", {"stdlib": str(root)}.get)
    return root


@pytest.mark.parametrize("name", ["stdlib", "topics"])
def test_text_has_the_length_asked_for(name):
    assert len(corpus.text(name, 12_345, seed=3)) == 12_345


@pytest.mark.parametrize("name", ["stdlib", "topics"])
def test_shorter_text_is_a_prefix_of_longer(name):
    assert corpus.text(name, 50_000, seed=1).startswith(corpus.text(name, 20_000, seed=1))


@pytest.mark.parametrize("name", ["stdlib", "topics"])
def test_seed_changes_the_order(name):
    assert corpus.text(name, 1000, seed=0) != corpus.text(name, 1000, seed=1)


@pytest.mark.parametrize("name", ["stdlib", "topics"])
def test_global_random_state_is_left_alone(name):
    before = random.getstate()
    corpus.text(name, 1000)
    assert random.getstate() == before


def test_only_utf8_sources_of_the_library_itself_are_read(library):
    assert sorted(corpus.stdlib_text(12)) == sorted("aaaabbbbcccc")


def test_files_are_shuffled_from_sorted_order(library):
    parts = ["aaaa", "bbbb", "cccc"]
    # latin.py is shuffled with the rest, before it turns out to be unreadable
    order = ["aaaa", "", *parts[1:]]
    random.Random(5).shuffle(order)
    assert corpus.stdlib_text(12, seed=5) == "".join(order)


def test_too_small_a_library_says_how_much_there_is(library):
    with pytest.raises(InputError, match=r"sources: 13 characters .* but there are 12"):
        corpus.stdlib_text(13)


def test_topics_are_never_repeated():
    from pydoc_data.topics import topics

    total = sum(map(len, topics.values()))
    whole = corpus.topics_text(total)
    assert sorted(whole) == sorted("".join(topics.values()))
    with pytest.raises(InputError, match=rf"pydoc_data.topics: .* but there are {total}"):
        corpus.topics_text(total + 1)


def test_file_is_cut_at_the_length_asked_for(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("žluťoučký kůň", encoding="utf-8")
    assert corpus.text(str(path), 9) == "žluťoučký"


def test_missing_file_names_the_other_choices(tmp_path):
    with pytest.raises(InputError, match=r"no text file .*gone.txt.*'stdlib' or 'topics'"):
        corpus.text(str(tmp_path / "gone.txt"), 10)


def test_folder_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        corpus.file_text(tmp_path, 10)


def test_undecodable_file_says_where(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"caf\xe9 au lait")
    with pytest.raises(InputError, match=r"latin.txt is not UTF-8 \(byte 3"):
        corpus.file_text(path, 10)


def test_short_file_says_how_much_there_is(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("12345")
    with pytest.raises(InputError, match=r"10 characters are asked for, but there are 5"):
        corpus.file_text(path, 10)


@pytest.mark.parametrize("characters", [0, -1])
@pytest.mark.parametrize("name", ["stdlib", "topics", __file__])
def test_characters_must_be_positive(name, characters):
    with pytest.raises(InputError, match=f"at least 1, but got {characters}"):
        corpus.text(name, characters)


def test_corpus_and_recipes_import_no_torch():
    code = (
        "import sys; from provenance import recipes; from provenance.inputs import corpus;"
        "recipes.get('quickstart/rebranded').fields(); print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
