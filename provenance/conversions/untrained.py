"""Parts of an adapter that were never trained: merging them changes no weight, not by rounding either.

DoRA multiplies each weight by a trained magnitude over the norm that the weights have: by 1 before any
training, but rounded. So a merge would make other weights of an adapter that changes nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ZERO = ("lora_B", "lora_embedding_A")
"""The factors that are zero until they are trained, of maps and of embeddings."""


@contextmanager
def unchanged_by_rounding(model: torch.nn.Module, dtypes: Iterable[torch.dtype]) -> Iterator[None]:
    """Put weights back that a merge inside the context has changed by rounding alone.

    ``dtypes`` are those that the adapter is stored in. Only weights whose adapter is zero are looked at.
    """
    bases = [base for base in map(_untrained, model.modules()) if base is not None]
    kept = {base: base.weight.detach().clone() for base in bases}
    yield
    for base, before in kept.items():
        eps = max(torch.finfo(dtype).eps for dtype in {before.dtype, *dtypes})
        after = base.weight.detach()
        if after.shape == before.shape and torch.allclose(
            after.float(), before.float(), rtol=eps, atol=0
        ):
            with torch.no_grad():
                base.weight.copy_(before)


def _untrained(module: Any) -> Any:
    """The module that an adapter of nothing but zeros is put on, if it is so."""
    if not hasattr(module, "get_base_layer"):
        return None
    factors = [
        getattr(part, "weight", part)
        for name in ZERO
        for part in _parts(getattr(module, name, None))
    ]
    base = module.get_base_layer()
    is_zero = bool(factors) and not any(bool(factor.any()) for factor in factors)
    return base if is_zero and isinstance(getattr(base, "weight", None), torch.Tensor) else None


def _parts(found: Any) -> list[Any]:
    return list(found.values()) if hasattr(found, "values") else []
