"""The table of statistics: its names are those of the vocabulary, and reading it loads nothing heavy."""

import subprocess
import sys
from pathlib import Path

import pytest

from provenance.statistics import DISTANCES, REGISTRY, UNIFORM, WITHOUT_P
from provenance.vocabulary import STATISTICS

ROWS = sorted(REGISTRY.values(), key=lambda row: row.name)


def test_every_name_of_the_vocabulary_has_a_row_and_no_other_has():
    assert tuple(REGISTRY) == STATISTICS


def test_reading_the_table_imports_no_torch():
    code = "import sys, provenance.statistics\nassert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_has_a_basis_or_parts_that_have(row):
    assert all(part.basis is not None for part in row.components())
    assert row.gated == any(part.gated for part in row.components())


@pytest.mark.parametrize("row", [row for row in ROWS if row.on_hidden], ids=lambda row: row.name)
def test_what_stands_for_a_statistic_on_hidden_inputs_runs_no_model(row):
    assert not REGISTRY[row.on_hidden].runs_models


@pytest.mark.parametrize("row", [row for row in ROWS if row.on_tokens], ids=lambda row: row.name)
def test_what_stands_for_a_statistic_on_tokens_reads_files(row):
    assert REGISTRY[row.on_tokens].reads_files
    assert not REGISTRY[row.on_tokens].runs_models


def test_the_parts_of_a_combination_come_in_the_order_of_their_cost():
    assert REGISTRY["kinship"].parts == ("match_tokens", "match_weights", "match")
    reads = [part.reads_files for part in REGISTRY["kinship"].components()]
    assert reads == sorted(reads, reverse=True)
    assert all(part.load_glimpse() is not None for part in REGISTRY["kinship"].components())


def test_every_combination_is_corrected_for_its_parts():
    assert all(row.null == "corrected" for row in ROWS if row.parts)


def test_a_combination_has_uniform_p_values_in_its_parts():
    assert {"kinship", "match"} <= UNIFORM
    assert "generalized" not in UNIFORM


def test_the_table_of_the_docs_says_where_each_p_value_comes_from():
    page = (Path(__file__).parents[2] / "docs/statistics.md").read_text()
    table = {
        line.split("`")[1]: line.rsplit("|", 2)[1]
        for line in page.splitlines()
        if line.startswith("| [`")
    }
    assert set(table) == set(REGISTRY)
    assert {name for name, p_value in table.items() if p_value.strip() == "none"} == WITHOUT_P
    assert {name for name, p_value in table.items() if "PERMTEST" in p_value} == DISTANCES
