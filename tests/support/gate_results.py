"""Results without models: what the tests of gates make of a few numbers."""

from dataclasses import replace

from provenance.evidence.blocks import BlockEvidence
from provenance.evidence.models import InputsRecord, ModelRecord
from provenance.evidence.records import Evidence
from provenance.evidence.results import ClaimResult, PartResult, Results, SuiteRecord, with_holm
from provenance.evidence.verdict import judge_pair
from provenance.statistics.pvalues import _log10_p_spearman, fisher
from provenance.suite.read import loads
from provenance.vocabulary import InputsSpec

SUITE = "suites/a.suite.yaml"
UNITS = 64
DIGESTS = {name: f"sha256:{number:064x}" for number, name in enumerate("abcdefgh", 1)}


def claims(text, path=SUITE):
    """The claims of a suite, given its pairs; models are a to h."""
    from pathlib import Path

    models = "".join(f"  {name}: {{repo: x/{name}}}\n" for name in DIGESTS)
    return loads(f"version: 1\nmodels:\n{models}pairs:\n{text}", Path(path)).claims


def block(index, correlation, units=UNITS):
    # a correlation that some order of the units has
    whole = units * (units * units - 1)
    distance = 2 * round((1 - correlation) * whole / 12)
    correlation = (whole - 6 * distance) / whole
    log10_p = _log10_p_spearman(distance, units)
    return BlockEvidence(
        index, index, log10_p, correlation, (units, units), (units, units), units // 2
    )


def evidence(claim, correlations):
    blocks = tuple(block(index, found) for index, found in enumerate(correlations))
    models = [
        ModelRecord(f"repo:x/{name}@1f2e", DIGESTS[name], "Llama", len(blocks), 10, "float32")
        for name in (claim.candidate, claim.reference)
    ]
    inputs = InputsRecord("text", "stdlib", 512, 64, 0, f"sha256:{99:064x}")
    return Evidence(
        statistic="match",
        log10_p=fisher([b.log10_p for b in blocks]),
        blocks=blocks,
        candidate=models[0],
        reference=models[1],
        inputs=inputs,
        pairing="same-index",
        seed=0,
        device="cpu",
        versions={"provenance": "0.1.0"},
        created="2026-01-01T00:00:00+00:00",
    )


def result(claim, correlations=None, error=None, suite=SUITE):
    """What became of a claim whose blocks correlate so; it failed where it is false."""
    found = None if correlations is None else evidence(claim, correlations)
    judged = None if found is None else judge_pair(claim, found)
    outcome = "passed" if judged is not None and judged.state != "fails" else "failed"
    if claim.xfail and outcome == "failed":
        outcome = "xfailed"
    message = None if outcome == "passed" else error or judged.meaning
    part = PartResult(f"{suite}::{claim.id}[verdict]", outcome, 0.1, message)
    return ClaimResult(suite, claim, judged, found, error, parts=(part,))


def results(*found, suites=None):
    """Results of one file, or of several."""
    suites = suites or (SUITE,)
    records = tuple(
        SuiteRecord(
            suite,
            f"sha256:{7:064x}",
            InputsSpec(tokens=512, sequence_length=64),
            {name: f"repo:x/{name}" for name in DIGESTS},
            tuple(one.claim for one in found if one.suite == suite),
            controls=False,
        )
        for suite in suites
    )
    versions = {"provenance": "0.1.0", "python": "3.11.7"}
    return Results(records, with_holm(records, found), versions, "2026-01-01T00:00:00+00:00")


KIN, STRANGERS, BETWEEN = (0.99, 0.98), (0.02, -0.05), (0.41, 0.40)


def small():
    """One claim of each state that needs no controls."""
    made = claims(
        "- {candidate: a, reference: b, expect: independent}\n"
        "- {candidate: c, reference: b, expect: finetune}\n"
        "- {candidate: d, reference: b, expect: finetune}\n"
        "- {candidate: e, reference: b, expect: independent, xfail: '<b>known</b> | @you'}\n"
        "- {candidate: f, reference: b, expect: independent}\n"
        "- {candidate: g, reference: b, expect: independent}\n"
    )
    return results(
        result(made[0], KIN),
        result(made[1], STRANGERS),
        result(made[2], KIN),
        result(made[3], KIN),
        result(made[4], error="the folder is not there"),
        result(made[5], BETWEEN),
    )


def without_run(found, index):
    """The results as if a claim had not been run."""
    idle = replace(found.claims[index], parts=(), judgement=None, evidence=None)
    return replace(found, claims=(*found.claims[:index], idle, *found.claims[index + 1 :]))
