"""Fingerprint bundles on disk: one safetensors file, whose header says what it is of.

What a bundle holds is in docs/fingerprint.md. It comes from a stranger: its header is proven against the
file before anything is read, its document is read strictly, and every tensor's name, type and shape
follow from the document. None of this needs torch.
"""

from __future__ import annotations

import dataclasses
import json
import re
import stat
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from provenance._documents import adapter, read_document
from provenance._text import visible
from provenance.checkpoints.safetensors_header import stored_header
from provenance.errors import BundleError
from provenance.vocabulary import BLOCK_LIMIT, FINGERPRINT_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provenance.checkpoints.safetensors_header import StoredTensor

SCHEMA = 1
KEY = "provenance.fingerprint"
"""Of the header's metadata: its value is the document."""
SUFFIX = FINGERPRINT_SUFFIX

COLUMNS = "F16"
"""Type of the numbers of a unit, whose squares add up to 1: half precision has three digits of each."""

TEXT_LIMIT = 1000
MLP_LIMIT = 100_000
COUNT_LIMIT = 2**50
"""Above every number of units or parameters."""
TOKEN_LIMIT = 2**22
MATRIX_LIMIT = 2**27
"""Of tokens times the sketch's numbers: a random matrix of as many is made."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class BundledMLP:
    """One MLP: what it is called in its block, its width, and how many units were live."""

    label: str
    units: int
    live: int


@dataclass(frozen=True)
class BundledInputs:
    """What the model was fed.

    Attributes
    ----------
    kind : str
        "text" or "random".
    text : str or None
        "stdlib", "topics", or the last part of the name of a file.
    text_digest : str or None
        ``sha256:`` of the text, UTF-8.
    vocabulary : int or None
        Of random ids, the bound that all lie below.
    digest : str
        Of the token ids, as in evidence.
    note : str or None
        What was chosen, why.
    """

    kind: Literal["text", "random"]
    tokens: int
    sequence_length: int
    seed: int
    digest: str
    text: str | None = None
    text_digest: str | None = None
    vocabulary: int | None = None
    note: str | None = None


@dataclass(frozen=True)
class Fingerprint:
    """What a bundle says of itself: all of it is its maker's word.

    Attributes
    ----------
    source : str
        What the maker calls the model.
    digest, weights_digest : str
        Of the model, as evidence has them.
    dtype : str
        In which the model was run.
    hidden : int
        Width of what the widest MLP is fed.
    mlps : Mapping
        By the block's index, as a text.
    skipped : Mapping
        Blocks without an MLP, and what they are, as evidence has them.
    sketch : int or None
        Numbers a unit and projection; None where the whole answers, one a token, are held.
    serves : Mapping
        Versions of what the numbers depend on, by its name: the capture, the sketch, the statistic.
    """

    source: str
    digest: str
    weights_digest: str
    architecture: str
    blocks: int
    parameters: int
    dtype: str
    hidden: int
    mlps: Mapping[str, tuple[BundledMLP, ...]]
    inputs: BundledInputs
    sketch: int | None
    serves: Mapping[str, int]
    versions: Mapping[str, str]
    created: str
    skipped: Mapping[str, str] = field(default_factory=dict)
    conversion: str | None = None
    schema: int = SCHEMA

    @property
    def columns(self) -> int:
        """Numbers a unit and projection."""
        return self.inputs.tokens if self.sketch is None else self.sketch

    def extent(self) -> str:
        """How much of each unit is held, in words."""
        return "whole answers" if self.sketch is None else f"sketch of {self.sketch}"

    def places(self) -> Iterator[tuple[int, int, BundledMLP]]:
        """Every MLP with its block and its place in it."""
        for block, mlps in self.mlps.items():
            for place, mlp in enumerate(mlps):
                yield int(block), place, mlp

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of every tensor of the bundle, by name."""
        found: dict[str, tuple[str, tuple[int, ...]]] = {}
        for block, place, mlp in self.places():
            for part in ("gate", "up"):
                found[tensor_name(block, place, part)] = COLUMNS, (mlp.live, self.columns)
            found[tensor_name(block, place, "live")] = "I64", (mlp.live,)
            found[tensor_name(block, place, "share")] = "F32", (mlp.live,)
        return found

    def to_json(self) -> str:
        """The document in a bundle's header."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)


PARTS = (Fingerprint, BundledInputs, BundledMLP)


def tensor_name(block: int, place: int, part: str) -> str:
    """Name of a tensor: ``part`` is "gate", "up", "live" or "share"."""
    return f"{block}.{place}.{part}"


def is_bundle(place: Path) -> bool:
    """Whether this can only be meant as a bundle: a file by that suffix."""
    return place.suffix == SUFFIX and place.is_file()


def read_fingerprint(file: Path) -> Fingerprint:
    """Read what a bundle says of itself, and prove that its tensors are those that it says it has.

    Raises
    ------
    BundleError
        It is no bundle, of another schema, damaged, or says what cannot be.
    SourceError
        It is no sound safetensors file.
    """

    def damaged(what: str) -> BundleError:
        return BundleError(f"{file}: the fingerprint is {visible(what)}")

    try:
        regular = stat.S_ISREG(file.stat().st_mode)
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror or error}") from None
    if not regular:  # reading a pipe would wait for ever
        raise BundleError(f"{file} is not a regular file")
    tensors, said = stored_header(file)
    if KEY not in said:
        raise BundleError(
            f"{file} is no fingerprint; give the folder of a checkpoint, or a file that "
            "`provenance fingerprint` wrote"
        )
    found = read_document(said[KEY], adapter(Fingerprint, PARTS), SCHEMA, damaged)
    wrong = _wrong(found) or _wrong_tensors(found, tensors)
    if wrong is not None:
        raise damaged(f"damaged: {wrong}")
    return found


def _wrong(found: Fingerprint) -> str | None:
    """What is said that cannot be, if anything is: the first of these."""
    inputs = found.inputs
    digests = (found.digest, found.weights_digest, inputs.digest, inputs.text_digest)
    counts = (found.parameters, found.hidden, inputs.tokens, inputs.sequence_length, found.columns)
    random = inputs.kind == "random"
    checks = {
        f"a text is longer than {TEXT_LIMIT} characters, or has some that are not seen": all(
            len(text) <= TEXT_LIMIT and text == visible(text) for text in _texts(found)
        ),
        "a digest is no SHA-256": all(text is None or DIGEST.fullmatch(text) for text in digests),
        "a number of parameters, tokens or columns is none": all(
            1 <= count <= COUNT_LIMIT for count in counts
        ),
        "it has more tokens, or a larger sketch, than are compared": inputs.tokens <= TOKEN_LIMIT
        and (found.sketch or 0) * inputs.tokens <= MATRIX_LIMIT,
        "the sketch has more numbers than there are tokens": found.columns <= inputs.tokens,
        "the seed is none": 0 <= inputs.seed < 2**63,
        "random ids have no vocabulary": not random or 1 <= (inputs.vocabulary or 0) <= COUNT_LIMIT,
        "the text is not named": random or None not in {inputs.text, inputs.text_digest},
    }
    wrong = (what for what, holds in checks.items() if not holds)
    return next(wrong, None) or _wrong_blocks(found)


def _texts(found: Fingerprint) -> tuple[str, ...]:
    """All that it has of texts that are shown, or may be."""
    inputs = found.inputs
    return (
        *(found.source, found.digest, found.weights_digest, found.architecture, found.dtype),
        *(found.created, found.conversion or "", inputs.digest, inputs.text or ""),
        *(inputs.text_digest or "", inputs.note or "", *found.skipped, *found.skipped.values()),
        *(*found.versions, *found.versions.values(), *found.serves),
        *(mlp.label for mlps in found.mlps.values() for mlp in mlps),
    )


def _wrong_blocks(found: Fingerprint) -> str | None:
    if not 1 <= found.blocks <= BLOCK_LIMIT:
        return f"{found.blocks} is no number of blocks"
    indices = {str(index) for index in range(found.blocks)}
    if not found.mlps or not {*found.mlps, *found.skipped} <= indices:
        return "it has MLPs of blocks that there are not"
    if sum(map(len, found.mlps.values())) > MLP_LIMIT or not all(found.mlps.values()):
        return "a block has no MLP, or there are too many"
    if not all(0 <= mlp.live <= mlp.units <= COUNT_LIMIT for _, _, mlp in found.places()):
        return "an MLP has more live units than units"
    return None


def _wrong_tensors(found: Fingerprint, tensors: tuple[StoredTensor, ...]) -> str | None:
    held = {tensor.name: (tensor.dtype, tensor.shape) for tensor in tensors}
    wanted = found.tensors()
    if held == wanted:
        return None
    name = min(n for n in held.keys() | wanted.keys() if held.get(n) != wanted.get(n))
    return f"its tensor {visible(name[:60])!r} is not the one that it says it has"
