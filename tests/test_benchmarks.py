"""The benchmarks run, on shapes so small that their figures mean nothing."""

import json
import re

import pytest

from benchmarks import assignment, experts, gpu, match, robustness

SIZES = {"blocks": 2, "hidden": 48, "units": 96, "heads": 4, "vocabulary": 256, "tokens": 256}
SMALL = [f"--{name}={size}" for name, size in (SIZES | {"sequence-length": 64}).items()]


def test_match_is_measured_beside_the_forward_passes_and_the_obvious_method(capsys):
    match.main([*SMALL, "--repeats", "1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["ratios"]["two forward passes"] == 1.0
    for kind in ("dependent", "independent"):
        for what in ("all blocks", "blocks against blocks", "the obvious method"):
            assert found["seconds"][f"{kind}, {what}"] > 0
        assert {"load", "capture", "match"} <= found["stages"][f"{kind}, all blocks"].keys()


def test_the_table_of_match_names_what_was_measured(capsys):
    match.main([*SMALL, "--repeats", "1", "--no-obvious", "--no-cross"])
    out = capsys.readouterr().out
    assert out.startswith("2 blocks, hidden 48, 96 units, 256 tokens")
    assert "obvious" not in out


def test_assignments_are_compared_with_scipys(capsys):
    assignment.main(["--sizes", "300"])
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[-4] for row in rows] == ["sparse", "sparse", "sparse", "argmax"]


def test_the_gpus_benchmark_runs_on_a_small_shape(capsys):
    gpu.main(["--tiny", "--device", "cpu", "--dtype", "float32"])
    out = capsys.readouterr().out
    assert "dependent: both forward passes and all blocks" in out
    assert "floor" in out


def test_the_gpus_shape_is_not_run_on_a_cpu(capsys):
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cpu"])
    assert "there is no GPU here" in capsys.readouterr().err


def test_the_choice_of_experts_is_measured_against_all_pairs(capsys, monkeypatch):
    sizes = {"experts": 20, "units": 24, "hidden": 16, "tokens": 96}
    arguments = [text for name, size in sizes.items() for text in (f"--{name}", str(size))]
    monkeypatch.setattr("sys.argv", ["experts", *arguments])
    experts.main()
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == len(experts.SETTINGS)
    assert rows[0].startswith("| 0.1 | 0 | 20 of 20 |")
    assert "| 160 of 400 |" in rows[0]


def test_padded_copies_are_recognised(tmp_path):
    output = tmp_path / "robustness.md"
    robustness.main(
        ["--small", "--folder", str(tmp_path), "--output", str(output), "--only", "Padding"]
    )
    text = output.read_text()
    verdicts = re.findall(
        r"^\| .* \| ×([\d.]+) \| (\w+) \|", text.split("## Padding")[1], re.MULTILINE
    )
    assert verdicts == [("1.00", "dependent")] * 9
    assert "*Nothing has been written about these numbers yet.*" in text


def test_a_strength_is_found_by_what_it_costs():
    class Scene:
        copy = 1.0

        def loss(self, model):
            return model

    attack = robustness._attacks.Attack("x", lambda _, strength: strength, (0.5, 4.0))
    made = dict(robustness._made(attack, Scene()))
    assert [float(strength) for strength in made] == [1.1, 1.3, 2.0]
    assert list(made.values()) == pytest.approx([1.05, 1.25, 2.0], rel=1e-3)
    weak = robustness._attacks.Attack("x", lambda _, strength: strength, (0.5, 1.1))
    assert len(list(robustness._made(weak, Scene()))) == 1
