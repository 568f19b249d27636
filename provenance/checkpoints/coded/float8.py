"""Float8 weights, as transformers, AutoFP8, FBGEMM and ModelOpt name them and their scales.

References
----------
.. [1] https://huggingface.co/docs/transformers/quantization/finegrained_fp8
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provenance.checkpoints.coded.parts import EXPONENTS, FLOAT8, OF_ACTIVATIONS, block_said
from provenance.checkpoints.coded.weights import CodedWeight

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from provenance.checkpoints.coded.parts import Stored

INVERSE = "_scale_inv"
"""Ends the name of a scale that transformers reads. It too is what a weight is multiplied by."""
SCALES = ("_scale", INVERSE)
"""What the name of a weight is given to name its scale; else ``x.scale`` is that of ``x.weight``."""


def float8_weights(stored: Stored, settings: Mapping[str, Any]) -> Iterator[CodedWeight]:
    """Float8 with scales of blocks, of rows, or one a tensor; floats of 4 bits beside them.

    Raises
    ------
    SourceError
        A weight has no scale, or one of another shape.
    """
    block = block_said(settings.get("weight_block_size"))
    tensors = stored.tensors
    for name, tensor in tensors.items():
        if name.endswith(SCALES) or OF_ACTIVATIONS.search(name):
            continue
        beside = scale_name(name, tensors)
        if tensor.dtype in FLOAT8:
            scale = stored.scale(beside, tensor, block)
            yield CodedWeight(tensor, FLOAT8[tensor.dtype], (scale,), name)
        elif tensor.dtype == "U8" and beside in tensors and f"{beside}_2" in tensors:
            yield stored.float4(name, name, (beside, f"{beside}_2"))
        elif tensor.dtype == "I8" and beside in tensors and tensors[beside].dtype in EXPONENTS:
            yield stored.float4(name, name, (beside,))


def scale_name(weight: str, names: Collection[str]) -> str:
    """What the scale of a float8 weight is called, among the names of a checkpoint's tensors."""
    likely = [f"{weight}{ending}" for ending in SCALES]
    likely += [f"{weight.removesuffix('weight')}scale"] if weight.endswith(".weight") else []
    return next((name for name in likely if name in names), likely[0])
