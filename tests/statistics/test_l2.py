"""`l2` against the sum written out; what it refuses, and what it reads."""

import weakref
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.errors import ArchitectureError, DegenerateError
from provenance.statistics.l2 import l2
from tests.support.reference_weights import l2 as reference_l2


def parameters(seed, shapes=((3, 4), (5,), (2, 2))):
    generator = torch.Generator().manual_seed(seed)
    return {f"p{k}": torch.randn(s, generator=generator) for k, s in enumerate(shapes)}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3), min_size=1, max_size=4),
    st.integers(0, 2**31),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
)
def test_agrees_with_the_sum_written_out(shapes, seed, dtype):
    a, b = ({k: v.to(dtype) for k, v in parameters(seed + i, shapes).items()} for i in range(2))
    arrays = [{k: v.double().numpy() for k, v in side.items()} for side in (a, b)]
    result = l2(a, b)
    assert result == pytest.approx(reference_l2(*arrays), rel=1e-12)


def test_equal_models_have_no_distance_and_nearer_is_larger():
    a = parameters(1)
    assert str(l2(a, a)) == "0.0"
    near, far = ({k: v + step for k, v in a.items()} for step in (0.1, 0.2))
    assert l2(far, a) < l2(near, a) < 0


def test_a_long_tensor_is_summed_in_pieces(monkeypatch):
    a, b = parameters(1), parameters(2)
    whole = l2(a, b)
    monkeypatch.setattr("provenance.statistics._paired_parameters._CHUNK", 3)
    assert l2(a, b) == pytest.approx(whole, rel=1e-15)


def test_small_differences_of_bfloat16_are_not_lost():
    a = {"w": torch.full((1000, 1000), 256.0, dtype=torch.bfloat16)}
    b = {"w": torch.full((1000, 1000), 258.0, dtype=torch.bfloat16)}
    assert l2(a, b) == -2000.0


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_not_a_number_names_the_parameter(bad):
    a = parameters(1)
    a["p1"][2] = bad
    with pytest.raises(DegenerateError, match="'p1' holds NaN or infinity"):
        l2(a, parameters(2))


def test_other_names_are_listed_up_to_three():
    a = parameters(1) | {f"x{k}": torch.ones(1) for k in range(4)}
    with pytest.raises(
        ArchitectureError, match=r"4 are in one alone: x0 \(.*\), x1 .*, x2 .*, \.\."
    ):
        l2(a, parameters(1))
    with pytest.raises(ArchitectureError, match=r"x0 \(the reference alone\)"):
        l2(parameters(1), a)
    with pytest.raises(ArchitectureError, match="neither model"):
        l2({}, {})


def test_other_shapes_are_listed_up_to_three():
    a, b = (parameters(1, [(k + offset,) for k in range(1, 6)]) for offset in (0, 1))
    with pytest.raises(ArchitectureError, match=r"p0 \(1,\) and \(2,\), p1 .*, p2 ") as caught:
        l2(a, b)
    assert "p3" not in str(caught.value)


def test_no_more_than_a_pair_of_tensors_is_held():
    alive, most = set(), []

    class Lazy(Mapping):
        def __getitem__(self, name):
            tensor = torch.full((3,), float(name))
            key = object()
            alive.add(key)
            weakref.finalize(tensor, alive.discard, key)
            most.append(len(alive))
            return tensor

        def __iter__(self):
            return iter("01234")

        def __len__(self):
            return 5

    assert l2(Lazy(), Lazy()) == 0
    assert max(most) == 2
    assert len(most) == 10


def test_inputs_stay_as_they_were():
    a, b = parameters(1), parameters(2)
    l2(a, b)
    for name, tensor in parameters(1).items():
        assert np.array_equal(a[name].numpy(), tensor.numpy())
