"""A library of models is made, and kin and strangers are identified by it, on small models."""

import shutil

import pytest

from benchmarks import _library_page, library
from provenance.statistics.pvalues import format_p

pytestmark = pytest.mark.slow


def test_kin_are_found_in_the_library_and_strangers_are_not(capsys, family, tmp_path):
    places = {"smollm2": family.base, "gemma": family.other, "kin/noisy": family.kin}
    for name, folder in places.items():
        shutil.copytree(folder, tmp_path / name)
    library.main([str(tmp_path), "--size", "200000"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    made, found = rows[2:4], rows[6:]
    assert [row[0] for row in made] == ["smollm2", "gemma"]
    assert all(0 < float(row[1]) <= 0.2 for row in made)
    kin, *strangers = found
    assert kin[:3] == ["noisy", "2", "smollm2"]
    assert float(kin[3]) < 1e-6
    assert kin[4] == "1 none found"
    assert [row[2] for row in strangers] == ["none", "none"]


def test_the_zoo_is_in_the_library_and_its_counts_are_kept(family, tmp_path):
    shutil.copytree(family.base, tmp_path / "real" / "smollm2")
    shutil.copytree(family.kin, tmp_path / "real" / "kin" / "noisy")
    page, counts = tmp_path / "page.md", tmp_path / "counts.json"
    page.write_text(f"before\n{_library_page.BEGIN}\nold\n{_library_page.END}\nafter\n")
    options = ["--scale=small", "--models=1", f"--counts={counts}", f"--output={page}"]
    library.main(
        [str(tmp_path / "real"), "--zoo", str(tmp_path / "zoo"), "--size=200000", *options]
    )
    found = _library_page.read_counts(counts)
    assert (found.zoo, found.pretrained) == (1, 1)
    assert len(found.kin) == 14 + 1
    assert len(found.strangers) == (1 + 14 + 1) + 1
    assert all(one.right for one in found.asked)
    assert all(one.log10_p < -6 for one in found.kin)
    assert {sum(one.others.values()) for one in found.kin} == {1}
    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert _library_page.tables(found) in text
    assert "0 of 15 kin" in text


def test_the_table_counts_what_was_missed_mistaken_and_called_kin():
    asked = (
        _library_page.Asked("tuned", "a", "a", -9.0, {"none found": 2}),
        _library_page.Asked("tuned", "a", "none", -2.0, {"none found": 1, "in doubt": 1}),
        _library_page.Asked("tuned", "a", "b", -8.0, {"kin": 1, "not checked": 1}),
        _library_page.Asked("away", "none", "b", -7.0, {"kin": 1, "none found": 2}),
    )
    counts = _library_page.AskedCounts("c", "d", "m", "v", 2, 1, asked)
    text = _library_page.tables(counts)
    assert f"| tuned | 3 | 1 | {format_p(-2.0)} | 1 of 6 |" in text
    assert f"| away | 1 | 0 | {format_p(-7.0)} |" in text
    assert "Missed or mistaken: 2 of 3 kin (at most 98.30%)" in text
    assert "1 of 1 were called somebody's (at most 100.00%)" in text
    assert "2 of 9 were called kin" in text
    assert "1 were in doubt, and 1 not checked." in text
