"""The loss between two models: by hand where it is a polynomial, and on a trained network."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.errors import ArchitectureError, DegenerateError
from provenance.statistics.mode_connectivity import midpoint, mode_connectivity
from provenance.statistics.permtest import permtest


def point(x, y=0.0):
    return {"x": torch.tensor([x]), "y": torch.tensor([[y]])}


def double_well(p):
    """Two basins, at -1 and 1, and a hill of height 1 at 0."""
    return float((p["x"].square() - 1).square().sum())


def test_a_hill_between_the_ends_is_the_barrier():
    assert mode_connectivity(double_well, point(-1.0), point(1.0)) == -1.0


def test_models_in_one_basin_have_a_negative_barrier():
    value = mode_connectivity(lambda p: float(p["x"].square().sum()), point(1.0), point(-1.0))
    assert value == 1.0


@settings(max_examples=40, deadline=None)
@given(st.floats(-2, 2), st.floats(-2, 2))
def test_agrees_with_a_polynomial_by_hand(x, y):
    value = mode_connectivity(double_well, point(x), point(y))

    def well(z):
        return (z**2 - 1) ** 2

    expected = well((x + y) / 2) - (well(x) + well(y)) / 2
    assert -value == pytest.approx(expected, abs=1e-4)


def test_the_ends_are_handed_on_as_they_are_and_the_middle_is_half_way():
    a, b, seen = point(0.0, 4.0), point(1.0, 8.0), []
    mode_connectivity(lambda p: seen.append(p) or 0.0, a, b)
    assert seen[0] is a
    assert seen[1] is b
    assert [float(p["y"]) for p in seen] == [4, 8, 6]


def test_a_loss_of_the_ends_that_is_known_is_not_measured_again():
    losses = []
    a, b = point(-1.0), point(1.0)
    value = mode_connectivity(lambda p: losses.append(p) or double_well(p), a, b, ends=0.25)
    assert value == -0.75
    assert len(losses) == 1


def test_midpoint_is_the_average_in_the_candidates_dtype():
    a = {"w": torch.tensor([1.0, 3.0], dtype=torch.bfloat16)}
    b = {"w": torch.tensor([2.0, 5.0], dtype=torch.float64)}
    middle = midpoint(a, b)
    assert middle["w"].dtype == torch.bfloat16
    assert middle["w"].tolist() == [1.5, 4.0]
    assert a["w"].tolist() == [1.0, 3.0]
    largest = {"w": torch.tensor([60000.0], dtype=torch.float16)}
    assert midpoint(largest, largest)["w"].tolist() == [60000.0]


def trained(seed, inputs, targets, start=None):
    """The parameters of a small network after some steps of full gradient descent."""
    generator = torch.Generator().manual_seed(seed)
    if start is None:
        start = {
            "in": torch.randn(16, 4, generator=generator) * 0.7,
            "out": torch.randn(1, 16, generator=generator) * 0.3,
        }
    weights = {k: v.clone().requires_grad_() for k, v in start.items()}
    for _ in range(150):
        gradients = torch.autograd.grad(loss(weights, inputs, targets), list(weights.values()))
        with torch.no_grad():
            for weight, gradient in zip(weights.values(), gradients, strict=True):
                weight.sub_(0.1 * gradient)
    return {k: v.detach() for k, v in weights.items()}


def loss(weights, inputs, targets):
    hidden = torch.tanh(inputs @ weights["in"].T)
    return (hidden @ weights["out"].T - targets).square().mean()


def test_a_fine_tune_has_a_lower_barrier_than_a_stranger():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 4, generator=generator)
    targets = torch.sin(inputs.sum(1, keepdim=True))
    base, stranger = (trained(seed, inputs, targets) for seed in (1, 2))
    tuned = trained(3, inputs[:32], targets[:32], start=base)

    def loss_of(weights):
        return float(loss(weights, inputs, targets))

    kin = mode_connectivity(loss_of, tuned, base)
    strange = mode_connectivity(loss_of, stranger, base)
    assert -kin < 0.01
    assert -strange > 0.05


def test_it_is_a_statistic_for_the_permutation_test():
    name = "model.layers.0.mlp.up_proj.weight"
    base = {name: torch.randn(8, 3, generator=torch.Generator().manual_seed(1))}

    def loss_of(weights):
        return float((weights[name] - base[name]).square().sum())

    result = permtest(
        lambda a, b: mode_connectivity(loss_of, a, b),
        {name: -base[name]},
        base,
        trials=9,
        seed=0,
        name="mode_connectivity",
    )
    assert result.statistic == "mode_connectivity"
    assert len(result.null) == 9


def test_a_loss_that_is_no_number_is_a_named_error():
    with pytest.raises(DegenerateError, match=r"the loss is 0\.0 at the models and nan half-way"):
        mode_connectivity(
            lambda p: float("nan") if float(p["x"]) == 0.5 else 0.0, point(0.0), point(1.0)
        )


def test_other_parameters_are_refused():
    with pytest.raises(ArchitectureError, match="equal shapes"):
        midpoint({"x": torch.ones(2)}, {"x": torch.ones(3)})
    with pytest.raises(ArchitectureError, match="not floating point"):
        midpoint({"x": torch.ones(2, dtype=torch.int8)}, {"x": torch.ones(2, dtype=torch.int8)})
