"""Count the p-values of pretrained strangers: every pair of blocks of every two of four models.

``python -m benchmarks.strangers DIR --output docs/calibration-real.md``

DIR holds models as ``python -m benchmarks.real models DIR --all`` makes them; those that are not there are
left out. All that is measured is kept in it, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import _counts, _strangers, _strangers_page, _whole_models
from benchmarks._page import about_machine, reading_of
from benchmarks._qq import qq_plot
from benchmarks._strangers import PLAN, QUESTIONS, grouped
from provenance import Executor, ModelSpec, Store
from provenance.recipes.train import one_thread


def measure(folder: Path, plan: tuple[_strangers.Stage, ...] = PLAN) -> None:
    """Measure what the plan asks for and the folder does not hold yet."""
    executor = Executor(Store(folder / "strangers" / "store"), "cpu")
    for stage in plan:
        if stage.question is None:
            _whole_models.measure(folder, stage.without, executor, _report)
        else:
            _strangers.measure(folder, stage, executor, _report)


def write(folder: Path, output: Path, counts: Path = _counts.FOLDER) -> None:
    """Write the page, its plot, and the counts of verdicts; what is written about the numbers is kept."""
    kept, whole = _strangers.tables(folder), _whole_models.read(folder)
    if not kept:
        raise SystemExit(
            f"{folder} holds no pairs of blocks: make the models with python -m benchmarks.real models "
            f"{folder} --all, and run this command without --render"
        )
    plot = output.with_name(f"{output.stem}-qq.svg")
    command = f"python -m benchmarks.strangers real --output {output}"
    about = {**about_machine(), "plot": plot.name, "command": command}
    by_what = grouped(_strangers.found_in(kept), lambda one: one.what)
    curves = {
        str(question): [one.log10_p for one in by_what[str(question)]]
        for question in QUESTIONS
        if str(question) in by_what
    }
    title = "p-values of pretrained strangers against the uniform law"
    plot.write_text(qq_plot(curves, title), encoding="utf-8")
    sets = _strangers.sets(folder)
    page = _strangers_page.page(kept, sets, whole, _models(folder), about, reading_of(output))
    output.write_text(page, encoding="utf-8")
    if whole:
        counted = _whole_models.counts(whole)
        made = (about["date"], about["machine"], about["versions"])
        _counts.save(_counts.Source(command, *made, counted), "strangers", counts)


def _models(folder: Path) -> list[list[str]]:
    """Return rows of the table of models: what they are made of."""
    executor = Executor(Store(folder / "strangers" / "store"), "cpu")
    names = dict.fromkeys(model.name for pair in _strangers.pairs(folder) for model in pair)
    rows = []
    for name in sorted(names, key=list(_strangers_page.NAMES).index):
        checkpoint = executor.checkpoint(ModelSpec(path=str(folder / name)))
        sizes = ("num_hidden_layers", "hidden_size", "intermediate_size")
        shape = [f"{checkpoint.config[size]:,}" for size in sizes]
        rows.append([name, _strangers_page.NAMES[name], *shape, f"{checkpoint.vocabulary:,}"])
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strangers", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds the models, and keeps the numbers")
    parser.add_argument("--output", type=Path, default=Path("docs/calibration-real.md"))
    parser.add_argument("--counts", type=Path, default=_counts.FOLDER, help="keeps the verdicts")
    parser.add_argument("--render", action="store_true", help="only write the page again")
    given = parser.parse_args(arguments)
    if not given.render:
        measure(given.folder)
    write(given.folder, given.output, given.counts)


def _report(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    with one_thread():
        main()
