"""`generalized`: `match` where the MLPs are not gated, or differ in kind (paper, Algorithm 5).

Both MLPs, whatever they are made of, are distilled into gated ones of one stated shape on isotropic
Gaussian hidden inputs, and the two proxies are tested. What an MLP computes is all that is asked of it.

Four departures from the paper, each for a fault that was measured:

* **The proxy has a linear path beside its units.** Half of GELU is the identity, which gated units can
  only imitate; without the path they spend themselves on it.
* **Input is matched against output, not gate against up.** A plain unit has one input direction, so
  distillation turns the proxy's gate *and* up rows towards it: both matchings of two unrelated models are
  then made from nearly the same similarities, and agree: in 15 to 30 units of 512, where 1 is chance,
  in every one of 12 pairs of random GELU MLPs (hidden 128). A unit's *down* column is drawn apart from
  its input row: 0 to 2 units. Gate against up, the paper's form, is no ground for a verdict.
* **Agreements are counted beside the correlation.** A distillation recovers some units and misses others:
  a rank correlation over all is faint where a quarter of them agree and the rest do not.
* **The sides start from different, recorded seeds.** Proxies of one start keep what they were born with:
  unit k of the one resembles unit k of the other whatever they imitate. With the paper's learning rate,
  1e-3, the proxies of two unrelated MLPs agreed in gate and up in all of 96 units after 500 steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from provenance.architecture.units import MLPActivations
from provenance.errors import DegenerateError
from provenance.statistics.match import MatchResult, match
from provenance.statistics.pvalues import bonferroni
from provenance.vocabulary import ROLES, DistillSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    MLP = Callable[[torch.Tensor], torch.Tensor]

WARM_UP = 0.05
"""The share of the steps in which the learning rate rises; then it falls as a cosine."""


def seeds_of(seed: int) -> tuple[int, int]:
    """Seeds of the candidate's and of the reference's proxy; never equal."""
    return 2 * seed, 2 * seed + 1


@dataclass(frozen=True)
class Fit:
    """How well a proxy imitates, on held-out inputs; each output dimension counts the same.

    Attributes
    ----------
    nonlinear : float
        Share of what no affine map explains that the proxy explains: R^2, 1 is perfect.
        `DistillSettings.least_fit` is a bound on it.
    overall : float
        Share of all variance that the proxy explains.
    linear : float
        Share of all variance that the best affine map explains by itself.
    """

    nonlinear: float
    overall: float
    linear: float


@dataclass(frozen=True)
class Proxy:
    """A gated MLP that imitates another: ``down (silu(gate x) * (up x))`` and an affine path.

    Attributes
    ----------
    gate, up : Tensor
        (units, hidden) float32.
    down : Tensor
        (hidden, units) float32, for outputs of unit variance.
    fit : Fit
        On held-out inputs.
    seed : int
        Of its start and of all its inputs.
    """

    gate: torch.Tensor = field(repr=False)
    up: torch.Tensor = field(repr=False)
    down: torch.Tensor = field(repr=False)
    fit: Fit
    seed: int

    def alignment(self) -> float:
        """Mean |cosine| between a unit's gate and up rows; 0.8 / sqrt(hidden) by chance."""
        return float(torch.cosine_similarity(self.gate, self.up, dim=1).abs().mean())


@dataclass(frozen=True)
class GeneralizedResult:
    """Evidence of kinship between two MLPs of any kind.

    Attributes
    ----------
    statistic : str
        "generalized".
    log10_p : float
        log10 of the p-value: the smaller of the correlation's (``matching.log10_p``) and of
        `agreement_log10_p`, doubled (Bonferroni).
    correlation : float
        Spearman correlation between the two matchings, of gate rows and of down columns.
    live : tuple of int
        Units of the proxies that took part.
    fits : tuple of Fit
        Of the candidate's proxy and of the reference's.
    seeds : tuple of int
        From which the two proxies were made.
    matching : MatchResult
        The test itself; its "up" is the proxies' down.
    """

    statistic: str
    log10_p: float
    correlation: float
    live: tuple[int, int]
    fits: tuple[Fit, Fit]
    seeds: tuple[int, int]
    matching: MatchResult = field(repr=False)
    nearness: None = None

    def agreeing(self) -> int:
        """Units of the proxies that input and output match to the same partner; 1 by chance."""
        return self.matching.agreeing()

    def survivors(self) -> NDArray[np.int64]:
        """None, (0, 2) int64: units of the proxies are no units of the models."""
        return np.zeros((0, 2), dtype=np.int64)

    def matchings(self, most: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The partners of at most that many units of the candidate's proxy, by input and by output."""
        return self.matching.matchings(most)

    def imitation_fits(self) -> tuple[float, float]:
        """R^2 of the nonlinear part, of the candidate's proxy and of the reference's."""
        return self.fits[0].nonlinear, self.fits[1].nonlinear

    def agreement_log10_p(self) -> float:
        """log10 of a bound on the chance of so many agreements; see `log10_p_of_agreements`."""
        return log10_p_of_agreements(self.agreeing(), self.live)


def log10_p_of_agreements(count: int, live: tuple[int, int]) -> float:
    """log10 of a bound on the chance that two matchings agree in at least ``count`` units.

    If one of them is uniform and independent of the other, k given units of n agree in a matching
    into N with probability (N - k)! / N!, so at least k do with at most C(n, k) (N - k)! / N!.
    """
    few, many = sorted(live)
    ways = math.lgamma(few + 1) - math.lgamma(few - count + 1) - math.lgamma(count + 1)
    chance = math.lgamma(many - count + 1) - math.lgamma(many + 1)
    return min(0.0, (ways + chance) / math.log(10))


def generalized(
    candidate: Proxy, reference: Proxy, *, seed: int = 0, settings: DistillSettings | None = None
) -> GeneralizedResult:
    """Test two proxies of one shape: each model is distilled once, whatever the number of pairs.

    Raises
    ------
    DegenerateError
        If the hidden sizes differ, or a fit is below ``settings.least_fit``.
    ValueError
        If both were made from one seed, or have other numbers of units.
    """
    _validate(candidate, reference, settings or DistillSettings())
    # rows and columns themselves: the limit of infinitely many isotropic inputs and outputs
    result = match(_through(candidate), _through(reference), seed=seed, centred=False)
    agreement = log10_p_of_agreements(result.agreeing(), result.live)
    return GeneralizedResult(
        statistic="generalized",
        log10_p=bonferroni(min(result.log10_p, agreement), 2),
        correlation=result.correlation,
        live=result.live,
        fits=(candidate.fit, reference.fit),
        seeds=(candidate.seed, reference.seed),
        matching=result,
    )


def _validate(candidate: Proxy, reference: Proxy, settings: DistillSettings) -> None:
    if candidate.seed == reference.seed:
        raise ValueError(f"both proxies started from seed {candidate.seed}: they resemble by birth")
    (m, hidden), (n, other) = candidate.gate.shape, reference.gate.shape
    fits = (candidate.fit.nonlinear, reference.fit.nonlinear)
    known = fits if all(map(math.isfinite, fits)) else None
    if hidden != other:
        raise DegenerateError(
            f"MLPs of hidden size {hidden} and {other} take other inputs: imitations of them cannot be "
            "compared",
            fits=known,
        )
    if m != n:
        raise ValueError(f"proxies must have one shape, but have {m} and {n} units")
    for role, fit in zip(ROLES, fits, strict=True):
        if not fit >= settings.least_fit:
            raise DegenerateError(
                f"the {role}'s MLP was imitated with a fit of {fit:.3f} (R^2 of its nonlinear part "
                f"on held-out inputs), below {settings.least_fit:g}: nothing can be said; give the "
                "distillation more steps or units",
                fits=known,
            )


def distil(
    mlp: MLP,
    hidden_size: int,
    settings: DistillSettings,
    seed: int,
    *,
    device: str | torch.device = "cpu",
) -> Proxy:
    """Imitate an MLP by a gated one, by Adam on the mean squared error.

    The target is what the best affine map leaves unexplained, each output dimension scaled to unit
    variance, so that neither the linear part nor a few large dimensions decide. All that is random
    comes from ``seed``; the global generators are left alone.

    Raises
    ------
    DegenerateError
        If the MLP's outputs are not finite, or an affine map explains all of them.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> torch.Tensor:
        noise = torch.randn(count, hidden_size, generator=generator)
        return (noise * settings.input_scale).to(device)

    target = _Target.of(mlp, draw(max(settings.held_out, 4 * hidden_size)))
    network = _Network.new(hidden_size, round(settings.width_factor * hidden_size), generator)
    network.to(device)
    _train(network, target, draw, settings)
    with torch.no_grad():
        x = draw(settings.held_out)
        wanted = target(x)
        lost = float((network(x) - wanted).square().mean())
        kept = float(wanted.var(dim=0).mean())
    unexplained = target.unexplained
    fit = Fit(1 - lost / kept, 1 - unexplained * lost / kept, 1 - unexplained)
    gate, up, down = (w.detach().clone() for w in (network.gate, network.up, network.down))
    return Proxy(gate, up, down, fit, seed)


@dataclass(frozen=True)
class _Target:
    """What is left of an MLP's outputs when the best affine map is taken away, at unit variance."""

    mlp: MLP
    affine: torch.Tensor  # (hidden + 1, hidden)
    scale: torch.Tensor  # (hidden,)
    unexplained: float

    @classmethod
    def of(cls, mlp: MLP, x: torch.Tensor) -> _Target:
        y = mlp(x).float()
        if not bool(torch.isfinite(y).all()):
            raise DegenerateError("the MLP's outputs hold NaN or infinity on Gaussian inputs")
        # float64: in float32 LAPACK's answer changes with where memory happens to lie
        affine = torch.linalg.lstsq(_with_one(x).double(), y.double()).solution.float()
        rest = y - _with_one(x) @ affine
        varying = y.std(dim=0) > 1e-6 * y.std()
        # the fit's own degrees of freedom are not unexplained variance's loss
        freedom = len(x) / max(1, len(x) - x.shape[1] - 1)
        share = (rest.var(dim=0) / y.var(dim=0))[varying] * freedom
        unexplained = float(share.mean().clamp(max=1)) if len(share) else 0.0
        if unexplained < 1e-6:
            raise DegenerateError(
                "the MLP is an affine map on Gaussian inputs: it has no units to find"
            )
        floor = 1e-6 * rest.std()
        return cls(mlp, affine, rest.std(dim=0).clamp_min(floor), unexplained)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        rest: torch.Tensor = (self.mlp(x).float() - _with_one(x) @ self.affine) / self.scale
        return rest


class _Network(torch.nn.Module):
    """The proxy while it is trained."""

    def __init__(self, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> None:
        super().__init__()
        self.gate, self.up, self.down = (torch.nn.Parameter(w) for w in (gate, up, down))
        self.affine = torch.nn.Parameter(torch.zeros(gate.shape[1] + 1, gate.shape[1]))

    @classmethod
    def new(cls, hidden: int, units: int, generator: torch.Generator) -> _Network:
        gate, up = (torch.randn(units, hidden, generator=generator) for _ in range(2))
        down = torch.randn(hidden, units, generator=generator)
        return cls(gate / hidden**0.5, up / hidden**0.5, down * 0.3 / units**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = torch.nn.functional.silu(x @ self.gate.T) * (x @ self.up.T)  # (tokens, units)
        return active @ self.down.T + _with_one(x) @ self.affine


def _train(
    network: _Network,
    target: _Target,
    draw: Callable[[int], torch.Tensor],
    settings: DistillSettings,
) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))
    with torch.enable_grad():
        for step in range(settings.steps):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * _schedule(step / settings.steps)
            x = draw(settings.batch)
            with torch.no_grad():
                wanted = target(x)
            loss = torch.nn.functional.mse_loss(network(x), wanted)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def _schedule(done: float) -> float:
    """The learning rate's share when this share of the steps is done."""
    rise = min(1.0, (done + 1e-3) / WARM_UP)
    return rise * 0.5 * (1 + math.cos(math.pi * max(0.0, (done - WARM_UP) / (1 - WARM_UP))))


def _with_one(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, torch.ones(len(x), 1, device=x.device, dtype=x.dtype)], dim=1)


def _through(proxy: Proxy) -> MLPActivations:
    """A unit's way in, its gate row, and its way out, its down column: each (hidden, units).

    The sign of a down column is free, as its up row's is: `match` takes the second by |cosine|.
    """
    return MLPActivations(proxy.gate.T, proxy.down)
