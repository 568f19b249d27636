"""The point that the most intervals cover: against trying every end of one."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from provenance.differences.atoms import atom
from tests import reference

WHOLE = st.integers(-20, 20)


@given(st.lists(st.tuples(WHOLE, st.integers(0, 6)), min_size=1, max_size=25))
def test_an_atom_is_where_the_most_intervals_overlap(intervals):
    values, errors = (
        torch.tensor(one, dtype=torch.float64) for one in zip(*intervals, strict=True)
    )
    point, covered = atom(values, errors)
    assert covered == reference.most_overlapping(values.tolist(), errors.tolist())
    assert int(((values - point).abs() <= errors).sum()) == covered


def test_a_shared_value_stands_out_of_others():
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(1000, dtype=torch.float64, generator=generator)
    shared = 0.7 + 1e-6 * torch.randn(100, dtype=torch.float64, generator=generator)
    point, covered = atom(
        torch.cat([spread, shared]), torch.full((1100,), 1e-5, dtype=torch.float64)
    )
    assert abs(point - 0.7) < 1e-5
    assert 100 <= covered <= 102
