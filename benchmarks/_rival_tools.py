"""The tools that are compared: how each is installed, called, and read by its own documentation."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks._rival_venv import Needs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks._rival_venv import Environment

Call = Literal["kin", "strangers", "none"]
"""What an answer comes to: ``none`` where a tool abstains, refuses or gives no answer."""

DRIVER = Path(__file__).with_name("_rival_paper.py")
PAPER_LEVEL = 1e-4
"""The paper's level for a pair of blocks; neither it nor its code has one for models."""
SAMPLE = 4
"""Blocks, and experts of each, that this package reads as a sample."""


@dataclass(frozen=True)
class Answer:
    """A tool's own words on a pair, and what they come to."""

    said: str
    call: Call


@dataclass(frozen=True)
class Rival:
    """A tool and its adapter.

    Parameters
    ----------
    needs
        What it is installed with; None for this package, which runs in the interpreter at hand.
    package
        Whose version is shown.
    command
        Takes the tool's interpreter, the candidate, the reference and the folder of the paper's code.
    read
        Takes what a command that exited with 0 printed; raises ValueError, KeyError or
        TypeError where there is no answer in it.
    decides
        By which documented rule an answer comes to kin or strangers.
    outside
        Kinds of candidates that the tool's documentation says it does not resolve, with its words.
    papers
        Whether it is the paper's code, whose folder the command needs.
    """

    name: str
    needs: Needs | None
    package: str
    command: Callable[[Path, Path, Path, Path | None], Sequence[str]]
    read: Callable[[str], Answer]
    decides: str
    outside: Mapping[str, str] = field(default_factory=dict)
    papers: bool = False

    def version(self, environment: Environment | None, own: str, code: str) -> str:
        """Return what is shown of ``own``, of the package's version, and of the commit ``code``."""
        if environment is None:
            return own
        version = environment.version(self.package)
        return f"{code}, {self.package} {version}" if self.papers else version


def _ours(*options: str) -> Callable[[Path, Path, Path, Path | None], Sequence[str]]:
    def command(_: Path, candidate: Path, reference: Path, __: Path | None) -> list[str]:
        asked = ["compare", str(candidate), str(reference), *options, "--json", "--quiet"]
        return [sys.executable, "-m", "provenance", *asked]

    return command


def read_ours(out: str) -> Answer:
    """Read the object of ``provenance compare --json``."""
    found = json.loads(out)
    calls: dict[str, Call] = {"dependent": "kin", "independent": "strangers"}
    shown = f"{found['verdict']}, {_log10(found['log10_p'])}"
    return Answer(shown, calls.get(found["verdict"], "none"))


def _modeldna(python: Path, candidate: Path, reference: Path, _: Path | None) -> list[str]:
    tool = str(python.with_name("modeldna"))
    return [tool, "compare", str(candidate), str(reference), "--json"]


def read_modeldna(out: str) -> Answer:
    """Read the object of ``modeldna compare --json``."""
    verdict = json.loads(out)["verdict"]
    name, probability = verdict["verdict"], verdict["probability"]
    reasons = [c["ruled_out"] for c in verdict["candidates"] if c["ruled_out"]]
    if probability is None:
        return Answer(f"{name}: {reasons[0] if reasons else verdict['description']}", "none")
    calls: dict[str, Call] = {
        "NO_MATCH": "strangers",
        "INSUFFICIENT": "none",
        "SAME_FAMILY_UNRESOLVED": "none",
    }
    return Answer(f"{name}, {probability:.3f}", calls.get(name, "kin"))


_BY_SHAPE = 2
"""The last tier of MPK's gate, which decides by the configuration alone."""


def _mpk(python: Path, candidate: Path, reference: Path, _: Path | None) -> list[str]:
    tool = str(python.with_name("provenancekit"))
    return [tool, "compare", str(candidate), str(reference), "--json", "--no-cache"]


def read_mpk(out: str) -> Answer:
    """Read the object of ``provenancekit compare --json``."""
    scores = json.loads(out)["scores"]
    decision, weights = scores["provenance_decision"], scores["identity_score"]
    calls: dict[str, Call] = {
        "Confirmed Match": "kin",
        "High-Confidence Match": "kin",
        "Not Matched": "strangers",
    }
    by = f"tier {scores['mfi_tier']}" if scores["mfi_tier"] <= _BY_SHAPE else "weights"
    shown = f"{decision}, {scores['pipeline_score']:.3f} by {by}"
    if by != "weights" and weights is not None:
        shown += f" (weights {weights:.3f})"
    return Answer(shown, calls.get(decision, "none"))


def _paper(
    statistic: str,
) -> Callable[[Path, Path, Path, Path | None], Sequence[str]]:
    def command(python: Path, candidate: Path, reference: Path, code: Path | None) -> list[str]:
        return [str(python), str(DRIVER), statistic, str(code), str(reference), str(candidate)]

    return command


def read_paper(out: str) -> Answer:
    """Read the last line of the driver of the paper's code: their functions print as well."""
    found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    p = float(found["p"])
    if p != p:  # noqa: PLR0124 - not a number: no block had a p-value
        return Answer("p is not a number", "none")
    blocks = f", block {found['block']} alone" if found.get("block") is not None else ""
    shown = f"p = {p:.1e}" if p else "p = 0, which is below 1e-308"
    return Answer(f"{shown}{blocks}", "kin" if p < PAPER_LEVEL else "strangers")


def _log10(value: float | None) -> str:
    return "no p-value" if value is None else f"log10 p = {value:z.1f}"


_SHAPES = "compares models of equal depth and tensor shapes, and reports others as a mismatch"
_DISGUISE = (
    "says that permutations and rotations defeat its direct signals, and that a determined "
    "adversary is out of scope"
)
_PAPER_NEEDS = Needs(
    "paper",
    (
        "torch",
        "transformers",
        "accelerate",
        "datasets",
        "scipy",
        "matplotlib",
        "sentencepiece",
    ),
    (3, 10),
)
_CSU_SHAPES = "is for models of one architecture"
_CSU_DISGUISE = "supposes that nobody permuted or rotated the weights, which `match` is for"

RIVALS: tuple[Rival, ...] = (
    Rival(
        "provenance",
        None,
        "pytest-provenance",
        _ours(),
        read_ours,
        "`dependent` is kin, `independent` is strangers, `inconclusive` is no call",
    ),
    Rival(
        f"provenance, sample {SAMPLE}",
        None,
        "pytest-provenance",
        _ours("--sample", str(SAMPLE)),
        read_ours,
        "`dependent` is kin; `not found` and `inconclusive` are no call: no sample shows independence",
    ),
    Rival(
        "modelDNA",
        Needs("modeldna", ("modeldna",), (3, 10)),
        "modeldna",
        _modeldna,
        read_modeldna,
        "`EXACT_COPY` to `LIKELY_MERGE` (a probability of 0.9) is kin, `NO_MATCH` with a probability is "
        "strangers; `SAME_FAMILY_UNRESOLVED` is no call, nor is `NO_MATCH` of a pair that it rules out by "
        "shape, which its author calls an abstention",
        {
            "narrow": _SHAPES,
            "shallow": _SHAPES,
            "deep": _SHAPES,
            "disguised": _DISGUISE,
            "rebranded": _DISGUISE,
            "renumbered": _DISGUISE,
            "respelled": _DISGUISE,
        },
    ),
    Rival(
        "MPK",
        Needs("mpk", ("cisco-ai-provenance-kit",), (3, 12)),
        "cisco-ai-provenance-kit",
        _mpk,
        read_mpk,
        "`Confirmed Match` and `High-Confidence Match` (above 0.75) are kin, `Not Matched` (0.65 or less) "
        "is strangers, `Weak Match` is no call",
    ),
    Rival(
        "paper, csu",
        _PAPER_NEEDS,
        "torch",
        _paper("csu"),
        read_paper,
        f"p below {PAPER_LEVEL:g} is kin: the paper's level for blocks, as there is none for models",
        {
            "narrow": _CSU_SHAPES,
            "shallow": _CSU_SHAPES,
            "deep": _CSU_SHAPES,
            "disguised": _CSU_DISGUISE,
            "rebranded": _CSU_DISGUISE,
            "renumbered": _CSU_DISGUISE,
            "respelled": _CSU_DISGUISE,
        },
        papers=True,
    ),
    Rival(
        "paper, match",
        _PAPER_NEEDS,
        "torch",
        _paper("match"),
        read_paper,
        f"p below {PAPER_LEVEL:g}, the paper's level for a pair of blocks, is kin",
        papers=True,
    ),
)
