"""What tools answered on pairs, kept one file each, so that a run that was stopped goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from benchmarks._rival_tools import Answer

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks._rival_pairs import Pair
    from benchmarks._rival_process import Limits, Run
    from benchmarks._rival_tools import Call, Rival


@dataclass(frozen=True)
class Result:
    """One tool's answer on one pair, and its cost; ``answered`` is false where a run gave none."""

    tool: str
    version: str
    date: str
    said: str
    call: Call
    answered: bool
    seconds: float
    peak: int
    read: int | None
    stamp: list[list[int]]


def judged(rival: Rival, run: Run, limits: Limits) -> tuple[Answer, bool]:
    """Return a tool's answer, or what went wrong in one line, and whether it answered."""
    if run.ended == "time":
        return Answer(f"no answer in {limits.seconds:.0f} s of the processor", "none"), False
    if run.ended == "idle":
        return Answer(f"hung: nothing done in {limits.idle:.0f} s", "none"), False
    if run.ended == "memory":
        return Answer(f"ended at {limits.memory / 2**30:.1f} GiB of memory", "none"), False
    if run.code:
        return Answer(f"exit code {run.code}: {_last_line(run)}", "none"), False
    try:
        return rival.read(run.out), True
    except (ValueError, KeyError, TypeError, IndexError):
        return Answer(f"no answer in what it printed: {_last_line(run)}", "none"), False


def _last_line(run: Run) -> str:
    lines = (run.err.strip() or run.out.strip()).splitlines()
    last = " ".join(lines[-1].split()) if lines else "it printed nothing"
    return last if len(last) <= _LINE else f"{last[:_LINE]}…"


_LINE = 160


def stamp(pair: Pair) -> list[list[int]]:
    """Return size and time of both models' weight files: others are other models."""
    found = [file.stat() for file in weight_files(pair)]
    return [[state.st_size, state.st_mtime_ns] for state in found]


def weight_files(pair: Pair) -> list[Path]:
    """Return the weight files of both models."""
    folders = (pair.candidate, pair.reference)
    return [file for folder in folders for file in sorted(folder.glob("*.safetensors"))]


def save(result: Result, file: Path) -> None:
    """Write a result, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_suffix(".half")
    half.write_text(json.dumps(asdict(result), indent=1, ensure_ascii=False), encoding="utf-8")
    half.rename(file)


def kept(file: Path, stamped: list[list[int]]) -> Result | None:
    """Return a kept result, if it is of these models."""
    if not file.exists():
        return None
    found = Result(**json.loads(file.read_text(encoding="utf-8")))
    return found if found.stamp == stamped else None
