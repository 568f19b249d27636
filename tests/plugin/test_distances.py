"""``distances: true`` in a suite: measured by the run, kept, and drawn by the report and the graph."""

import pytest

from provenance import Results, Store
from provenance.cli import main
from provenance.comparison.plan import comparison
from provenance.suite.read import loads

pytestmark = pytest.mark.slow

SUITE = """\
version: 1
inputs: {{tokens: 256, sequence_length: 64}}
{distances}models:
  base: {{path: {base}}}
  kin: {{path: {kin}}}
  other: {{path: {other}}}
lineage:
  base: {{kin: {{}}}}
  other:
"""


@pytest.fixture
def suite(family):
    places = {name: getattr(family, name) for name in ("kin", "base", "other")}
    return lambda distances: SUITE.format(distances=distances, **places)


@pytest.mark.parametrize(
    ("text", "wanted"), [("distances: true\n", True), ("distances: false\n", False), ("", False)]
)
def test_every_pair_of_the_suite_is_measured_where_it_says_so(suite, tmp_path, text, wanted):
    read = loads(suite(text), tmp_path / "a.suite.yaml")
    assert read.distances is wanted
    assert {comparison(read, claim).difference for claim in read.claims} == {wanted}


def test_a_run_measures_distances_once_and_the_graph_draws_by_them(
    pytester, suite, shared_store, capfd
):
    pytester.makeini("[pytest]")
    (pytester.path / "a.suite.yaml").write_text(suite("distances: true\n"))

    def run(*arguments):
        return pytester.runpytest_inprocess(
            "a.suite.yaml",
            f"--provenance-store={shared_store}",
            "--provenance-device=cpu",
            "--provenance-evidence=evidence",
            *arguments,
        )

    assert run("--provenance-report=report.html").ret == 0
    before = len(Store(shared_store).journal())
    assert run().ret == 0
    assert len(Store(shared_store).journal()) == before
    results = Results.from_json((pytester.path / "evidence" / "results.json").read_text("utf-8"))
    measured = {one.claim.expect: one.evidence.difference is not None for one in results.claims}
    assert measured == {"derived": True, "independent": False}
    assert "blocks agree" in (pytester.path / "report.html").read_text("utf-8")
    capfd.readouterr()
    with pytest.raises(SystemExit):
        main(["graph", str(pytester.path / "evidence"), "--format", "dot"])
    out = capfd.readouterr().out
    assert "of 3 blocks agree" in out
    assert "n0 -> n1" in out or "n1 -> n0" in out
