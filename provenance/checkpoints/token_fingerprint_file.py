"""Token fingerprints on disk: what units answer to a published list of tokens, in two bits a number.

One safetensors file with a document in its header, as `provenance.checkpoints.fingerprint_file` has it, and
as strictly read. None of this needs torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from provenance._documents import adapter, read_document
from provenance._text import visible
from provenance.checkpoints.fingerprint_file import (
    COUNT_LIMIT,
    DIGEST,
    TEXT_LIMIT,
    BundledMLP,
    Fingerprint,
    Held,
    damage_of,
    every_text,
    read_fingerprint,
    tensor_name,
    wrong_blocks,
    wrong_tensors,
)
from provenance.checkpoints.safetensors_header import stored_header
from provenance.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from provenance.vocabulary import StatisticName

SCHEMA = 1
KEY = "provenance.token-fingerprint"
"""Key of the document in the header's metadata."""

PER_BYTE = 4
"""Numbers of two bits in a byte."""

LIST_LIMIT = 1 << 16
"""Above every length of a list of tokens."""


@dataclass(frozen=True)
class TokenFingerprint(Held):
    """What a token fingerprint says of itself, which is its maker's word.

    Attributes
    ----------
    source : str
        What the maker calls the model.
    digest, weights_digest : str
        Of the model, as evidence has them.
    mlps : Mapping
        By the block's index, as a text. ``live`` counts the units that are held: those that do most.
    skipped : Mapping
        Blocks that are not held, by index, and why.
    listed : str
        Digest of the list of tokens.
    tokens : tuple of int
        Places in the list of the tokens that the model was asked about, ascending.
    serves : Mapping
        Versions of what the numbers depend on, by its name.
    """

    statistic: ClassVar[StatisticName] = "match_tokens"

    source: str
    digest: str
    weights_digest: str
    architecture: str
    blocks: int
    parameters: int
    dtype: str
    hidden: int
    mlps: Mapping[str, tuple[BundledMLP, ...]]
    listed: str
    tokens: tuple[int, ...]
    serves: Mapping[str, int]
    versions: Mapping[str, str]
    created: str
    skipped: Mapping[str, str] = field(default_factory=dict)
    conversion: str | None = None
    schema: int = SCHEMA

    def extent(self) -> str:
        """How much of the model is held, in words."""
        held, units = (
            sum(getattr(mlp, name) for _, _, mlp in self.places()) for name in ("live", "units")
        )
        return f"{held} of {units} units on {len(self.tokens)} listed tokens"

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of every tensor of the file, by name."""
        width = -(-len(self.tokens) // PER_BYTE)
        tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
        for block, place, mlp in self.places():
            for part in ("gate", "up"):
                tensors[tensor_name(block, place, part)] = "U8", (mlp.live, width)
            tensors[tensor_name(block, place, "live")] = "I32", (mlp.live,)
            tensors[tensor_name(block, place, "share")] = "F32", (mlp.live,)
        return tensors


Bundle: TypeAlias = Fingerprint | TokenFingerprint

PARTS = (TokenFingerprint, BundledMLP)


def holds_tokens(file: Path) -> bool:
    """Whether a safetensors file says that it is a token fingerprint.

    Raises
    ------
    SourceError
        It is no sound safetensors file.
    """
    return KEY in stored_header(file)[1]


def read_token_fingerprint(file: Path) -> TokenFingerprint:
    """Read what a token fingerprint says of itself, and prove that its tensors are those that it says.

    Raises
    ------
    BundleError
        It is of another schema, damaged, or says what cannot be.
    SourceError
        It is no sound safetensors file.
    """

    def damaged(what: str) -> BundleError:
        return BundleError(f"{file}: the fingerprint is {visible(what)}")

    tensors, metadata = stored_header(file)
    made = read_document(metadata[KEY], adapter(TokenFingerprint, PARTS), SCHEMA, damaged)
    wrong = _wrong(made) or wrong_tensors(made.tensors(), tensors)
    if wrong is not None:
        raise damage_of(file, wrong)
    return made


def read_bundle(file: Path) -> Bundle:
    """Read a fingerprint of either kind.

    Raises
    ------
    BundleError, SourceError
        As `read_fingerprint` and `read_token_fingerprint`.
    """
    if file.is_file() and holds_tokens(file):
        return read_token_fingerprint(file)
    return read_fingerprint(file)


def _wrong(made: TokenFingerprint) -> str | None:
    """Say the first thing that the fingerprint claims and that cannot be; None where all can."""
    tokens = made.tokens
    checks = {
        f"a text is longer than {TEXT_LIMIT} characters, or has some that are not seen": all(
            len(text) <= TEXT_LIMIT and text == visible(text)
            for text in every_text(dataclasses.asdict(made))
        ),
        "a digest is no SHA-256": all(
            DIGEST.fullmatch(text) for text in (made.digest, made.weights_digest, made.listed)
        ),
        "a number of parameters is none": all(
            1 <= count <= COUNT_LIMIT for count in (made.parameters, made.hidden)
        ),
        "its tokens are no places in a list": 0 < len(tokens) <= LIST_LIMIT
        and list(tokens) == sorted(set(tokens))
        and 0 <= tokens[0] <= tokens[-1] < LIST_LIMIT,
    }
    wrong = (what for what, holds in checks.items() if not holds)
    return next(wrong, None) or wrong_blocks(made.blocks, made.mlps, made.skipped)
