"""Measure `match` on a GPU beside the CPU: real models, and models of Llama-2-7B's shape.

``python -m benchmarks.gpu --output FILE`` takes at most seven minutes and needs no network. It writes
tables in Markdown for RESULTS.md after each step, so that a run which is cut short leaves what it has, and
names what was not measured.

``--real CANDIDATE REFERENCE`` are two checkpoint folders; without them the quickstart's recipes make a
pair. The large models have random weights that are made on the device. ``--tiny --device cpu`` runs all of
it in small on a machine without a GPU, where its figures mean nothing.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks import _pair, _shared_device
from benchmarks._arguments import at_least
from benchmarks._clock import Budget, OutOfTimeError
from benchmarks._page import about_machine
from benchmarks._staged import StagedRun
from benchmarks._table import table
from provenance import Executor, InputsSpec, ModelSpec, ProvenanceError, Store
from provenance._quiet import quiet
from provenance.comparison.executor import as_spec
from provenance.comparison.side_by_side import ON_GPU

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks._shared_device import Passed
    from provenance import Evidence

LLAMA_7B = _pair.Shape(
    blocks=32, hidden=4096, units=11_008, heads=32, tokens=4096, sequence_length=512
)
TINY = _pair.Shape(
    blocks=3, hidden=64, units=288, heads=4, vocabulary=512, tokens=512, sequence_length=64
)

RECIPES = ("quickstart/finetuned", "quickstart/base")
"""The pair that is made where none is given."""

STAGES = {"loading": ("open", "load"), "forward": ("capture",), "matching": ("match",)}
"""What a table calls the stages of a comparison."""

BYTES = 2
"""Of a parameter of the large models on disk."""


@dataclass
class Page:
    """What was measured so far, and where it is kept; ``notes`` name what was not."""

    command: str
    device: str
    shape: _pair.Shape
    output: Path | None
    sections: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, title: str, *parts: str) -> None:
        """Add a section, and write all of them."""
        self.sections.append("\n\n".join([f"**{title}**", *parts]))
        self.save()

    def text(self) -> str:
        """All of it in Markdown."""
        threads = torch.get_num_threads()
        about = about_machine(f"{threads} thread{'s' * (threads > 1)}, {self.device}")
        shape = ", ".join(f"{name} {size}" for name, size in asdict(self.shape).items())
        head = [
            f"### A GPU beside the CPU, {about['date']}",
            f"`{self.command}`, on {about['machine']}; {about['versions']}.",
            f"Models of random weights have this shape: {shape}.",
        ]
        left = [table(["not measured"], [[note] for note in self.notes])] if self.notes else []
        return "\n\n".join([*head, *self.sections, *left]) + "\n"

    def save(self) -> None:
        """Write it where it is kept."""
        if self.output is not None:
            self.output.write_text(self.text(), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark as the options say."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.device == "cpu" and not options.tiny:
        parser.error("there is no GPU here: --tiny runs on the CPU")
    for folder in options.real or ():
        if not (folder / "config.json").is_file():
            parser.error(f"--real: {folder} is no checkpoint folder: it has no config.json")
    shape = TINY if options.tiny else LLAMA_7B
    on_gpu = options.device != "cpu"
    device = torch.cuda.get_device_name(options.device) if on_gpu else "no GPU"
    words = " --tiny" * options.tiny + f" --device {options.device} --dtype {options.dtype}"
    if options.real:
        words += " --real " + " ".join(folder.name for folder in options.real)
    page = Page("python -m benchmarks.gpu" + words, device, shape, options.output)
    budget = Budget(options.seconds)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        steps: dict[str, Callable[[], None]] = {
            "the large models in memory": lambda: _in_memory(page, options, shape),
            "a real pair": lambda: _real(page, options, scratch),
            "the large models from their files": lambda: _from_files(page, options, shape, scratch),
        }
        for name, step in steps.items():
            _within(budget, name, step, page)
    page.save()
    print(page.text())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="small models, for any device")
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="bfloat16", help="of the large models")
    parser.add_argument(
        "--real", type=Path, nargs=2, metavar=("CANDIDATE", "REFERENCE"), help="checkpoint folders"
    )
    parser.add_argument("--seconds", type=float, default=420, help="after which it ends")
    parser.add_argument(
        "--cpu-blocks", type=at_least(1), default=2, help="large blocks that the CPU tests"
    )
    parser.add_argument("--folder", type=Path, help="where large files may lie meanwhile")
    parser.add_argument("--output", type=Path, help="file that takes the tables")
    return parser


def _within(budget: Budget, name: str, step: Callable[[], None], page: Page) -> None:
    """Run a step while there is time; what cannot be measured is no reason to lose what was."""
    if not budget.left:
        page.notes.append(f"{name}: the time was over")
        return
    try:
        with budget.enforced():
            step()
    except OutOfTimeError:
        page.notes.append(f"{name}: stopped when the time was over")
    except (torch.OutOfMemoryError, ProvenanceError) as error:
        page.notes.append(f"{name}: {str(error).splitlines()[0]}")
    gc.collect()
    page.save()


def _in_memory(page: Page, options: argparse.Namespace, shape: _pair.Shape) -> None:
    rows: list[Passed] = []
    beside: list[list[str]] = []
    page.add("What the device allows", _shared_device.floor(shape, options.device, options.dtype))
    place = len(page.sections)
    for passed, candidate, reference in _shared_device.pairs(shape, options.device, options.dtype):
        rows.append(passed)
        for block in _spaced(shape.blocks, options.cpu_blocks):
            _show_in_memory(page, place, rows, beside)
            seconds, log10_p = _shared_device.on_cpu(candidate, reference, block)
            there = passed.table.blocks[block].log10_p
            cells = [f"{passed.kind}, block {block}", _p(log10_p), _p(there), f"{seconds:.1f}"]
            beside.append(cells)
        _show_in_memory(page, place, rows, beside)


def _show_in_memory(
    page: Page, place: int, rows: Sequence[Passed], beside: Sequence[Sequence[str]]
) -> None:
    del page.sections[place:]
    page.add(
        f"Models in memory, all blocks: seconds in turn, and {ON_GPU} blocks side by side",
        _seconds(rows),
        _gains(rows),
    )
    if beside:
        page.add(
            "Blocks of these models by the CPU, on the same inputs",
            table(["block", "log10 p, CPU", "log10 p, device", "seconds of the CPU"], beside),
        )


def _seconds(rows: Sequence[Passed]) -> str:
    head = ["pair", "partner's weights made", "both forward passes", "products", "assignments"]
    return table(
        [*head, "solved", "in turn", "side by side"],
        [
            [
                row.kind,
                *(f"{x:.2f}" for x in (row.making, row.forward, row.products, row.solving)),
                str(row.solved),
                *(f"{x:.2f}" for x in (row.in_turn, row.together)),
            ]
            for row in rows
        ],
    )


def _gains(rows: Sequence[Passed]) -> str:
    head = ["pair", "least log10 p of a block", "the same to the bit side by side"]
    return table(
        [*head, "GiB in turn", "GiB side by side"],
        [
            [
                row.kind,
                _p(min(block.log10_p or 0.0 for block in row.table.blocks)),
                "yes" if row.same else "**no**",
                *(["–", "–"] if row.peaks is None else [f"{x:.1f}" for x in row.peaks]),
            ]
            for row in rows
        ],
    )


def _real(page: Page, options: argparse.Namespace, scratch: Path) -> None:
    names = [folder.name for folder in options.real or ()] or list(RECIPES)
    maker = Executor(Store(scratch / "recipes"), "cpu")
    folders = options.real or [maker.checkpoint(as_spec(name)).folder for name in RECIPES]
    models = [ModelSpec(path=str(folder), dtype="float32") for folder in folders]
    inputs = InputsSpec()
    found: list[tuple[str, StagedRun, Evidence]] = []
    for device in dict.fromkeys(["cpu", options.device]):
        run = StagedRun(models[0], models[1], inputs, scratch, device=device)
        found.append((device, run, run()))
    page.add(
        f"{names[0]} against {names[1]}, in float32, from their files",
        _ends(found),
        _blocks(found),
    )


def _from_files(page: Page, options: argparse.Namespace, shape: _pair.Shape, scratch: Path) -> None:
    folders = scratch / "base", scratch / "independent"
    needed = 2 * BYTES * _parameters(shape)
    free = shutil.disk_usage(scratch).free
    if free < 1.2 * needed:
        page.notes.append(
            f"the large models from their files: {free / 2**30:.0f} GiB are free in {scratch.parent}, and "
            f"two models take {needed / 2**30:.0f}: name another place with --folder"
        )
        return
    for seed, folder in enumerate(folders):
        with quiet():
            model = _pair.random_model(shape, seed, device=options.device, dtype=options.dtype)
            model.save_pretrained(folder)
        del model
        gc.collect()
    inputs = InputsSpec(kind="random", tokens=shape.tokens, sequence_length=shape.sequence_length)
    specs = [ModelSpec(path=str(folder), dtype=options.dtype) for folder in reversed(folders)]
    run = StagedRun(specs[0], specs[1], inputs, scratch, device=options.device)
    found = [(options.device, run, run())]
    page.add("The independent large models, from their files", _ends(found))


def _parameters(shape: _pair.Shape) -> int:
    block = 4 * shape.hidden**2 + 3 * shape.hidden * shape.units
    return shape.blocks * block + 2 * shape.vocabulary * shape.hidden


def _ends(found: Sequence[tuple[str, StagedRun, Evidence]]) -> str:
    """Seconds from files to evidence, by stage, and the p-value."""
    rows = []
    for device, run, evidence in found:
        spent = run.stages()
        stages = [sum(spent.get(one, 0.0) for one in parts) for parts in STAGES.values()]
        cells = [*stages, sum(spent.values())]
        rows.append([device, *(f"{x:.2f}" for x in cells), _p(evidence.log10_p)])
    return table(["device", *STAGES, "all", "log10 p"], rows)


def _blocks(found: Sequence[tuple[str, StagedRun, Evidence]]) -> str:
    """Each block's p-value by device."""
    tables = [evidence.blocks for _, _, evidence in found]
    rows = [
        [str(same[0].candidate_block), *(_p(block.log10_p) for block in same)]
        for same in zip(*tables, strict=True)
    ]
    return table(["block", *(f"log10 p, {device}" for device, _, _ in found)], rows)


def _spaced(blocks: int, count: int) -> list[int]:
    """So many blocks of a model, evenly spaced."""
    return sorted({round(x) for x in torch.linspace(0, blocks - 1, min(count, blocks)).tolist()})


def _p(log10_p: float | None) -> str:
    return "–" if log10_p is None else f"{log10_p:.2f}".replace("-", "\N{MINUS SIGN}")


if __name__ == "__main__":
    main()
