"""What the package says of a changed model and its base, kept in a file: a run that stopped goes on."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import TypeAdapter

from provenance import Executor, InputsSpec, Store
from provenance._quiet import quiet
from provenance.comparison.executor import as_spec
from provenance.comparison.plan import Comparison
from provenance.errors import ProvenanceError
from provenance.evidence.decide import decide, found_nothing, judged_p
from provenance.evidence.doubts import MOST_NEARNESS
from provenance.statistics import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from transformers import PreTrainedModel

    from provenance.evidence.records import Evidence
    from provenance.vocabulary import Extent, StatisticName

THRESHOLD = 1e-6
STATISTIC = "kinship"
PARTS = REGISTRY[STATISTIC].parts
HELD_OUT, OTHER_TEXT = "code", "prose"
"""Texts that losses are measured on: code that no model was trained on, and what fine-tunes learn."""

LENGTH = 128
"""Tokens of a sequence on which a loss is measured."""

WEAK, NEAR, POWERLESS, GARBLED, LACKING = (
    "p between",
    "near",
    "no power",
    "worse than guessing",
    "not all measured",
)
"""Why a verdict is inconclusive."""


@dataclass(frozen=True)
class Numbers:
    """log10 p of a claim by one statistic, and of the blocks: None, and none, where it is not defined."""

    claim: float | None
    blocks: tuple[float, ...]


@dataclass(frozen=True)
class Judged:
    """A changed model against its base.

    Parameters
    ----------
    picture, series, strength, base
        As `benchmarks._curve_changes` has them.
    verdict, why
        Of `kinship` at `THRESHOLD`, and why it is inconclusive or refused, where it is.
    nearness
        The greatest of any block; None where none had to be measured.
    found
        By statistic: `kinship`, and each part as a claim by itself.
    losses
        Nats a token, by the text that they were measured on.
    kin
        Whether the changed model descends from the base, by how it was made.
    likeness
        See `likeness`.
    """

    picture: str
    series: str
    strength: str
    base: str
    verdict: str
    why: tuple[str, ...]
    nearness: float | None
    found: Mapping[str, Numbers]
    losses: Mapping[str, float]
    kin: bool
    likeness: float | None

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What no other has."""
        return self.picture, self.series, self.strength, self.base


class Kept:
    """Verdicts in a JSON file, by the pair that they are of: each is reached once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._kept = _ROWS.validate_json(file.read_bytes()) if file.exists() else {}

    def once(self, key: str, judge: Callable[[], Judged]) -> Judged:
        """Return what is kept by that key, or else judge and keep it."""
        if key not in self._kept:
            self._kept[key] = judge()
            half = self._file.with_suffix(".half")
            half.write_bytes(_ROWS.dump_json(self._kept, indent=1))
            half.replace(self._file)
        return self._kept[key]

    def of(self, picture: str, series: str, bases: Collection[str]) -> tuple[Judged, ...]:
        """Return what is kept of one series and of some bases: for each strength the last."""
        rows = {row.place: row for row in self._kept.values() if row.base in bases}
        return tuple(row for place, row in rows.items() if place[:2] == (picture, series))


_ROWS = TypeAdapter(dict[str, Judged])


def compared(
    candidate: Path,
    reference: Path,
    tokens: int,
    parts: tuple[StatisticName, ...] = PARTS,
    extent: Extent = "parts",
) -> tuple[Evidence | str, dict[str, Numbers]]:
    """Compare two models by `kinship`, as a claim does, and by each of some parts alone.

    Parameters
    ----------
    tokens
        Of text, for the part that runs the models.
    extent
        How much `kinship` measures: "parts", all of them, as a claim of independence does.

    Returns
    -------
    evidence : Evidence or str
        Of `kinship`, or why the two cannot be compared.
    found : dict
        By statistic: `kinship`, and the parts that are defined.
    """
    specs = as_spec(candidate), as_spec(reference)
    inputs = InputsSpec(tokens=tokens)

    def measured(statistic: StatisticName, extent: Extent = "decided") -> Evidence | str:
        try:
            return executor.evidence(Comparison.of(*specs, inputs, statistic, extent=extent))
        except ProvenanceError as error:
            return str(error)

    with tempfile.TemporaryDirectory() as scratch, quiet():
        executor = Executor(Store(Path(scratch)), "cpu")
        whole = measured(STATISTIC, extent)
        each = {STATISTIC: whole, **{part: measured(part) for part in parts}}
    return whole, {name: _numbers(of) for name, of in each.items()}


def _numbers(evidence: Evidence | str) -> Numbers:
    if isinstance(evidence, str):
        return Numbers(None, ())
    blocks = [block.log10_p for block in evidence.blocks if block.log10_p is not None]
    return Numbers(judged_p(evidence.blocks), tuple(blocks))


def judged(
    place: tuple[str, str, str, str],
    evidence: Evidence | str,
    found: Mapping[str, Numbers],
    losses: Mapping[str, float],
    alike: float | None,
    *,
    kin: bool = True,
) -> Judged:
    """Put together what was found, and the verdict on it; without evidence it is "refused"."""
    if isinstance(evidence, str):
        why = (evidence.rpartition(": ")[2],)
        return Judged(*place, "refused", why, None, found, losses, kin, alike)
    near = [block.nearness for block in evidence.blocks if block.nearness is not None]
    verdict = decide(evidence, THRESHOLD)
    why = _why(evidence) if verdict == "inconclusive" else ()
    return Judged(*place, verdict, why, max(near, default=None), found, losses, kin, alike)


def _why(evidence: Evidence) -> tuple[str, ...]:
    """Say why a verdict is inconclusive: all that would do by itself."""
    if not found_nothing(evidence, evidence.blocks, THRESHOLD):
        return (WEAK,)
    reasons = {
        NEAR: any((block.nearness or 0.0) > MOST_NEARNESS for block in evidence.blocks),
        POWERLESS: not all(control.found_at(THRESHOLD) for control in evidence.power.values()),
        GARBLED: bool(evidence.out_of_element()),
    }
    return tuple(name for name, holds in reasons.items() if holds) or (LACKING,)


def loss(model: PreTrainedModel, ids: torch.Tensor) -> float:
    """Return the mean cross-entropy on ids, int64 (tokens,), in nats a token."""
    windows = ids[: len(ids) // LENGTH * LENGTH].view(-1, LENGTH)
    with torch.no_grad():
        return float(model(input_ids=windows, labels=windows).loss)


def likeness(changed: PreTrainedModel, base: PreTrainedModel) -> float | None:
    """Return the cosine between all gates and ups of two models, in place; None of other shapes."""
    sides = [
        [p.detach() for name, p in model.named_parameters() if name.endswith(_MATCHED)]
        for model in (changed, base)
    ]
    if [p.shape for p in sides[0]] != [p.shape for p in sides[1]]:
        return None
    ours, theirs = (torch.cat([p.flatten() for p in side]).double() for side in sides)
    return float(torch.nn.functional.cosine_similarity(ours, theirs, dim=0))


_MATCHED = ("gate_proj.weight", "up_proj.weight")
