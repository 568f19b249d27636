"""The calibration on tiny models: false positives at their level, and the power to see each change."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest
from scipy import stats

from benchmarks import _null, _power, _table
from benchmarks._page import BEGIN, END
from benchmarks._tokens import Embedded, p_values
from benchmarks._zoo import SMALL, Zoo, members
from benchmarks.calibration import measure, page, restore, save, write
from provenance import Executor, InputsSpec, ModelSpec, Store, compare
from provenance.comparison.plan import pair_seed
from provenance.recipes.steps import load

pytestmark = pytest.mark.slow

SHIPPED = (
    "match",
    "match_cosine",
    "match, random ids",
    "match_tokens, 64 tokens",
    "match_tokens",
    "match_weights",
    "kinship",
    "csu",
    "csh",
)
TOO_MANY = "match_tokens, 512 tokens"  # for a vocabulary of 320
MODELS = 6
UNSEEN = -3.5  # log10 p that is no sign of kinship: the pairs of blocks below are few


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture(scope="module")
def measured(folder):
    return measure(folder, MODELS, SMALL, lambda _: None, small=True)


@pytest.fixture(scope="module")
def rows(measured):
    return {row.strength: row for row in measured.power}


def bounds(trials, level):
    """Where 99.9 % of the counts of false positives lie."""
    low, high = stats.binom.interval(0.999, trials, level)
    return low, high


@pytest.mark.parametrize("statistic", SHIPPED)
def test_false_positives_are_at_their_level(measured, statistic):
    trials = measured.null.blocks[statistic]
    assert len(trials) >= 40
    for level in (0.05, 0.01):
        assert _null.rate(trials, level).count <= bounds(len(trials), level)[1]


def test_false_positives_are_not_too_few_either(measured):
    """Of all shipped statistics together but kinship, whose Bonferroni makes them fewer."""
    kept = [t for name in SHIPPED if name != "kinship" for t in measured.null.blocks[name]]
    rate = _null.rate(kept, 0.2)
    assert bounds(rate.trials, 0.2)[0] <= rate.count <= bounds(rate.trials, 0.2)[1]


def test_the_shared_computation_is_the_librarys(measured):
    """A wrong number raises while measuring."""
    assert measured.null.checked >= 2


def test_all_pairs_of_models_and_blocks_are_counted(measured):
    pairs = MODELS * (MODELS - 1) // 2
    assert len(measured.null.blocks["match_cosine"]) == pairs * SMALL.blocks**2
    assert len(measured.null.models["claim"]) == pairs
    assert {t[0] < t[1] for t in measured.null.blocks["kinship"]} == {True}


@pytest.mark.parametrize(
    "change",
    [
        "50 steps",
        "0.5 std",
        "int8",
        "50% zero",
        "50% of units gone",
        "50% stranger",
        "1 block",
        "units permuted",
        "up rows rescaled, signs flipped",
        "residual stream rotated",
    ],
)
def test_kinship_sees_every_change(rows, change):
    assert rows[change].least("kinship") < -10


def test_a_stranger_is_none_to_any_statistic(measured):
    stranger = measured.power[-1]
    assert stranger.kind.startswith("stranger")
    assert set(stranger.log10_ps) == set(_power.STATISTICS)
    assert stranger.least(TOO_MANY) is None
    assert all(stranger.least(name) > UNSEEN for name in _power.STATISTICS if name != TOO_MANY)


def test_match_and_match_weights_complement_each_other(rows):
    rotated, transplanted = rows["residual stream rotated"], rows["1 block"]
    assert rotated.least("match_weights") > UNSEEN
    assert rotated.least("match_cosine") < -10
    assert transplanted.least("match_cosine") > UNSEEN
    assert transplanted.least("match_weights") < -10


def test_token_embeddings_see_what_weights_do_and_a_rotation_too(rows):
    for change in ("50 steps", "0.5 std", "residual stream rotated", "50% of units gone"):
        assert rows[change].least("match_tokens") < -10


def test_tokens_are_answered_here_as_in_a_comparison_of_the_package(measured, folder, tmp_path):
    paths = [Zoo(folder, SMALL).member(member) for member in measured.zoo[:2]]
    executor = Executor(Store(tmp_path / "store"), "cpu")
    evidence = compare(
        *paths,
        inputs=InputsSpec(kind="tokens", tokens=64),
        cross=True,
        exhaustive=True,
        executor=executor,
    )
    pair = [executor.checkpoint(ModelSpec(path=str(path))) for path in paths]
    models = [Embedded(path, tmp_path / "scratch") for path in paths]
    found = p_values(*models, 64, pair_seed(0, *pair))
    blocks = range(SMALL.blocks)
    assert [[found[i, j] for j in blocks] for i in blocks] == [list(row) for row in evidence.cross]


def test_what_compares_by_index_is_defeated_by_permuted_units(rows):
    for name in ("csu", "csh"):
        assert rows["units permuted"].least(name) > UNSEEN
        assert rows["50 steps"].least(name) < -10


def test_more_tokens_show_more(measured):
    by_count = measured.tokens["fine-tune: match_cosine"]
    medians = [np.median(by_count[count]) for count in (256, 1024, 4096)]
    assert medians[-1] <= 0.9 * medians[0] < -5


def test_the_tables_have_a_column_for_each_statistic_and_a_row_for_each_change(measured):
    lines = _table.power(measured.power).splitlines()
    assert len(lines) == 2 + len(measured.power)
    assert {line.count(" | ") for line in lines} == {len(_power.STATISTICS) + 1}
    lines = _table.false_positives(measured.null.blocks).splitlines()
    assert len(lines) == 2 + len(measured.null.blocks)
    assert all("(" in line for line in lines[2:])


def test_p_values_of_equal_widths_are_told_apart(measured):
    """Where widths differ, they are corrected for three sets of units, and pile up at 1."""
    blocks = _table.with_equal_widths(measured.null.blocks, measured.zoo)
    pairs = {(a, b) for a, b, *_ in blocks[_table.EQUAL]}
    widths = [{measured.zoo[a].units, measured.zoo[b].units} for a, b in pairs]
    assert {len(both) for both in widths} == {1}
    assert 0 < len(blocks[_table.EQUAL]) < len(blocks["match_tokens"])
    assert not any(p == 0 for *_, p in blocks[_table.EQUAL])
    assert any(p == 0 for *_, p in blocks["match_tokens"])


def test_what_is_written_about_the_numbers_outlives_them(measured, tmp_path):
    output = tmp_path / "calibration.md"
    write(measured, output, "command")
    output.write_text(output.read_text().replace("Nothing has been written", "All is well"))
    save(measured, tmp_path / "numbers.json")
    write(restore(tmp_path / "numbers.json"), output, "another command")
    text = output.read_text()
    assert text.count("All is well") == text.count(BEGIN) == text.count(END) == 1
    assert text == page(measured, "another command", _between(text), "calibration-qq.svg")
    svg = ET.fromstring((tmp_path / "calibration-qq.svg").read_text())
    assert len(svg.findall("{*}polyline")) == 1 + len(_table.PLOTTED)


def _between(text):
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def test_models_are_made_once(measured, folder):
    zoo = Zoo(folder, SMALL)
    for member in measured.zoo:
        zoo.member(member)
    assert zoo.made == 0
    assert load(zoo.member(measured.zoo[5])).config.intermediate_size == 96


def test_members_differ_in_initial_weights_and_more():
    many = members(20, SMALL)
    assert len({member.seed for member in many}) == len({member.name for member in many}) == 20
    base, twin = many[:2]
    assert (base.text, base.order, base.units) == (twin.text, twin.order, twin.units)
    assert len({(m.text, m.order, m.units, m.hidden, m.blocks) for m in many}) > 8


def test_a_rate_has_the_exact_binomial_interval():
    trials = [(a, a + 1, 0, 0, -3.0 if a < 3 else -0.1) for a in range(50)]
    rate = _null.rate(trials, 0.05)
    assert (rate.count, rate.trials, rate.share) == (3, 50, 0.06)
    assert (rate.low, rate.high) == pytest.approx((0.012549, 0.165482), abs=1e-5)  # beta quantiles
    assert not rate.above
    assert _null.rate(trials, 0.001).count == 3
    assert _null.rate([(0, 1, 0, 0, -0.1)] * 9, 0.05).low == 0


def test_sharing_a_model_widens_the_error():
    """All false positives of one model: fewer independent trials than pairs of blocks."""
    pairs = [(a, b) for a in range(12) for b in range(a + 1, 12)]
    clustered = [(a, b, 0, 0, -2.0 if a == 0 else -0.1) for a, b in pairs]
    scattered = [(a, b, 0, 0, -2.0 if k % 6 == 0 else -0.1) for k, (a, b) in enumerate(pairs)]
    assert sum(t[-1] < -1 for t in clustered) == sum(t[-1] < -1 for t in scattered) == 11
    assert _null.rate(clustered, 0.05).error > 2 * _null.rate(scattered, 0.05).error


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_dependence_between_blocks_is_seen_where_there_is_one(shared):
    rng = np.random.default_rng(5)
    trials = []
    for pair in range(80):
        common = rng.normal()
        for block in range(3):
            z = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal()
            trials.append((pair, pair + 1, block, block, float(stats.norm.logsf(z) / np.log(10))))
    found = _null.dependence(trials, draws=200)
    assert (found.pairs, found.blocks) == (80, 3)
    assert found.correlation == pytest.approx(shared, abs=0.15)
    assert (found.p < 0.01) == (shared > 0)
    assert found.variance == pytest.approx(1 + 2 * shared, rel=0.4)
