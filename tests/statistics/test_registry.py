"""The table of statistics: its names are those of the vocabulary, and reading it loads nothing heavy."""

import subprocess
import sys

import pytest

from provenance.statistics import REGISTRY, UNIFORM
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


def test_every_combination_is_corrected_for_its_parts():
    assert all(row.null == "corrected" for row in ROWS if row.parts)


def test_a_combination_has_uniform_p_values_in_its_parts():
    assert {"kinship", "match"} <= UNIFORM
    assert "generalized" not in UNIFORM
