"""The benchmarks run, on shapes so small that their figures mean nothing."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import (
    _pair,
    _screened,
    alike,
    assignment,
    capacity,
    experts,
    fingerprint,
    match,
    mixture,
    plan,
    ranged,
    robustness,
    screen,
    soak,
    start,
    traffic,
)
from benchmarks._page import about_machine
from provenance.comparison.plan import sampled
from provenance.evidence.blocks import BlockEvidence
from provenance.evidence.doubts import MOST_NEARNESS
from provenance.statistics import REGISTRY

pytestmark = pytest.mark.slow

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


def test_one_block_of_a_mixture_is_measured_whole(capsys):
    mixture.main(["--experts=10", "--units=64", "--hidden=64", "--statistics", "match_tokens"])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [[row[0].strip(), row[2].strip()] for row in rows] == [
        ["copy", "dependent"],
        ["stranger", "independent"],
    ]
    assert all(float(row[-1]) > 0 for row in rows)


def test_samples_are_measured_over_a_line_that_counts(capsys, tmp_path):
    ranged.main(["--size", "small-mixture", "--sample", "1", "--folder", str(tmp_path)])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[4:]]
    assert [[cell.strip() for cell in row[:2]] for row in rows] == [
        ["copy", "dependent"],
        ["stranger", "not found"],
    ]
    assert all(int(row[4]) > 10 for row in rows)
    assert not list(tmp_path.iterdir())


def test_the_table_of_match_names_what_was_measured(capsys):
    match.main([*SMALL, "--repeats", "1", "--no-obvious", "--no-cross"])
    out = capsys.readouterr().out
    assert out.startswith("2 blocks, hidden 48, 96 units, 256 tokens")
    assert "obvious" not in out


def test_assignments_are_compared_with_scipys(capsys):
    assignment.main(["--sizes", "300"])
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[-4] for row in rows] == ["sparse", "sparse", "sparse", "argmax"]


def test_fingerprints_are_counted_on_strangers_and_found_on_kin(capsys, tmp_path):
    fingerprint.main(["--folder", str(tmp_path), "--small", "--models", "3"])
    out = capsys.readouterr().out
    assert [line[3:] for line in out.splitlines() if line.startswith("## ")] == [
        "False positives",
        "False positives, equal widths alone",
        "False positives, equal widths, other texts",
        "Power",
        "Size",
        "What can be solved for",
    ]
    tuned = next(line for line in out.splitlines() if line.startswith("| fine-tune"))
    assert all(float(cell.replace("\N{MINUS SIGN}", "-")) < -20 for cell in tuned.split("|")[3:-1])
    known = next(line for line in out.splitlines() if line.startswith("| what its MLPs were fed"))
    cosines = [float(cell.split(",")[0]) for cell in known.split("|")[2:-1]]
    assert cosines == sorted(cosines)
    assert cosines[0] < 0.6
    assert cosines[2] > 0.9


def test_the_choice_of_experts_is_measured_against_all_pairs(capsys, monkeypatch):
    sizes = {"experts": 20, "units": 24, "hidden": 16, "tokens": 96}
    arguments = [text for name, size in sizes.items() for text in (f"--{name}", str(size))]
    monkeypatch.setattr("sys.argv", ["experts", *arguments])
    experts.main()
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == len(experts.SETTINGS)
    assert rows[0].startswith("| 0.1 | 0 | 20 of 20 |")
    assert "| 160 of 400 |" in rows[0]


def test_a_screen_is_counted_over_all_that_may_be_drawn():
    drawn = {sampled(range(12), 3, seed) for seed in range(2000)}
    assert drawn == set(_screened.screens(12, 3))
    kin = {1: -300.0, 2: -300.0, 11: -1.5}
    blocks = [BlockEvidence(i, i, kin.get(i, -1.2), 0.0, (8, 8), (8, 8), 0) for i in range(12)]
    assert _screened.passing(blocks, 3) == pytest.approx(1 - 2 / 4 * 3 / 4)


def test_what_a_screen_misses_and_lets_through_is_measured(capsys, tmp_path):
    arguments = ["--folder", str(tmp_path), "--small", "--blocks", "6", "--models", "2"]
    screen.main([*arguments, "--screened", "2"])
    out = capsys.readouterr().out
    assert out.startswith("6 blocks of 96 units, a screen of 2, at 0.05")
    assert "| rounding | int4 | dependent | 6 of 6 | 0% |" in out
    assert re.search(r"^\| of one depth \| 1 \| \d+\.\d% \| 0 \|", out, re.MULTILINE)
    assert re.search(r"^\| 6 \| \d+ \| \d+ \| 0\.\d\d \|", out, re.MULTILINE)


def test_a_page_says_which_statistics_made_it():
    versions = about_machine()["versions"]
    for name, version in REGISTRY["kinship"].versions().items():
        assert f", {name} {version}, " in versions
    assert versions.endswith(f", most nearness {MOST_NEARNESS:g}")


def test_padded_copies_are_recognised(tmp_path):
    output = tmp_path / "robustness.md"
    robustness.main(
        ["--small", "--folder", str(tmp_path), "--output", str(output), "--only", "Padding"]
    )
    text = output.read_text()
    verdicts = re.findall(
        r"^\| .* \| ×([\d.]+) \| (\w+) \|", text.split("## Padding")[1], re.MULTILINE
    )
    assert verdicts == [("1.00", "dependent")] * 11
    assert "*Nothing has been written about these numbers yet.*" in text


def test_strangers_whose_gates_are_their_ups_are_refused(capsys):
    alike.main(["--pairs", "2"])
    out = capsys.readouterr().out
    assert re.search(r"^\| gate and up drawn apart \| 0.0% \| 0 of 2 \|", out, re.MULTILINE)
    assert re.search(r"^\| gate and up are one matrix \| 100.0% \| 2 of 2 \|", out, re.MULTILINE)


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


LEAKING = soak.Worker(
    "gw0",
    [
        {"rss": i << 20, "hooks": 1, "descriptors": i, "threads": 4, "modules": i, "pid": 1}
        for i in range(30)
    ],
    {"hooks": 0, "modules": 30, "pid": 1},
)


def test_a_soak_complains_of_whatever_grows_or_is_left():
    size = soak.Size(models=2, pairs=30, workers=2)
    found = soak.Outcome([LEAKING], {"pass": 29, "fail": 1}, ["tmp/a"], 1.0, "said")
    assert found.complaints(size) == [
        "tmp/a is left",
        "29 of 30 claims hold: {'pass': 29, 'fail': 1}\nsaid",
        "1 of 2 workers left samples",
        "gw0 had 1 hooks between two tests",
        "gw0 had 0 modules, and 30 at its end",
        "gw0 had 19 descriptors, and 29 later",
        "gw0 had 19 modules, and 29 later",
        "gw0 grew by 1024 KiB a claim and more",
    ]


@pytest.mark.extended
def test_a_small_soak_leaves_nothing_behind(tmp_path):
    size = soak.Size(models=12, pairs=60)
    found = soak.soak(size, tmp_path)
    assert found.left == []
    assert found.states == {"pass": 60}
    assert len(found.workers) == 2
    for worker in found.workers:
        samples = [*worker.samples, worker.end]
        assert {sample["hooks"] for sample in samples} == {0}
        for what in ("descriptors", "threads", "modules"):
            assert len({sample[what] for sample in samples}) == 1
        # with so few claims the heap has not settled yet
        assert worker.end["rss"] - worker.samples[0]["rss"] < 32 << 20


COSTS = capacity.Costs(1e-11, 1e-9, 2e-11, 1e-11, 1e-6, 1.6, 2e-3)


@pytest.mark.parametrize(("models", "workers"), [(40, 1), (60, 7), (200, 16)])
@pytest.mark.parametrize("screen", [False, True])
def test_the_simulated_plan_takes_what_the_formula_says(models, workers, screen):
    kind = capacity.KINDS["8B"]
    expected = capacity.formula(COSTS, kind, models, workers, 4096, screen=screen)
    simulated = capacity.simulate(COSTS, kind, models, workers, 4096, screen=screen)
    assert screen or expected * (1 - 1e-9) <= simulated
    assert simulated == pytest.approx(expected, rel=0.1 if screen else 0.05)


def test_a_screen_costs_its_blocks_and_a_whole_comparison_of_those_it_lets_through():
    kind = capacity.KINDS["8B"]
    whole = capacity.match_seconds(COSTS, kind, 4096)
    few, rest = capacity.screened_seconds(COSTS, kind, 4096)
    assert few == pytest.approx(whole * 3 / 32, rel=0.01)
    assert rest == pytest.approx(whole * (1 - 0.95**3))


def test_a_single_pair_waits_for_both_of_its_models():
    kind = capacity.KINDS["8B"]
    one, pair = (f(COSTS, kind, 4096) for f in (capacity.capture_seconds, capacity.match_seconds))
    assert capacity.simulate(COSTS, kind, 2, 2, 4096) == pytest.approx(one + pair)
    assert capacity.simulate(COSTS, kind, 2, 1, 4096) == pytest.approx(2 * one + pair)


def test_the_costs_of_an_audit_are_measured_and_kept(tmp_path, capsys):
    file = tmp_path / "costs.json"
    capacity.main(["--small", "--json", str(file)])
    assert "| 100 of 8B |" in capsys.readouterr().out
    assert all(
        value > 0 for name, value in json.loads(file.read_text()).items() if name != "exponent"
    )
    capacity.main(["--small", "--costs", str(file), "--plan", "30"])
    assert capsys.readouterr().out.startswith("435 pairs planned in ")


def test_what_is_kept_of_a_model_is_what_the_formula_says(family, tmp_path, capsys):
    """The traffic of a shared store, as its page has it: the command fails where the formula is wrong."""
    models = ["--model", str(family.base), "--partner", str(family.kin)]
    traffic.main([*models, "--tokens", "512", "--store", str(tmp_path)])
    out = capsys.readouterr().out
    # tokens, blocks, hidden, bytes
    assert re.search(rf"in float32: [\d,]+ bytes, by the formula {512 * 3 * 32 * 4:,}\n", out)
    assert re.search(rf"in bfloat16: .* by the formula {512 * 3 * 32 * 2:,}\n", out)
    assert "| zlib, level 1, bytes apart |" in out
    assert "| 8B | 32 | 4096 | 128 MiB |" in out


@given(data=st.binary(max_size=50), width=st.integers(1, 4))
def test_bytes_that_were_put_apart_come_together(data, width):
    whole = len(data) // width * width
    planes = b"".join(data[first:whole:width] for first in range(width)) + data[whole:]
    assert traffic.apart(data, width) == planes
    assert traffic.together(planes, width) == data


def test_whole_processes_are_measured_beside_what_they_cannot_do_without(capsys, tmp_path):
    pair = _pair.make(_pair.Shape(**{**SIZES, "sequence_length": 64}), tmp_path)
    start.main([str(pair.dependent), str(pair.base), "--repeats", "1", "--threads", "1"])
    rows = capsys.readouterr().out.splitlines()
    assert [row.split("  ")[0] for row in rows[1:]] == [
        start.LEAST,
        start.WHOLE,
        start.AGAIN,
        start.HELP,
    ]
    match.main([*SMALL, "--processes", "--repeats", "1"])
    rows = capsys.readouterr().out.splitlines()
    assert [row.split("  ")[0] for row in rows[1:]] == [
        "two loads and forward passes",
        "dependent, compare",
        "independent, compare",
    ]


def test_a_plan_holds_within_a_factor_of_two_and_a_table_says_so():
    taken = plan.Taken(cpu_seconds=100.0, seconds=60.0, memory=1 << 30, kept=1 << 20)
    told = {"cpu_seconds": 51.0, "memory": 2 << 30, "bytes_to_keep": 1 << 20}
    held = plan.Held("small", told, taken, {"cpu_seconds": 0.0})
    assert held.ratios() == {"cpu_seconds": 0.51, "memory": 2.0, "kept": 1.0}
    assert held.holds()
    assert not replace(held, planned=told | {"memory": 3 << 30}).holds()
    (row,) = plan.page([held]).splitlines()[2:]
    assert row == (
        "| small | 100 s | 51 s | 0.51 | 1 GiB | 2 GiB | 2.00 | 1 MiB | 1 MiB | 1.00 | 0.0 s |"
    )


def test_a_run_that_is_measured_may_have_false_claims(tmp_path, capsys):
    (tmp_path / "test_it.py").write_text("def test_it():\n    assert False\n")
    taken = plan.run([str(tmp_path), "-p", "no:randomly"], tmp_path / "store")
    assert taken.cpu_seconds > 0
    assert "assert False" in capsys.readouterr().err


def test_a_run_that_is_measured_must_run(tmp_path):
    with pytest.raises(SystemExit, match=r"ends with 4:\n"):
        plan.run([str(tmp_path / "nowhere")], tmp_path / "store")
