"""What a weight in codes is made of: its scale has to be there and has to fit, whatever the method."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provenance._text import visible
from provenance.checkpoints.coded.grids import scale_of
from provenance.checkpoints.coded.weights import CodedWeight, renamed
from provenance.checkpoints.safetensors_header import PLAIN
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provenance.checkpoints.coded.grids import Scale
    from provenance.checkpoints.coded.weights import Code
    from provenance.checkpoints.safetensors_header import StoredTensor

FLOAT8: Mapping[str, Code] = {"F8_E4M3": "float8_e4m3", "F8_E5M2": "float8_e5m2"}
"""Types of safetensors, and what they are as codes."""
EXPONENTS = frozenset({"U8", "F8_E8M0"})
"""Types of scales that are powers of two: the exponent, with 127 added."""
OF_ACTIVATIONS = re.compile(
    r"[._](activation|input|output|prob_output|[kqv]|kv)_(global_)?(scale(_ub)?|zero_point)$"
)
"""Scales of what a model computes; no weight depends on them."""
OF_WEIGHTS = re.compile(r"(scale|zero|absmax|g_idx)\w*$")
"""What a weight may depend on besides its codes."""
NVFP4_GROUP, MXFP4_GROUP = 16, 32
"""Columns that have one number of a scale."""
WHOLE = "compare without --sample"
LONGEST = 100
"""Characters of a name that a stranger wrote."""


@dataclass(frozen=True)
class Stored:
    """The tensors of a quantized checkpoint by their stored names, and what it is called in errors."""

    tensors: Mapping[str, StoredTensor]
    source: str

    def scale(
        self,
        name: str,
        weight: StoredTensor,
        block: tuple[int, int] | None,
        *,
        divides: bool = False,
    ) -> Scale:
        """The scale of a weight, which has its own shape and the type of its codes.

        Raises
        ------
        SourceError
            It is not there, or of another shape or type.
        """
        if name not in self.tensors:
            raise SourceError(
                f"{self.source}: {weight.file.name} holds {shown(weight.name)} in {weight.dtype}, but no "
                f"{shown(name)}; download it again, or give the model before it was quantized"
            )
        tensor = self.tensors[name]
        scale = scale_of(tensor, weight.shape, block, divides=divides)
        if scale is None:
            raise SourceError(
                f"{self.source}: {shown(name)} is {list(tensor.shape)}, which fits no weight of "
                f"{list(weight.shape)}"
            )
        if tensor.dtype not in PLAIN | EXPONENTS | FLOAT8.keys():
            raise SourceError(
                f"{self.source}: {shown(name)} is of type {tensor.dtype}, which is none of a scale"
            )
        return scale

    def float4(
        self, name: str, stored: str, scales: Sequence[str], *, divides: bool = False
    ) -> CodedWeight:
        """Floats of 4 bits: a scale for each 16 columns and one for all (NVFP4), or one for each 32.

        Raises
        ------
        SourceError
            As `scale`, or the codes have no rows.
        """
        codes = self.tensors[stored]
        self.require_axes(codes, 2)
        weight = renamed(codes, name, (*codes.shape[:-1], 2 * codes.shape[-1]))
        group = MXFP4_GROUP if len(scales) == 1 else NVFP4_GROUP
        first = self.scale(scales[0], weight, (1, group))
        others = (self.scale(other, weight, None, divides=divides) for other in scales[1:])
        return CodedWeight(weight, "float4", (first, *others), stored)

    def require_axes(self, codes: StoredTensor, axes: int) -> None:
        """Refuse codes that have fewer axes than those of a method have."""
        if len(codes.shape) < axes:
            raise SourceError(
                f"{self.source}: {shown(codes.name)} is {list(codes.shape)}, which holds no rows of codes; "
                "download it again"
            )


def block_said(value: Any) -> tuple[int, int] | None:
    """Rows and columns of a block; None where a configuration does not say them."""
    if not (isinstance(value, list) and len(value) == 2):
        return None
    rows, columns = value
    if type(rows) is not int or type(columns) is not int or rows < 1 or columns < 1:
        return None
    return rows, columns


def shown(name: str) -> str:
    """What a stranger called something, as it may stand in a message."""
    text = visible(name)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
