"""The slow obvious versions of what the library does fast, to compare with.

Nothing here imports the library.
"""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction
from itertools import permutations, product
from math import comb, factorial

import mpmath
import numpy as np
import torch
from scipy import linalg, optimize, stats

DIGITS = 60


def best_total(similarity: np.ndarray) -> float:
    """The largest sum over all pairings of a small matrix."""
    m, n = similarity.shape
    if m > n:
        return best_total(similarity.T)
    return max(
        sum(float(similarity[i, j]) for i, j in enumerate(columns))
        for columns in permutations(range(n), m)
    )


def best_total_scipy(similarity: np.ndarray) -> float:
    """The largest sum by scipy's dense solver, for matrices too large to try everything."""
    rows, columns = optimize.linear_sum_assignment(similarity, maximize=True)
    return math.fsum(similarity[rows, columns])


def bound_by_prices(
    similarity: np.ndarray, row_prices: np.ndarray, column_prices: np.ndarray
) -> tuple[float, float]:
    """By how much an entry exceeds its prices at most, and the bound on every sum that follows.

    What exceeds is added to every row's price. Then an assignment's entries are together at most the prices
    of the rows and columns that it uses: all of the smaller side, and of the larger side at most all
    whose price is positive.
    """
    m, n = similarity.shape
    if m > n:
        return bound_by_prices(similarity.T, column_prices, row_prices)
    worst = max(
        float(similarity[i, j] - row_prices[i] - column_prices[j])
        for i in range(m)
        for j in range(n)
    )
    columns = column_prices if m == n else np.maximum(column_prices, 0)
    return worst, math.fsum([*(row_prices + max(worst, 0.0)), *columns])


def log10_sf_student_t(t: float, df: float) -> float:
    """The upper tail by mpmath's incomplete beta function."""
    with mpmath.workdps(DIGITS):
        t, df = mpmath.mpf(t), mpmath.mpf(df)
        x = df / (df + t * t)
        half = mpmath.betainc(df / 2, mpmath.mpf("0.5"), 0, x, regularized=True) / 2
        return float(mpmath.log10(half if t >= 0 else 1 - half))


def spearman_scipy(a: list[int], b: list[int]) -> tuple[float, float]:
    """Correlation and one-sided p by scipy, which has the t law too."""
    result = stats.spearmanr(a, b, alternative="greater")
    return float(result.statistic), float(result.pvalue)


def spearman_enumerated(a: list[int], b: list[int]) -> float:
    """The share of orders of `b` that correlate with `a` at least as much as `b` does."""
    a, b = stats.rankdata(a).astype(int), stats.rankdata(b).astype(int)
    products = [int(a @ np.array(order)) for order in permutations(b)]
    return sum(product >= int(a @ b) for product in products) / len(products)


def fisher(log10_ps: list[float]) -> float:
    """The tail of chi-square by mpmath's incomplete gamma function."""
    with mpmath.workdps(DIGITS):
        s = -mpmath.fsum(map(mpmath.mpf, log10_ps)) * mpmath.log(10)
        return float(mpmath.log10(mpmath.gammainc(len(log10_ps), s, regularized=True)))


def holm(ps: list[float]) -> list[float]:
    """Of each p-value the largest (m - j + 1) p_(j) among those that are no larger, at most 1."""
    ascending = sorted(ps)
    return [min(1.0, max((len(ps) - j) * q for j, q in enumerate(ascending) if q <= p)) for p in ps]


def permutation_p(observed: float, null: list[float], among_ties: int) -> float:
    """The rank of `observed`, largest first, placed after `among_ties` of the draws equal to it."""
    above = [draw for draw in null if draw > observed]
    return (1 + len(above) + among_ties) / (len(null) + 1)


def match(
    gate_a: torch.Tensor,
    up_a: torch.Tensor,
    gate_b: torch.Tensor,
    up_b: torch.Tensor,
    *,
    centred: bool = True,
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The gate and the up matching, in float64 and by scipy's dense solver.

    The paper's is not centred, and gates keep their sign in it.
    """
    gate = _alike(gate_a, gate_b, centred=centred)
    if centred:
        gate = np.abs(gate)
    up = np.abs(_alike(up_a, up_b, centred=centred))
    return _matching(gate), _matching(up)


def matching_of(a: torch.Tensor, b: torch.Tensor) -> list[tuple[int, int]]:
    """The pairs of columns that match best by cosine: one dense product, one dense assignment."""
    x, y = (side.double() / side.double().norm(dim=0) for side in (a, b))
    return _matching((x.T @ y).numpy())


def generalized(
    ways_in_a: torch.Tensor,
    ways_out_a: torch.Tensor,
    ways_in_b: torch.Tensor,
    ways_out_b: torch.Tensor,
) -> float:
    """log10 of twice the smaller of two p-values: of the correlation and of the agreements.

    Columns are the units of gated MLPs; the ways in are matched with their sign, the ways out without.
    """
    ins, outs = match(ways_in_a, ways_out_a, ways_in_b, ways_out_b, centred=False)
    _, correlation_p = spearman_scipy([j for _, j in ins], [j for _, j in outs])
    n, k = len(ins), len(set(ins) & set(outs))
    # k of n given units agree in (n - k)! of the n! orders
    bound = min(Fraction(1), Fraction(comb(n, k) * factorial(n - k), factorial(n)))
    with mpmath.workdps(DIGITS):
        agreement_p = mpmath.mpf(bound.numerator) / bound.denominator
        correlation_p = max(mpmath.mpf(correlation_p), 1 / mpmath.factorial(n))
        return float(min(mpmath.mpf(0), mpmath.log10(2 * min(correlation_p, agreement_p))))


def strongest(added: list[float], share: float, least: int) -> set[int]:
    """Units that together do a share, taken one by one from the strongest on, and never fewer."""
    kept: set[int] = set()
    for unit in sorted(range(len(added)), key=lambda unit: -added[unit]):
        if len(kept) >= least and sum(added[one] for one in kept) >= share * sum(added):
            break
        kept.add(unit)
    return kept


def _alike(a: torch.Tensor, b: torch.Tensor, *, centred: bool) -> np.ndarray:
    x, y = a.double().numpy().T, b.double().numpy().T
    if centred:
        return np.array([[stats.pearsonr(u, v).statistic for v in y] for u in x])
    return np.array([(y @ u) / (np.linalg.norm(y, axis=1) * np.linalg.norm(u)) for u in x])


def _matching(similarity: np.ndarray) -> list[tuple[int, int]]:
    rows, columns = optimize.linear_sum_assignment(similarity, maximize=True)
    return sorted(zip(rows.tolist(), columns.tolist(), strict=True))


def beyond(answers: np.ndarray, made: np.ndarray, degree: int) -> np.ndarray:
    """What is left of what was made of answers, (inputs, units), by the best polynomial of each column."""
    left = np.empty_like(made)
    for unit in range(made.shape[1]):
        scaled = answers[:, unit] / np.abs(answers[:, unit]).max()
        fitted = np.polynomial.polynomial.polyfit(scaled, made[:, unit], degree)
        left[:, unit] = made[:, unit] - np.polynomial.polynomial.polyval(scaled, fitted)
    return left


def sketch(answers: np.ndarray, inputs: str, columns: int) -> np.ndarray:
    """Sketches of the columns of answers, (units, columns), sign by sign."""
    tokens, units = answers.shape
    found = np.zeros((units, columns))
    for column in range(columns):
        seed = f"provenance sketch 1:{inputs}:{column}".encode()
        bits = hashlib.shake_256(seed).digest((tokens + 7) // 8)
        for token in range(tokens):
            sign = 1 if bits[token // 8] >> (7 - token % 8) & 1 else -1
            for unit in range(units):
                found[unit, column] += sign * (answers[token, unit] - answers[:, unit].mean())
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def common_ends(first: list[int], second: list[int]) -> list[tuple[int, int]]:
    """Every pair of tokens tried: both end after the same characters, and no later token does."""
    pairs = [
        (end, i, j)
        for i, end in enumerate(first)
        for j, other in enumerate(second)
        if end == other > 0 and end not in first[i + 1 :] and end not in second[j + 1 :]
    ]
    return [(i, j) for _, i, j in sorted(pairs)]


def byte_level_spelling(text: bytes) -> str:
    """How GPT-2's tokenizer spells bytes: its own table, written out."""
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    spelled, unshown = [], 0
    for byte in range(256):
        spelled.append(chr(byte) if byte in shown else chr(256 + unshown))
        unshown += byte not in shown
    return "".join(spelled[byte] for byte in text)


def own_rows(rows: list[list[float]]) -> list[bool]:
    """Which rows are finite and like no other, each compared with each."""
    return [
        all(map(math.isfinite, row)) and all(row != other for j, other in enumerate(rows) if j != i)
        for i, row in enumerate(rows)
    ]


def drawn_tokens(
    candidate: dict[bytes, int] | None, reference: dict[bytes, int] | None, size: int, seed: int
) -> list[tuple[int, int]]:
    """Ids of shared tokens by the hash of their text, or of their id where the reference has no text."""
    known = reference
    if known is None:
        known = {str(index).encode(): index for index in range(size)}
    pairs = []
    for text in known:
        both = [
            side[text] if side is not None and text in side else None
            for side in (candidate, reference)
        ]
        if candidate is None or reference is None:
            both = [known[text], known[text]]
        if None not in both:
            pairs.append((hashlib.sha256(f"{seed}:".encode() + text).digest(), *both))
    return [(a, b) for _, a, b in sorted(pairs)]


def block_likeness(
    candidate: list[tuple[list[list[float]], list[list[float]]]],
    reference: list[tuple[list[list[float]], list[list[float]]]],
) -> list[list[float]]:
    """How like blocks of few units are: the best product of gate's and up's cosines, unit by unit."""

    def cosine(x: list[float], y: list[float]) -> float:
        return math.fsum(a * b for a, b in zip(x, y, strict=True))

    def nearest(ours: tuple, theirs: tuple) -> float:
        best = [
            max(
                abs(cosine(gate, theirs[0][j])) * abs(cosine(up, theirs[1][j]))
                for j in range(len(theirs[0]))
            )
            for gate, up in zip(*ours, strict=True)
        ]
        return sum(best) / len(best)

    raw = [[nearest(a, b) + nearest(b, a) for b in reference] for a in candidate]
    columns = [sum(row[j] for row in raw) / len(raw) for j in range(len(reference))]
    return [[x - columns[j] - sum(row) / len(row) for j, x in enumerate(row)] for row in raw]


def half_whitened(inputs: np.ndarray) -> np.ndarray:
    """(K + median I)^(-1/2) by its definition: a matrix root, inverted, without eigenvectors."""
    centred = inputs.astype(float) - inputs.mean(axis=0)
    products = centred @ centred.T
    values = np.linalg.eigvalsh(products)
    above = np.sort(values[values > 1e-9 * values[-1]])
    ridge = above[(len(above) - 1) // 2]  # torch's median is the lower of the two in the middle
    root = linalg.sqrtm(products + ridge * np.eye(len(products))).real
    whitened = np.linalg.inv(root) @ centred
    return whitened * np.linalg.norm(centred) / np.linalg.norm(whitened)


def counted_together(
    met: dict[int, int], ours: set[tuple[int, int]], theirs: set[tuple[int, int]]
) -> dict[int, int]:
    """The first block that each block of the candidate is linked to, where that is another one.

    Blocks are linked that have one partner, or are kin, or whose partners are kin; links carry on, also
    through blocks that were not tested.
    """
    nodes = {("c", i) for pair in ours for i in pair} | {("r", j) for pair in theirs for j in pair}
    nodes |= {("c", i) for i in met} | {("r", j) for j in met.values()}
    links = {(("c", i), ("r", j)) for i, j in met.items()}
    links |= {(("c", i), ("c", j)) for i, j in ours} | {(("r", i), ("r", j)) for i, j in theirs}
    reached = {node: {node} for node in nodes}
    for _ in nodes:
        for one, other in links:
            both = reached[one] | reached[other]
            for node in both:
                reached[node] = both
    firsts = {i: min(j for j in met if ("c", j) in reached["c", i]) for i in met}
    return {i: first for i, first in firsts.items() if first != i}


def coverage_by_hand(model: torch.nn.Module, ids: torch.Tensor) -> tuple[list[float], float, float]:
    """Of a Llama: the share of each block's MLP, of all MLPs, and of their effect on the predictions.

    The outputs of MLPs are read off their modules, and a model without them is a copy of the model whose
    MLPs, or blocks, put out constants.
    """
    layers = model.model.layers  # type: ignore[union-attr]
    seen: dict[tuple[str, int], np.ndarray] = {}

    def keep(what: str, index: int):  # type: ignore[no-untyped-def]
        def hook(_module, args, kwargs, output):  # type: ignore[no-untyped-def]
            fed = args[0] if args else kwargs["hidden_states"]
            states = output[0] if isinstance(output, tuple) else output
            seen[f"{what} in", index] = fed.reshape(-1, fed.shape[-1]).double().numpy()
            seen[f"{what} out", index] = states.reshape(-1, states.shape[-1]).double().numpy()

        return hook

    hooks = []
    for i, layer in enumerate(layers):
        for what, module in (("block", layer), ("mlp", layer.mlp)):
            hooks.append(module.register_forward_hook(keep(what, i), with_kwargs=True))
    with torch.no_grad():
        intact = _predictions(model(input_ids=ids).logits)
    for hook in hooks:
        hook.remove()
    count = len(layers)
    put_in = [seen["mlp out", i] for i in range(count)]
    change = [seen["block out", i] - seen["block in", i] for i in range(count)]
    blocks = [_covered(m, d) for m, d in zip(put_in, change, strict=True)]
    share = min(sum(blocks) / count, _covered(sum(put_in), sum(change)))
    without = []
    for kind in ("mlp", "block"):
        hooks = []
        for i, layer in enumerate(layers):
            mean = torch.from_numpy((put_in if kind == "mlp" else change)[i].mean(axis=0)).float()

            def hook(_module, args, kwargs, output, mean=mean, kind=kind):  # type: ignore[no-untyped-def]
                fed = args[0] if args else kwargs["hidden_states"]
                states = torch.zeros_like(fed) + mean if kind == "mlp" else fed + mean
                return (states, *output[1:]) if isinstance(output, tuple) else states

            module = layer.mlp if kind == "mlp" else layer
            hooks.append(module.register_forward_hook(hook, with_kwargs=True))
        with torch.no_grad():
            without.append(_predictions(model(input_ids=ids).logits))
        for one in hooks:
            one.remove()
    most = max(((intact - without[1]) ** 2).sum(), 0.25 * (intact**2).sum())
    effect = ((intact - without[0]) ** 2).sum() / most
    return blocks, share, min(1.0, float(effect))


def _predictions(logits: torch.Tensor) -> np.ndarray:
    rows = logits[:, -32:].reshape(-1, logits.shape[-1]).double().numpy()
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows - rows.mean(axis=0)


def _covered(of_mlps: np.ndarray, change: np.ndarray) -> float:
    common = np.trace(np.cov(of_mlps.T, change.T)[: of_mlps.shape[1], of_mlps.shape[1] :])
    spread = np.trace(np.cov(of_mlps.T)) + np.trace(np.cov((change - of_mlps).T))
    return min(1.0, max(0.0, common) / spread)


def loud_inputs(inputs: np.ndarray, gate: np.ndarray, up: np.ndarray, limit: float) -> np.ndarray:
    """Inputs whose answers have a mean square above so many medians, once louder ones are gone."""
    loud = np.zeros(len(inputs), dtype=bool)
    for _ in range(3):
        about = inputs.astype(float) - inputs[~loud].astype(float).mean(axis=0)
        found = loud.copy()
        for rows in (gate, up):
            answers = about @ (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(float).T
            energy = (answers**2).mean(axis=1)
            found |= energy > limit * np.median(energy)
        loud = found
    return loud


def nearness(
    gate: np.ndarray,
    up: np.ndarray,
    other_gate: np.ndarray,
    other_up: np.ndarray,
) -> float:
    """Of `provenance.statistics._nearness`: every unit against every other, one at a time.

    All are (units, dimensions), each row of length 1.
    """
    found = []
    for ours, theirs in ((gate, other_gate), (up, other_up)):
        for rows, others in ((ours, theirs), (theirs, ours)):
            cosines = [[abs(float(row @ other)) for other in others] for row in rows]
            best = sorted((max(row) for row in cosines), reverse=True)
            nearest = best[min(len(best), max(3, round(len(best) / 10))) - 1]
            every = sorted(cosine**2 for row in cosines for cosine in row)
            usual = every[(len(every) - 1) // 2]  # torch's median: the lower
            r = min(rows.shape[1], stats.norm.ppf(0.75) ** 2 / usual)
            chance = math.sqrt(stats.beta.ppf(0.97 ** (1 / len(others)), 0.5, (r - 1) / 2))
            found.append((nearest - chance) / (1 - chance))
    return max(0.0, *found)


def lead(own: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """What a matrix is farther from the second than from the first, over what these differ by, squared."""

    def squares(one: np.ndarray, other: np.ndarray) -> float:
        return sum((a - b) ** 2 for a, b in zip(one.flat, other.flat, strict=True))

    return (squares(own, second) - squares(own, first)) / squares(first, second)


def closeness(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Mean over the units of the narrower side of the greatest |cosine| with any unit of the other."""
    narrow, wide = sorted((ours, theirs), key=len)
    return float(np.mean([max(abs(float(row @ other)) for other in wide) for row in narrow]))


def two_bits(rows: np.ndarray) -> np.ndarray:
    """Each number as the nearest of four levels, in standard deviations of a normal row of that size."""
    levels = (-1.510, -0.4528, 0.4528, 1.510)
    found = np.empty_like(rows)
    for row, out in zip(rows, found, strict=True):
        scale = math.sqrt(math.pi / 2) * np.mean(np.abs(row))
        for place, number in enumerate(row):
            out[place] = min(levels, key=lambda level: abs(number / scale - level))
    return found


def gated_mlps(
    shapes: dict[str, tuple[int, ...]], names: tuple[str, str, str]
) -> set[tuple[str, str, str]]:
    """Gate, up and down of every MLP, found by trying every three tensors of one parent."""
    gate, up, down = names
    found = set()
    parents = {name.removesuffix(".weight").rpartition(".")[0] for name in shapes}
    for parent in parents:
        children = [name for name in shapes if name.rsplit(".", 2)[0] == parent]
        for first, second, third in permutations(children, 3):
            called = tuple(name.rsplit(".", 2)[1] for name in (first, second, third))
            fits = shapes[first] == shapes[second] == shapes[third][::-1]
            if called == (gate, up, down) and fits and len(shapes[first]) == 2:
                found.add((first, second, third))
    return found


def bytes_of_spans(spans):
    """Every byte of spans of files, by file and place."""
    return {(span.file, place) for span in spans for place in range(span.start, span.stop)}


def median_singular_value(rows: int, columns: int, draws: int, seed: int) -> float:
    """The median squared singular value of Gaussian noise over its longer side, by drawing some."""
    rng = np.random.default_rng(seed)
    values = [
        np.linalg.svd(rng.normal(size=(rows, columns)), compute_uv=False) for _ in range(draws)
    ]
    return float(np.median(np.square(np.concatenate(values)))) / max(rows, columns)


def steps_between(group: list[float], most: int, near: float) -> int:
    """The fewest equal steps, from the least number to the largest, on which all nearly lie; 0: none."""
    low, high = min(group), max(group)
    inner = [x for x in group if low < x < high and x != 0]
    for steps in range(2, most + 1):
        off = [(x - low) / (high - low) * steps for x in inner]
        levels = [round(x) for x in off]
        if sum((x - level) ** 2 for x, level in zip(off, levels, strict=True)) > near * len(inner):
            continue
        n = len(set(levels))
        ball = (math.pi * n * near) ** (n / 2) / math.gamma(n / 2 + 1)  # in a cube of edge 1
        crowd = levels.count(sorted(levels)[(len(levels) - 1) // 2]) if inner else 0
        if inner and crowd <= 0.75 * len(levels) and (steps - 1) * min(1.0, ball) <= 0.5:
            return steps
    return 0


def gap_at(group: list[float], number: float) -> float:
    """The larger distance of a number to the next level of its group, below or above."""
    below = [number - x for x in group if x < number]
    above = [x - number for x in group if x > number]
    return max(min(below, default=0.0), min(above, default=0.0))


def gaps_beside(number: float, levels: list[float]) -> tuple[float, float]:
    """The distances of the nearest level to the next one below and above; of the ends, inward."""
    at = min(range(len(levels)), key=lambda place: abs(levels[place] - number))
    low, high = max(at, 1), min(at, len(levels) - 2)
    return levels[low] - levels[low - 1], levels[high + 1] - levels[high]


def dynamic_levels() -> list[float]:
    """The levels that bitsandbytes rounds scales to: middles of equal parts of every decade below 1."""
    levels = [0.0, 1.0]
    for decade in range(7):
        parts, unit = 2**decade, 10.0 ** (decade - 6)
        middles = [unit * (0.1 + 0.9 * (part + 0.5) / parts) for part in range(parts)]
        levels += middles + [-middle for middle in middles]
    return sorted(levels)


def shares_of_parents(model: np.ndarray, parents: np.ndarray) -> tuple[list[float], float]:
    """Shares that sum to 1 by numpy's least squares, and what they leave, over the nearest distance."""
    first, *others = (one.ravel() for one in parents)
    away = model.ravel() - first
    directions = np.stack([one - first for one in others], axis=1)
    found = np.linalg.lstsq(directions, away, rcond=None)[0]
    nearest = min(np.linalg.norm(model - one) for one in parents)
    left = float(np.linalg.norm(away - directions @ found) / nearest)
    return [1 - float(found.sum()), *map(float, found)], left


def small_float(code: int, exponent_bits: int, fraction_bits: int, bias: int) -> float:
    """A number of few bits, by the formula: a sign, an exponent and a fraction, subnormal at exponent 0."""
    fraction = code % 2**fraction_bits / 2**fraction_bits
    exponent = code // 2**fraction_bits % 2**exponent_bits
    sign = -1.0 if code // 2 ** (fraction_bits + exponent_bits) else 1.0
    if exponent == 0:
        return sign * fraction * 2.0 ** (1 - bias)
    return sign * (1 + fraction) * 2.0 ** (exponent - bias)


def scale_at(scale: np.ndarray, place: tuple[int, ...], block: tuple[int, int]) -> float:
    """The number of a scale that is of one place of a weight; an axis of one number is of all places."""
    *stack, row, column = place
    blocks = (*stack, row // block[0], column // block[1])
    return float(scale[tuple(min(b, n - 1) for b, n in zip(blocks, scale.shape, strict=True))])


def most_overlapping(values: list[float], errors: list[float]) -> int:
    """How many intervals cover the point that the most of them cover, by trying where each begins."""
    starts = [value - error for value, error in zip(values, errors, strict=True)]
    return max(
        sum(abs(value - start) <= error for value, error in zip(values, errors, strict=True))
        for start in starts
    )


def made_of_changes(
    changes: list[list[float]],
    kept: list[list[bool]],
    factors: list[float],
    weights: list[float] | None,
) -> list[float]:
    """A merge's numbers less the base's, one by one: what is kept summed, or averaged by weights."""
    made = []
    for number in range(len(changes[0])):
        some = [place for place in range(len(changes)) if kept[place][number]]
        parts = [factors[place] * changes[place][number] for place in some]
        if weights is not None and some:
            total = sum(weights[place] for place in some)
            parts = [weights[place] * part / total for place, part in zip(some, parts, strict=True)]
        made.append(math.fsum(parts))
    return made


def nearest_of_changes(
    away: float, changes: list[float], factors: list[float], weights: list[float] | None
) -> tuple[tuple[bool, ...], float]:
    """Which changes a number keeps, and how far it is from their sum or mean, by trying all of them."""
    found = []
    for kept in product((False, True), repeat=len(changes)):
        signs = {
            math.copysign(1, factor * change)
            for keeps, factor, change in zip(kept, factors, changes, strict=True)
            if keeps
        }
        if weights is not None and len(signs) > 1:
            continue
        (made,) = made_of_changes(
            [[one] for one in changes], [[one] for one in kept], factors, weights
        )
        found.append((abs(away - made), kept))
    left, kept = min(found)
    return kept, left


def unevenness(kept: list[bool], groups: list[int], per_group: int, fewest: int) -> float:
    """The mean over groups of squared deviations from the binomial law, group by group."""
    share = sum(kept) / len(kept)
    squares = []
    for group in sorted(set(groups)):
        inside = [keeps for keeps, one in zip(kept, groups, strict=True) if one == group]
        if len(inside) >= per_group:
            expected, variance = share * len(inside), share * (1 - share) * len(inside)
            squares.append((sum(inside) - expected) ** 2 / variance if variance else 1.0)
    return sum(squares) / len(squares) if len(squares) >= fewest and 0 < share < 1 else 1.0


def density_by_threshold(sizes: list[float], kept: list[bool]) -> float:
    """The share of numbers above the threshold that leaves the fewest on its wrong side."""
    return min(
        (sum((size >= one) != keeps for size, keeps in zip(sizes, kept, strict=True)), one)
        for one in sorted(set(sizes), reverse=True)
    )[1]
