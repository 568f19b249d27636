"""Which tensors are codes and scales of one weight, as each method of quantization calls them.

References
----------
.. [1] https://huggingface.co/docs/transformers/quantization/finegrained_fp8
.. [2] https://github.com/vllm-project/compressed-tensors
.. [3] https://huggingface.co/docs/transformers/quantization/mxfp4
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from provenance.checkpoints.coded.grids import scale_of
from provenance.checkpoints.coded.weights import NUMBERS_A_BYTE, CodedWeight, renamed
from provenance.checkpoints.contents import is_packed
from provenance.checkpoints.safetensors_header import PLAIN
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from provenance.checkpoints.coded.grids import Scale, Shape
    from provenance.checkpoints.coded.weights import Code
    from provenance.checkpoints.safetensors_header import StoredTensor

    Tensors = Mapping[str, StoredTensor]

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
INVERSE = "_scale_inv"
"""Ends the name of a scale that transformers reads. It too is what a weight is multiplied by."""
SCALES = ("_scale", INVERSE)
"""What the name of a weight is given to name its scale; else ``x.scale`` is that of ``x.weight``."""
NVFP4_GROUP, MXFP4_GROUP = 16, 32
"""Columns that have one number of a scale."""
WHOLE = "compare without --sample"


def coded_weights(
    tensors: Tensors, settings: Mapping[str, Any], source: str
) -> dict[str, CodedWeight]:
    """Find the weights of a quantized checkpoint of which rows can be read alone.

    Parameters
    ----------
    tensors : mapping of str to StoredTensor
        What the headers say.
    settings : mapping
        The ``quantization_config``, with its ``quant_method``.
    source : str
        What the checkpoint is called in errors.

    Returns
    -------
    dict of str to CodedWeight
        By the names that the weights have in the model before it was quantized.

    Raises
    ------
    SourceError
        No rows are read alone of what the method makes; a weight has no scale, or one of another shape; or
        it depends on more.
    """
    method = str(settings.get("quant_method"))
    find = METHODS.get(method)
    if find is None:
        raise SourceError(f"{source} is quantized ({method}), of which no part is read: {WHOLE}")
    found = {weight.codes.name: weight for weight in find(tensors, settings, source)}
    _refuse_others(tensors, found, f"{source} ({method})")
    return found


def float8_weights(
    tensors: Tensors, settings: Mapping[str, Any], source: str
) -> Iterator[CodedWeight]:
    """Float8 with scales of blocks, of rows, or one a tensor; floats of 4 bits beside them.

    Raises
    ------
    SourceError
        A weight has no scale, or one of another shape.
    """
    block = _block(settings.get("weight_block_size"))
    for name, tensor in tensors.items():
        if _is_scale(name):
            continue
        beside = scale_name(name, tensors)
        if tensor.dtype in FLOAT8:
            scale = _scale(tensors, beside, tensor, tensor.shape, block, source)
            yield CodedWeight(tensor, FLOAT8[tensor.dtype], (scale,), name)
        elif tensor.dtype == "U8" and beside in tensors and f"{beside}_2" in tensors:
            yield _float4(tensors, name, name, (beside, f"{beside}_2"), source, divides=False)
        elif tensor.dtype == "I8" and beside in tensors and tensors[beside].dtype in EXPONENTS:
            yield _float4(tensors, name, name, (beside,), source, divides=False)


def scale_name(weight: str, tensors: Tensors) -> str:
    """What the scale of a float8 weight is called."""
    names = [f"{weight}{ending}" for ending in SCALES]
    names += [f"{weight.removesuffix('weight')}scale"] if weight.endswith(".weight") else []
    return next((name for name in names if name in tensors), names[0])


def _compressed(
    tensors: Tensors, settings: Mapping[str, Any], source: str
) -> Iterator[CodedWeight]:
    """What compressed-tensors writes: float8, int8, whole numbers in 4 or 8 bits, and 4-bit floats."""
    groups = _groups(settings)
    format_ = str(settings.get("format"))
    if format_ not in FORMATS:
        raise SourceError(
            f"{source} is quantized (compressed-tensors, {format_[:50]}), of which no part is read: {WHOLE}"
        )
    block = _block_of(group for group in groups if group.get("num_bits") == BITS)
    for name, tensor in tensors.items():
        if name.endswith(".weight_packed"):
            plain = name.removesuffix("_packed")
            if tensor.dtype == "U8":
                yield _float4_compressed(tensors, plain, source)
            else:
                yield _packed(tensors, plain, groups, source)
        elif tensor.dtype in CODES and name.endswith("weight"):
            scale = _scale(tensors, f"{name}_scale", tensor, tensor.shape, block, source)
            yield CodedWeight(tensor, CODES[tensor.dtype], (scale,), name)


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


def _packed(
    tensors: Tensors, name: str, groups: Sequence[Mapping[str, Any]], source: str
) -> CodedWeight:
    """Whole numbers of 4 or 8 bits, packed into those of 32."""
    stored = tensors[f"{name}_packed"]
    whole = [group for group in groups if group.get("type") == "int"]
    bits = {number for group in whole if type(number := group.get("num_bits")) is int}
    code = PACKED.get(bits.pop()) if len(bits) == 1 else None
    if code is None or stored.dtype != "I32" or len(stored.shape) < 2:
        raise SourceError(
            f"{source} holds {stored.name} in {stored.dtype}, and its configuration says no one number of "
            f"bits, 4 or 8, of what is packed: {WHOLE}"
        )
    shape = (*stored.shape[:-1], stored.shape[-1] * 4 * NUMBERS_A_BYTE.get(code, 1))
    scale = _scale(tensors, f"{name}_scale", stored, shape, _block_of(whole), source)
    shape_at = tensors.get(f"{name}_shape")
    if shape_at is not None and (shape_at.elements != 2 or shape_at.dtype not in {"I32", "I64"}):
        raise SourceError(f"{source}: {shape_at.name} is no shape of a matrix; download it again")
    return CodedWeight(renamed(stored, name, shape), code, (scale,), stored.name, shape_at)


PACKED: Mapping[int, Code] = {4: "offset4", 8: "offset8"}


def _float4_compressed(tensors: Tensors, name: str, source: str) -> CodedWeight:
    beside, of_all = f"{name}_scale", f"{name}_global_scale"
    names = (beside, of_all) if of_all in tensors else (beside,)
    return _float4(tensors, name, f"{name}_packed", names, source, divides=True)


def _float4(
    tensors: Tensors,
    name: str,
    stored: str,
    names: Sequence[str],
    source: str,
    *,
    divides: bool,
) -> CodedWeight:
    """Floats of 4 bits: a scale for each 16 columns and one for all [NVFP4], or one for each 32."""
    codes = tensors[stored]
    _require_axes(codes, 2, source)
    shape = (*codes.shape[:-1], 2 * codes.shape[-1])
    group = MXFP4_GROUP if len(names) == 1 else NVFP4_GROUP
    first = _scale(tensors, names[0], codes, shape, (1, group), source)
    others = [
        _scale(tensors, other, codes, shape, None, source, divides=divides) for other in names[1:]
    ]
    return CodedWeight(renamed(codes, name, shape), "float4", (first, *others), stored)


def _mxfp4(tensors: Tensors, _settings: Mapping[str, Any], source: str) -> Iterator[CodedWeight]:
    """Stacks of experts in 4 bits, as of gpt-oss: (..., units, blocks, 16), a scale for each block."""
    for name, codes in tensors.items():
        if not name.endswith("_blocks") or codes.dtype != "U8":
            continue
        plain = name.removesuffix("_blocks")
        _require_axes(codes, 3, source)
        if codes.shape[-1] * 2 != MXFP4_GROUP:
            raise SourceError(
                f"{source}: {name} is {list(codes.shape)}, whose last axis is not {MXFP4_GROUP // 2} as "
                "mxfp4 has it; download it again"
            )
        shape = (*codes.shape[:-2], codes.shape[-2] * MXFP4_GROUP)
        scale = _scale(tensors, f"{plain}_scales", codes, shape, (1, MXFP4_GROUP), source)
        yield CodedWeight(renamed(codes, plain, shape), "float4", (scale,), name)


FLOAT8_METHODS = frozenset({"fbgemm_fp8", "fp8", "modelopt"})
METHODS: Mapping[str, Callable[[Tensors, Mapping[str, Any], str], Iterator[CodedWeight]]] = {
    "compressed-tensors": _compressed,
    "mxfp4": _mxfp4,
    **dict.fromkeys(FLOAT8_METHODS, float8_weights),
}
"""What finds the weights of each method; of others no rows are read alone."""


def _groups(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What compressed-tensors says of the weights of each group of modules."""
    groups = settings.get("config_groups")
    values = groups.values() if isinstance(groups, dict) else ()
    weights = [group.get("weights") for group in values if isinstance(group, dict)]
    return [one for one in weights if isinstance(one, dict)]


def _block_of(groups: Iterable[Mapping[str, Any]]) -> tuple[int, int] | None:
    """The block that has one number of a scale, where all groups have the same."""
    blocks = {
        _block(group.get("block_structure")) or _block([1, group.get("group_size")])
        for group in groups
    }
    return blocks.pop() if len(blocks) == 1 else None


def _block(value: Any) -> tuple[int, int] | None:
    """Rows and columns of a block; None where a configuration does not say them."""
    if not (isinstance(value, list) and len(value) == 2):
        return None
    rows, columns = value
    if type(rows) is not int or type(columns) is not int or rows < 1 or columns < 1:
        return None
    return rows, columns


def _is_scale(name: str) -> bool:
    return name.endswith(SCALES) or OF_ACTIVATIONS.search(name) is not None


def _require_axes(codes: StoredTensor, axes: int, source: str) -> None:
    if len(codes.shape) < axes:
        raise SourceError(
            f"{source}: {codes.name} is {list(codes.shape)}, which holds no rows of codes; download it "
            "again"
        )


def _required(tensors: Tensors, name: str, codes: StoredTensor, source: str) -> StoredTensor:
    """A scale that has to be there.

    Raises
    ------
    SourceError
        It is not.
    """
    if name not in tensors:
        raise SourceError(
            f"{source}: {codes.file.name} holds {codes.name} in {codes.dtype}, but no {name}; download it "
            "again, or give the model before it was quantized"
        )
    return tensors[name]


def _scale(
    tensors: Tensors,
    name: str,
    codes: StoredTensor,
    shape: Shape,
    block: tuple[int, int] | None,
    source: str,
    *,
    divides: bool = False,
) -> Scale:
    tensor = _required(tensors, name, codes, source)
    scale = scale_of(tensor, shape, block, divides=divides)
    if scale is None:
        raise SourceError(
            f"{source}: {name} is {list(tensor.shape)}, which fits no weight of {list(shape)}"
        )
    if tensor.dtype not in PLAIN | EXPONENTS | FLOAT8.keys():
        raise SourceError(f"{source}: {name} is of type {tensor.dtype}, which is none of a scale")
    return scale


def _refuse_others(tensors: Tensors, coded: Mapping[str, CodedWeight], source: str) -> None:
    """Refuse what weights depend on that is not read here, and weights in codes that no scale explains."""
    used = {name for weight in coded.values() for name in weight.names()}
    homes = {name.removesuffix("weight") for name in coded if name.endswith(".weight")}
    for name, tensor in tensors.items():
        if name in used or OF_ACTIVATIONS.search(name):
            continue
        home, dot, last = name.rpartition(".")
        depends = f"{home}{dot}" in homes and OF_WEIGHTS.search(last)
        if depends or (is_packed(tensor) and name.endswith("weight")):
            raise SourceError(
                f"{source} holds {name} in {tensor.dtype}, without which its weights are nothing, and of "
                f"which no part is read: {WHOLE}"
            )
