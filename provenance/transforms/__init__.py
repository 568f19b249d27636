"""Disguises that keep a model's function, and changes that make a lineage.

Every function returns a new model and leaves its inputs as they were.

* disguises: `permute_mlp_units`, `permute_traced_units`, `permute_experts`, `rescale_mlp`,
  `permute_heads`, `permute_residual_stream`, `rotate_residual_stream`, `fold_norms`, `rescale_norms`:
  other weights, the same function;
* widening: `duplicate_units`, `split_units`, `add_idle_units`, `add_decoys`: more units, the same function
  (but where they are given a jitter or a strength);
* surgery: `prune_width`, `prune_depth`, `upscale_depth`, `transplant_mlp`, `upcycle` (which alone
  of these keeps the function);
* single weights: `add_noise`, `round_trip`, `prune_magnitude`, `lora_merge`;
* merges: `merge_linear`, `merge_slerp`, `merge_ties`.

What trains (fine-tuning, LoRA, an MLP retrained, distillation) is in `provenance.recipes`.

Disguises and cuts of units are for decoders laid out like Llama: ``model.layers.<block>`` with
separate ``gate_proj``, ``up_proj`` and ``down_proj`` (Llama, Mistral, Qwen, OLMo, Gemma); those that
move the gains of norms are for Llama, Mistral and Qwen. `permute_traced_units` and `permute_experts`
are for any MLPs and experts that `architecture.trace` finds. A model with a parameter that the tables
of axes do not know is refused: permuting all but one parameter would give a broken model.

References
----------
.. [1] Zhu et al.: Independence Tests for Language Models. ICML 2025, arXiv 2502.12292, App. G.
"""

from provenance.transforms._axes import BLOCK_AXES, OUTER_AXES
from provenance.transforms.disguises import (
    permute_heads,
    permute_mlp_units,
    rescale_mlp,
)
from provenance.transforms.merges import merge_linear, merge_slerp, merge_ties
from provenance.transforms.residual import (
    fold_norms,
    permute_residual_stream,
    rescale_norms,
    rotate_residual_stream,
)
from provenance.transforms.surgery import (
    prune_depth,
    prune_width,
    transplant_mlp,
    upcycle,
    upscale_depth,
)
from provenance.transforms.traced import permute_experts, permute_traced_units
from provenance.transforms.weights import add_noise, lora_merge, prune_magnitude, round_trip
from provenance.transforms.widening import (
    add_decoys,
    add_idle_units,
    duplicate_units,
    split_units,
)

__all__ = [
    "BLOCK_AXES",
    "OUTER_AXES",
    "add_decoys",
    "add_idle_units",
    "add_noise",
    "duplicate_units",
    "fold_norms",
    "lora_merge",
    "merge_linear",
    "merge_slerp",
    "merge_ties",
    "permute_experts",
    "permute_heads",
    "permute_mlp_units",
    "permute_residual_stream",
    "permute_traced_units",
    "prune_depth",
    "prune_magnitude",
    "prune_width",
    "rescale_mlp",
    "rescale_norms",
    "rotate_residual_stream",
    "round_trip",
    "split_units",
    "transplant_mlp",
    "upcycle",
    "upscale_depth",
]
