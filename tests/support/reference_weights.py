"""The slow obvious versions of the statistics on weights and logits, to compare with.

Nothing here imports the library.
"""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
from scipy import optimize, stats


def cosine_matching(a: np.ndarray, b: np.ndarray) -> list[int]:
    """The row of `b` for every row of `a`, by cosines in float64 and scipy's dense solver."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    similarity = [[float(x @ y) / (np.linalg.norm(x) * np.linalg.norm(y)) for y in b] for x in a]
    return optimize.linear_sum_assignment(np.array(similarity), maximize=True)[1].tolist()


def identity_p(numbers: list[int], partners: list[int]) -> tuple[float, float]:
    """Correlation and one-sided p of a matching with the identity, by scipy's t law."""
    result = stats.spearmanr(numbers, partners, alternative="greater")
    return float(result.statistic), float(result.pvalue)


def identity_p_enumerated(partners: list[int]) -> float:
    """The share of all matchings of 0..n-1 that correlate with the identity at least as much."""
    n = len(partners)
    everyone = np.array(list(permutations(range(n))))  # (n!, n)
    products = everyone @ np.arange(n)
    return float((products >= np.array(partners) @ np.arange(n)).mean())


def l2(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """Minus the sum of the Euclidean distances, entry by entry."""
    return -sum(
        math.sqrt(
            sum((float(x) - float(y)) ** 2 for x, y in zip(a[k].flat, b[k].flat, strict=True))
        )
        for k in a
    )


def jsd(candidate: list[list[float]], reference: list[list[float]]) -> float:
    """The mean divergence in nats, from its definition."""
    return sum(map(_jsd_row, candidate, reference)) / len(candidate)


def _jsd_row(candidate: list[float], reference: list[float]) -> float:
    p, q = _softmax(candidate), _softmax(reference)
    shared = min(len(p), len(q))
    if len(p) != len(q):
        p, q = ([*x[:shared], sum(x[shared:])] for x in (p, q))
    m = [(x + y) / 2 for x, y in zip(p, q, strict=True)]
    return (_kl(p, m) + _kl(q, m)) / 2


def _softmax(logits: list[float]) -> list[float]:
    weights = [math.exp(x - max(logits)) for x in logits]
    return [w / math.fsum(weights) for w in weights]


def _kl(p: list[float], m: list[float]) -> float:
    return math.fsum(x * math.log(x / y) for x, y in zip(p, m, strict=True) if x > 0)


def permute_heads(
    weights: dict[str, np.ndarray], heads: int, groups: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """A block's q, k, v (heads * inner, hidden) and o (hidden, heads * inner), head by head in loops."""
    sharing = heads // groups
    split = {
        "q": np.split(weights["q"], heads),
        "k": np.split(weights["k"], groups),
        "v": np.split(weights["v"], groups),
        "o": np.split(weights["o"], heads, axis=1),
    }
    moved: dict[str, list[np.ndarray]] = {"q": [], "k": [], "v": [], "o": []}
    for group in rng.permutation(groups):
        inner = rng.permutation(len(split["v"][group]))
        moved["k"].append(split["k"][group])
        moved["v"].append(split["v"][group][inner])
        for member in rng.permutation(sharing):
            head = group * sharing + member
            moved["q"].append(split["q"][head])
            moved["o"].append(split["o"][head][:, inner])
    return {name: np.concatenate(parts, axis=int(name == "o")) for name, parts in moved.items()}


def every_order_l2(a: np.ndarray, b: np.ndarray) -> list[float]:
    """Minus the distance of `a` from `b` with its rows in every order."""
    return [-float(np.linalg.norm(a - b[list(order)])) for order in permutations(range(len(b)))]
