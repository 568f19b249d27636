"""The upper tail of Student's t, as log10, however small it is."""

from __future__ import annotations

import math

_LN10 = math.log(10.0)
_DIRECT = 1e-290  # scipy's tails are accurate to here; below 1e-308 they are 0


def log10_sf_student_t(t: float, df: float) -> float:
    """Return log10 P(T > t), the upper tail of Student's t, however small it is.

    Parameters
    ----------
    t : float
        Any finite value.
    df : float
        Degrees of freedom, above 0.

    Raises
    ------
    ValueError
        If `t` is not finite or `df` is not positive and finite.

    Notes
    -----
    P(T > t) is I_x(df/2, 1/2) / 2 with x = df / (df + t^2) for t >= 0 [1]_. Below 1e-290 the
    incomplete beta function comes from its continued fraction, whose prefactor has a logarithm.

    References
    ----------
    .. [1] NIST Digital Library of Mathematical Functions, 8.17.22 (continued fraction).
       https://dlmf.nist.gov/8.17
    """
    if not (math.isfinite(t) and math.isfinite(df) and df > 0):
        raise ValueError(f"t = {t}, df = {df}; t must be finite, df positive and finite")
    if t < 0:
        return math.log1p(-(10.0 ** log10_sf_student_t(-t, df))) / _LN10 + 0.0  # never -0.0
    scaled = t / math.sqrt(df)
    outside = _outside(df / 2, scaled)
    if outside / 2 > _DIRECT:
        return math.log10(outside / 2)
    return _log10_half_beta(df / 2, scaled)


def _outside(a: float, scaled: float) -> float:
    """Return I_x(a, 1/2), x = 1 / (1 + scaled^2); 0 where it is too small for a float."""
    from scipy.special import betainc, betaincc

    x, y = 1.0 / (1.0 + scaled * scaled), 1.0 / (1.0 + scaled**-2) if scaled > 1e-150 else 0.0
    # Of x and y = 1 - x only the smaller has all its digits, and so with the two tails.
    if x < y:
        return float(betainc(a, 0.5, x))
    inside = float(betainc(0.5, a, y))
    return 1.0 - inside if inside < 0.5 else float(betaincc(0.5, a, y))


def _log10_half_beta(a: float, scaled: float) -> float:
    """Return log10(I_x(a, 1/2) / 2), x = 1 / (1 + scaled^2), where it is too small for a float."""
    log_x = -2 * math.log(scaled) - math.log1p(scaled**-2) if scaled > 1 else -math.log1p(scaled**2)
    log_y = log_x + 2 * math.log(scaled)
    log_beta = math.lgamma(a) + math.lgamma(0.5) - math.lgamma(a + 0.5)
    log_prefactor = a * log_x + 0.5 * log_y - math.log(2 * a) - log_beta
    return (log_prefactor + math.log(_beta_fraction(a, 0.5, math.exp(log_x)))) / _LN10


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of I_x(a, b) by Lentz's method; for x < (a+1)/(a+b+2)."""
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 1_000_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = fraction
        for term in (even, odd):
            d = 1.0 / (1.0 + term * d)
            c = 1.0 + term / c
            fraction *= c * d
        if abs(fraction - before) <= 1e-15 * fraction:
            break
    return fraction
