"""Fingerprint bundles from the units of a model, and units of a model from its bundle.

`BundleUnits` reads from a bundle what `provenance.capture.units` reads from a checkpoint. `BundlePair` says
whether two sides may be compared at all, and on what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from provenance.architecture.units import MLPShape
from provenance.capture.run import CAPTURE_VERSION
from provenance.capture.units import ActivationUnits, Shape
from provenance.checkpoints.fingerprint_file import BundledMLP, Fingerprint, tensor_name
from provenance.comparison.sides import Component
from provenance.errors import BundleError, SourceError, one_line
from provenance.evidence.models import InputsRecord
from provenance.inputs.tokens import RANDOM_IDS
from provenance.loading.parameters import ModelTensors
from provenance.statistics import BUNDLED, REGISTRY
from provenance.statistics._sketch import SKETCH_VERSION, Sketch, Sketcher
from provenance.store.files import write_whole
from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from provenance.architecture.units import MLPUnits
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.checkpoints.token_fingerprint_file import TokenFingerprint
    from provenance.comparison.sides import Units
    from provenance.statistics import Basis
    from provenance.store.store import Entry
    from provenance.vocabulary import Role, StatisticName

LENGTH = 0.02
"""How far a row's length may be from 1: half precision moves it by a thousandth."""


def serves() -> dict[str, int]:
    """Versions of all that a bundle's numbers depend on."""
    versions = {"capture": CAPTURE_VERSION, "sketch": SKETCH_VERSION}
    return versions | {name: REGISTRY[name].version for name in sorted(BUNDLED)}


def sketch_units(
    units: ActivationUnits, sketcher: Sketcher, on_progress: Callable[[int, int], None]
) -> tuple[dict[str, tuple[BundledMLP, ...]], dict[str, torch.Tensor]]:
    """Sketch every MLP of a model: what a bundle says of them, and the bundle's tensors.

    Raises
    ------
    DegenerateError
        If a value is not finite.
    """
    described: dict[str, tuple[BundledMLP, ...]] = {}
    tensors: dict[str, torch.Tensor] = {}
    blocks = units.shape.mlps
    for done, (block, mlps) in enumerate(blocks.items()):
        on_progress(done, len(blocks))
        sketches = [sketcher.of(units.block(block, place)) for place in range(len(mlps))]
        described[str(block)] = tuple(
            BundledMLP(mlp.label, mlp.units, len(sketch.live))
            for mlp, sketch in zip(mlps, sketches, strict=True)
        )
        for place, sketch in enumerate(sketches):
            parts = {
                "gate": sketch.gate.half(),
                "up": sketch.up.half(),
                "live": sketch.live,
                "share": sketch.share,
            }
            tensors |= {
                tensor_name(block, place, part): tensor.contiguous()
                for part, tensor in parts.items()
            }
    on_progress(len(blocks), len(blocks))
    return described, tensors


def write_bundle(
    file: Path, metadata: Mapping[str, str], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Write a bundle, with its document in the metadata, and move it into place when it is complete.

    Raises
    ------
    BundleError
        If the file cannot be written.
    """
    try:
        write_whole(
            file,
            lambda temporary: save_file(dict(tensors), temporary, metadata=dict(metadata)),
            mode=0o644,
        )
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{file} cannot be written: {one_line(error)}") from None


class BundleUnits:
    """Units of a model by its bundle; satisfies `provenance.comparison.sides.Units`."""

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        assert isinstance(checkpoint.bundle, Fingerprint)
        self._file = checkpoint.folder
        self._fingerprint = checkpoint.bundle
        self._device = device
        self.shape = shape_of(self._fingerprint)

    def block(self, index: int, place: int = 0) -> Sketch:
        """What the bundle holds of one MLP.

        Raises
        ------
        BundleError
            If no model gives its numbers.
        """
        parts = ("gate", "up", "live", "share")
        try:
            with safe_open(self._file, framework="pt", device=self._device) as file:
                gate, up, live, share = (
                    file.get_tensor(tensor_name(index, place, part)) for part in parts
                )
        except (SafetensorError, OSError) as error:
            raise SourceError(f"{self._file} cannot be read: {one_line(error)}") from None
        units = self._fingerprint.mlps[str(index)][place].units
        is_whole = self._fingerprint.sketch is None
        sketch = Sketch(units, live, gate.float(), up.float(), share, is_whole)
        damage = _damage(sketch)
        if damage is not None:
            raise BundleError(
                f"{self._file}: the fingerprint is damaged at block {index}: {damage}"
            )
        return sketch


def _damage(sketch: Sketch) -> str | None:
    """What in a sketch no model gives; None where there is nothing."""
    for name in ("gate", "up"):
        lengths = getattr(sketch, name).norm(dim=1)
        if not bool(((lengths - 1).abs() < LENGTH).all()):  # of NaN, neither
            return f"its {name} has units that are not of length 1"
    live = sketch.live
    if len(live) and not 0 <= int(live.min()) <= int(live.max()) < sketch.units:
        return f"its live units are not all of {sketch.units}"
    if not bool((live.diff() >= 0).all()):
        return "its live units are in no order"
    share = sketch.share
    if not bool((torch.isfinite(share) & (share >= 0)).all()) or float(share.sum()) > 1 + LENGTH:
        return "what its units add is no share"
    return None


def shape_of(fingerprint: Fingerprint | TokenFingerprint) -> Shape:
    """What the model is made of, as its bundle says."""
    mlps = {
        int(block): tuple(MLPShape(mlp.label, mlp.units) for mlp in block_mlps)
        for block, block_mlps in sorted(fingerprint.mlps.items(), key=lambda item: int(item[0]))
    }
    skipped = {int(block): reason for block, reason in fingerprint.skipped.items()}
    return Shape(fingerprint.architecture, fingerprint.blocks, mlps, skipped, fingerprint.dtype)


@dataclass(frozen=True)
class BundlePair:
    """Two sides of which one or both are bundles, and how their units are compared."""

    candidate: Checkpoint
    reference: Checkpoint
    sketcher: Sketcher

    @classmethod
    def of(cls, candidate: Checkpoint, reference: Checkpoint) -> BundlePair:
        """Pair two sides, on the fewer columns of the two.

        Raises
        ------
        BundleError
            If bundles are of other inputs, or made by another version.
        """
        sides = [side for side in (candidate, reference) if side.bundle is not None]
        for side in sides:
            _require_version(side)
        fingerprints = [side.bundle for side in sides if isinstance(side.bundle, Fingerprint)]
        first, last = fingerprints[0], fingerprints[-1]
        fed = first.inputs
        if (fed.digest, fed.tokens) != (last.inputs.digest, last.inputs.tokens):
            raise BundleError(
                f"{sides[0].source} and {sides[1].source} are fingerprints of other inputs "
                f"({_inputs_of(first)}; {_inputs_of(last)}): make one again with the other's; tokenizers "
                f"that differ need {RANDOM_IDS}"
            )
        columns = [one.sketch for one in fingerprints if one.sketch is not None]
        sketcher = Sketcher(fed.digest, fed.tokens, min(columns, default=None))
        return cls(candidate, reference, sketcher)

    def units(
        self, entries: Sequence[Entry | None], device: str
    ) -> tuple[Units[MLPUnits | Sketch], Units[MLPUnits | Sketch]]:
        """The units of the candidate and of the reference; a side that is a model has an entry."""

        def of(side: Checkpoint, entry: Entry | None) -> Units[MLPUnits | Sketch]:
            if entry is None:
                return BundleUnits(side, device)
            return ActivationUnits(entry.path, ModelTensors(side), device)

        candidate, reference = entries
        return of(self.candidate, candidate), of(self.reference, reference)

    def component(
        self, statistic: StatisticName, entries: Mapping[tuple[Basis, Role], Entry], device: str
    ) -> Component[Any]:
        """A statistic on the two; a side that is a model has an entry of its activations."""
        candidate, reference = self.units(
            [entries.get(("activations", role)) for role in ROLES], device
        )
        return Component.of(REGISTRY[statistic], candidate, reference, self.sketcher.prepare)

    def inputs_record(self) -> InputsRecord:
        """What both were fed, as the bundle says, or as it was made again from what it says."""
        bundle = self.candidate.bundle or self.reference.bundle
        assert isinstance(bundle, Fingerprint)
        fed = bundle.inputs
        return InputsRecord(
            fed.kind, fed.text, fed.tokens, fed.sequence_length, fed.seed, fed.digest, fed.note
        )

    def details(self) -> dict[str, str]:
        """What evidence says of the comparison."""
        columns = self.sketcher.columns
        compared = "whole answers" if columns is None else f"sketches of {columns}"
        sides = {"candidate": self.candidate, "reference": self.reference}
        return {"compared": compared} | {
            f"{role}_fingerprint": f"{side.bundle.extent()}, said to be of {side.bundle.digest}"
            for role, side in sides.items()
            if side.bundle is not None
        }


def _require_version(side: Checkpoint) -> None:
    assert side.bundle is not None
    for name, version in serves().items():
        made_for = side.bundle.serves.get(name)
        if made_for != version:
            raise BundleError(
                f"{side.source} is a fingerprint for version {made_for} of {name}, and this is {version}: "
                "make it again with this version of provenance"
            )


def _inputs_of(fingerprint: Fingerprint) -> str:
    """What the model was fed, in words."""
    inputs = fingerprint.inputs
    fed = inputs.text if inputs.kind == "text" else f"random ids below {inputs.vocabulary}"
    return f"{inputs.tokens} tokens of {fed} by {inputs.sequence_length}, seed {inputs.seed}"
