"""Gates and ups that say the same: no statistic takes them for kinship, and no copy hides behind them."""

import numpy as np
import pytest
import torch
from scipy import stats

from provenance.architecture.units import LinearMap, MLPActivations, MLPFactors
from provenance.errors import DegenerateError
from provenance.statistics import _alike
from provenance.statistics._alike import own_correlation, shares_alike, structure
from provenance.statistics.generalized import Fit, Proxy, generalized
from provenance.statistics.match import match, prepare
from provenance.statistics.match_cosine import match_cosine
from provenance.statistics.match_tokens import match_tokens
from provenance.statistics.match_weights import match_weights
from provenance.statistics.match_weights import prepare as prepare_weights
from provenance.vocabulary import DistillSettings

UNITS, WIDTH = 96, 48
WIDE = 512


def rows(seed, share=0.0, likeness=1.0, units=UNITS, width=WIDTH):
    """Gate and up rows, (units, width); of a share of the units they correlate so much."""
    generator = torch.Generator().manual_seed(seed)
    gate, up = torch.randn(2, units, width, generator=generator)
    few = round(share * units)
    up[:few] = likeness * gate[:few] + (1 - likeness**2) ** 0.5 * up[:few]
    return gate, up


def weights(*args, **changes):
    gate, up = rows(*args, **changes)
    return MLPActivations(gate.T.contiguous(), up.T.contiguous())


def factors(*args, **changes):
    """The same on inputs that all models share."""
    gate, up = rows(*args, **changes)
    inputs = torch.randn(200, WIDTH, generator=torch.Generator().manual_seed(7))
    return MLPFactors(inputs, LinearMap(gate), LinearMap(up))


def proxy(seed, share=0.0):
    gate, down = rows(seed, share)
    return Proxy(gate, gate, down.T, Fit(1.0, 1.0, 0.0), seed)


def of_imitations(candidate, reference):
    return generalized(candidate, reference, settings=DistillSettings())


@pytest.mark.parametrize("role", ["candidate", "reference"])
@pytest.mark.parametrize(
    ("test", "side"),
    [
        (match, factors),
        (match_cosine, factors),
        (match_weights, weights),
        (match_tokens, factors),
        (of_imitations, proxy),
    ],
)
def test_every_statistic_that_matches_twice_refuses_them(test, side, role):
    sides = {"candidate": side(1), "reference": side(2)}
    sides[role] = side(3, 1.0)
    with pytest.raises(DegenerateError, match=f"of the {role}'s units say the same"):
        test(*sides.values())


@pytest.mark.parametrize(
    ("ours", "theirs", "refused"),
    [
        ((0.0, 0.0), (0.0, 0.0), False),
        ((0.05, 1.0), (0.05, 1.0), False),
        ((0.08, 1.0), (0.08, 1.0), True),
        ((0.08, -1.0), (0.08, 0.9), True),
        ((0.09, 1.0), (0.0, 0.0), False),  # one of the two alone does no harm
        ((0.14, 1.0), (0.0, 0.0), True),
        ((1.0, 0.35), (1.0, 0.35), False),
        ((1.0, 0.55), (1.0, 0.55), True),
        ((0.5, 0.7), (0.5, 0.7), True),
    ],
)
def test_how_many_are_too_many(ours, theirs, refused):
    sides = [
        prepare(weights(seed, *what, units=WIDE, width=128), role, 0)
        for seed, what, role in ((1, ours, "candidate"), (2, theirs, "reference"))
    ]
    assert (structure(*sides) is not None) == refused


@pytest.mark.parametrize("units", [1, 2, 8, 20])
@pytest.mark.parametrize("width", [8, 16])
def test_few_units_of_few_dimensions_are_no_share(units, width):
    """Chance makes gates and ups of eight dimensions alike."""
    for seed in range(30):
        sides = [
            prepare(weights(2 * seed + k, units=units, width=width), role, 0)
            for k, role in enumerate(("candidate", "reference"))
        ]
        assert structure(*sides) is None


def test_the_correlation_is_the_slow_twins():
    for side in (weights(1, 0.1), factors(1, 0.1)):
        prepared = prepare(side, "candidate", 0)
        dense = side.dense()
        slow = [
            abs(stats.pearsonr(dense.gate[:, unit], dense.up[:, other]).statistic)
            for unit, other in zip(
                prepared.live.tolist(), prepared.live.roll(-3).tolist(), strict=True
            )
        ]
        assert own_correlation(prepared, 3)[0].tolist() == pytest.approx(slow, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("share", "likeness"), [(0.05, 1.0), (0.06, 0.8), (1.0, 0.35), (0.3, 0.45)]
)
def test_strangers_with_as_many_as_is_allowed_are_below_a_level_no_more_often(share, likeness):
    trials = 60
    ps = []
    for i in range(trials):
        sides = (weights(2 * i + k, share, likeness, units=256, width=96) for k in range(2))
        ps.append(match_weights(*sides, seed=i).log10_p)
    assert sum(p < np.log10(0.05) for p in ps) <= stats.binom.ppf(0.999, trials, 0.05)
    assert min(ps) > -5


def test_without_the_guard_strangers_would_be_kin(monkeypatch):
    monkeypatch.setattr(_alike, "structure", lambda _a, _b: None)
    sides = (weights(seed, 1.0, units=256, width=32) for seed in (1, 2))
    assert match_weights(*sides).log10_p < -6


def grouped(seed, groups, units=WIDE, width=128):
    """Units in groups, each of which reads dimensions of its own."""
    reads = (
        torch.arange(width) * groups // width == (torch.arange(units) * groups // units)[:, None]
    )
    gate, up = (x * reads for x in rows(seed, units=units, width=width))
    return MLPActivations(gate.T.contiguous(), up.T.contiguous())


@pytest.mark.parametrize("groups", [2, 4, 16, 64, 128])
def test_units_that_read_groups_of_dimensions_are_refused(groups):
    sides = grouped(1, groups), weights(2, units=WIDE, width=128)
    with pytest.raises(DegenerateError, match=r"of the candidate's units (read|say) the same"):
        match_weights(*sides)
    with pytest.raises(DegenerateError, match=r"of the reference's units (read|say) the same"):
        match_weights(*sides[::-1])


@pytest.mark.parametrize("kind", ["plain", "sparse", "ternary", "loud dimensions"])
def test_dimensions_that_all_units_read_alike_are_no_reason(kind):
    generator = torch.Generator().manual_seed(1)
    gate, up = torch.randn(2, UNITS, WIDTH, generator=generator)
    if kind != "plain":
        few = torch.rand(2, UNITS, WIDTH, generator=generator) < 0.1
        few[:, :, 0] = True
        gate, up = gate * few[0], up * few[1]
    if kind == "ternary":
        gate, up = gate.sign(), up.sign()
    if kind == "loud dimensions":
        gate[:, :3], up[:, :3] = 9 * gate[:, :3], 9 * up[:, :3]
    prepare_weights(MLPActivations(gate.T.contiguous(), up.T.contiguous()), "candidate", 0)


def test_kin_are_told_by_their_other_units_and_strangers_are_not_tested():
    """A copy with idle units whose gates are their ups is found; nothing else is said of such a model."""
    copy = weights(1)
    idle = weights(9, 1.0, units=40)
    padded = MLPActivations(
        torch.cat([copy.gate, idle.gate], dim=1), torch.cat([copy.up, idle.up], dim=1)
    )
    assert shares_alike(prepare(padded, "candidate", 0)).alike > 0.2
    assert match_weights(padded, weights(1)).log10_p < -20
    with pytest.raises(DegenerateError, match="say the same"):
        match_weights(padded, weights(2))
