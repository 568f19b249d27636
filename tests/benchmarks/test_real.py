"""The benchmark on real models, on models so small that their figures mean nothing."""

import dataclasses
import json

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks import _real_kin, _real_models, _real_null, _real_probe, real
from benchmarks._real_probe import READINGS, log10_p
from fixtures.recipes.steps import LoraSettings, TrainLora
from provenance.recipes.settings import CorpusSettings, TokenizerSettings, TrainSettings
from provenance.recipes.steps import Train
from provenance.recipes.tokenizer import train_tokenizer

READING = pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS.keys())


def answers(rows, stream):
    return tuple(row @ stream for row in rows)


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@READING
def test_every_reading_finds_units_again_in_a_rotated_stream(reading):
    rows, stream = drawn(0, 2, 96, 48), drawn(1, 48, 40)
    rotation = torch.linalg.qr(drawn(2, 48, 48)).Q
    order = torch.randperm(96, generator=torch.Generator().manual_seed(3))
    moved = (rows @ rotation.T)[:, order]
    moved[1] *= -3  # what the down map takes back
    found = log10_p(answers(moved, rotation @ stream), answers(rows, stream), reading)
    assert found < -100


@READING
def test_no_reading_finds_a_stranger(reading):
    sides = (answers(drawn(seed, 2, 96, 48), drawn(seed + 1, 48, 40)) for seed in (0, 2))
    assert log10_p(*sides, reading) > -3


def test_a_count_of_p_values_stands_beside_what_is_due_and_its_interval():
    assert _real_null.counted([-2.0] * 5 + [-0.5] * 95, 0.05) == "5 of 5.0 (0.016–0.113)"
    assert _real_null.counted([-2.0] * 50 + [-0.5] * 50, 0.05).endswith("▲")


def hurried(kin):
    """The recipe with two small steps in the place of each training."""
    little = TrainSettings(steps=2, batch=2, length=32)
    steps = [
        dataclasses.replace(step, settings=little)
        if isinstance(step, Train)
        else dataclasses.replace(step, settings=LoraSettings(little))
        if isinstance(step, TrainLora)
        else step
        for step in kin.steps
    ]
    return dataclasses.replace(kin, steps=tuple(steps))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of SmolLM2's depth and width of MLP, small in all else, with its kin and a stranger."""
    pytest.importorskip("gguf")
    folder = tmp_path_factory.mktemp("real")
    tokenizer = train_tokenizer(TokenizerSettings(320, CorpusSettings("topics", 20_000)))
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=1088,
        num_hidden_layers=30,
        num_attention_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    for seed, name in enumerate((_real_models.BASE, "gemma")):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            AutoModelForCausalLM.from_config(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_real_kin, "KIN", tuple(hurried(kin) for kin in _real_kin.KIN))
        real.main(["kin", str(folder)])
    return folder


@pytest.mark.slow
def test_kin_are_made_once_and_are_what_they_are_called(folder, capsys):
    real.main(["kin", str(folder)])
    assert not capsys.readouterr().err
    configs = {
        kin.name: json.loads((kin / "config.json").read_text())
        for kin in _real_kin.kin_in(folder / "kin")
    }
    assert configs.keys() == {_real_kin.name_of(kin.name) for kin in _real_kin.KIN}
    assert configs["narrow"]["intermediate_size"] == 1024
    assert configs["shallow"]["num_hidden_layers"] == 24
    assert configs["deep"]["num_hidden_layers"] == 48
    assert configs["added_tokens"]["vocab_size"] == 320 + 64
    assert configs["upcycled"]["num_local_experts"] == 3


@pytest.mark.slow
def test_a_renumbered_vocabulary_names_the_same_answers(folder):
    sides = [_real_probe.Probed(folder / "kin" / name) for name in ("finetuned", "renumbered")]
    tokens = _real_probe.shared(*sides, 32)
    (ours, _), (theirs, _) = (side.answers(tokens)[3] for side in sides)
    assert torch.allclose(ours, theirs, atol=0.02 * ours.abs().max())
    assert sides[0].vocabulary[tokens[0]] != sides[1].vocabulary[tokens[0]]


@pytest.mark.slow
def test_strangers_and_kin_are_counted(folder, capsys):
    asked = ["--tokens", "32", "--every", "15"]
    real.main(["null", str(folder), *asked, "--statistic", "centred", "match_tokens"])
    out = capsys.readouterr().out
    assert "| centred, 32 tokens | 4 |" in out
    assert "| match_tokens, 32 tokens | 4 |" in out
    real.main(["power", str(folder), *asked, "--statistic", "centred", "match_tokens", "--noise"])
    assert capsys.readouterr().out.count("\n") == 6


@pytest.mark.slow
def test_kinship_has_a_row_for_each_candidate(folder, capsys):
    asked = ["--statistic", "match_weights", "--only", "finetuned", "gemma"]
    real.main(["kinship", str(folder), *asked])
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| finetuned", "dependent"],
        ["| gemma", "inconclusive"],  # by weights alone nothing shows independence
    ]
