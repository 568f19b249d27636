"""Fingerprint bundles on disk: one safetensors file, with a document in its header.

docs/fingerprint.md says what a bundle holds. A bundle comes from a stranger: its header is verified against
the file, its document is read strictly, and every tensor must have the name, type and shape that follow
from the document. None of this needs torch.
"""

from __future__ import annotations

import dataclasses
import json
import re
import stat
from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from provenance._documents import adapter, read_document
from provenance._text import visible
from provenance.checkpoints.safetensors_header import stored_header
from provenance.errors import BundleError
from provenance.vocabulary import BLOCK_LIMIT, FINGERPRINT_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provenance.checkpoints.safetensors_header import StoredTensor
    from provenance.vocabulary import StatisticName

SCHEMA = 1
KEY = "provenance.fingerprint"
"""Key of the document in the header's metadata."""

COLUMNS = "F16"
"""Type of the numbers of a unit. Their squares add up to 1, and half precision keeps three digits."""

TEXT_LIMIT = 1000
MLP_LIMIT = 100_000
COUNT_LIMIT = 2**50
"""Above every number of units or parameters."""
TOKEN_LIMIT = 2**22
MATRIX_LIMIT = 2**27
"""Most tokens times numbers of a sketch: a random matrix of this size is made."""
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


class Held:
    """What the documents of both kinds of fingerprints can do: each is a dataclass with ``mlps``."""

    mlps: Mapping[str, tuple[BundledMLP, ...]]

    def places(self) -> Iterator[tuple[int, int, BundledMLP]]:
        """Every MLP with its block and its place in it."""
        for block, mlps in self.mlps.items():
            for place, mlp in enumerate(mlps):
                yield int(block), place, mlp

    def to_json(self) -> str:
        """The document in the file's header."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)  # type: ignore[call-overload]


@dataclass(frozen=True)
class Fingerprint(Held):
    """What a bundle says of itself, which is its maker's word.

    ``statistic`` is the one that it carries.

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
        What the blocks without an MLP are, by index, as evidence has them.
    sketch : int or None
        Numbers a unit and projection; None where the bundle has whole answers, one a token.
    serves : Mapping
        Versions of what the numbers depend on, by its name: the capture, the sketch, the statistic.
    """

    statistic: ClassVar[StatisticName] = "match"

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

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of every tensor of the bundle, by name."""
        tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
        for block, place, mlp in self.places():
            for part in ("gate", "up"):
                tensors[tensor_name(block, place, part)] = COLUMNS, (mlp.live, self.columns)
            tensors[tensor_name(block, place, "live")] = "I64", (mlp.live,)
            tensors[tensor_name(block, place, "share")] = "F32", (mlp.live,)
        return tensors


PARTS = (Fingerprint, BundledInputs, BundledMLP)


def tensor_name(block: int, place: int, part: str) -> str:
    """Name of a tensor: ``part`` is "gate", "up", "live" or "share"."""
    return f"{block}.{place}.{part}"


def is_bundle(place: Path) -> bool:
    """Whether a place is a bundle: a file with the suffix of safetensors."""
    return place.suffix == FINGERPRINT_SUFFIX and place.is_file()


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
    tensors, metadata = stored_header(file)
    if KEY not in metadata:
        raise BundleError(
            f"{file} is no fingerprint; give the folder of a checkpoint, or a file that "
            "`provenance fingerprint` wrote"
        )
    fingerprint = read_document(metadata[KEY], adapter(Fingerprint, PARTS), SCHEMA, damaged)
    wrong = _wrong(fingerprint) or wrong_tensors(fingerprint.tensors(), tensors)
    if wrong is not None:
        raise damage_of(file, wrong)
    return fingerprint


def damage_of(file: Path, wrong: str) -> BundleError:
    """The error of a fingerprint that says what cannot be."""
    return BundleError(f"{file}: the fingerprint is {visible(f'damaged: {wrong}')}")


def _wrong(fingerprint: Fingerprint) -> str | None:
    """Say the first thing that the fingerprint claims and that cannot be; None where all can."""
    inputs = fingerprint.inputs
    digests = (fingerprint.digest, fingerprint.weights_digest, inputs.digest, inputs.text_digest)
    counts = (
        fingerprint.parameters,
        fingerprint.hidden,
        inputs.tokens,
        inputs.sequence_length,
        fingerprint.columns,
    )
    random = inputs.kind == "random"
    checks = {
        f"a text is longer than {TEXT_LIMIT} characters, or has some that are not seen": all(
            len(text) <= TEXT_LIMIT and text == visible(text)
            for text in every_text(dataclasses.asdict(fingerprint))
        ),
        "a digest is no SHA-256": all(text is None or DIGEST.fullmatch(text) for text in digests),
        "a number of parameters, tokens or columns is none": all(
            1 <= count <= COUNT_LIMIT for count in counts
        ),
        "it has more tokens, or a larger sketch, than are compared": inputs.tokens <= TOKEN_LIMIT
        and (fingerprint.sketch or 0) * inputs.tokens <= MATRIX_LIMIT,
        "the sketch has more numbers than there are tokens": fingerprint.columns <= inputs.tokens,
        "the seed is none": 0 <= inputs.seed < 2**63,
        "random ids have no vocabulary": not random or 1 <= (inputs.vocabulary or 0) <= COUNT_LIMIT,
        "the text is not named": random or None not in {inputs.text, inputs.text_digest},
    }
    wrong = (what for what, holds in checks.items() if not holds)
    return next(wrong, None) or wrong_blocks(
        fingerprint.blocks, fingerprint.mlps, fingerprint.skipped
    )


def every_text(value: Any) -> Iterator[str]:
    """Every text in a document, the keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for inner in (*value, *value.values()) if isinstance(value, dict) else value:
            yield from every_text(inner)


def wrong_blocks(
    blocks: int, mlps: Mapping[str, tuple[BundledMLP, ...]], skipped: Mapping[str, str]
) -> str | None:
    """Say what blocks and MLPs a fingerprint claims that cannot be; None where all can."""
    if not 1 <= blocks <= BLOCK_LIMIT:
        return f"{blocks} is no number of blocks"
    indices = {str(index) for index in range(blocks)}
    if not mlps or not {*mlps, *skipped} <= indices:
        return "it has MLPs of blocks that there are not"
    if sum(map(len, mlps.values())) > MLP_LIMIT or not all(mlps.values()):
        return "a block has no MLP, or there are too many"
    every = (mlp for several in mlps.values() for mlp in several)
    if not all(0 <= mlp.live <= mlp.units <= COUNT_LIMIT for mlp in every):
        return "an MLP has more live units than units"
    return None


def wrong_tensors(
    wanted: Mapping[str, tuple[str, tuple[int, ...]]], tensors: tuple[StoredTensor, ...]
) -> str | None:
    """Say which tensor is not the one that a fingerprint says it has; None where all are."""
    stored = {tensor.name: (tensor.dtype, tensor.shape) for tensor in tensors}
    if stored == wanted:
        return None
    name = min(n for n in stored.keys() | wanted.keys() if stored.get(n) != wanted.get(n))
    return f"its tensor {visible(name[:60])!r} is not the one that it says it has"
