"""The alpha of a pair: one number, or a mapping of numbers by blocks."""

from __future__ import annotations

from typing import Any

WHOLE = "default"
"""Key of the alpha of the pair as a whole, and of the blocks that are not named."""
BLOCK_ALPHA_PATTERN = r"^(default|0|[1-9][0-9]{0,3})$"
"""What a key of the mapping may be."""


def whole_alpha(alpha: Any) -> Any:
    """Return the alpha of a pair as a whole; None where a mapping has only those of blocks."""
    return alpha.get(WHOLE) if isinstance(alpha, dict) else alpha


def block_alphas(alpha: Any) -> tuple[tuple[int, float], ...]:
    """Return the alphas of single blocks, in the order of their indices."""
    if not isinstance(alpha, dict):
        return ()
    return tuple(sorted((int(name), level) for name, level in alpha.items() if name != WHOLE))
