"""The statistics, one a file, and `REGISTRY`, whose rows say all that other folders know of them.

What comes in is what one basis gives of two sides: the units of two MLPs, two proxies, or the parameters
of two models. What goes out is a result with a log10 p-value, or `DegenerateError`. Open `registry`
first, then `match`.

Importing this package imports no torch: a row loads its statistic's module when it is first computed.
"""

from provenance.statistics.registry import (
    BUNDLED,
    DISTANCES,
    PAIR_STATISTICS,
    REGISTRY,
    UNIFORM,
    WITHOUT_P,
    WITHSTANDING,
    Basis,
    BlockResult,
    BlockTest,
    Glimpse,
    Glimpsing,
    Preparation,
    Sizing,
    Statistic,
    default_statistic,
)

__all__ = [
    "BUNDLED",
    "DISTANCES",
    "PAIR_STATISTICS",
    "REGISTRY",
    "UNIFORM",
    "WITHOUT_P",
    "WITHSTANDING",
    "Basis",
    "BlockResult",
    "BlockTest",
    "Glimpse",
    "Glimpsing",
    "Preparation",
    "Sizing",
    "Statistic",
    "default_statistic",
]
