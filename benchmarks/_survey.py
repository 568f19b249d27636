"""Survey of one architecture of transformers: full-size without weights, and small with weights."""

from __future__ import annotations

import multiprocessing
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from benchmarks._by_names import as_saved, in_memory
from benchmarks._tiny import FLAGS, tiny
from provenance._quiet import quiet
from provenance.architecture.auto_class import auto_class
from provenance.architecture.part import mark, part_of
from provenance.architecture.trace import build_on_meta, probe, skeleton, trace, trace_config
from provenance.errors import ArchitectureError
from tests.support.verification import verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from provenance.architecture.records import MLPRecord, Projection, Trace

LARGEST = 30_000_000
"""Parameters of a small model that are made random; a larger one is not small."""


@dataclass(frozen=True, order=True)
class Place:
    """MLPs of one role that lie alike in all blocks: where gate, up and down are, in Python's slices."""

    role: str
    gate: str
    up: str
    down: str


@dataclass(frozen=True)
class Summary:
    """What a trace found. ``skipped`` and ``refused`` have each description once."""

    stack: str
    blocks: int
    with_mlp: int
    places: tuple[Place, ...]
    skipped: tuple[str, ...]
    refused: tuple[str, ...]
    refused_blocks: int


@dataclass(frozen=True)
class Checked:
    """How the records of the small model compare with its own forward pass.

    ``alike``: without its weights it gives the same records.
    """

    records: int
    reached: int
    worst: float
    alike: bool


@dataclass(frozen=True)
class Outcome:
    """One row of the page: a summary or the reason why there is none, for both sizes.

    ``in_memory`` and ``as_saved`` say what names and shapes alone tell: of the full-size model's
    parameters, and of the small model's files (`benchmarks._by_names`). None where there is neither.
    """

    model_type: str
    full: Summary | str
    small: Summary | str
    checked: Checked | None
    in_memory: str | None = None
    as_saved: str | None = None

    @property
    def summary(self) -> Summary | None:
        """The summary of the full-size model where it could be traced, else of the small one."""
        return next((s for s in (self.full, self.small) if isinstance(s, Summary)), None)


def survey(model_type: str, seconds: float) -> Outcome:
    """Trace one architecture in a process of its own, and end it when it takes too long."""
    context = multiprocessing.get_context("fork")  # the modelling code is imported once
    ours, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=_send, args=(model_type, theirs))
    with quiet():  # from Python 3.12 on a fork beside threads warns; the child uses none of them
        worker.start()
    theirs.close()
    late = f"took more than {seconds:.0f} s"
    outcome = Outcome(model_type, late, late, None)
    try:
        if ours.poll(seconds):
            outcome = ours.recv()
    except EOFError:
        outcome = Outcome(model_type, "its process died", "its process died", None)
    worker.kill()
    worker.join()
    return outcome


def _send(model_type: str, there: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(1)
    with quiet():
        full, in_memory = _full(model_type)
        small, checked, as_saved = _small(model_type)
    there.send(Outcome(model_type, full, small, checked, in_memory, as_saved))


def _full(model_type: str) -> tuple[Summary | str, str | None]:
    said: list[str] = []

    def make() -> Summary:
        model = skeleton(_default(model_type))
        seen = trace(model)
        said.append(in_memory(model, seen))
        return summarise(seen)

    return _attempt(make), next(iter(said), None)


def _default(model_type: str) -> object:
    return CONFIG_MAPPING[model_type](**FLAGS.get(model_type, {}))


def _attempt(make: Callable[[], Summary]) -> Summary | str:
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - each family fails in a way of its own
        return " ".join(str(error).split())


def _small(model_type: str) -> tuple[Summary | str, Checked | None, str | None]:
    found: list[Checked] = []
    said: list[str] = []

    def make() -> Summary:
        model = _random(model_type)
        seen = trace(model)
        checks = verify(model, seen, probe(model))
        worst = max((check.worst() for check in checks), default=0.0)
        reached = sum(check.rows > 0 for check in checks)
        found.append(Checked(len(checks), reached, worst, alike=_alike(model_type, seen)))
        if part_of(model) is None and has_own_numbers(model):
            said.append(as_saved(model, seen))
        return summarise(seen)

    return _attempt(make), next(iter(found), None), next(iter(said), None)


def _alike(model_type: str, seen: Trace) -> bool:
    try:
        return trace_config(tiny(model_type)) == seen
    except ArchitectureError:
        return False


def _random(model_type: str) -> torch.nn.Module:
    torch.manual_seed(0)
    config = tiny(model_type)
    model = auto_class(config).from_config(config, dtype=torch.float32).eval()
    part = part_of(build_on_meta(config))
    if part is not None:
        model = model.get_submodule(part.path)
        mark(model, part)
    if has_own_numbers(model):
        for parameter in model.parameters():  # biases and norms too
            torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.1)
    return model


def has_own_numbers(model: torch.nn.Module) -> bool:
    """Whether every parameter of a small model was filled at random."""
    return sum(parameter.numel() for parameter in model.parameters()) < LARGEST


def summarise(found: Trace) -> Summary:
    """Return what a trace found, in few words."""
    return Summary(
        stack=found.stack,
        blocks=found.blocks,
        with_mlp=len({record.block for record in found.mlps}),
        places=tuple(dict.fromkeys(_place(found.stack, record) for record in found.mlps)),
        skipped=tuple(dict.fromkeys(found.skipped.values())),
        refused=tuple(dict.fromkeys(refusal.reason for refusal in found.refused)),
        refused_blocks=len({refusal.block for refusal in found.refused}),
    )


def _place(stack: str, record: MLPRecord) -> Place:
    up, down = (_where(stack, record, part) for part in (record.up, record.down))
    gate = "" if record.gate is None else _where(stack, record, record.gate)
    return Place(record.role, gate, up, down)


def _where(stack: str, record: MLPRecord, part: Projection) -> str:
    """Name a projection in its block, its channels as a slice where there are others between."""
    name = part.parameter.removeprefix(f"{stack}.{record.block}.").removesuffix(".weight")
    place, units = part.channels, record.units
    stacked = part.expert is None and record.expert is not None and place.start % units == 0
    cut = ""
    if place.step == 2:
        cut = "[1::2]" if place.start % 2 else "[::2]"
    elif stacked and part is not record.down:
        cut = ""
    elif part is not record.down and record.gate is not None:
        fused = record.gate.parameter == record.up.parameter
        cut = ("[I:]" if place.start else "[:I]") if fused else ""
    expert = "" if record.expert is None else "[e]"
    return f"{name}{expert}{cut}"
