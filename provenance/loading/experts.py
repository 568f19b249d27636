"""Experts of any width can be run: some kernels that multiply many at once take few widths."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROW_BYTES = 16
"""Products of grouped matrices want rows of a multiple of so many bytes [1]_.

.. [1] https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grouped_mm.html
"""


def run_one_by_one(model: PreTrainedModel) -> None:
    """Let a model run its experts one after the other, where they are too odd to be multiplied at once."""
    odd = any(
        weight.ndim == 3 and weight.shape[-1] * weight.element_size() % ROW_BYTES
        for weight in model.parameters()
    )
    if odd and hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")
