"""Weights as compressed-tensors writes them.

References
----------
.. [1] https://github.com/vllm-project/compressed-tensors
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provenance.checkpoints.coded.parts import FLOAT8, WHOLE, block_said, shown
from provenance.checkpoints.coded.weights import NUMBERS_A_BYTE, CodedWeight, renamed
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from provenance.checkpoints.coded.parts import Stored
    from provenance.checkpoints.coded.weights import Code

FORMATS = frozenset(
    {
        "float-quantized",
        "int-quantized",
        "mixed-precision",
        "mxfp4-pack-quantized",
        "mxfp8-quantized",
        "naive-quantized",
        "nvfp4-pack-quantized",
        "pack-quantized",
    }
)
"""Formats of compressed-tensors whose rows lie by themselves."""
BITS = 8
"""Of a code that has a byte of its own."""
CODES: Mapping[str, Code] = {**FLOAT8, "I8": "int8"}
PACKED: Mapping[int, Code] = {4: "offset4", 8: "offset8"}
"""Codes of whole numbers by how many bits each has."""
BYTES = 4
"""Of a number that others are packed into."""


def compressed_weights(stored: Stored, settings: Mapping[str, Any]) -> Iterator[CodedWeight]:
    """Find float8, int8, whole numbers of 4 or 8 bits that are packed, and floats of 4 bits.

    Raises
    ------
    SourceError
        Rows of the format do not lie by themselves; or a weight has no scale, or one of another shape.
    """
    format_ = str(settings.get("format"))
    if format_ not in FORMATS:
        raise SourceError(
            f"{stored.source} is quantized (compressed-tensors, {shown(format_)}), of which no part is "
            f"read: {WHOLE}"
        )
    groups = _groups(settings)
    block = _block_of(group for group in groups if group.get("num_bits") == BITS)
    whole_numbers = [group for group in groups if group.get("type") == "int"]
    for name, tensor in stored.tensors.items():
        if name.endswith(".weight_packed") and tensor.dtype == "U8":
            yield _float4(stored, name.removesuffix("_packed"))
        elif name.endswith(".weight_packed"):
            yield _packed(stored, name.removesuffix("_packed"), whole_numbers)
        elif name.endswith("weight") and tensor.dtype in CODES:
            scale = stored.scale(f"{name}_scale", tensor, block)
            yield CodedWeight(tensor, CODES[tensor.dtype], (scale,), name)


def _packed(stored: Stored, name: str, groups: Sequence[Mapping[str, Any]]) -> CodedWeight:
    """Whole numbers of 4 or 8 bits, packed into those of 32."""
    codes, shape_at = stored.tensors[f"{name}_packed"], stored.tensors.get(f"{name}_shape")
    bits = {number for group in groups if type(number := group.get("num_bits")) is int}
    code = PACKED.get(bits.pop()) if len(bits) == 1 else None
    if code is None or codes.dtype != "I32":
        raise SourceError(
            f"{stored.source} holds {shown(codes.name)} in {codes.dtype}, and its configuration says no "
            f"one number of bits, 4 or 8, of what is packed: {WHOLE}"
        )
    stored.require_axes(codes, 2)
    columns = codes.shape[-1] * BYTES * NUMBERS_A_BYTE.get(code, 1)
    weight = renamed(codes, name, (*codes.shape[:-1], columns))
    scale = stored.scale(f"{name}_scale", weight, _block_of(groups))
    if shape_at is not None and (shape_at.elements != 2 or shape_at.dtype not in {"I32", "I64"}):
        raise SourceError(
            f"{stored.source}: {shown(shape_at.name)} is no shape of a matrix; download it again"
        )
    return CodedWeight(weight, code, (scale,), codes.name, shape_at)


def _float4(stored: Stored, name: str) -> CodedWeight:
    scales = (f"{name}_scale", f"{name}_global_scale")
    some = scales if scales[1] in stored.tensors else scales[:1]
    return stored.float4(name, f"{name}_packed", some, divides=True)


def _groups(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What compressed-tensors says of the weights of each group of modules."""
    groups = settings.get("config_groups")
    values = groups.values() if isinstance(groups, dict) else ()
    weights = [group.get("weights") for group in values if isinstance(group, dict)]
    return [one for one in weights if isinstance(one, dict)]


def _block_of(groups: Iterable[Mapping[str, Any]]) -> tuple[int, int] | None:
    """The block that has one number of a scale, where all groups have the same."""
    blocks = {
        block_said(group.get("block_structure")) or block_said([1, group.get("group_size")])
        for group in groups
    }
    return blocks.pop() if len(blocks) == 1 else None
