"""Tables for the auditor: all inputs, digests, versions, thresholds and tests."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from provenance.evidence.nearest import HEAD, cells_of
from provenance.evidence.wording import among, blocks_by_alpha, count, listed
from provenance.report.facts import ALL_WORDS, Sheet, table_of
from provenance.report.view import Table
from provenance.statistics.pvalues import format_p
from provenance.vocabulary import NEAREST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.evidence.models import CoverageRecord, ModelRecord, PowerRecord
    from provenance.evidence.records import Evidence
    from provenance.evidence.relatives import Identification
    from provenance.evidence.results import ClaimResult, Results, SuiteRecord


def of_run(results: Results) -> tuple[Table, ...]:
    """What holds for the whole report."""
    where = (
        ("commit", results.run.commit),
        ("branch", results.run.branch),
        ("page", results.run.url),
    )
    run = (
        ("time of the run", results.created),
        *((what, value) for what, value in where if value),
        *_versions(results.versions),
    )
    tables = [table_of("The run", run)]
    for suite in results.suites:
        if suite.models or suite.digest != "none":
            tables += [_suite(suite), _models(suite)]
    return tuple(tables)


def _versions(versions: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(f"version of {name}", version) for name, version in sorted(versions.items())]


def _suite(suite: SuiteRecord) -> Table:
    inputs = [
        (f"inputs: {name.replace('_', ' ')}", str(x)) for name, x in asdict(suite.inputs).items()
    ]
    rows = (
        ("digest of the file", suite.digest),
        ("claims", str(len(suite.claims))),
        ("controls", "measured" if suite.controls else "not asked for"),
        *inputs,
    )
    return table_of(f"Suite {suite.path}", rows)


def _models(suite: SuiteRecord) -> Table:
    return Table(
        f"Models of {suite.path}", ("name", "source"), tuple(suite.models.items()), ALL_WORDS
    )


def of_claim(result: ClaimResult, claims: int) -> tuple[Sheet, ...]:
    """What one claim was judged by, and from; ``claims`` is their number in the file."""
    sheets = [_judged(result, claims)]
    if result.evidence is not None:
        sheets.append(("The measurement", _measurement(result.evidence, result.log10_p)))
    return tuple(sheets)


def _judged(result: ClaimResult, claims: int) -> Sheet:
    claim = result.claim
    share = claim.alpha / claim.threshold
    how = f"alpha {claim.alpha:g}"
    if share > 1 + 1e-9:
        how += f" / {share:g}, the number of claims in the file (Bonferroni)"
    indices = claim.blocks.indices
    which = "all" if indices is None else ", ".join(map(str, indices))
    if claim.blocks.at_least is not None:
        which += f"; at least {100 * claim.blocks.at_least:g}% must show kinship"
    if claim.blocks.cross:
        which += "; each against every block of the reference"
    rows = [("threshold", f"{claim.threshold:.3g} = {how}")]
    if claim.expect == NEAREST:
        over = "each is corrected for the looks at it (Bonferroni), and over all references (Holm)"
        rows += [("references", among(claim)), ("p-values", over)]
    else:
        rows.append(("blocks", which))
    for level, blocks in blocks_by_alpha(claim):
        own = claim.thresholds.of(blocks[0])
        rows.append((f"threshold of {listed(blocks)}", f"{own:.3g}, of alpha {level:g}"))
    if result.log10_p is not None:
        rows.append(("log10 p of the claim", f"{result.log10_p:.6g}"))
    if result.holm is not None:
        over = f"over the {claims} claims of the file; those that were not run count as 1"
        rows += [("log10 p, Holm-adjusted", f"{result.holm:.6g}"), ("Holm's adjustment", over)]
    rows += [(name, text) for name, text in (("xfail", claim.xfail), ("skip", claim.skip)) if text]
    if claim.tags:
        rows.append(("tags", ", ".join(claim.tags)))
    return "How the claim was judged", tuple(rows)


def of_model(record: ModelRecord) -> dict[str, str]:
    """What an auditor asks of a model."""
    skipped = "; ".join(f"{index}: {what}" for index, what in record.skipped.items())
    return {
        "source": record.source,
        "digest": record.digest,
        "digest of the weights": record.weights_digest or "not recorded",
        "fingerprint, said to be of": record.claimed or "no: weights were read",
        "architecture": record.architecture,
        "blocks": str(record.blocks),
        "parameters": f"{record.parameters:,}".replace(",", " "),
        "type": record.dtype,
        "blocks without an MLP to compare": skipped or "none",
        "other MLPs that were not compared": "; ".join(record.elsewhere) or "none",
        "heads that were not read": ", ".join(record.heads) or "none",
        "told by names and shapes alone": "; ".join(record.by_names) or "nothing",
        "made from": record.conversion or "as it was",
        "read from a pickle": "yes" if record.pickle else "no",
        "its own code was run": "yes" if record.remote_code else "no",
    }


def _measurement(evidence: Evidence, log10_p: float | None) -> tuple[tuple[str, str], ...]:
    """What was measured, and with what; ``log10_p`` is what the claim is judged by."""
    inputs = evidence.inputs
    rows = [
        ("statistic", evidence.statistic),
        ("pairing of blocks", evidence.pairing),
        ("inputs", inputs.kind if inputs.text is None else f"{inputs.kind}: {inputs.text}"),
        ("tokens", f"{inputs.tokens} in sequences of {inputs.sequence_length}"),
        ("digest of the inputs", inputs.digest),
        ("seed of the inputs", str(inputs.seed)),
        ("seed of the measurement", str(evidence.seed)),
        ("device", evidence.device),
        ("time of the measurement", evidence.created),
        *_versions(evidence.versions),
    ]
    if inputs.note:
        rows.append(("note on the inputs", inputs.note))
    if inputs.distinct is not None:
        rows.append(("different tokens", " and ".join(map(str, inputs.distinct))))
    rows += [
        (f"coverage of the {role}", _coverage(record)) for role, record in evidence.coverage.items()
    ]
    rows += [
        (f"power control of the {role}", _power(record)) for role, record in evidence.power.items()
    ]
    if evidence.value is not None:
        rows.append(("value of the statistic", f"{evidence.value:.8g}"))
    if evidence.permutations is not None:
        rows.append(("permutations", str(evidence.permutations)))
    rows += [(name.replace("_", " "), _plain(x)) for name, x in evidence.details.items()]
    if evidence.log10_p is not None and evidence.log10_p != log10_p:
        whole = f"{evidence.log10_p:.6g} (p = {format_p(evidence.log10_p)})"
        rows.append(("log10 p over all blocks", whole))
    return tuple(rows)


def _coverage(record: CoverageRecord) -> str:
    """The shares of a side, in per cent, with those of its blocks."""
    if record.share is None:
        return f"not measured: {record.reason}"
    blocks = " ".join("–" if share is None else f"{share:.0%}" for share in record.blocks)
    effect = "" if record.effect is None else f", {record.effect:.0%} of their effect"
    return f"{record.share:.0%} of what the blocks change{effect}; by block: {blocks}"


def _power(record: PowerRecord) -> str:
    """What became of copies of a side, with the blocks that were tried."""
    why = "" if record.reason is None else f" ({record.reason})"
    p = f"p = {format_p(record.log10_p)} by {record.statistic}"
    return f"a copy has {p} on {listed(record.blocks)}{why}"


def _plain(value: float | str) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def of_references(found: Identification) -> Table:
    """What each of many references showed, the nearest first, and why one was not compared."""
    rows = tuple((*cells_of(one), one.error or "") for one in found.references)
    return Table("Every reference", (*HEAD, ""), rows, frozenset({0, 1, 5, 6}))


def tests_of(result: ClaimResult) -> Table | None:
    """The tests that did not pass; None where all did."""
    rows = tuple(
        (part.nodeid, part.outcome, f"{part.seconds:g}", part.message or "")
        for part in result.parts
        if part.outcome != "passed"
    )
    head = ("test", "outcome", "seconds", "message")
    return Table("Tests that did not pass", head, rows, frozenset({0, 1, 3})) if rows else None


def tests_in_words(result: ClaimResult) -> str:
    """How many tests had which outcome, and how long they took."""
    if not result.parts:
        return "no test was run"
    numbers = Counter(part.outcome for part in result.parts)
    said = ", ".join(f"{number} {outcome}" for outcome, number in sorted(numbers.items()))
    seconds = sum(part.seconds for part in result.parts)
    return f"{count(len(result.parts), 'test')}: {said}; {seconds:.3g} s"
