"""The count of strangers' p-values, on models so small that their figures mean nothing."""

import itertools
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import AutoModelForCausalLM, LlamaConfig

from benchmarks import (
    _alike_units,
    _block_pairs,
    _drawn_orders,
    _strangers,
    _strangers_page,
    _strangers_tables,
    _whole_models,
    strangers,
)
from benchmarks._block_pairs import Cell, Kept, Question, Table
from benchmarks._strangers import (
    ENDS_ALONE,
    RANDOM,
    TEXT,
    TOKENS,
    Stage,
    found_in,
    grouped,
    wanted,
    zone,
)
from provenance import Executor, Store, compare
from provenance.recipes.settings import CorpusSettings, TokenizerSettings
from provenance.recipes.tokenizer import train_tokenizer
from provenance.statistics.pvalues import spearman

SHAPES = {"smollm2": (48, 96, 4), "gemma": (64, 128, 3), "qwen15": (64, 160, 5)}
"""Hidden size, units, blocks."""

SMALL = (
    Stage(TOKENS, 3),
    Stage(TOKENS),
    Stage(RANDOM, 3),
    Stage(RANDOM, ENDS_ALONE, "qwen15", sets=True),
    Stage(TOKENS, ENDS_ALONE, "qwen15", sets=True),
    Stage(RANDOM, ENDS_ALONE, "qwen15", drawn=True),
    Stage(TOKENS, ENDS_ALONE, "qwen15", drawn=True),
    Stage(None, without="qwen15"),
)


MADE = {"statistics": {"match": 6, "match_tokens": 4}}


def cell(i, j, log10_p, reason=None):
    return Cell(i, j, log10_p, 0.0, 1, 0.5, reason)


def kept(question, cells, depths=(6, 6)):
    return Table("gemma", "smollm2", question, depths, MADE, tuple(cells))


def test_ends_are_told_from_the_rest():
    assert [zone(block, 6) for block in range(6)] == [
        *["first"] * 2,
        *["rest"] * 2,
        *["last"] * 2,
    ]


def test_a_thinned_stage_has_whole_diagonals_and_all_pairs_of_ends():
    thinned = wanted(Stage(TEXT, 3), (12, 9))
    assert {(2, 1), (5, 4), (0, 0), (1, 1), (11, 8), (0, 8), (11, 1)} <= thinned
    assert not {(2, 2), (5, 5), (0, 2), (11, 5)} & thinned
    assert len(wanted(Stage(TEXT), (12, 9))) == 108
    assert wanted(Stage(TEXT, 6), (12, 9)) < thinned


def test_the_page_says_which_pairs_a_table_has():
    def said(places):
        cells = [cell(i, j, -0.1) for i, j in places]
        return _strangers_tables.thinned(kept(TEXT, cells, (12, 9)))

    assert said(wanted(Stage(TEXT), (12, 9))) == "all"
    assert said(wanted(Stage(TEXT, 3), (12, 9))) == "1/3"
    assert said([*wanted(Stage(TEXT, 6), (12, 9)), (2, 2)]) == "1/6 and 1 more"
    assert said([(2, 2)]) == "some"


def test_what_was_cut_off_in_writing_is_no_cell(tmp_path):
    path = tmp_path / "a.jsonl"
    file = Kept(path)
    assert file.read() is None
    table = kept(RANDOM, [cell(0, 0, -1.0), cell(1, 0, None, "why not")])
    file.write(table)
    file.add(cell(0, 1, -0.5))
    whole = file.read()
    assert whole == replace(table, cells=(*table.cells, cell(0, 1, -0.5)))
    file.write(whole)
    assert [one.place for one in file.read().cells] == [(0, 0), (0, 1), (1, 0)]
    path.write_text(path.read_text()[:-5])
    assert file.read() == kept(RANDOM, [cell(0, 0, -1.0), cell(0, 1, -0.5)])


def test_kinship_is_the_better_part_at_the_price_of_three():
    tables = [
        kept(TOKENS, [cell(0, 0, -2.0), cell(0, 1, -0.1)]),
        kept(TEXT, [cell(0, 0, -1.0), cell(0, 1, -0.2), cell(0, 2, -9.0)]),
    ]
    found = grouped(found_in(tables), lambda one: one.what)["kinship, text"]
    assert [one.place for one in found] == [(0, 0), (0, 1)]  # of the third one part is not known
    assert [one.log10_p for one in found] == pytest.approx([np.log10(0.03), 0.0])


def spread(count, level, share):
    """So many p-values, of which a share is just below a level, and no other is near it."""
    low = round(count * share)
    log10_ps = [np.log10(level) - 0.01] * low + [np.log10(0.7)] * (count - low)
    return [cell(k // 30, k % 30, p) for k, p in enumerate(log10_ps)]


def shown(question, cells):
    tables = [kept(question, cells, (30, 30))]
    about = {"command": "c", "plot": "p.svg", "date": "d", "machine": "m", "versions": "v"}
    page = _strangers_page.page(tables, {}, {}, [], [], about, "Read.")
    return next(line for line in page.splitlines() if line.startswith(f"| {question} | 900"))


def test_a_share_above_its_level_is_marked():
    assert "45 of 45.0 (0.037–0.066) |" in shown(TEXT, spread(900, 0.05, 0.05))
    assert "90 of 45.0 (0.081–0.12) ▲" in shown(TEXT, spread(900, 0.05, 0.1))
    assert "2 of 0.0009 (0.00027–0.008) ▲" in shown(TEXT, spread(900, 1e-6, 2 / 900))


def test_blocks_are_counted_by_their_depth():
    cells = [cell(i, j, -3.0 if i < 2 and j < 2 else -0.1) for i in range(6) for j in range(6)]
    page = _strangers_tables.by_depth(grouped(found_in([kept(TEXT, cells)]), lambda one: one.what))
    rows = {line.split(" | ")[0].strip("| "): line for line in page.splitlines()}
    assert "4 of 0.2 ▲, 4 of 0.04 ▲" in rows["both first"]
    assert "0 of 0.2, 0 of 0.04" in rows["both last"]
    assert "4 of 1.0 ▲, 4 of 0.2 ▲" in rows["a first block on either side"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three small models of other widths, hidden sizes and depths, of one tokenizer."""
    folder = tmp_path_factory.mktemp("real")
    tokenizer = train_tokenizer(TokenizerSettings(320, CorpusSettings("topics", 20_000)))
    for seed, (name, (hidden, units, blocks)) in enumerate(SHAPES.items()):
        config = LlamaConfig(
            vocab_size=320,
            hidden_size=hidden,
            intermediate_size=units,
            num_hidden_layers=blocks,
            num_attention_heads=4,
            max_position_embeddings=512,
        )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            AutoModelForCausalLM.from_config(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def measured(folder, tmp_path_factory):
    """Where their p-values are kept."""
    kept = tmp_path_factory.mktemp("kept")
    strangers.measure(folder, kept, SMALL)
    return kept


@pytest.mark.slow
def test_what_is_measured_is_kept_and_not_measured_again(folder, measured, monkeypatch):
    before = {file: file.read_bytes() for file in measured.iterdir()}
    # two questions of three pairs, sets and orders of one, one comparison, and what models they are
    assert len(before) == 3 + 3 + 2 + 2 + 1 + 1
    for name in ("test", "prepared"):
        monkeypatch.setattr(_block_pairs.Blocks, name, lambda *_: pytest.fail("measured again"))
    strangers.measure(folder, measured, SMALL)
    assert {file: file.read_bytes() for file in before} == before
    sizes = {t.question: len(t.cells) for t in _strangers.tables(measured) if t.depths == (3, 4)}
    assert sizes[TOKENS] == 12
    assert 4 <= sizes[RANDOM] <= 12


@pytest.mark.slow
@pytest.mark.parametrize("what", ["statistics", "weights"])
def test_what_something_else_measured_is_measured_again(folder, measured, what, tmp_path):
    kept = tmp_path / "kept"
    shutil.copytree(measured, kept)
    (file,) = kept.glob("gemma-smollm2-match_tokens.jsonl")
    table = Kept(file).read()
    lied = tuple(replace(one, log10_p=-99.0) for one in table.cells)
    Kept(file).write(replace(table, cells=lied, made={**table.made, what: {"match_tokens": 0}}))
    strangers.measure(folder, kept, SMALL[:1])
    again = Kept(file).read()
    assert again.made == table.made
    assert {one.place: one.log10_p for one in again.cells}.items() <= {
        one.place: one.log10_p for one in table.cells
    }.items()


@pytest.mark.slow
@pytest.mark.parametrize("question", [TOKENS, RANDOM])
def test_cells_are_those_of_the_package(folder, measured, question, tmp_path):
    found = compare(
        folder / "qwen15",
        folder / "gemma",
        statistic=question.statistic,
        inputs=question.spec(),
        cross=True,
        exhaustive=True,
        control=False,
        executor=Executor(Store(tmp_path), "cpu"),
    )
    table = next(
        table
        for table in _strangers.tables(measured)
        if (table.candidate, table.reference) == ("qwen15", "gemma") and table.question == question
    )
    assert table.cells
    for one in table.cells:
        assert one.log10_p == pytest.approx(found.cross[one.candidate][one.reference], abs=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("question", [TOKENS, RANDOM])
def test_the_best_set_of_units_has_the_p_value_at_the_price_of_three(measured, question):
    sets = [s for s in _strangers.sets(measured)[str(question)] if s.place == (2, 3)]
    assert [one.share for one in sets] == [1.0, 0.9, 0.5]
    (log10_p,) = (
        cell.log10_p
        for table in _strangers.tables(measured)
        if table.question == question and table.depths == (3, 4)
        for cell in table.cells
        if cell.place == (2, 3)
    )
    best = min(one.log10_p for one in sets)
    assert log10_p == pytest.approx(min(0.0, best + np.log10(3)), abs=2e-6)


def test_p_values_of_many_orders_are_those_of_one_by_one():
    rng = np.random.default_rng(3)
    first, second = (np.stack([rng.permutation(40)[:25] for _ in range(30)]) for _ in range(2))
    second[0] = first[0]
    for found, a, b in zip(_drawn_orders.p_values(first, second), first, second, strict=True):
        want = max(10.0 ** spearman(a, b).log10_p, 1e-25)
        assert max(found, 1e-25) == pytest.approx(want, rel=1e-6)


def test_only_units_matched_alike_raise_the_share_of_small_p_values():
    rng = np.random.default_rng(5)
    labels = rng.permuted(np.tile(np.arange(64), (8000, 1)), axis=1)
    gate = rng.permutation(64)
    # by chance one unit is matched alike, so that k units shift the correlation by (k - 1) / sqrt(64)
    for alike in (1, 5, 12):
        up = np.concatenate([gate[:alike], np.roll(gate[alike:], 7)])
        ps = _drawn_orders.p_values(labels[:, gate], labels[:, up])
        due = stats.norm.sf(stats.norm.isf(0.05) - (alike - 1) / 8)
        assert float((ps <= 0.05).mean()) == pytest.approx(due, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("question", [TOKENS, RANDOM])
def test_orders_are_drawn_of_the_matchings_that_a_p_value_is_of(measured, question):
    found = _strangers.orders(measured)[str(question)]
    assert found
    for single, one in found:
        assert single.place == one.place
        assert 8 <= one.strongest <= one.units
        assert 0 <= one.alike <= one.units
        assert 0 <= one.alike_strongest <= one.strongest
        assert list(one.below) == sorted(one.below, reverse=True)
    # strangers of random weights: the mean over pairs is near the level, or below where one of three counts
    assert np.mean([one.below[0] for _, one in found]) < 0.09


def test_units_matched_alike_explain_what_goes_without_them():
    sets = [_alike_units.Set(0, k, 1.0, 100, 20, -2.0, -0.5) for k in range(20)]
    (row,) = _alike_units.by_share(sets).splitlines()[2:]
    assert "| 20, 20 | 2.00, 2.00 | +2.33 ± 0.00 | +0.48 ± 0.00 | 20 of 1.0" in row
    assert row.endswith("▲ | 0 of 1.0 (0.000–0.168) |")


@pytest.mark.slow
def test_the_page_says_what_was_measured_and_keeps_its_reading(measured, tmp_path):
    page = tmp_path / "page.md"
    asked = ["--kept", str(measured), "--output", str(page), "--counts", str(tmp_path)]
    strangers.main(asked)
    text = page.read_text()
    assert "| gemma, smollm2 | 12 of 12: all; " in text
    (one,) = _whole_models.read(measured)
    assert f"| gemma, smollm2 | {one.verdict} | " in text
    assert "p-values of `match_tokens` and `match` of these comparisons are in the" in text
    assert (tmp_path / "page-qq.svg").read_text().count("<polyline") == 3
    page.write_text(text.replace("*Nothing has been written", "A person wrote"))
    strangers.main(asked)
    assert "A person wrote" in page.read_text()
    (counted,) = json.loads((tmp_path / "strangers.json").read_text())["counted"]
    assert counted["truth"] == "strangers"
    assert sum(counted["verdicts"].values()) == 1
    assert counted["disjoint"] == 1


@pytest.mark.slow
def test_what_is_kept_names_no_path_of_the_machine(folder, measured):
    assert not [file for file in measured.iterdir() if str(folder) in file.read_text()]


@pytest.mark.slow
def test_two_sizes_of_one_maker_are_a_population_of_their_own(measured):
    (one,) = _whole_models.read(measured)
    models = ("smollm2", "gemma", "qwen05", "qwen15")
    pairs = itertools.combinations(models, 2)
    all_pairs = [replace(one, candidate=b, reference=a) for a, b in pairs]
    makers, sizes = _whole_models.counts(all_pairs)
    assert (makers.pairs, makers.disjoint) == (5, 2)
    assert (sizes.pairs, sizes.disjoint) == (1, 1)


@pytest.mark.slow
def test_numbers_of_whole_models_are_those_of_the_tables(measured):
    (one,) = _whole_models.read(measured)
    gaps = list(one.differences(_strangers.tables(measured)))
    assert gaps
    assert max(gaps) < 2e-6


def test_a_folder_without_numbers_says_what_to_do(tmp_path):
    asked = ["--kept", str(tmp_path), "--output", str(tmp_path / "page.md")]
    with pytest.raises(SystemExit, match="give this command DIR"):
        strangers.main(asked)


def test_a_question_is_called_by_what_models_are_run_on():
    assert str(TOKENS) == "match_tokens"
    assert str(Question("kinship", "random")) == "kinship, random ids"
