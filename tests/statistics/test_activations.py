"""What an activation does beyond a polynomial is what no other units can do."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.statistics._activations import activation_of, beyond
from tests import reference

EVEN = ["SiLUActivation", "GELUActivation", "GELUTanh", "QuickGELUActivation", "ReLU", "Hardswish"]
ODD = ["Sigmoid", "Tanh", "ReLUSquaredActivation"]


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([*EVEN, *ODD]),
    st.integers(0, 2**20),
    st.floats(0.1, 30),
    st.floats(-3, 3),
    st.integers(20, 200),
)
def test_it_is_what_is_left_by_the_best_polynomial(name, seed, scale, shift, inputs):
    z = draw(inputs, 3, seed=seed) * scale + shift
    known = activation_of(name)
    expected = reference.beyond(z.numpy(), known.function(z).numpy(), known.degree)
    np.testing.assert_allclose(beyond(z, known).numpy(), expected, rtol=1e-5, atol=1e-7 * scale**2)


@pytest.mark.parametrize(("name", "sign"), [*((n, 1) for n in EVEN), *((n, -1) for n in ODD)])
def test_a_negated_gate_does_the_same_or_the_opposite(name, sign):
    known, z = activation_of(name), draw(300, 4, seed=1)
    torch.testing.assert_close(beyond(-z, known), sign * beyond(z, known))


@pytest.mark.parametrize("name", ["SiLUActivation", "GELUActivation"])
def test_a_short_gate_does_next_to_nothing(name):
    known, z = activation_of(name), draw(300, 4, seed=2)
    done = beyond(z, known).norm()
    assert beyond(1e-3 * z, known).norm() / 1e-3 < 1e-2 * done
    assert beyond(z + 100, known).norm() < 1e-2 * done


def test_answers_that_take_one_value_or_two_leave_nothing():
    z = torch.tensor([[2.0, 0.0, 1.0], [2.0, 0.0, -1.0]] * 20)
    for name in (*EVEN, *ODD):
        known = activation_of(name)
        made = beyond(z, known)
        assert torch.isfinite(made).all()
        assert made[:, :2].abs().max() < 1e-12
        assert known.degree == 0 or made.abs().max() < 1e-12


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("silu", "SiLUActivation"),
        ("sigmoid+mul", "SiLUActivation"),
        ("gelu", "GELUActivation"),
        ("relu+pow", "ReLUSquaredActivation"),
        ("something of its own", "SiLUActivation"),
    ],
)
def test_names_of_classes_and_of_operations_are_known(name, like):
    assert activation_of(name) == activation_of(like)


def test_every_activation_of_transformers_has_a_function_that_takes_its_answers():
    from transformers.activations import ACT2CLS

    kinds = {cls[0] if isinstance(cls, tuple) else cls for cls in ACT2CLS.values()}
    for kind in kinds:
        assert torch.isfinite(beyond(draw(50, 2, seed=3), activation_of(kind.__name__))).all()
