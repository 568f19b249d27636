"""The rank correlation that gives a p-value, for evidence that no models were run for."""

from scipy.optimize import brentq

from provenance.statistics.pvalues import log10_factorial, log10_p_of_correlation


def correlation_of(log10_p, units):
    """The rank correlation of so many units whose t law gives this log10 p, or comes nearest to it."""
    if log10_p <= log10_p_of_correlation(0.9999, units):
        return 1.0 if log10_p <= -log10_factorial(units) else 0.9999
    if log10_p >= log10_p_of_correlation(-0.9999, units):
        return -0.9999
    return brentq(lambda r: log10_p_of_correlation(r, units) - log10_p, -0.9999, 0.9999)
