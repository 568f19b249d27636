"""Blocks that agree in no more than universal units are no kin blocks, and make no parent a stranger."""

from types import SimpleNamespace

import pytest

from provenance.comparison import sides
from provenance.comparison.aligned import kin_blocks
from provenance.comparison.meeting import deciding_p
from provenance.comparison.parents import kinship_of
from provenance.evidence.blocks import PartEvidence
from provenance.report.block_tables import _shows
from provenance.statistics.pvalues import log10_p_of_correlation
from provenance.vocabulary import DECIDED
from tests.evidence.test_verdict import ALPHA, STRANGE, evidence, wide

PARENT = SimpleNamespace(source="path:./base", digest="sha256:base")


@pytest.mark.parametrize(
    ("alike", "kin"), [(1600, {}), (2500, {0: 0})], ids=["as-strangers", "as-kin"]
)
def test_universal_units_map_no_block(alike, kin):
    few = wide(0, alike)
    assert 10**few.log10_p < ALPHA
    assert kin_blocks(evidence(few, STRANGE)) == kin


def test_a_parent_of_few_units_alike_is_in_doubt_and_kin_is_not():
    assert "so few units agree" in kinship_of(PARENT, evidence(wide(0, 1600))).doubt
    assert kinship_of(PARENT, evidence(wide(0, 2500), wide(1, 1600))).doubt is None
    assert kinship_of(PARENT, evidence(STRANGE, STRANGE)).doubt is None


@pytest.mark.parametrize(
    ("alike", "word"), [(0, "no kinship"), (1600, "too few units"), (2500, "kinship")]
)
def test_a_report_says_why_a_small_p_value_shows_nothing(alike, word):
    assert _shows(wide(0, alike), ALPHA) == word


@pytest.mark.parametrize(("units", "decides"), [((512, 512), True), ((2048, 4864), False)])
def test_the_strongest_units_of_mlps_of_other_widths_may_all_be_universal(units, decides):
    log10_p = log10_p_of_correlation(0.5, 512)
    part = PartEvidence("match", log10_p, 0.5, (512, 512), 200)
    assert log10_p < DECIDED
    assert (deciding_p(sides.Tested(part, sides.NO_UNITS, units=units)) < DECIDED) == decides
