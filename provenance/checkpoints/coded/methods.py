"""The weights of a quantized checkpoint, as each method of quantization names what they are made of.

References
----------
.. [1] https://huggingface.co/docs/transformers/quantization/mxfp4
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provenance.checkpoints.coded.compressed import compressed_weights
from provenance.checkpoints.coded.float8 import float8_weights
from provenance.checkpoints.coded.parts import (
    MXFP4_GROUP,
    OF_ACTIVATIONS,
    OF_WEIGHTS,
    WHOLE,
    Stored,
    shown,
)
from provenance.checkpoints.coded.weights import CodedWeight, renamed
from provenance.checkpoints.contents import is_packed
from provenance.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from provenance.checkpoints.safetensors_header import StoredTensor


def coded_weights(
    tensors: Mapping[str, StoredTensor], settings: Mapping[str, Any], source: str
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
        raise SourceError(
            f"{source} is quantized ({shown(method)}), of which no part is read: {WHOLE}"
        )
    stored = Stored(tensors, source)
    found: dict[str, CodedWeight] = {}
    for weight in find(stored, settings):
        name = weight.codes.name
        if found.setdefault(name, weight) is not weight or (
            name != weight.stored and name in tensors
        ):
            raise SourceError(
                f"{source} holds {shown(name)} twice, in codes and besides; save it again"
            )
    _refuse_others(tensors, found, f"{source} ({method})")
    return found


def _mxfp4(stored: Stored, _settings: Mapping[str, Any]) -> Iterator[CodedWeight]:
    """Stacks of experts in 4 bits, as of gpt-oss: (..., units, blocks, 16), a scale for each block."""
    for name, codes in stored.tensors.items():
        if not name.endswith("_blocks") or codes.dtype != "U8":
            continue
        stored.require_axes(codes, 3)
        if codes.shape[-1] * 2 != MXFP4_GROUP:
            raise SourceError(
                f"{stored.source}: {shown(name)} is {list(codes.shape)}, whose last axis is not "
                f"{MXFP4_GROUP // 2} as mxfp4 has it; download it again"
            )
        plain = name.removesuffix("_blocks")
        shape = (*codes.shape[:-2], codes.shape[-2] * MXFP4_GROUP)
        weight = renamed(codes, plain, shape)
        scale = stored.scale(f"{plain}_scales", weight, (1, MXFP4_GROUP))
        yield CodedWeight(weight, "float4", (scale,), name)


FLOAT8_METHODS = frozenset({"fbgemm_fp8", "fp8", "modelopt"})
METHODS: Mapping[str, Callable[[Stored, Mapping[str, Any]], Iterator[CodedWeight]]] = {
    "compressed-tensors": compressed_weights,
    "mxfp4": _mxfp4,
    **dict.fromkeys(FLOAT8_METHODS, float8_weights),
}
"""What finds the weights of each method; of others no rows are read alone."""


def _refuse_others(
    tensors: Mapping[str, StoredTensor], coded: Mapping[str, CodedWeight], source: str
) -> None:
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
                f"{source} holds {shown(name)} in {tensor.dtype}, without which its weights are nothing, "
                f"and of which no part is read: {WHOLE}"
            )
