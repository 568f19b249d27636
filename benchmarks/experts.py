"""Count how often the experts chosen for a test include the true partner, and what the choice saves.

The script draws a mixture of experts with random weights, which may have a share in common. Its descendant
has noise added, and its units and experts in another order. Run: ``python -m benchmarks.experts``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from benchmarks._arguments import at_least
from benchmarks._table import table
from provenance.architecture.units import LinearMap, MLPFactors
from provenance.comparison.experts import partners
from provenance.comparison.limits import PARTNERS
from provenance.statistics._directions import directions, glimpse
from provenance.statistics.match import match

if TYPE_CHECKING:
    from provenance.vocabulary import Role


@dataclass(frozen=True)
class Setting:
    """Of the descendant: its noise, in units of the weights', and the share all experts have in common."""

    noise: float
    common: float


SETTINGS = tuple(Setting(noise, common) for common in (0.0, 0.7) for noise in (0.1, 0.5, 1.0, 2.0))


@dataclass(frozen=True)
class Sizes:
    """Of both mixtures."""

    experts: int
    units: int
    hidden: int
    tokens: int


class Mixtures:
    """A mixture and its descendant, as `match` takes them; expert ``order[e]`` became expert e."""

    def __init__(self, sizes: Sizes, setting: Setting) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = (2, sizes.units, sizes.hidden)

        def draw() -> torch.Tensor:
            return torch.randn(shape, generator=generator)

        # hidden states of a model have far more spread in some directions than in others
        spread = torch.logspace(0, -1.5, sizes.hidden)
        self.inputs = torch.randn(sizes.tokens, sizes.hidden, generator=generator) * spread
        shared = setting.common * draw()
        self.base = [(1 - setting.common) * draw() + shared for _ in range(sizes.experts)]
        self.order = torch.randperm(sizes.experts, generator=generator).tolist()
        self.kin = []
        for expert in self.order:
            noisy = self.base[expert] + setting.noise * draw()
            self.kin.append(noisy[:, torch.randperm(sizes.units, generator=generator)])

    def prepared(self, role: Role) -> list:
        """Return the sides of one mixture, ready to be tested."""
        weights = self.kin if role == "candidate" else self.base
        sides = [MLPFactors(self.inputs, LinearMap(gate), LinearMap(up)) for gate, up in weights]
        return [directions(side, role, 0, centred=True) for side in sides]


def measure(sizes: Sizes, setting: Setting) -> list[str]:
    """Return a row: the share of true partners chosen, what `match` says of one, and times."""
    mixtures = Mixtures(sizes, setting)
    ours, theirs = mixtures.prepared("candidate"), mixtures.prepared("reference")
    begun = time.monotonic()
    chosen = partners(*([glimpse(side) for side in sides] for sides in (ours, theirs)))
    choosing = time.monotonic() - begun
    begun = time.monotonic()
    log10_p = match(ours[0], theirs[mixtures.order[0]]).log10_p
    testing = time.monotonic() - begun
    held = sum((expert, partner) in chosen for expert, partner in enumerate(mixtures.order))
    pairs = sizes.experts**2
    saved = pairs * testing / (choosing + len(chosen) * testing)
    return [
        f"{setting.noise:g}",
        f"{setting.common:g}",
        f"{held} of {sizes.experts}",
        f"{log10_p:.0f}",
        f"{len(chosen)} of {pairs}",
        f"{saved:.1f}",
    ]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experts", type=at_least(1), default=64)
    parser.add_argument("--units", type=at_least(1), default=192)
    parser.add_argument("--hidden", type=at_least(1), default=128)
    parser.add_argument("--tokens", type=at_least(1), default=512)
    sizes = Sizes(**vars(parser.parse_args()))
    columns = ["noise", "in common", f"partner in {PARTNERS}", "log10 p", "tested", "times faster"]
    print(table(columns, [measure(sizes, setting) for setting in SETTINGS]))


if __name__ == "__main__":
    main()
