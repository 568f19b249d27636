"""What was measured of one model, and what both were fed."""

from __future__ import annotations

import math
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field

from provenance._text import visible
from provenance.evidence.bounds import MOST, are_shares, p_fault
from provenance.store.files import is_sha256
from provenance.vocabulary import BLOCK_LIMIT, InputKind

ADAPTER = "adapter merged into "
"""Begins what a merged adapter's ``conversion`` says."""


@dataclass(frozen=True)
class ModelRecord:
    """The model that was measured: where it came from and exactly what it was.

    ``skipped`` names the blocks that are not compared, since they have no MLP of the kind that the
    statistic needs: ``{"2": "MambaMixer"}``. ``elsewhere`` says which other MLPs are not: those of
    another stack, and those that were refused. ``heads`` are in the files and were read by nothing, such as
    those of values, rewards or classes; of a language model that is a part of the whole, the other parts.
    ``digest`` is of configuration and weights as they were read, ``weights_digest`` of the weights alone.
    ``conversion`` says what a plain checkpoint was made from, where one had to be made. ``pickle`` says
    whether weights were read from a pickle, ``remote_code`` whether the checkpoint's own code was run.
    ``by_names`` says what was taken for what where no code of the model could tell where its MLPs are, and
    names and shapes of its tensors did, or a person.
    ``claimed`` is set for a fingerprint alone, whose weights were not seen: the digest of the model, by the
    fingerprint's maker. ``digest`` is then of the fingerprint, and all other fields are the maker's word
    too.
    """

    source: str
    digest: str
    architecture: str
    blocks: int
    parameters: int
    dtype: str
    skipped: Mapping[str, str] = field(default_factory=dict)
    weights_digest: str | None = None
    conversion: str | None = None
    pickle: bool = False
    remote_code: bool = False
    claimed: str | None = None
    elsewhere: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    by_names: tuple[str, ...] = ()

    def fault(self) -> str | None:
        """Why no model is like that, in words; None where one may be."""
        if not 0 <= self.blocks <= BLOCK_LIMIT:
            return f"{self.blocks} is no number of blocks, 0 to {BLOCK_LIMIT}"
        return None


@dataclass(frozen=True)
class CoverageRecord:
    """How much of what a model does comes from the MLPs that were compared, shares from 0 to 1.

    Attributes
    ----------
    share : float or None
        Of what its blocks add to the residual stream.
    effect : float or None
        Of what its blocks do to its predictions; None where that was not measured.
    blocks : tuple of float or None
        The share of each block; 0 where it has no compared MLP, None where it adds nothing.
    reason : str or None
        Why nothing could be measured; None where it was.
    """

    share: float | None
    effect: float | None
    blocks: tuple[float | None, ...] = ()
    reason: str | None = None

    def fault(self, blocks: int) -> str | None:
        """Why no measurement of so many blocks gives these values, in words; None where one may."""
        if len(self.blocks) not in {0, blocks}:
            return f"it has shares of {len(self.blocks)} blocks, and the model has {blocks}"
        if are_shares((self.share, self.effect, *self.blocks)):
            return None
        return "a share is from 0 to 1"


@dataclass(frozen=True)
class PowerRecord:
    """Whether the test would have found a copy of one side: its power control.

    Attributes
    ----------
    statistic : str
        The part that was tried.
    blocks : tuple of int
        The side's blocks that were tested against copies of themselves.
    log10_p : float
        Fisher's combination over these blocks, each corrected as those of the pair are.
    reason : str or None
        Why no block could be tested; None where one could.
    """

    statistic: str
    blocks: tuple[int, ...]
    log10_p: float
    reason: str | None = None

    def found_at(self, threshold: float) -> bool:
        """Whether the copy was found, at the threshold of a claim."""
        return self.log10_p < math.log10(threshold)

    def fault(self, blocks: int) -> str | None:
        """Why no control of a side of so many blocks gives these values, in words; None where one may."""
        fault = p_fault(self.log10_p)
        if fault is None and not (
            self.blocks and 0 <= min(self.blocks) <= max(self.blocks) < blocks
        ):
            fault = f"blocks are some of its {blocks}"
        return fault


@dataclass(frozen=True)
class RangesRecord:
    """What was read of the weights of a model that was opened in part.

    Attributes
    ----------
    bytes : int
        How many, each once: headers and ranges.
    of : int
        How many its files have.
    digest : str
        ``sha256:`` over the SHA-256 of every range, with its file and its place, in their order.
    files : mapping of str to str
        The SHA-256, in hex, that the hub says each file has as a whole, by name; of those that were read.
    """

    bytes: int
    of: int
    digest: str
    files: Mapping[str, str] = field(default_factory=dict)

    def fault(self) -> str | None:
        """Why nobody has read that, in words; None where one may have."""
        if not 0 <= self.bytes <= self.of <= MOST:
            return f"{self.bytes} bytes of {self.of} were read"
        wrong = [name for name, sha256 in self.files.items() if not is_sha256(sha256)]
        if wrong:
            return f"what stands for {visible(wrong[0])[:50]!r} is no SHA-256"
        return None


@dataclass(frozen=True)
class InputsRecord:
    """What both models were fed; ``note`` explains a choice made.

    ``tokens`` is the number of positions that were compared. ``digest`` is of the token ids. Where the two
    read a text in different tokens, it is of those of both and of the positions. ``distinct`` counts the
    different ids at these positions, the candidate's and the reference's. ``asked`` is the kind that was
    asked for, where another one replaced it. ``borrowed`` says whether the candidate, which has no
    tokenizer, read the text by the reference's.
    """

    kind: InputKind
    text: str | None
    tokens: int
    sequence_length: int
    seed: int
    digest: str
    note: str | None = None
    distinct: tuple[int, int] | None = None
    asked: InputKind | None = None
    borrowed: bool = False
