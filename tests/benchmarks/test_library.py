"""A library of models is made, and kin and strangers are identified by it, on small models."""

import shutil

import pytest

from benchmarks import library

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
