"""A mapping of parameters small enough for hundreds of tests, and members of its symmetries."""

import numpy as np
import torch

from provenance.statistics.symmetries import random_member


def member_of(symmetries, seed=0):
    return random_member(symmetries, np.random.default_rng(seed))


def small(seed, units=7, hidden=5):
    """A block's MLP and what surrounds it, in a mapping small enough for hundreds of tests."""
    generator = torch.Generator().manual_seed(seed)
    mlp = "model.layers.0.mlp"
    shapes = {
        "model.norm.weight": (hidden,),
        f"{mlp}.gate_proj.weight": (units, hidden),
        f"{mlp}.down_proj.weight": (hidden, units),
    }
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
