"""The benchmark of a GPU runs in small on the CPU: its tables, and what it does when time is short."""

import re
import time

import pytest
import torch

from benchmarks import gpu
from benchmarks._clock import Budget, OutOfTimeError, Solving
from provenance.assignment.solve import assign
from provenance.errors import DeviceError

pytestmark = pytest.mark.slow

TINY = ["--tiny", "--device", "cpu", "--dtype", "float32"]


def cells(page, title):
    """The rows of the first table below a title, by their first cell."""
    rows = page.split(f"**{title}", 1)[1].split("\n\n")[1].splitlines()[2:]
    found = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {row[0]: row[1:] for row in found}


@pytest.fixture(scope="module")
def page(family, tmp_path_factory):
    """What the benchmark writes of a small shape, and of two tiny checkpoints."""
    file = tmp_path_factory.mktemp("gpu") / "page.md"
    gpu.main([*TINY, "--real", str(family.kin), str(family.base), "--output", str(file)])
    return file.read_text(encoding="utf-8")


def test_the_page_has_its_command_its_date_its_machine_and_versions(page):
    assert re.match(r"### A GPU beside the CPU, \d{4}-\d\d-\d\d\n", page)
    assert "`python -m benchmarks.gpu --tiny --device cpu --dtype float32 --real kin base`" in page
    assert f"torch {torch.__version__}" in page
    assert "no GPU" in page
    assert "not measured" not in page
    assert "/tmp" not in page


def test_the_page_has_seconds_and_p_values_in_turn_and_side_by_side(page):
    seconds = cells(page, "Models in memory, all blocks")
    assert seconds["dependent"][4] == "0"  # units that are evident are not solved for
    assert int(seconds["independent"][4]) >= 2 * gpu.TINY.blocks
    for row in seconds.values():
        products, assignments, _, in_turn, together = map(float, row[2:])
        assert products + assignments == pytest.approx(in_turn, abs=0.011)
        assert together > 0
    found = [line for line in page.splitlines() if line.startswith(("| dependent", "| indep"))]
    same = [line.split("|")[3].strip() for line in found[2:4]]
    assert same == ["yes", "yes"]


def test_blocks_have_the_p_value_of_the_device_on_the_cpu(page):
    rows = cells(page, "Blocks of these models by the CPU")
    assert list(rows) == [
        f"{kind}, block {b}" for kind in ("dependent", "independent") for b in (0, 2)
    ]
    for block, (here, there, _) in rows.items():
        assert here == there  # both are the CPU
        assert (float(here.replace("\N{MINUS SIGN}", "-")) < -20) == block.startswith("dependent")


def test_checkpoints_are_measured_from_their_files_by_stage(page):
    for title in ("kin against base", "The independent large models"):
        (row,) = cells(page, title).values()
        loading, forward, matching, everything = map(float, row[:4])
        assert min(loading, forward, matching) > 0
        assert loading + forward + matching == pytest.approx(everything, abs=0.021)


def test_steps_that_no_longer_fit_are_named(capsys, tmp_path):
    file = tmp_path / "page.md"
    gpu.main([*TINY, "--seconds", "0", "--output", str(file)])
    rows = [line for line in file.read_text().splitlines() if "the time was over" in line]
    assert len(rows) == 3
    assert rows[0] in capsys.readouterr().out


def test_what_cannot_be_measured_leaves_the_rest(monkeypatch, tmp_path, capsys):
    def fails(*_):
        raise DeviceError("the memory of cuda:0 is too small for this")

    def stopped(*_):
        raise OutOfTimeError

    monkeypatch.setattr(gpu, "_in_memory", fails)
    monkeypatch.setattr(gpu, "_real", lambda page, *_: page.add("A pair", "| found |"))
    monkeypatch.setattr(gpu, "_from_files", stopped)
    file = tmp_path / "page.md"
    gpu.main([*TINY, "--output", str(file)])
    page = file.read_text()
    assert "| found |" in page
    assert "in memory: the memory of cuda:0 is too small" in page
    assert "from their files: stopped when the time was over" in page
    capsys.readouterr()


def test_models_that_do_not_fit_the_disk_are_not_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu, "_in_memory", lambda *_: None)
    monkeypatch.setattr(gpu, "_real", lambda *_: None)
    monkeypatch.setattr(gpu.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    gpu.main([*TINY, "--folder", str(tmp_path)])
    assert "name another place with --folder" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_large_shape_is_not_run_on_a_cpu(capsys):
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cpu"])
    assert "there is no GPU here" in capsys.readouterr().err


def test_a_folder_that_is_no_checkpoint_is_refused_in_one_line(capsys, tmp_path):
    with pytest.raises(SystemExit):
        gpu.main([*TINY, "--real", str(tmp_path), str(tmp_path)])
    assert "it has no config.json" in capsys.readouterr().err


def test_the_large_shape_is_that_of_llama_2_7b():
    assert gpu._parameters(gpu.LLAMA_7B) == pytest.approx(6.74e9, rel=1e-3)


def test_a_budget_stops_what_runs_and_gives_the_alarm_back():
    budget = Budget(0.05)
    with pytest.raises(OutOfTimeError), budget.enforced():
        time.sleep(60)
    assert budget.left == 0
    with Budget(60).enforced():
        pass
    time.sleep(0.01)  # no alarm is left


def test_assignments_are_counted_while_they_are_watched():
    similarity = torch.randn(300, 300, generator=torch.Generator().manual_seed(0))
    solving = Solving()
    with solving.watched():
        assign(similarity)
    seen = solving.seconds, solving.count
    assert seen[0] > 0
    assert seen[1] >= 1
    assign(similarity)
    assert (solving.seconds, solving.count) == seen
