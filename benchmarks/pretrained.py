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
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmarks import _counts
from benchmarks._page import about_machine, reading_of
from benchmarks._pretrained_page import page
from fixtures.pretrained.recipes import PRETRAINED
from fixtures.pretrained.weights import MODELS
from fixtures.recipes import ZOO
from provenance import Executor, ModelSpec, Store
from provenance._quiet import quiet
from provenance.comparison.plan import VERDICT, needs
from provenance.errors import ProvenanceError
from provenance.evidence.decide import decide, shows
from provenance.evidence.verdict import judge_pair
from provenance.evidence.wording import describe
from provenance.recipes import get, register, with_ancestors
from provenance.recipes.train import one_thread
from provenance.statistics.pvalues import format_p
from provenance.suite.read import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from provenance.evidence.records import Evidence
    from provenance.suite.claims import Claim, Suite

COMMAND = "python -m benchmarks.pretrained DIR --nightly --output docs/pretrained.md"
SUITES = Path(__file__).parents[1] / "suites"
USUAL, NIGHTLY = SUITES / "pretrained.suite.yaml", SUITES / "pretrained_nightly.suite.yaml"
NOT_RUN = "not run"


@dataclass(frozen=True)
class Judged:
    """What became of a claim: ``holds`` is None where it was not run, and ``verdict`` then says why."""

    claim: str
    truth: Literal["kin", "strangers"]
    statistic: str
    threshold: float
    models: tuple[str, str]
    verdict: str
    holds: bool | None = None
    kin: str = ""
    p: str = ""
    measured: str = ""
    seconds: float = 0.0


def judged(suites: Iterable[Suite], folder: Path, report: Callable[[str], None]) -> list[Judged]:
    """Return every claim's outcome, from ``folder/judged`` where it is there; make models first.

    Raises
    ------
    ProvenanceError
        If a model whose weights are there cannot be made.
    """
    kept = folder / "judged"
    kept.mkdir(parents=True, exist_ok=True)
    found = []
    for suite in suites:
        for claim in suite.claims:
            file = kept / f"{claim.id}.json"
            if not file.exists():
                report(claim.id)
                row = _judged(suite, claim, folder)
                if row.holds is None:  # not kept: the weights may come
                    found.append(row)
                    continue
                file.write_text(json.dumps(asdict(row)), encoding="utf-8")
            fields = json.loads(file.read_text(encoding="utf-8"))
            found.append(Judged(**fields | {"models": tuple(fields["models"])}))
    return found


def _judged(suite: Suite, claim: Claim, folder: Path) -> Judged:
    executor = Executor(Store(folder), "cpu")
    row = {
        "claim": describe(claim),
        "truth": "strangers" if claim.expect == "independent" else "kin",
        "statistic": claim.statistic,
        "threshold": claim.threshold,
        "models": (claim.candidate, claim.reference),
    }
    specs = [suite.models[name] for name in (claim.candidate, claim.reference)]
    lacking = [model for spec in specs for model in _lacking(spec, executor.store)]
    if lacking:
        return Judged(**row, verdict=f"{NOT_RUN}: no weights of {lacking[0]}")
    for spec in specs:
        _make(str(spec.recipe), executor, folder)
    comparison = needs(suite, claim, VERDICT).pair
    assert comparison is not None
    with quiet():
        begun = time.process_time()
        try:
            evidence = executor.evidence(comparison)
        except ProvenanceError as error:
            return Judged(**row, verdict="refused", holds=False, measured=str(error))
        seconds = time.process_time() - begun
    return Judged(**row, **_shown(claim, evidence), seconds=round(seconds, 1))


def _lacking(spec: ModelSpec, store: Store) -> Iterator[str]:
    for recipe in with_ancestors([str(spec.recipe)]):
        first = recipe.steps[0]
        for model in MODELS.values():
            made_before = store.get("checkpoint", recipe.fields()) is not None
            if first == model and not made_before and model.file(store) is None:
                yield model.name


def _shown(claim: Claim, evidence: Evidence) -> dict[str, str | bool]:
    kin = sum(shows(block, claim.threshold) for block in evidence.blocks)
    parts = (part for block in evidence.blocks for part in block.parts)
    measured = {part.statistic: None for part in parts if part.log10_p is not None}
    return {
        "verdict": decide(evidence, claim.threshold),
        "holds": judge_pair(claim, evidence).state == "holds",
        "kin": f"{kin} of {len(evidence.blocks)}",
        "p": "" if evidence.log10_p is None else format_p(evidence.log10_p),
        "measured": ", ".join(measured),
    }


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
    file = _seconds_file(name, folder)
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(round(time.process_time() - begun, 1)), encoding="utf-8")


def seconds_made(folder: Path) -> dict[str, float]:
    """Return how long each model took to make, by recipe, in whichever run that was."""
    files = {recipe.name: _seconds_file(recipe.name, folder) for recipe in PRETRAINED}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def _seconds_file(recipe: str, folder: Path) -> Path:
    return folder / "made" / f"{recipe.replace('/', '-')}.json"


POPULATIONS = {
    "kin": "pretrained models and what was made of them: fine-tunes, rounded, cut, up-scaled, merged, "
    "upcycled and disguised copies",
    "strangers": "pretrained models of different families or sizes, and disguised copies of them",
}


def counts(found: Sequence[Judged], machine: dict[str, str]) -> _counts.Source:
    """Return the verdicts on kin and on strangers, for the sheet of errors."""
    groups: dict[tuple[Literal["kin", "strangers"], str, float], list[Judged]] = {}
    for row in found:
        if row.holds is not None:
            groups.setdefault((row.truth, row.statistic, row.threshold), []).append(row)
    counted = tuple(
        _counts.Counted(
            POPULATIONS[truth],
            truth,
            len({name for row in rows for name in row.models}),
            statistic,
            threshold,
            Counter(row.verdict for row in rows),
        )
        for (truth, statistic, threshold), rows in groups.items()
    )
    return _counts.Source(command=COMMAND, **machine, counted=counted)


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    given = _parser().parse_args(arguments)
    register([*ZOO, *PRETRAINED])
    suites = [load(path) for path in ([USUAL, NIGHTLY] if given.nightly else [USUAL])]
    try:
        found = judged(suites, given.folder, _report)
    except ProvenanceError as error:
        raise SystemExit(f"error: {error}") from None
    seconds = seconds_made(given.folder)
    text = page(found, PRETRAINED, seconds, COMMAND, about_machine(), reading_of(given.output))
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
    parser.add_argument("--output", type=Path, required=True, help="the page, in Markdown")
    parser.add_argument("--counts", type=Path, help="a folder for the counts of verdicts")
    return parser


def _report(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    with one_thread():
        main()
