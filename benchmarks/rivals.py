"""Run this tool and others on the same pretrained models: verdicts, time, memory, and what each reads.

``python -m benchmarks.rivals DIR --folder WORK --output docs/comparison.md``

DIR holds the models of ``python -m benchmarks.real models`` and ``kin``. WORK keeps each tool's environment
and each answer; a run that was stopped goes on where it was. Each tool is installed by pip from the
package index. The paper's code is not packaged: clone it, and name the clone with ``--paper-code``.

A tool that cannot be installed, crashes, hangs or takes too much memory has that in its row.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import _counts, _rival_page, _rival_pairs, _rival_results
from benchmarks._arguments import pretrained
from benchmarks._page import about_machine, reading_of
from benchmarks._real_models import BASE
from benchmarks._rival_pairs import TWIN
from benchmarks._rival_process import Limits, run
from benchmarks._rival_tools import RIVALS
from benchmarks._rival_venv import UnavailableError, environment
from benchmarks.real import THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks._rival_pairs import Pair
    from benchmarks._rival_results import Result
    from benchmarks._rival_tools import Rival
    from benchmarks._rival_venv import Environment

OWN = RIVALS[0]
_ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None, rivals: Sequence[Rival] = RIVALS) -> None:
    """Compare, and write the page where one is asked for."""
    given = _parser(rivals).parse_args(arguments)
    twins: Path = given.folder / "models"
    if not given.render and (not given.pairs or f"{TWIN}-{BASE}" in given.pairs):
        _rival_pairs.make_twin(given.models / BASE, twins, _report)
    every = list(_rival_pairs.pairs(given.models, twins))
    missing: dict[str, str] = {}
    if not given.render:
        chosen = [pair for pair in every if not given.pairs or pair.name in given.pairs]
        unknown = sorted(set(given.pairs) - {pair.name for pair in every})
        if unknown:
            known = ", ".join(pair.name for pair in every)
            sys.exit(f"no pair {unknown[0]}: there are {known}")
        for rival in rivals:
            if not given.only or rival.name in given.only:
                try:
                    _measure(rival, chosen, given)
                except UnavailableError as error:
                    missing[rival.name] = str(error)
                    _report(f"{rival.name}: {error}")
    results = {
        (rival.name, pair.name): found
        for rival in rivals
        for pair in every
        if (found := _kept(given.folder, rival, pair)) is not None
    }
    if given.output:
        _write(given.output, rivals, every, results, missing)
    if given.counts:
        _count(every, results, given.counts)


def _measure(rival: Rival, pairs: Sequence[Pair], given: argparse.Namespace) -> None:
    """Run a tool on the pairs that have no answer yet.

    Raises
    ------
    UnavailableError
        If the tool cannot be had.
    """
    wanted = [pair for pair in pairs if given.again or _kept(given.folder, rival, pair) is None]
    if not wanted:
        return
    if rival.papers and given.paper_code is None:
        raise UnavailableError("needs a clone of the paper's code: name it with --paper-code")
    found = (
        None
        if rival.needs is None
        else environment(rival.needs, given.folder / "venvs", given.python, _report)
    )
    code = given.paper_code and given.paper_code.resolve()
    limits = Limits(given.seconds, int(given.gigabytes * 1e9))
    for pair in wanted:
        _report(f"{rival.name}: {pair.name}")
        result = _answer(rival, found, pair, limits, code)
        _report(f"  {result.said}; {result.seconds:.1f} s, {result.peak / 1e6:.0f} MB")
        _rival_results.save(result, _file(given.folder, rival, pair))


def _answer(
    rival: Rival, found: Environment | None, pair: Pair, limits: Limits, code: Path | None
) -> Result:
    """Run a tool on a pair, in an empty folder that is its home as well."""
    python = Path(sys.executable) if found is None else found.python
    command = rival.command(python, pair.candidate.resolve(), pair.reference.resolve(), code)
    with tempfile.TemporaryDirectory() as scratch:
        ran = run(
            command,
            limits,
            variables=_variables(scratch, own=found is None),
            folder=Path(scratch),
            watched=_rival_results.weight_files(pair),
        )
    answer, answered = _rival_results.judged(rival, ran, limits)
    return _rival_results.Result(
        tool=rival.name,
        version=rival.version(found, _own_version(), _commit(code) or "?"),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        said=answer.said,
        call=answer.call,
        answered=answered,
        seconds=ran.seconds,
        peak=ran.peak,
        read=ran.read,
        stamp=_rival_results.stamp(pair),
    )


def _variables(home: str, *, own: bool) -> dict[str, str]:
    """Return the environment variables: one thread, nothing from a hub, nothing kept from before."""
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    offline = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": home,
        "TMPDIR": home,
        "NO_COLOR": "1",
        **dict.fromkeys((*threads, *offline), "1"),
        **({"PYTHONPATH": str(_ROOT)} if own else {}),
    }


def _own_version() -> str:
    """Return this package's version, with the commit where there is one."""
    version, commit = metadata.version("pytest-provenance"), _commit(_ROOT)
    return f"{version} at {commit}" if commit else version


def _commit(folder: Path | None) -> str | None:
    """Return a clone's commit, if the folder is one."""
    command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _file(folder: Path, rival: Rival, pair: Pair) -> Path:
    return folder / "results" / rival.name / f"{pair.name}.json"


def _kept(folder: Path, rival: Rival, pair: Pair) -> Result | None:
    return _rival_results.kept(_file(folder, rival, pair), _rival_results.stamp(pair))


def _write(
    output: Path,
    rivals: Sequence[Rival],
    pairs: Sequence[Pair],
    results: dict[tuple[str, str], Result],
    missing: dict[str, str],
) -> None:
    command = (
        "python -m benchmarks.rivals models --folder work --paper-code model-tracing --output "
        f"{output}"
    )
    text = _rival_page.page(rivals, pairs, results, missing, command, reading_of(output))
    output.write_text(text, encoding="utf-8")


def _count(pairs: Sequence[Pair], results: dict[tuple[str, str], Result], folder: Path) -> None:
    """Save how often each verdict of this package fell."""
    counted = []
    for truth, population in POPULATIONS.items():
        found = [(p, results.get((OWN.name, p.name))) for p in pairs if p.truth == truth]
        verdicts = [_verdict(result) for _, result in found if result is not None]
        models = [(p.candidate, p.reference) for p, r in found if r is not None]
        if verdicts:
            tally = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
            counted.append(
                _counts.Counted(
                    population, truth, _counts.disjoint(models), "kinship", THRESHOLD, tally
                )
            )
    about = about_machine()
    command = "python -m benchmarks.rivals models --folder work --counts benchmarks/counts"
    source = _counts.Source(
        command, about["date"], about["machine"], about["versions"], tuple(counted)
    )
    _counts.save(source, "rivals", folder)


POPULATIONS = {
    "kin": "SmolLM2-135M-Instruct against kin made of it: fine-tuned, and the fine-tune rounded, pruned, "
    "deepened, disguised, with tokens added or renumbered",
    "strangers": "Pretrained models of different makers or sizes (SmolLM2-135M, Gemma 3 270M, "
    "Qwen2.5-Coder 0.5B and 1.5B), and SmolLM2 against a model of its shape trained from other weights",
}


def _verdict(result: Result) -> str:
    """Return the verdict, which this tool's words begin with, or that it gave none."""
    return result.said.partition(",")[0] if result.answered else "refused"


def _parser(rivals: Sequence[Rival]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rivals",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [rival.name for rival in rivals]
    parser.add_argument("models", type=pretrained, help="folder of `python -m benchmarks.real`")
    parser.add_argument("--folder", type=Path, required=True, help="keeps environments and answers")
    parser.add_argument("--output", type=Path, help="the page, docs/comparison.md")
    parser.add_argument("--only", nargs="+", choices=names, default=[], help="some of the tools")
    parser.add_argument("--pairs", nargs="+", default=[], metavar="PAIR", help="some of the pairs")
    parser.add_argument("--again", action="store_true", help="run what has an answer as well")
    parser.add_argument("--render", action="store_true", help="run nothing, only write")
    parser.add_argument("--counts", type=Path, metavar="DIR", help="save counts, benchmarks/counts")
    parser.add_argument("--paper-code", type=Path, metavar="DIR", help="clone of the paper's code")
    parser.add_argument(
        "--python", nargs="+", default=[], metavar="EXE", help="interpreters for environments"
    )
    parser.add_argument("--seconds", type=float, default=3600, help="of the processor, for a pair")
    parser.add_argument("--gigabytes", type=float, default=14, help="limit of memory")
    return parser


def _report(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
