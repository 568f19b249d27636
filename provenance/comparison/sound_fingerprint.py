"""Proves all of a fingerprint that can be proven without its model, before it is kept for later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provenance.checkpoints.token_fingerprint_file import TokenFingerprint
from provenance.comparison.fingerprints import BundleUnits
from provenance.comparison.token_fingerprints import HeldUnits, require_same

if TYPE_CHECKING:
    from provenance.checkpoints.checkpoint import Checkpoint


def require_sound(checkpoint: Checkpoint) -> None:
    """Read every number of a fingerprint, and refuse one that could be compared with nothing.

    Raises
    ------
    BundleError
        No model gives its numbers; or it is of another list of tokens, or of other versions.
    SourceError
        It cannot be read.
    """
    made = checkpoint.bundle
    assert made is not None
    units: HeldUnits | BundleUnits
    if isinstance(made, TokenFingerprint):
        require_same(checkpoint)
        units = HeldUnits(checkpoint, made.tokens, "cpu")
    else:
        units = BundleUnits(checkpoint, "cpu")
    for block, place, _ in made.places():
        units.block(block, place)
