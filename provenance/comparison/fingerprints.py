"""Fingerprint bundles from the units of a model, and units of a model from its bundle.

What `provenance.capture.units` is to a checkpoint's files, this is to a bundle: `BundleUnits` gives what a
test is given of an MLP. Whether two sides may be compared at all is decided here, in `Meeting`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from provenance.architecture.units import MLPShape
from provenance.capture.run import CAPTURE_VERSION
from provenance.capture.units import ActivationUnits, Shape
from provenance.checkpoints.fingerprint_file import KEY, BundledMLP, Fingerprint, tensor_name
from provenance.errors import BundleError, SourceError, one_line
from provenance.evidence.records import InputsRecord
from provenance.inputs.tokens import RANDOM_IDS
from provenance.loading.parameters import ModelTensors
from provenance.statistics import BUNDLED, REGISTRY
from provenance.statistics._sketch import SKETCH_VERSION, Sketch, Sketcher
from provenance.store.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from provenance.architecture.units import MLPUnits
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.comparison.blocks import Units
    from provenance.store.store import Entry

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
    mlps: dict[str, tuple[BundledMLP, ...]] = {}
    tensors: dict[str, torch.Tensor] = {}
    shapes = units.shape.mlps
    for done, (block, found) in enumerate(shapes.items()):
        on_progress(done, len(shapes))
        made = [sketcher.of(units.block(block, place)) for place in range(len(found))]
        mlps[str(block)] = tuple(
            BundledMLP(mlp.label, mlp.units, len(one.live))
            for mlp, one in zip(found, made, strict=True)
        )
        for place, one in enumerate(made):
            held = {"gate": one.gate.half(), "up": one.up.half(), "live": one.live}
            held |= {"share": one.share}
            tensors |= {tensor_name(block, place, part): x for part, x in held.items()}
    on_progress(len(shapes), len(shapes))
    return mlps, {name: tensor.contiguous() for name, tensor in tensors.items()}


def write_bundle(file: Path, said: Fingerprint, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a bundle, and move it into place when it is complete.

    Raises
    ------
    BundleError
        If the file cannot be written.
    """
    try:
        write_whole(
            file,
            lambda temporary: save_file(dict(tensors), temporary, metadata={KEY: said.to_json()}),
            mode=0o644,
        )
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{file} cannot be written: {one_line(error)}") from None


class BundleUnits:
    """Units of a model by its bundle; satisfies `provenance.comparison.blocks.Units`."""

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        assert checkpoint.bundle is not None
        self._file = checkpoint.folder
        self._said = checkpoint.bundle
        self._device = device
        self.shape = shape_of(self._said)

    def block(self, index: int, place: int = 0) -> Sketch:
        """What the bundle holds of one MLP.

        Raises
        ------
        BundleError
            If its numbers are none that a model gives.
        """
        parts = ("gate", "up", "live", "share")
        try:
            with safe_open(self._file, framework="pt", device=self._device) as file:
                gate, up, live, share = (
                    file.get_tensor(tensor_name(index, place, part)) for part in parts
                )
        except (SafetensorError, OSError) as error:
            raise SourceError(f"{self._file} cannot be read: {one_line(error)}") from None
        units = self._said.mlps[str(index)][place].units
        found = Sketch(units, live, gate.float(), up.float(), share, self._said.sketch is None)
        wrong = _wrong(found)
        if wrong is not None:
            raise BundleError(f"{self._file}: the fingerprint is damaged at block {index}: {wrong}")
        return found


def _wrong(found: Sketch) -> str | None:
    """What no model gives, if anything is."""
    for name in ("gate", "up"):
        lengths = getattr(found, name).norm(dim=1)
        if not bool(((lengths - 1).abs() < LENGTH).all()):  # of NaN, neither
            return f"its {name} has units that are not of length 1"
    live = found.live
    if len(live) and not 0 <= int(live.min()) <= int(live.max()) < found.units:
        return f"its live units are not all of {found.units}"
    if not bool((live.diff() >= 0).all()):
        return "its live units are in no order"
    share = found.share
    if not bool((torch.isfinite(share) & (share >= 0)).all()) or float(share.sum()) > 1 + LENGTH:
        return "what its units add is no share"
    return None


def shape_of(said: Fingerprint) -> Shape:
    """What the model is made of, as its bundle says."""
    mlps = {
        int(block): tuple(MLPShape(mlp.label, mlp.units) for mlp in found)
        for block, found in sorted(said.mlps.items(), key=lambda item: int(item[0]))
    }
    skipped = {int(block): what for block, what in said.skipped.items()}
    return Shape(said.architecture, said.blocks, mlps, skipped, said.dtype)


@dataclass(frozen=True)
class Meeting:
    """Two sides of which one or both are bundles, and how their units are compared."""

    candidate: Checkpoint
    reference: Checkpoint
    sketcher: Sketcher

    @classmethod
    def of(cls, candidate: Checkpoint, reference: Checkpoint) -> Meeting:
        """Let two sides meet, on the fewer columns of the two.

        Raises
        ------
        BundleError
            If bundles are of other inputs, or made by another version.
        """
        bundles = [side for side in (candidate, reference) if side.bundle is not None]
        for side in bundles:
            _require_version(side)
        said = [side.bundle for side in bundles if side.bundle is not None]
        first, last = said[0].inputs, said[-1].inputs
        if first.digest != last.digest or first.tokens != last.tokens:
            raise BundleError(
                f"{bundles[0].source} and {bundles[1].source} are fingerprints of other inputs "
                f"({_told(said[0])}; {_told(said[-1])}): make one again with the other's; tokenizers "
                f"that differ need {RANDOM_IDS}"
            )
        sketches = [one.sketch for one in said if one.sketch is not None]
        return cls(
            candidate, reference, Sketcher(first.digest, first.tokens, min(sketches, default=None))
        )

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

    def inputs_record(self) -> InputsRecord:
        """What both were fed, as the bundle says, or as it was made again from what it says."""
        bundle = self.candidate.bundle or self.reference.bundle
        assert bundle is not None
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
    ours = serves()
    for name, version in ours.items():
        theirs = side.bundle.serves.get(name)
        if theirs != version:
            raise BundleError(
                f"{side.source} is a fingerprint for version {theirs} of {name}, and this is {version}: "
                "make it again with this version of provenance"
            )


def _told(said: Fingerprint) -> str:
    inputs = said.inputs
    fed = inputs.text if inputs.kind == "text" else f"random ids below {inputs.vocabulary}"
    return f"{inputs.tokens} tokens of {fed} by {inputs.sequence_length}, seed {inputs.seed}"
