"""Results and evidence are read from files, alone and together; the commands that draw them."""

import json

import pytest

from provenance.cli import main
from provenance.evidence.read import read_results
from provenance.evidence.results import ResultsError
from tests.support import synthetic

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    tmp_path.joinpath("results.json").write_text(synthetic.every_kind().to_json())
    tmp_path.joinpath("pair.json").write_text(synthetic.kin("x", "y").to_json())
    return tmp_path


def test_a_folder_and_evidence_are_read_into_one(folder):
    found = read_results([folder, folder / "pair.json"], alpha=1e-4)
    assert [claim.claim.expect for claim in found.claims[-2:]] == ["independent", "unknown"]
    assert found.claims[-1].claim.threshold == 1e-4
    assert found.claims[:-1] == synthetic.every_kind().claims


def test_what_compare_prints_is_evidence(tmp_path):
    fields = synthetic.kin("x", "y").to_dict()
    del fields["cross"], fields["alignment"]
    file = tmp_path / "pair.json"
    file.write_text(json.dumps(fields | {"verdict": "dependent", "alpha": 1e-6}))
    (claim,) = read_results([file]).claims
    assert claim.evidence == synthetic.kin("x", "y")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("{", "not JSON"), ("[]", "not a JSON object"), ('{"claims": []}', "of schema None")],
)
def test_other_files_are_refused_by_name(tmp_path, text, complaint):
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(ResultsError, match=f"a.json: .*{complaint}"):
        read_results([file])
    with pytest.raises(ResultsError, match="no such file"):
        read_results([tmp_path])


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    return stop.value.code, *capsys.readouterr()


def test_the_command_report_writes_a_page(folder, capsys):
    page = folder / "out.html"
    code, out, _ = run(capsys, "report", folder, "--output", page, "--json")
    assert (code, json.loads(out)["state"]) == (0, "fail")
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert run(capsys, "report", folder, "--output", "-")[1] == page.read_text("utf-8")
    assert run(capsys, "report", folder, "--output", folder)[0] == 2


def test_the_command_graph_prints_families(folder, capsys):
    code, out, _ = run(capsys, "graph", folder / "pair.json", "--format", "mermaid")
    assert (code, out.splitlines()[0]) == (0, "flowchart LR")
    assert len(json.loads(run(capsys, "graph", folder, "--format", "json")[1])["models"]) == 6


def test_pytest_writes_the_report_also_where_a_claim_is_false(pytester, family, shared_store):
    pytester.makeini("[pytest]")
    pytester.path.joinpath("a.suite.yaml").write_text(
        "version: 1\ninputs: {tokens: 512, sequence_length: 64}\ndefaults: {statistic: match}\n"
        f"models:\n  base: {{path: {family.base}}}\n  kin: {{path: {family.kin}}}\n"
        "pairs:\n  - {candidate: kin, reference: base, expect: independent}\n"
    )
    run = pytester.runpytest(
        "a.suite.yaml", "--provenance-store", shared_store, "--provenance-report", "to/out.html"
    )
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    page = pytester.path.joinpath("to", "out.html").read_text("utf-8")
    assert "1 claim: 1 false (exit status 1)." in page
