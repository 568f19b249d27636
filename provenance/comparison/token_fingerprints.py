"""Token fingerprints from the units of a model, and units of a model from its token fingerprint.

The model's MLPs are asked about the listed tokens that it has (`provenance.inputs.listed_tokens`), as
`match_tokens` asks: half-whitened, no forward pass. Of each MLP the units that do most are held, and of a
unit its answers in two bits each: the quantizer of least mean square error for a normal variable (Max 1960,
"Quantizing for minimum distortion"). A model's answers to the same tokens are compared with it as they are.

Every number is a function of one model alone and follows a renumbering of its units, so that what `match`
assumes under the null hypothesis holds. Which units are held is one such function too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from provenance.architecture.find import with_mlps
from provenance.capture.embeddings import TokenUnits, embed, embedding_rows, own_rows
from provenance.checkpoints.fingerprint_file import BundledMLP, tensor_name
from provenance.checkpoints.token_fingerprint_file import PER_BYTE
from provenance.comparison.fingerprints import shape_of
from provenance.comparison.sides import Component
from provenance.errors import BundleError, DegenerateError, InputError, SourceError, one_line
from provenance.inputs.listed_tokens import ids_of, list_digest
from provenance.inputs.shared_tokens import LEAST_TOKENS, SharedTokens
from provenance.inputs.vocabulary import read_vocabulary
from provenance.loading.parameters import ModelTensors
from provenance.statistics import REGISTRY
from provenance.statistics._sketch import Sketch, Sketcher
from provenance.statistics.match_tokens import Probed, on_all
from provenance.vocabulary import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from provenance.architecture.units import MLPUnits
    from provenance.capture.layout import Layout
    from provenance.capture.units import Shape
    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.checkpoints.token_fingerprint_file import TokenFingerprint
    from provenance.comparison.per_model import PerModel
    from provenance.comparison.sides import Units
    from provenance.statistics._directions import Directions
    from provenance.vocabulary import Role

PROBE_VERSION = 1
"""Raised whenever the same weights would give other numbers in a file: by what `on_all` makes of a side
(norm, loud inputs, whitening, merged units), by which units are held, or by how they are written. Which
tokens are asked about has a digest. `match_tokens` has a version of its own, of the test on such numbers:
raising that one leaves every stored fingerprint, and so every library, as good as it was."""

LEVELS = torch.tensor([-1.510, -0.4528, 0.4528, 1.510])
"""What two bits stand for, in standard deviations of a row."""
BOUNDS = torch.tensor([-0.9816, 0.0, 0.9816])
"""Where one begins and the next ends."""

FEWEST = 64
"""Units that are held of an MLP at the least; where the file has no room for that, fewer MLPs are."""

LEAST = 1e-3
"""Below this a number in standard deviations is 0 but for rounding."""

HEADER = 1 << 16
"""Bytes of a file that are left to its header."""

PER_MEAN = math.sqrt(math.pi / 2)
"""Standard deviations of a normal variable in its mean size. A unit that answers to one token alone has a
standard deviation that is far above all else that it answers."""


def serves() -> dict[str, int]:
    """Versions of all that a token fingerprint's numbers depend on."""
    return {"token probe": PROBE_VERSION}


def pack(rows: torch.Tensor) -> torch.Tensor:
    """Rows of any scale as two-bit numbers, four in a byte, the first in the lowest bits.

    Parameters
    ----------
    rows : Tensor
        (units, tokens) floating point, no row zero.

    Returns
    -------
    Tensor
        (units, tokens / 4, rounded up) uint8.
    """
    scaled = rows / (PER_MEAN * rows.abs().mean(dim=1, keepdim=True))
    codes = torch.bucketize(scaled, BOUNDS.to(rows)).to(torch.uint8)
    room = -codes.shape[1] % PER_BYTE
    codes = torch.nn.functional.pad(codes, (0, room)).reshape(len(rows), -1, PER_BYTE)
    return codes[..., 0] | codes[..., 1] << 2 | codes[..., 2] << 4 | codes[..., 3] << 6


def unpack(packed: torch.Tensor, tokens: int) -> torch.Tensor:
    """The rows that two-bit numbers stand for, (units, tokens) float32 in standard deviations."""
    codes = torch.stack([packed >> shift & 3 for shift in (0, 2, 4, 6)], dim=2)
    return LEVELS.to(packed.device)[codes.reshape(len(packed), -1)[:, :tokens].long()]


@dataclass(frozen=True)
class Asked:
    """The listed tokens that a model can be asked about: their ids, by their places in the list."""

    ids: Mapping[int, int]
    layout: Layout
    tensors: ModelTensors

    @classmethod
    def of(cls, model: Checkpoint, work: PerModel) -> Asked:
        """Find them: those whose rows are finite, not zero, and no other's.

        Raises
        ------
        ProvenanceError
            If the model has no MLPs with gates, no tokenizer, or too few of the tokens.
        """
        layout = work.layout(model)
        with_mlps(layout.trace, gated=True)
        tensors = ModelTensors(model, stored=layout.stored)
        try:
            size = embedding_rows(layout.trace, tensors)
        except DegenerateError as error:
            raise InputError(f"{model.source}: {error}") from None
        vocabulary = read_vocabulary(model, size)
        if vocabulary.texts is None:
            raise InputError(f"{model.source} has no tokenizer: token embeddings need one")
        found = ids_of(vocabulary)
        own = own_rows(embed(layout.trace, tensors, list(found.values()))) if found else ()
        ids = {
            place: index for (place, index), good in zip(found.items(), own, strict=True) if good
        }
        if len(ids) < LEAST_TOKENS:
            raise InputError(
                f"{model.source} has {len(ids)} of the listed tokens as one token each; token embeddings "
                f"need {LEAST_TOKENS}"
            )
        return cls(ids, layout, tensors)

    def units(self, places: Iterable[int], device: str) -> TokenUnits:
        """The units of the model on the listed tokens at some places."""
        ids = [self.ids[place] for place in places]
        embedded = embed(self.layout.trace, self.tensors, ids)
        return TokenUnits(self.layout, self.tensors, embedded, device)


@dataclass(frozen=True)
class Held:
    """What a token fingerprint holds: MLPs by block, why other blocks are not there, and the tensors."""

    mlps: dict[str, tuple[BundledMLP, ...]]
    skipped: dict[str, str]
    tensors: dict[str, torch.Tensor]


def hold(
    units: TokenUnits, tokens: int, size: int, on_progress: Callable[[int, int], None]
) -> Held:
    """Ask MLPs of a model, as many and as many units of each as so many bytes hold.

    Blocks that are left out are evenly spaced; what cannot be tested is left out with its reason.

    Raises
    ------
    BundleError
        If no MLP can be held.
    """
    every = units.shape.mlps
    blocks, most = share_out({index: len(mlps) for index, mlps in every.items()}, tokens, size)
    mlps: dict[str, tuple[BundledMLP, ...]] = {}
    tensors: dict[str, torch.Tensor] = {}
    skipped = {str(index): what for index, what in units.shape.skipped.items()}
    skipped |= {str(index): "left out, for size" for index in every if index not in blocks}
    for done, index in enumerate(blocks):
        on_progress(done, len(blocks))
        try:
            sketches = [_sketch(units, index, place, most) for place in range(len(every[index]))]
        except DegenerateError as error:
            skipped[str(index)] = str(error)
            continue
        mlps[str(index)] = tuple(
            BundledMLP(mlp.label, mlp.units, len(sketch.live))
            for mlp, sketch in zip(every[index], sketches, strict=True)
        )
        for place, sketch in enumerate(sketches):
            parts = {
                "gate": pack(sketch.gate),
                "up": pack(sketch.up),
                "live": sketch.live.int(),
                "share": sketch.share,
            }
            tensors |= {
                tensor_name(index, place, part): tensor.cpu().contiguous()
                for part, tensor in parts.items()
            }
    on_progress(len(blocks), len(blocks))
    if not mlps:
        raise BundleError(f"no block can be held: {next(iter(skipped.values()), 'it has none')}")
    return Held(mlps, skipped, tensors)


def share_out(mlps: Mapping[int, int], tokens: int, size: int) -> tuple[list[int], int]:
    """The blocks of which a file of so many bytes has room, and the units of each of their MLPs.

    Parameters
    ----------
    mlps : mapping
        How many MLPs each block has.

    Raises
    ------
    BundleError
        If there is no room for one block.
    """
    each = 2 * -(-tokens // PER_BYTE) + 4 + 4  # gate, up; the unit's number, its share
    room = max(0, size - HEADER) // each
    blocks = _evenly(sorted(mlps), max(1, room // FEWEST * len(mlps) // sum(mlps.values())))
    most = room // sum(mlps[index] for index in blocks)
    if most < FEWEST:
        raise BundleError(f"a fingerprint of {size:,} bytes is too small for this model: give more")
    return blocks, most


def _evenly(blocks: Sequence[int], most: int) -> list[int]:
    if len(blocks) <= most:
        return list(blocks)
    return [blocks[(2 * k + 1) * len(blocks) // (2 * most)] for k in range(most)]


def _sketch(units: TokenUnits, index: int, place: int, most: int) -> Sketch:
    """The units of one MLP that do most, on all tokens, in order of their numbers."""
    prepared = on_all(units.block(index, place), "reference", 0)
    assert prepared.core is not None
    added = prepared.core.added
    share = (added / added.sum().clamp_min(torch.finfo(torch.float64).tiny)).float()
    kept = share.argsort(descending=True, stable=True)[:most]
    kept = kept[prepared.live[kept].argsort(stable=True)]
    gate, up = (
        x[kept] if prepared.basis is None else x[kept] @ prepared.basis.T
        for x in (prepared.gate, prepared.up)
    )
    return Sketch(prepared.units, prepared.live[kept], gate, up, share[kept], whole=True)


class HeldUnits:
    """Units of a model by its token fingerprint, on some of its tokens; satisfies `sides.Units`."""

    def __init__(self, checkpoint: Checkpoint, places: Sequence[int], device: str) -> None:
        self._file = checkpoint.folder
        self._made = token_fingerprint(checkpoint)
        columns = {place: column for column, place in enumerate(self._made.tokens)}
        self._columns = [columns[place] for place in places]
        self._device = device
        self.shape: Shape = shape_of(self._made)

    def block(self, index: int, place: int = 0) -> Sketch:
        """What the fingerprint holds of one MLP.

        Raises
        ------
        BundleError
            If no model gives its numbers.
        """
        names = [tensor_name(index, place, part) for part in ("gate", "up", "live", "share")]
        try:
            with safe_open(self._file, framework="pt", device=self._device) as file:
                gate, up, live, share = map(file.get_tensor, names)
        except (SafetensorError, OSError) as error:
            raise SourceError(f"{self._file} cannot be read: {one_line(error)}") from None
        units = self._made.mlps[str(index)][place].units
        gate, up = (unpack(rows, len(self._made.tokens)) for rows in (gate, up))
        damage = _damage(live, share, units)
        if damage is not None:
            raise BundleError(
                f"{self._file}: the fingerprint is damaged at block {index}: {damage}"
            )
        gate, up = (_centred(rows[:, self._columns]) for rows in (gate, up))
        # what answers to these tokens alike is as good as dead
        varies = (gate.abs().amax(dim=1) > LEAST) & (up.abs().amax(dim=1) > LEAST)
        gate, up = (torch.nn.functional.normalize(rows[varies], dim=1) for rows in (gate, up))
        return Sketch(units, live[varies].long(), gate, up, share[varies], whole=True)


def _damage(live: torch.Tensor, share: torch.Tensor, units: int) -> str | None:
    """What no model gives; None where there is nothing."""
    if len(live) and not 0 <= int(live.min()) <= int(live.max()) < units:
        return f"its live units are not all of {units}"
    if not bool((live.diff() >= 0).all()):
        return "its live units are in no order"
    if not bool((torch.isfinite(share) & (share >= 0)).all()) or float(share.sum()) > 1.02:
        return "what its units add is no share"
    return None


def _centred(rows: torch.Tensor) -> torch.Tensor:
    return rows - rows.mean(dim=1, keepdim=True)


def token_fingerprint(checkpoint: Checkpoint) -> TokenFingerprint:
    """The token fingerprint that a checkpoint is."""
    from provenance.checkpoints.token_fingerprint_file import TokenFingerprint

    assert isinstance(checkpoint.bundle, TokenFingerprint)
    return checkpoint.bundle


@dataclass(frozen=True)
class TokenPair:
    """Two sides of which one or both are token fingerprints, and the listed tokens that both have."""

    candidate: Checkpoint
    reference: Checkpoint
    places: tuple[int, ...]
    asked: Mapping[Role, Asked]

    @classmethod
    def of(cls, candidate: Checkpoint, reference: Checkpoint, work: PerModel) -> TokenPair:
        """Pair two sides on the tokens that both have.

        Raises
        ------
        BundleError
            If a fingerprint is of another list, or made by another version.
        DegenerateError
            If the two have too few of the listed tokens in common.
        """
        have: dict[Role, set[int]] = {}
        asked: dict[Role, Asked] = {}
        for role, side in zip(ROLES, (candidate, reference), strict=True):
            if side.bundle is None:
                asked[role] = Asked.of(side, work)
                have[role] = set(asked[role].ids)
            else:
                require_same(side)
                have[role] = set(token_fingerprint(side).tokens)
        places = tuple(sorted(have["candidate"] & have["reference"]))
        if len(places) < LEAST_TOKENS:
            raise DegenerateError(
                f"the two have {len(places)} of the listed tokens in common; token embeddings need "
                f"{LEAST_TOKENS}"
            )
        return cls(candidate, reference, places, asked)

    def component(self, device: str) -> Component[Any]:
        """`match_tokens` on the two."""

        def of(role: Role, side: Checkpoint) -> Units[Any]:
            if role in self.asked:
                return self.asked[role].units(self.places, device)
            return HeldUnits(side, self.places, device)

        candidate, reference = map(of, ROLES, (self.candidate, self.reference))
        return Component.of(REGISTRY["match_tokens"], candidate, reference, self.prepare)

    def prepare(self, side: MLPUnits | Sketch, role: Role, seed: int) -> Probed:
        """Prepare a side of `match_tokens`: a model's, or what a fingerprint holds of one."""
        prepared: Directions
        if isinstance(side, Sketch):
            whole = Sketcher(list_digest(), len(self.places), None)
            prepared = whole.prepare(side, role, seed)
        else:
            prepared = on_all(side, role, seed)
        return Probed(None, prepared, role, seed)

    def tokens(self) -> SharedTokens:
        """What both were asked about, by the places in the list."""
        return SharedTokens(self.places, self.places, len(self.places), "of the published list")

    def details(self) -> dict[str, str]:
        """What evidence says of the comparison."""
        sides = {"candidate": self.candidate, "reference": self.reference}
        return {
            f"{role}_fingerprint": f"{side.bundle.extent()}, said to be of {side.bundle.digest}"
            for role, side in sides.items()
            if side.bundle is not None
        }


def require_same(side: Checkpoint) -> None:
    """Raise a `BundleError` for a token fingerprint of another list of tokens, or of other versions."""
    made = token_fingerprint(side)
    if made.listed != list_digest():
        raise BundleError(
            f"{side.source} is a fingerprint of another list of tokens ({made.listed}): make it again with "
            "this version of provenance"
        )
    for name, version in serves().items():
        if made.serves.get(name) != version:
            raise BundleError(
                f"{side.source} is a fingerprint for version {made.serves.get(name)} of {name}, and this "
                f"is {version}: make it again with this version of provenance"
            )
