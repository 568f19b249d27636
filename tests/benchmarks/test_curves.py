"""Fading power is measured, drawn and told, on models so small that their figures mean nothing."""

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks import _counts, _curve_changes, _curve_page, _curve_real, _curve_tables, curves
from benchmarks._curve_judge import PARTS, STATISTIC, Judged, Kept, Numbers
from benchmarks._curve_plot import Axis, picture
from provenance.evidence.blocks import BlockEvidence
from provenance.evidence.decide import decide_blocks, decide_p, judged_p
from provenance.recipes.settings import CorpusSettings, TokenizerSettings
from provenance.recipes.tokenizer import train_tokenizer

AXIS = Axis("steps", ("10", "100", "1k"))
BASES = {"a": {"code": 4.0, "prose": 5.0}, "b": {"code": 4.0, "prose": 5.0}}


def row(strength, claim, verdict="dependent", base="a", **more):
    """A verdict whose parts all found as much as the whole."""
    numbers = Numbers(claim, (claim, claim / 2))
    found = dict.fromkeys((STATISTIC, *PARTS), numbers)
    kept = {"why": (), "nearness": 0.5, "found": found, "losses": {"code": 4.5}}
    return Judged(
        "training",
        "slow",
        strength,
        base,
        verdict,
        **(kept | {"kin": True, "likeness": 0.5} | more),
    )


FADED = [
    row("10", -300.0),
    row("10", -200.0, base="b"),
    row("100", -20.0),
    row("100", -4.0, "inconclusive", "b", why=("p between",)),
    row("1k", -2.0, "inconclusive", why=("near", "no power")),
    row("1k", -1.0, "independent", "b", nearness=0.01),
]


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_where_power_ends_is_told_by_the_weakest_base():
    (line,) = _curve_tables.fading_table(FADED, {"training": AXIS}).splitlines()[2:]
    *ends, then = cells(line)[2:]
    assert ends == ["10; 100: 1 of 2 missed"] * 4
    assert then == "1 **independent**, 2 **inconclusive** (p between, near, no power)"


def test_what_is_found_at_every_strength_is_said_to_be():
    found = [each for each in FADED if each.strength == "10"]
    (line,) = _curve_tables.fading_table(found, {"training": AXIS}).splitlines()[2:]
    assert cells(line)[2:] == ["10, all"] * 4 + ["–"]


def test_only_descendants_are_missed():
    axes = {"training": AXIS}
    (line,) = _curve_tables.missed_table(FADED, axes).splitlines()[2:]
    assert cells(line)[:5] == ["slow", "steps", "1k", "b", "4.50"]
    strangers = [replace(each, kin=False) for each in FADED]
    assert _curve_tables.missed_table(strangers, axes) == "None."


def test_a_loss_has_moved_by_all_that_training_brought():
    rows = [row("10", -9.0, losses={"code": 5.0, "prose": 2.0})]
    table = _curve_tables.moved_table(rows, AXIS, BASES, chance=7.0)
    assert cells(table.splitlines()[2]) == ["slow", "10", "+33%", "-100%"]


def test_a_picture_has_a_panel_for_each_statistic_and_a_mark_for_each_verdict():
    svg = ET.fromstring(picture("p", "title", AXIS, FADED))
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert [name for name in texts if name in {STATISTIC, *PARTS}] == [*PARTS, STATISTIC]
    paths = list(svg.iter("{http://www.w3.org/2000/svg}path"))
    drawn = [path.get("class") for path in paths]
    legend = 1
    assert drawn.count("dependent") == 3 + legend
    assert drawn.count("inconclusive") == 2 + legend
    assert drawn.count("independent") == 1 + legend
    assert drawn.count("band") == len(PARTS) + 1


def test_stronger_evidence_stands_higher():
    svg = ET.fromstring(picture("p", "title", AXIS, FADED))
    (line, *_) = (
        path.get("d")
        for path in svg.iter("{http://www.w3.org/2000/svg}path")
        if path.get("class") == "middle"
    )
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", line)]
    assert heights == sorted(heights)
    assert heights[0] < heights[-1]


def test_a_part_that_is_not_defined_has_no_line():
    rows = [replace(each, found={STATISTIC: each.found[STATISTIC]}) for each in FADED]
    svg = picture("p", "title", AXIS, rows)
    assert svg.count('class="band"') == 1
    assert "– | – | –" in _curve_tables.strengths_table(rows, AXIS, ("code",))


def test_an_axis_has_the_strengths_that_were_measured_in_the_order_of_the_changes():
    rows = [row("1k", -1.0), row("10", -9.0)]
    longer = _curve_page.Population("x", ("10", "30", "1k"), BASES, 7.0, tuple(rows))
    other = replace(longer, strengths=("5",), rows=(row("5", -1.0),))
    axis = _curve_page.axes_of([other, longer])["training"]
    assert axis.strengths == ("10", "1k", "5")


def test_counts_tell_kin_that_predict_text_from_kin_that_do_not():
    broken = row("1k", -1.0, "independent", losses={"code": 6.9})
    rows = (*FADED, broken, row("0", -0.1, "independent", kin=False))
    found = curves.counted(
        [_curve_page.Population("Trained for {} steps", AXIS.strengths, BASES, 7.0, rows)]
    )
    told = {each.population: each for each in found}
    good = told["Trained for 10, 100, 1k steps; it still predicts text."]
    bad = told["Trained for 1k steps; it predicts no text any more."]
    assert (good.truth, good.pairs, good.disjoint) == ("kin", 6, 2)
    assert good.verdicts == {"dependent": 3, "independent": 1, "inconclusive": 2, "refused": 0}
    assert (bad.pairs, bad.verdicts["independent"]) == (1, 1)
    assert told[curves.STRANGERS].truth == "strangers"


def test_a_verdict_is_reached_once(tmp_path):
    file = tmp_path / "judged.json"
    first = Kept(file).once("a pair", lambda: FADED[5])

    def again():
        raise AssertionError("judged twice")

    kept = Kept(file)
    assert kept.once("a pair", again) == first == FADED[5]
    assert kept.of("training", "slow", {"b"}) == (first,)
    assert not kept.of("training", "slow", {"a"})


@pytest.mark.parametrize("log10_ps", [(-9.0, -0.2, -0.1), (-0.2, -0.1, -0.4), (-3.0, -3.0, -3.0)])
def test_the_p_value_of_a_claim_is_what_decides(log10_ps):
    blocks = [BlockEvidence(i, i, p, 0.0, (8, 8), (8, 8), 0) for i, p in enumerate(log10_ps)]
    claim = judged_p(blocks)
    assert decide_blocks(blocks, 1e-12) == decide_p(claim, 1e-12)
    assert decide_blocks(blocks, 10 ** (claim + 0.01)) == "dependent"
    assert judged_p([replace(blocks[0], log10_p=None, state="degenerate")]) is None


def test_training_stops_at_the_longest():
    size = _curve_changes.WHOLE.up_to(300)
    assert size.lengths == size.healing == (10, 30, 100, 300)
    assert [_curve_changes.brief(n) for n in (0.5, 300, 10_000)] == ["0.5", "300", "10k"]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A tiny model in the place of a pretrained one."""
    folder = tmp_path_factory.mktemp("real") / "tiny"
    tokenizer = train_tokenizer(TokenizerSettings(320, CorpusSettings("topics", 20_000)))
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_the_page_its_pictures_and_its_counts_are_made(tmp_path, real, capsys):
    output, counts = tmp_path / "power.md", tmp_path / "counts"
    asked = ["--small", "--bases", "2", "--real", str(real), "--output", str(output)]
    asked += ["--folder", str(tmp_path / "zoo"), "--counts", str(counts)]
    curves.main(asked)
    told = capsys.readouterr().err
    assert re.search(r"merging, small Llamas, 50, m00-\w+: dependent", told)
    assert re.search(r"merging, small Llamas, 0, m00-\w+: (?!dependent)", told)
    assert re.search(r"units, by width, 5, m00-\w+: refused \(.*3 units.*\)", told)
    assert re.search(r"noise, tiny, 0.5, tiny: dependent", told)
    text = output.read_text()
    pages = re.findall(r"\]\((power-\w+\.svg)\)", text)
    assert len(pages) == len(_curve_page.SECTIONS)
    for name in pages:
        ET.fromstring(output.with_name(name).read_text())
    assert "--real real/tiny" in text
    (source,) = _counts.sources(counts)
    kin = [counted for counted in source.counted if counted.truth == "kin"]
    small = [line for line in told.splitlines() if "tiny" not in line]
    assert sum(counted.pairs for counted in kin) == len(small) - 2

    curves.main([*asked, "--kept"])
    assert output.read_text() == text
    assert not capsys.readouterr().err

    curves.main([each for each in asked if each not in {"--real", str(real)}] + ["--kept"])
    assert "tiny" not in output.read_text()


@pytest.mark.slow
def test_a_change_of_a_real_model_is_made_of_it_and_not_kept(real, tmp_path):
    model = _curve_real.RealModel(real)
    before = {name: tensor.clone() for name, tensor in model._model.state_dict().items()}
    made = {
        curve.picture + curve.series: curve
        for curve in _curve_real.real_curves(_curve_changes.TRIAL, "x")
    }
    judged = model.judge(made["noisex"], "0.5", Kept(tmp_path / "judged.json"))
    assert judged.verdict == "dependent"
    assert judged.found.keys() == {STATISTIC, *_curve_real.OF_WEIGHTS}
    assert math.isfinite(judged.losses["code"])
    after = model._model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
