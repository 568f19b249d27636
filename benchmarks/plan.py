"""Hold what a plan says against what the run then took: time, memory, bytes.

``python -m benchmarks.plan FOLDER`` plans and runs the quickstart and family suites, each in a new store
below FOLDER. ``--suites NAME ...`` chooses others; those of pretrained models take their weights from
``--weights STORE``. The table is for docs/scale.md. Time is that of the processors, so that what else runs
on the machine counts little.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._table import table
from fixtures.pretrained.weights import FILE, MODELS
from provenance.estimate.words import in_bytes, in_time
from provenance.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

SUITES = {
    "quickstart": ("suites/quickstart.suite.yaml",),
    "family": ("suites/family.suite.yaml", "-m", "extended"),
    "pretrained": ("suites/pretrained.suite.yaml", "-m", "extended"),
    "pretrained, two claims": (
        "suites/pretrained.suite.yaml",
        "-m",
        "extended",
        "-k",
        "rebranded-vs-smollm2 or gemma-vs-smollm2",
    ),
}
"""Arguments of pytest by suite: all, or a pair of kin and one of strangers, which train no model."""

WITH_WEIGHTS = frozenset({"pretrained", "pretrained, two claims"})

FALSE_CLAIMS = 1
"""How pytest ends where claims do not hold. They cost what they would if they held."""

FACTOR = 2.0
"""A plan holds within this factor."""


@dataclass(frozen=True)
class Taken:
    """What a run took: processor seconds, seconds, bytes of memory, bytes more in the store."""

    cpu_seconds: float
    seconds: float
    memory: int
    kept: int


@dataclass(frozen=True)
class Held:
    """A plan beside its run; ``again`` is the plan of a second run, which the store spares all work."""

    name: str
    planned: dict[str, float]
    taken: Taken
    again: dict[str, float]

    def ratios(self) -> dict[str, float]:
        """What was planned, over what was taken."""
        keys = {"cpu_seconds": "cpu_seconds", "memory": "memory", "bytes_to_keep": "kept"}
        return {
            there: self.planned[here] / getattr(self.taken, there) for here, there in keys.items()
        }

    def holds(self) -> bool:
        """Whether all is within the factor."""
        return all(1 / FACTOR <= ratio <= FACTOR for ratio in self.ratios().values())


def plan(arguments: Sequence[str], store: Path, file: Path) -> dict[str, float]:
    """The plan of a run of pytest."""
    _pytest([*arguments, "--provenance-plan", str(file)], store)
    found: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return found


def run(arguments: Sequence[str], store: Path) -> Taken:
    """Run the tests, and measure the process and those that it starts."""
    before, begun = _bytes(store), time.monotonic()
    cpu, memory = _pytest(arguments, store)
    return Taken(cpu, time.monotonic() - begun, memory, _bytes(store) - before)


def _pytest(arguments: Sequence[str], store: Path) -> tuple[float, int]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    process = subprocess.Popen(  # noqa: S603 - ours
        [*command, *arguments, "--provenance-store", str(store)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode == FALSE_CLAIMS:
        print(said, file=sys.stderr, flush=True)
    elif process.returncode:
        raise SystemExit(f"pytest {' '.join(arguments)} ends with {process.returncode}:\n{said}")
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit


def _bytes(store: Path) -> int:
    return sum(size for _, size in Store(store).size().values())


def hold(name: str, folder: Path, weights: Path | None = None) -> Held:
    """Plan a suite with a new store, run it with another, and plan it again with that one.

    What a run took is kept in the folder, and not measured again.
    """
    arguments, kept = SUITES[name], folder / f"{name}-taken.json"
    store = folder / name
    if kept.is_file():
        taken = Taken(**json.loads(kept.read_text(encoding="utf-8")))
    else:
        _new(store, weights)
        taken = run(arguments, store)
        kept.write_text(json.dumps(asdict(taken)), encoding="utf-8")
    empty = folder / f"{name}-planned"
    _new(empty, weights)
    planned = plan(arguments, empty, folder / f"{name}.json")
    shutil.rmtree(empty)
    return Held(name, planned, taken, plan(arguments, store, folder / f"{name}-again.json"))


def _new(store: Path, weights: Path | None) -> None:
    shutil.rmtree(store, ignore_errors=True)
    if weights is not None:
        _bring(weights, store)


def _bring(weights: Path, store: Path) -> None:
    """Copy the weights of the pretrained models that one store has to another."""
    for model in MODELS.values():
        file = model.file(Store(weights))
        if file is not None:

            def make(place: Path, file: Path = file) -> None:
                shutil.copyfile(file, place / FILE)

            model.kept(Store(store), make)


def page(found: Sequence[Held]) -> str:
    """The table, in Markdown."""
    head = (
        "suite",
        "processor time",
        "planned",
        "ratio",
        "memory",
        "planned",
        "ratio",
        "kept",
        "planned",
        "ratio",
        "planned again",
    )
    rows = []
    for held in found:
        ratios, taken, planned = held.ratios(), held.taken, held.planned
        rows.append(
            (
                held.name,
                in_time(taken.cpu_seconds),
                in_time(planned["cpu_seconds"]),
                f"{ratios['cpu_seconds']:.2f}",
                in_bytes(taken.memory),
                in_bytes(planned["memory"]),
                f"{ratios['memory']:.2f}",
                in_bytes(taken.kept),
                in_bytes(planned["bytes_to_keep"]),
                f"{ratios['kept']:.2f}",
                in_time(held.again["cpu_seconds"]),
            )
        )
    return table(head, rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Plan and run; 1 where a plan does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--suites", nargs="+", choices=[*SUITES], default=["quickstart", "family"])
    parser.add_argument("--weights", type=Path, metavar="STORE", help="with the pretrained weights")
    given = parser.parse_args(arguments)
    if given.weights is None and WITH_WEIGHTS & {*given.suites}:
        parser.error("pretrained suites need --weights")
    given.folder.mkdir(parents=True, exist_ok=True)
    found = [
        hold(name, given.folder, given.weights if name in WITH_WEIGHTS else None)
        for name in dict.fromkeys(given.suites)
    ]
    print(page(found))
    return 0 if all(held.holds() for held in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
