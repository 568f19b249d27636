"""Time `match` on a pair of models against two bare forward passes and the obvious method.

``python -m benchmarks.match`` makes the models, measures everything in one run, and prints ratios. With
``--processes`` it measures whole processes in turn: ``provenance compare``, and one that loads both models
and runs their blocks, without the head.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, fields
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.benchmark import Timer

import provenance
from benchmarks import _pair
from benchmarks._arguments import at_least
from benchmarks._staged import StagedRun
from provenance.inputs.tokens import random_ids
from tests import reference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import PreTrainedModel


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark as the options say."""
    options = _parser().parse_args(arguments)
    shape = _pair.Shape(**{f.name: getattr(options, f.name) for f in fields(_pair.Shape)})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.folder or scratch)
        models = _pair.make(shape, folder)
        if options.processes:
            print(_processes(shape, models, options.repeats))
            return
        found = measure(shape, models, Path(scratch), options)
    print(json.dumps(found) if options.json else _table(shape, found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.match", description=__doc__)
    for field in fields(_pair.Shape):
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=at_least(1), default=field.default, dest=field.name)
    parser.add_argument(
        "--repeats", type=at_least(1), default=3, help="of all but the obvious method"
    )
    parser.add_argument("--no-obvious", action="store_true", help="leave the obvious method out")
    parser.add_argument("--no-cross", action="store_true", help="leave blocks against blocks out")
    parser.add_argument("--processes", action="store_true", help="measure whole processes")
    parser.add_argument("--folder", help="keep the models here")
    parser.add_argument("--json", action="store_true")
    return parser


def measure(
    shape: _pair.Shape, models: _pair.Models, scratch: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Seconds by what was done, ratios to the two bare forward passes, and where the time went."""
    ids = random_ids(shape.tokens, shape.vocabulary, seed=0).split(shape.sequence_length)
    loaded = [_pair.load(models.base), _pair.load(models.independent)]
    seconds = {"two forward passes": _timed(lambda: _forward(loaded, ids), options.repeats)}
    stages: dict[str, dict[str, float]] = {}
    inputs = provenance.InputsSpec(
        kind="random", tokens=shape.tokens, sequence_length=shape.sequence_length
    )
    for kind in ("dependent", "independent"):
        partner = getattr(models, kind)
        for cross in (False, True)[: 1 if options.no_cross else 2]:
            name = f"{kind}, {'blocks against blocks' if cross else 'all blocks'}"
            run = StagedRun(partner, models.base, inputs, scratch, cross=cross)
            seconds[name] = _timed(run, options.repeats)
            stages[name] = run.stages()
        if not options.no_obvious:
            pair = [_pair.load(partner), loaded[0]]
            seconds[f"{kind}, the obvious method"] = _timed(
                lambda pair=pair: _obvious(shape, pair, ids), 1
            )
    floor = seconds["two forward passes"]
    return {
        "shape": asdict(shape),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "seconds": seconds,
        "ratios": {name: value / floor for name, value in seconds.items()},
        "stages": stages,
    }


BARE = """
import json, sys
import torch
from transformers import AutoModelForCausalLM
folders, tokens, length, vocabulary = json.loads(sys.argv[1])
generator = torch.Generator().manual_seed(0)
ids = torch.randint(vocabulary, (tokens // length, length), generator=generator)
with torch.inference_mode():
    for folder in folders:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
        for batch in ids.split(4):
            model.base_model(input_ids=batch, use_cache=False)
"""


def _processes(shape: _pair.Shape, models: _pair.Models, repeats: int) -> str:
    """Wall and processor seconds of whole processes, and their ratios, as a table."""
    inputs = ["--inputs", "random", "--tokens", str(shape.tokens)]
    inputs += ["--sequence-length", str(shape.sequence_length), "--statistic", "match", "-q"]
    spent: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(repeats):
        for kind in ("dependent", "independent"):
            folders = [str(getattr(models, kind)), str(models.base)]
            given = json.dumps([folders, shape.tokens, shape.sequence_length, shape.vocabulary])
            spent["two loads and forward passes"].append(_process(["-c", BARE, given]))
            command = ["-m", "provenance", "compare", *folders, *inputs]
            spent[f"{kind}, compare"].append(_process(command))
    floor = [median(each) for each in zip(*spent["two loads and forward passes"], strict=True)]
    lines = [f"{'whole processes, seconds':32}{'wall':>8}{'CPU':>8}{'ratios':>12}"]
    for name, times in spent.items():
        middle = [median(each) for each in zip(*times, strict=True)]
        ratios = "".join(f"{a / b:8.2f}" for a, b in zip(middle, floor, strict=True))
        lines.append(f"{name:32}{middle[0]:8.2f}{middle[1]:8.2f}    {ratios}")
    return "\n".join(lines)


def _process(arguments: Sequence[str]) -> tuple[float, float]:
    """Seconds on the clock and of processors, with an empty store."""
    with tempfile.TemporaryDirectory() as store:
        variables = {**os.environ, "PROVENANCE_STORE": store}
        before, start = os.times(), time.perf_counter()
        command = [sys.executable, *arguments]
        subprocess.run(command, check=True, capture_output=True, env=variables)  # noqa: S603 - ours
        wall, after = time.perf_counter() - start, os.times()
    busy = after.children_user + after.children_system
    return wall, busy - before.children_user - before.children_system


def _timed(run: Callable[[], object], repeats: int) -> float:
    """Median seconds of single runs, after one that warms up where there are several."""
    timer = Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
    if repeats > 1:
        timer.timeit(1)
    return median(timer.timeit(1).median for _ in range(repeats))


def _forward(models: Sequence[PreTrainedModel], ids: Sequence[torch.Tensor]) -> None:
    with torch.inference_mode():
        for model in models:
            for batch in torch.stack(list(ids)).split(4):
                model(input_ids=batch, use_cache=False)


def _obvious(
    shape: _pair.Shape, pair: Sequence[PreTrainedModel], ids: Sequence[torch.Tensor]
) -> None:
    """As the paper's public code does: both models run again for every block and every projection."""
    for block in range(shape.blocks):
        for projection in ("gate_proj", "up_proj"):
            path = f"model.layers.{block}.mlp.{projection}"
            reference.matching_of(*(_outputs(model, path, ids) for model in pair))


def _outputs(model: PreTrainedModel, path: str, ids: Sequence[torch.Tensor]) -> torch.Tensor:
    kept: list[torch.Tensor] = []
    handle = model.get_submodule(path).register_forward_hook(
        lambda *call: kept.append(call[2].flatten(0, 1))
    )
    _forward([model], ids)
    handle.remove()
    return torch.cat(kept)


def _table(shape: _pair.Shape, found: dict[str, Any]) -> str:
    what = (
        f"{shape.blocks} blocks, hidden {shape.hidden}, {shape.units} units, {shape.tokens} tokens"
    )
    where = f"{found['machine']}, torch {found['versions']['torch']}"
    lines = [f"{what}; {where}", "", f"{'':42}{'seconds':>9}{'ratio':>8}"]
    for name, value in found["seconds"].items():
        lines.append(f"{name:42}{value:9.2f}{found['ratios'][name]:8.2f}")
    for name, spent in found["stages"].items():
        shown = ", ".join(f"{action} {value:.2f} s" for action, value in spent.items())
        lines += ["", f"{name}: {shown}"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
