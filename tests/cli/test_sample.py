"""`provenance compare --sample`: parts of two models, a word of its own, and refusals of one line."""

from __future__ import annotations

import json

import pytest

from fixtures.synthetic_weights import Size, Weights, write_checkpoint
from provenance.cli import main

SIZE = Size(blocks=4, hidden=64, units=96, vocabulary=400)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {
        name: write_checkpoint(root / name, weights)
        for name, weights in {
            "base": Weights(SIZE, 0),
            "copy": Weights(SIZE, 0, disguise=7),
            "stranger": Weights(SIZE, 1),
        }.items()
    }


@pytest.fixture
def run(capfd, models, tmp_path):
    """Run the command on two models; (exit code, stdout, stderr)."""

    def run(candidate, *arguments):
        paths = [str(models[candidate]), str(models["base"])]
        with pytest.raises(SystemExit) as stop:
            main(["compare", *paths, *arguments, "--quiet", "--store", str(tmp_path / "store")])
        return stop.value.code, *capfd.readouterr()

    return run


def test_kinship_of_a_sample_says_what_was_read(run):
    code, out, err = run("copy", "--sample", "2", "--budget", "2GiB")
    assert (code, err) == (0, "")
    assert "dependent: p = " in out
    assert "of 4 were compared; " in " ".join(out.split())


def test_nothing_found_says_that_this_is_no_independence(run):
    code, out, _ = run("stranger", "--sample", "2")
    assert code == 0
    assert "not found: p = " in out
    assert "this is no independence" in " ".join(out.split())


def test_json_has_the_scope_and_the_ranges(run):
    found = json.loads(run("stranger", "--sample", "1", "--json")[1])
    assert (found["verdict"], found["scope"]) == ("not found", "sampled")
    assert found["ranges"]["candidate"].keys() == {"bytes", "of", "digest", "files"}


def test_a_descent_is_claimed_of_a_sample(run):
    assert run("copy", "--sample", "2", "--expect", "permuted")[0] == 0
    code, out, _ = run("stranger", "--sample", "2", "--expect", "permuted")
    assert code == 1
    assert "does not hold (inconclusive)" in out


REFUSED = {
    "independence": (["--sample", "2", "--expect", "independent"], "about the whole models"),
    "cross": (["--sample", "2", "--blocks", "cross"], "--blocks cross compares all blocks"),
    "exhaustive": (["--sample", "2", "--exhaustive"], "--exhaustive compares all blocks"),
    "exhibits": (["--sample", "2", "--exhibits"], "--exhibits looks at whole models"),
    "budget": (["--budget", "1GiB"], "--budget is for what --sample moves"),
    "size": (["--sample", "2", "--budget", "much"], "is no size in bytes"),
    "number": (["--sample", "0"], "0 is not in the range"),
    "statistic": (["--sample", "2", "--statistic", "csu"], "reads the whole of both models"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_sample_cannot_do_is_refused(run, arguments, message):
    code, out, err = run("copy", *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
