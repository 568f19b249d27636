"""Judge every claim of the suites of pretrained models, and write the page about them.

``python -m benchmarks.pretrained DIR --output docs/pretrained.md``
    The claims of `suites/pretrained.suite.yaml`; ``--nightly`` takes those of the nightly suite as well.

``DIR`` is a store, into which ``python -m fixtures.pretrained fetch NAME ... --store DIR`` brings the
weights. Each model is made once and each claim judged once, with one thread; the seconds are of the
process, which a busy machine does not slow. A run that was stopped goes on where it was. A claim on
weights that are not in the store is listed as not run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import _counts
from benchmarks._page import about_machine, reading_of
from benchmarks._pretrained_page import page
from benchmarks._real_kin import loss
from benchmarks._suite_counts import counted
from fixtures.pretrained.recipes import PRETRAINED
from fixtures.pretrained.weights import Pretrained
from fixtures.recipes import ZOO
from provenance import Executor, ModelSpec, Store
from provenance._quiet import quiet
from provenance.comparison.plan import VERDICT, needs
from provenance.errors import ProvenanceError
from provenance.evidence.records import Evidence
from provenance.evidence.results import ClaimResult, Results, SuiteRecord
from provenance.evidence.verdict import judge_pair
from provenance.recipes import get, register, with_ancestors
from provenance.recipes.train import one_thread
from provenance.suite.read import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from provenance.recipes import Recipe
    from provenance.suite.claims import Claim, Suite

COMMAND = "python -m benchmarks.pretrained DIR --nightly --output docs/pretrained.md"
SUITES = Path(__file__).parents[1] / "suites"
USUAL, NIGHTLY = SUITES / "pretrained.suite.yaml", SUITES / "pretrained_nightly.suite.yaml"
POPULATION = (
    "pretrained models of 135 to 1500 million parameters, and what was made of them: fine-tunes, rounded, "
    "cut, up-scaled, merged, upcycled and disguised copies"
)


@dataclass(frozen=True)
class Made:
    """A model by its recipe: the seconds that making it took, and its loss, where they were measured."""

    recipe: Recipe
    seconds: float | None
    loss: float | None


KEPT = ("made", "losses")
"""Folders of the numbers of `Made`."""


@dataclass(frozen=True)
class Judged:
    """What became of a claim; ``why`` it was not run."""

    result: ClaimResult
    seconds: float | None = None
    why: str | None = None


def judged(
    paths: Iterable[Path], folder: Path, report: Callable[[str], None] | None
) -> list[tuple[SuiteRecord, list[Judged]]]:
    """Return every claim's outcome by suite, from ``folder/measured`` where it is there.

    Without a ``report`` nothing is measured.

    Raises
    ------
    ProvenanceError
        If a model whose weights are there cannot be made.
    """
    found = []
    for path in paths:
        suite = load(path)
        record = SuiteRecord.of(path.name, suite)
        found.append((record, [_judged(suite, record, c, folder, report) for c in suite.claims]))
    return found


def _judged(
    suite: Suite,
    record: SuiteRecord,
    claim: Claim,
    folder: Path,
    report: Callable[[str], None] | None,
) -> Judged:
    kept = folder / "measured" / f"{claim.id}.json"
    if report is None and not kept.exists():
        return Judged(ClaimResult(record.path, claim), why="not yet")
    if report is not None and not kept.exists():
        executor = Executor(Store(folder), "cpu")
        names = [str(suite.models[name].recipe) for name in (claim.candidate, claim.reference)]
        lacking = next((name for each in names for name in _lacking(each, executor.store)), None)
        if lacking is not None:
            return Judged(ClaimResult(record.path, claim), why=f"no weights of {lacking}")
        report(claim.id)
        for name in names:
            _make(name, executor, folder)
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(_measured(suite, claim, executor)), encoding="utf-8")
    measured = json.loads(kept.read_text(encoding="utf-8"))
    result = ClaimResult(record.path, claim, error=measured.get("error"))
    if "evidence" in measured:
        evidence = Evidence.from_json(measured["evidence"])
        result = replace(result, evidence=evidence, judgement=judge_pair(claim, evidence))
    return Judged(result, measured["seconds"])


def _measured(suite: Suite, claim: Claim, executor: Executor) -> dict[str, float | str]:
    comparison = needs(suite, claim, VERDICT).pair
    assert comparison is not None
    begun = time.process_time()
    try:
        with quiet():
            found = {"evidence": executor.evidence(comparison).to_json()}
    except ProvenanceError as error:
        found = {"error": str(error)}
    return {**found, "seconds": round(time.process_time() - begun, 1)}


def _lacking(name: str, store: Store) -> Iterator[str]:
    """Yield the pretrained models that a recipe needs, and that the store has in no form."""
    for recipe in with_ancestors([name]):
        first = recipe.steps[0]
        made = store.get("checkpoint", recipe.fields()) is not None
        if isinstance(first, Pretrained) and not made and first.file(store) is None:
            yield first.name


def _make(name: str, executor: Executor, folder: Path) -> None:
    """Make a recipe's model and those before it, and keep the seconds of each that was not there."""
    recipe = get(name)
    if executor.store.get("checkpoint", recipe.fields()) is not None:
        return
    for ancestor in recipe.ancestors:
        _make(ancestor, executor, folder)
    begun = time.process_time()
    with quiet():
        executor.checkpoint(ModelSpec(recipe=name))
    seconds = time.process_time() - begun
    _keep(folder / "made", name, round(seconds, 1))


def measure_losses(folder: Path, report: Callable[[str], None]) -> None:
    """Measure the loss of each model that was made, once: it tells whether the model still speaks."""
    store = Store(folder)
    for recipe in PRETRAINED:
        made = store.get("checkpoint", recipe.fields())
        if made is not None and recipe.name not in kept_numbers(folder / "losses"):
            report(f"loss of {recipe.name}")
            with quiet():
                _keep(folder / "losses", recipe.name, round(loss(made.path), 3))


def _keep(folder: Path, recipe: str, number: float) -> None:
    folder.mkdir(exist_ok=True)
    file = folder / f"{recipe.replace('/', '-')}.json"
    file.write_text(json.dumps(number), encoding="utf-8")


def kept_numbers(folder: Path) -> dict[str, float]:
    """Return a number of each recipe that has one in the folder, from whichever run that was."""
    files = {each.name: folder / f"{each.name.replace('/', '-')}.json" for each in PRETRAINED}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def counts(
    found: Iterable[tuple[SuiteRecord, list[Judged]]], machine: Mapping[str, str]
) -> _counts.Source:
    """Return the verdicts on kin and on strangers, for the sheet of errors."""
    rows = []
    for record, claims in found:
        results = tuple(each.result for each in claims)
        rows += counted(Results.gather((record,), results, {}, machine["date"]), POPULATION)
    return _counts.Source(command=COMMAND, **machine, counted=tuple(rows))


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    given = _parser().parse_args(arguments)
    register([*ZOO, *PRETRAINED])
    try:
        suites = [USUAL, NIGHTLY] if given.nightly else [USUAL]
        found = judged(suites, given.folder, None if given.page else _report)
        if not given.page:
            measure_losses(given.folder, _report)
    except ProvenanceError as error:
        raise SystemExit(f"error: {error}") from None
    claims = [each for _, rows in found for each in rows]
    made = [
        Made(recipe, *(kept_numbers(given.folder / kept).get(recipe.name) for kept in KEPT))
        for recipe in PRETRAINED
    ]
    text = page(claims, made, COMMAND, about_machine(), reading_of(given.output))
    given.output.write_text(text, encoding="utf-8")
    if given.counts:
        _counts.save(counts(found, about_machine()), "pretrained", given.counts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pretrained",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--nightly", action="store_true", help="the larger models too")
    parser.add_argument("--page", action="store_true", help="measure nothing: write the page alone")
    parser.add_argument("--output", type=Path, required=True, help="the page, in Markdown")
    parser.add_argument("--counts", type=Path, help="a folder for the counts of verdicts")
    return parser


def _report(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    with one_thread():
        main()
