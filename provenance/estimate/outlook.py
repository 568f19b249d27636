"""The outlook of a run: everything that it will do, counted once, and what that takes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from provenance._threads import usable_cores
from provenance.errors import ProvenanceError
from provenance.estimate.constants import Constants, constants_of
from provenance.estimate.known import AbsentError, Known
from provenance.estimate.making import PASSES, Making, history, making
from provenance.estimate.matching import Matchings, matching_seconds, matchings
from provenance.estimate.models import FINGERPRINT, ModelCost, in_part, model_cost, sizes_of_recipe
from provenance.recipes import RECIPES
from provenance.statistics import PAIR_STATISTICS, REGISTRY
from provenance.vocabulary import Memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from provenance.comparison.plan import Comparison
    from provenance.recipes.sizes import Sizes
    from provenance.store.store import Store
    from provenance.vocabulary import ModelSpec

COVERED = 0.15
"""Of a forward pass, what the measurement of coverage takes besides."""

PREDICTED = 128
"""Positions whose predictions are made, for the loss."""

KEPT_FRONT = 1 << 16
"""Bytes at most that activations take besides their numbers."""


@dataclass(frozen=True)
class Forward:
    """One forward pass: a model, the tokens it reads, its parameters, and what the store keeps of it."""

    source: str
    tokens: int
    parameters: int
    seconds: float
    kept: int
    memory: int


@dataclass(frozen=True)
class Match:
    """One comparison that must be measured."""

    candidate: str
    reference: str
    statistic: str
    kin: bool
    work: Matchings
    seconds: float


@dataclass(frozen=True)
class Outlook:
    """What a run will do, and what it takes; what the store has already costs nothing and is counted.

    Attributes
    ----------
    models : tuple of ModelCost
        Each once, whatever the number of its claims.
    makings, forwards, matches : tuple
        What must be made, run and compared, each once.
    known, uncounted : int
        Comparisons whose evidence the store has, and those of a model of unknown size.
    cores : int
        Threads that pairs of blocks are spread over.
    constants : Constants
        Of this machine.
    besides : tuple of str
        What stands in the way of a claim before any model of it is known.
    """

    models: tuple[ModelCost, ...]
    makings: tuple[Making, ...]
    forwards: tuple[Forward, ...]
    matches: tuple[Match, ...]
    known: int
    uncounted: int
    cores: int
    constants: Constants
    besides: tuple[str, ...] = ()

    @property
    def moved(self) -> int:
        """Bytes to download, as far as they are known."""
        return sum(model.moved or 0 for model in self.models)

    @property
    def read(self) -> int:
        """Bytes of weights that are digested, or read for a forward pass."""
        return sum(model.read for model in self.models)

    @property
    def kept(self) -> int:
        """Bytes that the store will have more."""
        made = sum(one.kept for one in self.makings)
        return made + sum(one.kept for one in self.forwards)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.makings or self.forwards or self.matches)

    @property
    def cpu_seconds(self) -> float:
        """Processor seconds, of all cores together, without downloads."""
        start = 0.0 if self.idle else self.constants.start
        opened = self.read * self.constants.read_byte
        return start + opened + sum(one.seconds for one in self._parts())

    @property
    def seconds(self) -> float:
        """Seconds from start to end on this machine if it is idle, without downloads."""
        shared = sum(one.seconds for one in self.matches)
        alone = self.cpu_seconds - shared - sum(one.seconds for one in self.forwards)
        return alone + (self.cpu_seconds - alone) / self.cores

    @property
    def memory(self) -> int:
        """Bytes of memory at the most."""
        if self.idle:
            return 0
        blocks = max((_matching_memory(one.work, self.cores) for one in self.matches), default=0)
        makings = max((one.memory for one in self.makings), default=0)
        forwards = max((one.memory for one in self.forwards), default=0)
        return self.constants.resident + max(blocks, makings, forwards)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not known, or stands in the way, a line each."""
        said = dict.fromkeys(one.note for one in self.models if one.note is not None)
        return (*self.besides, *(text for text in said if text is not None))

    def _parts(self) -> Sequence[Making | Forward | Match]:
        return (*self.makings, *self.forwards, *self.matches)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the totals first, then what they are made of."""
        return {
            "bytes_to_download": self.moved,
            "bytes_to_read": self.read,
            "bytes_to_keep": self.kept,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "memory": self.memory,
            "cores": self.cores,
            "known": self.known,
            "uncounted": self.uncounted,
            "notes": list(self.notes),
            "models": [asdict(model) for model in self.models],
            "makings": [asdict(one) for one in self.makings],
            "forwards": [asdict(one) for one in self.forwards],
            "matches": [asdict(one) for one in self.matches],
            "constants": asdict(self.constants),
        }


def foresee(
    wanted: Iterable[tuple[Comparison, bool]],
    store: Store,
    device: str = "auto",
    memory: Memory | None = None,
    constants: Constants | None = None,
    notes: tuple[str, ...] = (),
) -> Outlook:
    """Say what comparisons will cost.

    Nothing is made, downloaded, loaded or run; the constants of this machine are measured where the
    store has none.

    Parameters
    ----------
    wanted : iterable of (Comparison, bool)
        What is to be measured, and whether the two are taken to be kin.
    store : Store
        What it holds costs nothing.
    device, memory
        As `provenance.comparison.executor.Executor` takes them.
    constants : Constants, optional
        In place of those of this machine.
    notes : tuple of str
        What the outlook says besides.

    Raises
    ------
    ProvenanceError
        If the store cannot be used, or the constants cannot be measured.
    """
    known = Known(store, device, memory or Memory())
    pairs = dict(wanted)
    specs = dict.fromkeys(spec for one in pairs for spec in (one.candidate, one.reference))
    models = {spec: model_cost(spec, known) for spec in specs}
    left = {one: kin for one, kin in pairs.items() if not _has(known, one)}
    needed = {spec for one in left for spec in (one.candidate, one.reference)}
    whole = [one for one in left if one.extent != "sampled"]
    wholly = {spec for one in whole for spec in (one.candidate, one.reference)}
    models = {
        spec: in_part(model) if spec in needed - wholly else model for spec, model in models.items()
    }
    costs = constants_of(store) if constants is None else constants
    cores = usable_cores()
    matches = [_match(one, models, costs, kin=kin) for one, kin in left.items()]
    return Outlook(
        tuple(_only_if(model, spec in needed) for spec, model in models.items()),
        tuple(_makings(models, needed, known, costs)),
        tuple(_forwards(left, models, known, costs, memory or Memory())),
        tuple(one for one in matches if one is not None),
        len(pairs) - len(left),
        matches.count(None),
        cores,
        costs,
        notes,
    )


def _has(known: Known, comparison: Comparison) -> bool:
    try:
        return known.has(comparison)
    except (AbsentError, ProvenanceError):
        return False


def _only_if(model: ModelCost, needed: bool) -> ModelCost:  # noqa: FBT001
    """A model; where all evidence on it is there, it is opened and no more."""
    return model if needed else replace(model, read=0)


def _makings(
    models: Mapping[ModelSpec, ModelCost],
    needed: set[ModelSpec],
    known: Known,
    constants: Constants,
) -> Iterable[Making]:
    """Every recipe that must be followed, and every disguised copy, once."""
    made = history(known.store.journal())
    names = dict.fromkeys(name for model in models.values() for name in model.needs)
    for name in names:
        sizes = sizes_of_recipe(RECIPES[name], known)
        if sizes is not None:
            yield making(RECIPES[name], sizes, constants, made)
    for spec, model in models.items():
        makes = model.state in {"to make", "to convert"} and not model.needs
        if spec in needed and makes and model.sizes is not None:
            size = model.sizes.file_bytes
            yield Making(model.source, PASSES * size * constants.read_byte, 2 * size, size)


def _match(
    comparison: Comparison,
    models: Mapping[ModelSpec, ModelCost],
    constants: Constants,
    *,
    kin: bool,
) -> Match | None:
    """What a comparison tests; None where a side is of unknown size."""
    candidate, reference = models[comparison.candidate], models[comparison.reference]
    if candidate.sizes is None or reference.sizes is None:
        return None
    work = matchings(comparison, candidate.sizes, reference.sizes, kin=kin)
    return Match(
        candidate.source,
        reference.source,
        comparison.statistic,
        kin,
        work,
        matching_seconds(work, constants),
    )


def _forwards(
    left: Mapping[Comparison, bool],
    models: Mapping[ModelSpec, ModelCost],
    known: Known,
    constants: Constants,
    memory: Memory,
) -> Iterable[Forward]:
    """The forward passes: one for each model and choice of inputs, whatever the number of its pairs."""
    found: dict[tuple[ModelSpec, object], Forward] = {}
    for comparison, kin in left.items():
        if not _runs(comparison, kin=kin):
            continue
        there = _captured(known, comparison)
        for spec in (comparison.candidate, comparison.reference):
            sizes = models[spec].sizes
            if models[spec].state == FINGERPRINT:  # its answers are there
                continue
            if sizes is not None and spec not in there and (spec, comparison.inputs) not in found:
                tokens = comparison.inputs.tokens
                found[spec, comparison.inputs] = _forward(
                    models[spec].source, spec, sizes, tokens, constants, memory
                )
    return found.values()


def _runs(comparison: Comparison, *, kin: bool) -> bool:
    """Whether models are run: not where weight files decide, or are all that is read."""
    if comparison.extent in {"files", "sampled"}:
        return False
    parts = REGISTRY[comparison.statistic].components()
    early = kin and comparison.extent in {"files", "decided"}
    return any(part.runs_models for part in (parts[:1] if early else parts))


def _captured(known: Known, comparison: Comparison) -> set[ModelSpec]:
    """The models whose activations the store has already."""
    found: set[ModelSpec] = set()
    if comparison.statistic in PAIR_STATISTICS:
        return found
    for spec in (comparison.candidate, comparison.reference):
        # of a model whose partner is not there yet: what it is fed beside itself is most often the same
        alone = replace(comparison, candidate=spec, reference=spec)
        for one in (comparison, alone):
            with suppress(AbsentError, ProvenanceError):
                captures = [each for each in known.captures(one) if each.model == spec]
                for capture in captures:
                    known.capture(capture)
                found |= {each.model for each in captures}
                break
    return found


def _forward(
    source: str,
    spec: ModelSpec,
    sizes: Sizes,
    tokens: int,
    constants: Constants,
    memory: Memory,
) -> Forward:
    blocks = sizes.blocks * sizes.block_parameters
    head = sizes.vocabulary * sizes.hidden * min(tokens, PREDICTED)
    flops = 2 * (blocks * tokens * (1 + COVERED) + head)
    width = 4 if spec.dtype in {None, "float32"} else 2
    loaded = sizes.parameters * width
    seconds = constants.opening + flops * constants.forward_flop
    seconds += (sizes.file_bytes + loaded) * constants.read_byte
    kept = sizes.blocks * sizes.hidden * tokens * width + KEPT_FRONT
    resident = loaded if memory.resident is None else min(loaded, memory.resident)
    batch = min(memory.working // 8, tokens * (8 * sizes.hidden + 3 * sizes.units) * 4)
    return Forward(
        source, tokens, sizes.parameters, seconds, kept, resident + sizes.file_bytes + batch
    )


def _matching_memory(work: Matchings, cores: int) -> int:
    """Bytes of the similarities of gate and up, and of what they are made of, on every thread."""
    return cores * 4 * work.units**2 * 4
