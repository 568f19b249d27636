"""Other weights from a model's weights: disguises that keep its function, and cuts.

Controls need the disguises, and the recipes of the quickstart need both. In: a model on the CPU. Out: a new
model; the input stays as it was. Open `axes` first: it says which axis of which parameter carries what.

* disguises: `permute_mlp_units`, `rescale_mlp`, `permute_residual_stream`, `permute_traced_units`,
  `permute_experts`;
* cuts: `prune_width`, `prune_depth`, `arrange_blocks`.

`permute_traced_units` and `permute_experts` take any model whose MLPs `architecture.trace` finds. The other
functions take decoders laid out like Llama: ``model.layers.<block>`` with separate ``gate_proj``,
``up_proj`` and ``down_proj`` (Llama, Mistral, Qwen, OLMo, Gemma). They refuse a model with a parameter that
the tables of axes lack: to permute all parameters but one would break the model.

References
----------
.. [1] Zhu et al.: Independence Tests for Language Models. ICML 2025, arXiv 2502.12292, App. G.
"""

from provenance.transforms.axes import BLOCK_AXES, OUTER_AXES
from provenance.transforms.cuts import arrange_blocks, prune_depth, prune_width
from provenance.transforms.disguises import (
    permute_mlp_units,
    permute_residual_stream,
    rescale_mlp,
)
from provenance.transforms.traced import permute_experts, permute_traced_units

__all__ = [
    "BLOCK_AXES",
    "OUTER_AXES",
    "arrange_blocks",
    "permute_experts",
    "permute_mlp_units",
    "permute_residual_stream",
    "permute_traced_units",
    "prune_depth",
    "prune_width",
    "rescale_mlp",
]
