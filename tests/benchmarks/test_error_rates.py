"""The error sheet: its bounds, what it counts of a run of suites, and the page of the kept counts."""

import pytest
from scipy import stats

from benchmarks import _lead_page, _rates, error_rates
from benchmarks._counts import FOLDER, Counted, Source, save, sources
from benchmarks._kind_page import read_counts
from benchmarks._page import reading_of
from benchmarks._suite_counts import counted
from tests.support import gate_results as made
from tests.support.places import DOCS


def row(truth="strangers", *, disjoint=3, **verdicts):
    return Counted("Pairs of models.", truth, disjoint, "kinship", 1e-6, verdicts)


def source(*rows):
    return Source("python -m this", "2026-01-01", "a machine", "Python 3", rows)


@pytest.mark.parametrize(("count", "trials"), [(0, 1), (0, 300), (1, 300), (7, 8), (8, 8)])
def test_upper_bound_is_that_of_an_exact_test(count, trials):
    exact = stats.binomtest(count, trials, alternative="less").proportion_ci(0.95, "exact")
    assert _rates.upper(count, trials) == pytest.approx(exact.high)


def test_counts_are_read_as_they_were_saved(tmp_path):
    kept = source(row(dependent=1, independent=2), row("kin", dependent=4))
    save(kept, "b", tmp_path)
    save(source(row(independent=9)), "a", tmp_path)
    assert list(sources(tmp_path)) == [source(row(independent=9)), kept]


def test_a_word_that_is_no_verdict_is_refused():
    with pytest.raises(ValueError, match="maybe"):
        row(maybe=1)


def test_each_verdict_is_counted_where_it_is_wrong():
    text = error_rates.page(
        [source(row(dependent=1, independent=199)), source(row("kin", independent=2))], ""
    )
    accused, missed, *_ = (
        line for line in text.splitlines() if line.startswith("| Pairs of models.")
    )
    assert accused.split(" | ")[1:4] == ["200", "1", f"{_rates.upper(1, 200):.2%}"]
    assert missed.split(" | ")[1:4] == ["2", "2", "100.00%"]
    assert accused.endswith("[1](#the-commands) |")
    assert missed.endswith("[2](#the-commands) |")


def test_refused_pairs_are_listed_and_stay_in_the_number():
    text = error_rates.page([source(row(dependent=0, independent=1, refused=3))], "")
    assert "| Pairs of models. | strangers | 4 | 3 |" in text
    assert "No pair was refused." not in text
    assert "No pair was refused." in error_rates.page([source(row(independent=1))], "")


def test_sharing_models_widens_the_bound():
    text = error_rates.page([source(row(independent=2016, disjoint=32))], "")
    line = next(
        line for line in text.splitlines() if line.startswith("| Pairs of models. | 2,016 | 0")
    )
    assert f"{_rates.upper(0, 2016):.2%} | {error_rates.upper(0, 32):.1%}" in line


def test_a_reading_is_kept(tmp_path):
    save(source(row(independent=2)), "one", tmp_path / "counts")
    page = tmp_path / "page.md"
    asked = ["--counts", str(tmp_path / "counts"), "--output", str(page)]
    error_rates.main(asked)
    page.write_text(page.read_text().replace(reading_of(page), "Read by a person."))
    error_rates.main(asked)
    assert reading_of(page) == "Read by a person."


def test_the_page_is_made_of_the_kept_counts():
    page = DOCS / "error-rates.md"
    nearer = error_rates.nearer_of(_lead_page.COUNTS)
    kept = error_rates.page(sources(FOLDER), reading_of(page), read_counts(), nearer)
    assert page.read_text("utf-8") == kept, f"{error_rates.COMMAND} makes the page again"


@pytest.mark.parametrize("folder", [FOLDER])
def test_no_population_has_more_disjoint_pairs_than_pairs(folder):
    for kept in sources(folder):
        assert kept.counted
        assert all(1 <= row.disjoint <= row.pairs for row in kept.counted)


def test_claims_of_a_run_are_counted_by_what_they_say():
    strangers, kin = counted(made.small(), "tiny models")
    # of the four claims of independence one is known to be false, and is left out
    assert (strangers.truth, strangers.verdicts) == (
        "strangers",
        {"dependent": 1, "refused": 1, "inconclusive": 1},
    )
    assert (kin.truth, kin.verdicts) == ("kin", {"independent": 1, "dependent": 1})
    assert strangers.population == kin.population == "tiny models"
    assert strangers.threshold == kin.threshold == pytest.approx(1e-6 / 6)
    assert strangers.disjoint == kin.disjoint == 1  # all are pairs with b


def test_claims_of_some_blocks_or_of_nothing_are_not_counted():
    some, unknown, skipped, plain = made.claims(
        "- {candidate: a, reference: b, expect: derived, blocks: [0]}\n"
        "- {candidate: c, reference: b, expect: unknown}\n"
        "- {candidate: d, reference: b, expect: derived, skip: later}\n"
        "- {candidate: e, reference: f, expect: derived}\n"
    )
    idle = made.without_run(made.results(made.result(skipped, made.KIN)), 0).claims[0]
    found = made.results(
        made.result(some, made.KIN),
        made.result(unknown, made.KIN),
        idle,
        made.result(plain, made.KIN),
    )
    (kept,) = counted(found, "tiny models")
    assert (kept.truth, kept.pairs, kept.disjoint) == ("kin", 1, 1)


def test_a_run_is_kept_with_the_command_that_made_it(tmp_path, capsys):
    results, counts = tmp_path / "results.json", tmp_path / "counts"
    results.write_text(made.small().to_json())
    what = ["--name", "tiny", "--what", "tiny models", "--made-by", "pytest tiny"]
    error_rates.main(["--counts", str(counts), "count", str(results), *what])
    (kept,) = sources(counts)
    assert (kept.command, len(kept.counted)) == ("pytest tiny", 2)
    unknown = made.claims("- {candidate: c, reference: b, expect: unknown}\n")[0]
    results.write_text(made.results(made.result(unknown, made.KIN)).to_json())
    with pytest.raises(SystemExit):
        error_rates.main(["--counts", str(counts), "count", str(results), *what])
    assert "results.json: no claim" in capsys.readouterr().err.splitlines()[-1]
