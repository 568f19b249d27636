"""What two models share beyond their base: against plain numpy, and of copies and siblings made by hand."""

import json

import numpy as np
import pytest
import torch

from fixtures import transforms
from fixtures.models import save_checkpoint, tiny_llama
from provenance import Executor, Store
from provenance.cli import main
from provenance.comparison.beyond import beyond
from provenance.comparison.plan import comparison
from provenance.differences.given import STRONG, in_weak_directions
from provenance.errors import DegenerateError
from provenance.evidence.verdict import judge_pair
from provenance.suite.read import loads
from provenance.vocabulary import ModelSpec
from tests.differences.test_measure import SIZES
from tests.differences.test_merge import everything

pytestmark = pytest.mark.slow


def slowly(own, other):
    """The same by projectors, one direction at a time."""
    count = min(own.shape) // STRONG
    axes = []
    for axis in (0, 1):
        vectors = []
        for one in (own, other):
            u, _, v = np.linalg.svd(one)
            vectors += list((u.T if axis == 0 else v)[:count])
        basis = np.linalg.svd(np.array(vectors).T, full_matrices=False)[0]
        axes.append(np.eye(len(basis)) - basis @ basis.T)
    a, b = (axes[0] @ one @ axes[1] for one in (own, other))
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()), (a * b).sum() / (b * b).sum()


@pytest.mark.parametrize("shape", [(16, 12), (12, 16), (20, 20)])
def test_weak_directions_are_those_of_plain_numpy(shape):
    rng = np.random.default_rng(3)
    own = rng.normal(size=shape)
    other = own + rng.normal(size=shape)
    found = in_weak_directions(
        torch.from_numpy(own), torch.from_numpy(other), torch.Generator().manual_seed(0)
    )
    assert found == pytest.approx(slowly(own, other), abs=1e-9)


def test_what_only_strong_directions_share_is_not_counted():
    rng = np.random.default_rng(4)
    strong = 20 * np.outer(rng.normal(size=48), rng.normal(size=40))
    own, other = (torch.from_numpy(strong + rng.normal(size=(48, 40))) for _ in range(2))
    assert float((own * other).sum() / (own.norm() * other.norm())) > 0.9
    cosine, _ = in_weak_directions(own, other, torch.Generator().manual_seed(0))
    assert abs(cosine) < 0.15


def test_a_low_rank_has_no_weak_directions():
    low = torch.outer(torch.arange(1.0, 17), torch.arange(1.0, 13)).double()
    full = torch.randn(16, 12, generator=torch.Generator().manual_seed(1)).double()
    generator = torch.Generator().manual_seed(0)
    assert in_weak_directions(low, full, generator) is None
    assert in_weak_directions(full, low, generator) is None
    assert in_weak_directions(full[:, :3], full[:, :3], generator) is None


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    return Executor(Store(tmp_path_factory.mktemp("store")), "cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A base, two siblings by noise, and what is made of the first; folders by name."""
    base = tiny_llama(**SIZES)
    first, second = (transforms.add_noise(base, seed, 0.05) for seed in (1, 2))
    made = {
        "base": base,
        "first": first,
        "second": second,
        "child": transforms.add_noise(first, 3, 0.01),
        "hidden": everything(transforms.add_noise(first, 3, 0.01)),
        "noisy": transforms.add_noise(first, 4, 0.5),
        "adapted": transforms.lora_merge(base, 5, 2, 0.1),
    }
    place = tmp_path_factory.mktemp("models")
    for name, model in made.items():
        save_checkpoint(model, place / name)
    return place


def found(executor, models, candidate, reference="first"):
    specs = [ModelSpec(path=str(models / name)) for name in (candidate, reference, "base")]
    return beyond(*specs, statistic=None, blocks=None, seed=0, executor=executor)


@pytest.mark.parametrize(
    ("candidate", "says"),
    [
        ("child", "more"),
        ("hidden", "more"),
        ("first", "more"),
        ("second", "as siblings"),
        ("noisy", "not known"),
    ],
)
def test_copies_share_more_than_siblings(executor, models, candidate, says):
    made = found(executor, models, candidate)
    assert made.found == says, made
    if says != "as siblings":
        assert 0.7 < made.kept < 1.15, "noise hides the cosine, and not the share"


@pytest.mark.parametrize("pair", [("base", "first"), ("first", "base"), ("adapted", "first")])
def test_what_does_not_differ_from_the_base_by_full_rank_is_refused(executor, models, pair):
    with pytest.raises(DegenerateError, match="differs from the base in nothing"):
        found(executor, models, *pair)


def test_the_command_says_it_or_prints_json(models, tmp_path, capsys):
    asked = ["diff", *(str(models / one) for one in ("child", "first")), "--given"]
    asked += [str(models / "base"), "--store", str(tmp_path / "store")]
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as stop:
            main([*asked, *more])
        assert stop.value.code == 0
    text, line = capsys.readouterr().out.rstrip("\n").rsplit("\n", 1)
    assert "more than siblings share" in " ".join(text.split())
    assert json.loads(line)["found"] == "more"


SUITE = """
version: 1
models:
  base: {{path: {0}/base}}
  first: {{path: {0}/first}}
  child: {{path: {0}/child}}
  second: {{path: {0}/second}}
  stranger: {{path: {0}/stranger}}
pairs:
  - {{candidate: child, reference: first, expect: derived, given: base, id: child}}
  - {{candidate: second, reference: first, expect: independent, given: base, id: sibling}}
  - {{candidate: child, reference: first, expect: independent, given: base, id: not-free}}
  - {{candidate: child, reference: first, expect: derived, given: stranger, id: no-base}}
"""


def test_claims_are_judged_by_what_is_shared(executor, models):
    save_checkpoint(tiny_llama(seed=7, **SIZES), models / "stranger")
    suite = loads(SUITE.format(models), models / "a.suite.yaml")
    judged = {
        one.id: judge_pair(one, executor.evidence(comparison(suite, one))) for one in suite.claims
    }
    states = {name: one.state for name, one in judged.items()}
    assert states == {"child": "holds", "sibling": "holds", "not-free": "fails", "no-base": "fails"}
    assert "child is not found kin to stranger (p = " in judged["no-base"].meaning
