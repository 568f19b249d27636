"""Count the p-values of pretrained strangers: every pair of blocks of every two of four models.

``python -m benchmarks.strangers DIR --output docs/calibration-real.md``

DIR holds models as ``python -m benchmarks.real models DIR --all`` makes them; those that are not there are
left out. Every p-value is kept as it is measured, in ``benchmarks/pvalues/strangers`` of the repository.
So a run that was stopped goes on where it was, on any machine. What other versions of a statistic
measured, or was measured of other weights, is measured again.

``python -m benchmarks.strangers --output docs/calibration-real.md`` counts what is kept, without models.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import _counts, _strangers, _strangers_page, _whole_models
from benchmarks._arguments import some_pretrained
from benchmarks._page import about_machine, reading_of
from benchmarks._qq import qq_plot
from benchmarks._rows import Rows
from benchmarks._strangers import PLAN, QUESTIONS, grouped
from provenance import Executor, ModelSpec, Store
from provenance.recipes.train import one_thread

ABOUT = "about.jsonl"
KEPT = Path(__file__).with_name("pvalues") / "strangers"


def measure(folder: Path, kept: Path, plan: tuple[_strangers.Stage, ...] = PLAN) -> None:
    """Measure what the plan asks for and is not kept yet."""
    executor = Executor(Store(folder / "strangers" / "store"), "cpu")
    known = Rows(kept / ABOUT).read()
    models = {} if known is None else known.head["models"]
    about = {**about_machine(), "models": models | _models(folder, executor)}
    Rows(kept / ABOUT).write(about, [])
    for stage in plan:
        if stage.question is None:
            _whole_models.measure(folder, kept, stage.without, executor, _report)
        else:
            _strangers.measure(folder, kept, stage, executor, _report)


def write(kept: Path, output: Path, counts: Path = _counts.FOLDER) -> None:
    """Write the page, its plot, and the counts of verdicts; what is written about the numbers is kept."""
    tables, whole, known = (
        _strangers.tables(kept),
        _whole_models.read(kept),
        Rows(kept / ABOUT).read(),
    )
    if not tables or known is None:
        raise SystemExit(
            f"{kept} holds no pairs of blocks: make models with python -m benchmarks.real models DIR "
            "--all, and give this command DIR"
        )
    plot = output.with_name(f"{output.stem}-qq.svg")
    command = f"python -m benchmarks.strangers real --output {output}"
    about = {**known.head, "plot": plot.name, "command": command}
    of = about.pop("models")
    models = [
        [name, title, *of[name]] for name, title in _strangers_page.NAMES.items() if name in of
    ]
    by_what = grouped(_strangers.found_in(tables), lambda one: one.what)
    curves = {
        str(question): [one.log10_p for one in by_what[str(question)]]
        for question in QUESTIONS
        if str(question) in by_what
    }
    title = "p-values of pretrained strangers against the uniform law"
    plot.write_text(qq_plot(curves, title), encoding="utf-8")
    beside = _strangers.sets(kept), _strangers.orders(kept)
    page = _strangers_page.page(tables, *beside, whole, models, about, reading_of(output))
    output.write_text(page, encoding="utf-8")
    if whole:
        counted = _whole_models.counts(whole)
        made = (about["date"], about["machine"], about["versions"])
        _counts.save(_counts.Source(command, *made, counted), "strangers", counts)


def _models(folder: Path, executor: Executor) -> dict[str, list[str]]:
    """Return rows of the table of models, by name: what they are made of."""
    names = dict.fromkeys(model.name for pair in _strangers.pairs(folder) for model in pair)
    rows = {}
    for name in names:
        checkpoint = executor.checkpoint(ModelSpec(path=str(folder / name)))
        sizes = ("num_hidden_layers", "hidden_size", "intermediate_size")
        shape = [f"{checkpoint.config[size]:,}" for size in sizes]
        rows[name] = [*shape, f"{checkpoint.vocabulary:,}"]
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strangers", description=__doc__)
    parser.add_argument(
        "folder", type=some_pretrained, nargs="?", help="holds the models; without it none is run"
    )
    parser.add_argument("--kept", type=Path, default=KEPT, help="keeps the p-values")
    parser.add_argument("--output", type=Path, default=Path("docs/calibration-real.md"))
    parser.add_argument("--counts", type=Path, default=_counts.FOLDER, help="keeps the verdicts")
    given = parser.parse_args(arguments)
    if given.folder is not None:
        measure(given.folder, given.kept)
    write(given.kept, given.output, given.counts)


def _report(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    with one_thread():
        main()
