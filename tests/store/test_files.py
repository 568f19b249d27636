from __future__ import annotations

import os
import stat

import pytest

from provenance.store.files import write_whole


@pytest.fixture(params=[0o000, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    "content", ["αβγ\n", "αβγ\n".encode(), lambda file: file.write_text("αβγ\n")]
)
def test_a_file_is_what_was_written_last(tmp_path, content):
    file = tmp_path / "deep" / "file"
    write_whole(file, "what was there before")
    write_whole(file, content)
    assert file.read_bytes() == "αβγ\n".encode()
    assert [*file.parent.iterdir()] == [file]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
@pytest.mark.parametrize(("of_file", "of_folder"), [(0o600, 0o700), (0o644, 0o755)])
@pytest.mark.parametrize("content", ["x", lambda file: (file.unlink(), file.write_text("x"))])
def test_the_mode_is_the_one_that_was_asked_for_less_the_umask(
    tmp_path, umask, content, of_file, of_folder
):
    file = tmp_path / "made" / "on the way" / "file"
    write_whole(file, content, mode=of_file)
    assert mode(file) == of_file & ~umask
    assert {mode(folder) for folder in (file.parent, file.parent.parent)} == {of_folder & ~umask}


def test_writing_that_fails_leaves_what_was_there_and_nothing_beside_it(tmp_path):
    file = tmp_path / "file"
    write_whole(file, "before")

    def half(temporary):
        temporary.write_text("half")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        write_whole(file, half)
    assert file.read_text() == "before"
    assert [*tmp_path.iterdir()] == [file]


def test_a_new_file_does_not_replace_one(tmp_path):
    file = tmp_path / "file"
    write_whole(file, "first", new=True)
    with pytest.raises(FileExistsError):
        write_whole(file, "second", new=True)
    assert file.read_text() == "first"
    assert [*tmp_path.iterdir()] == [file]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "target").write_text("another's")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_whole(tmp_path / "link", "x")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "another's"
