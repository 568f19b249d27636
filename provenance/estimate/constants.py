"""What this machine needs for a unit of each kind of work, kept in the store once it was measured."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import TYPE_CHECKING

from provenance.comparison.records import versions
from provenance.errors import ProvenanceError, one_line
from provenance.vocabulary import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from provenance.store.store import Store

VERSION = 1
"""Raised where the same constants would be measured otherwise."""

_LONGEST = 600
"""Seconds after which a measurement is given up: it takes about ten."""


@dataclass(frozen=True)
class Constants:
    """Processor seconds of this machine, by what they grow with.

    Attributes
    ----------
    start : float
        To start a process that imports torch and transformers.
    opening : float
        To load a model and to run it forward, however small it is.
    resident : int
        Bytes that a process takes which has run a small model.
    training_step, training_flop : float
        A step of training: its fixed part, and a multiplication or addition.
    forward_flop : float
        A multiplication or addition of a forward pass.
    product_flop : float
        The same of products of units.
    matching : float
        A pair of blocks, however small.
    assign, exponent : float
        Both assignments of strangers of n units: ``assign * n ** exponent``.
    read_byte : float
        A byte of a file that is read and digested.
    tokenizer_character : float
        A character of the text that a tokenizer is trained on.
    """

    start: float
    opening: float
    resident: int
    training_step: float
    training_flop: float
    forward_flop: float
    product_flop: float
    matching: float
    assign: float
    exponent: float
    read_byte: float
    tokenizer_character: float


def machine() -> dict[str, str]:
    """What the constants are of: the processor, its cores, and the versions of what computes."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):  # noqa: PTH110 - absent outside of Linux
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            models = [line.partition(":")[2].strip() for line in file if "model name" in line]
        name = models[0] if models else name
    known = versions()
    return {
        "host": platform.node(),
        "processor": name,
        "cores": str(os.cpu_count() or 1),
        **{key: known[key] for key in ("torch", "transformers", "scipy", "python")},
    }


def constants_of(store: Store, report: Callable[[Stage], None] | None = None) -> Constants:
    """The constants of this machine: those that the store keeps, else measured now, in about ten seconds.

    ``report`` is told when that begins.

    Raises
    ------
    ProvenanceError
        If the measurement fails; one line.
    StoreError
        If the store cannot be used.
    """
    about = machine()
    digest = sha256(json.dumps([VERSION, about], sort_keys=True).encode()).hexdigest()[:16]
    name = f"constants/{digest}.json"
    kept = _read(store.notes.read(name))
    if kept is None:
        if report is not None:
            report(Stage("measure", "this machine"))
        kept = _measured()
        store.notes.write(name, json.dumps({"machine": about, "constants": asdict(kept)}))
    return kept


def _read(text: str | None) -> Constants | None:
    """The constants in a note; None where it is damaged."""
    try:
        values = {} if text is None else json.loads(text)["constants"]
        names = {field.name for field in fields(Constants)}
        if values.keys() == names and all(isinstance(v, int | float) for v in values.values()):
            return Constants(**values)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return None


def _measured() -> Constants:
    """Measure in a process of its own: the plan itself then needs no torch."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "provenance.estimate.measure"],
            capture_output=True,
            text=True,
            timeout=_LONGEST,
            check=True,
        )
        return Constants(**json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        reason = f"no answer in {_LONGEST} seconds"
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"exit code {error.returncode}"
    except (OSError, ValueError, TypeError) as error:
        reason = one_line(error)
    raise ProvenanceError(
        f"what this machine takes for a unit of work could not be measured ({reason}): "
        "`provenance doctor` says what is not well"
    )
