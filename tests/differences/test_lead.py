"""How much nearer a model is to one of two kin: against plain numpy, and of children and siblings."""

import shutil
from statistics import median

import numpy as np
import pytest
from safetensors.numpy import load_file

from fixtures import transforms
from fixtures.models import save_checkpoint, tiny_llama
from provenance import Executor, InputsSpec, Store, fingerprint, identify
from provenance.comparison.aligned import side_of
from provenance.differences.lead import lead_of
from provenance.errors import DegenerateError
from provenance.evidence.leads import LEAD_OF_SIBLINGS
from provenance.vocabulary import ModelSpec
from tests import reference
from tests.differences.test_measure import SIZES
from tests.differences.test_merge import everything

pytestmark = pytest.mark.slow

INPUTS = InputsSpec(tokens=256, sequence_length=64)


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    return Executor(Store(tmp_path_factory.mktemp("store")), "cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A base, siblings by noise, children of the first, and an adapter on it; folders by name."""
    base = tiny_llama(**SIZES)
    first, second, third = (transforms.add_noise(base, seed, 0.05) for seed in (1, 2, 3))
    made = {
        "base": base,
        "first": first,
        "second": second,
        "third": third,
        "child": transforms.add_noise(first, 4, 0.02),
        "distant": transforms.add_noise(first, 5, 0.1),
        "hidden": everything(transforms.add_noise(first, 4, 0.02)),
        "adapted": transforms.lora_merge(first, 6, 2, 0.1),
        "adapter": transforms.lora_merge(base, 6, 2, 0.05),
        "near": transforms.add_noise(base, 9, 0.02),
    }
    place = tmp_path_factory.mktemp("models")
    for name, model in made.items():
        save_checkpoint(model, place / name)
    shutil.copytree(place / "first", place / "copy")
    return place


@pytest.fixture
def lead(executor, models):
    def lead(*names):
        checkpoints = [executor.checkpoint(ModelSpec(path=str(models / name))) for name in names]
        model, *kin = (side_of(one, executor.work) for one in checkpoints)
        blocks = {index: index for index in range(checkpoints[0].blocks)}
        return lead_of(model, *((one, blocks) for one in kin))

    return lead


def matrices(folder):
    found = load_file(folder / "model.safetensors")
    return {name: one for name, one in found.items() if ".layers." in name and one.ndim > 1}


def test_numbers_are_those_of_plain_numpy(lead, models):
    own, first, second = (matrices(models / name) for name in ("child", "first", "second"))
    found = lead("child", "first", "second")
    slow = [reference.lead(own[n].astype(float), first[n], second[n]) for n in own]
    assert found.lead == pytest.approx(median(slow), abs=1e-4)
    assert found.matrices == len(slow)
    index, near, far = found.blocks[0]
    for value, other in ((near, first), (far, second)):
        sizes = [
            np.linalg.norm(own[n] - other[n]) / np.linalg.norm(other[n])
            for n in own
            if f".layers.{index}." in n
        ]
        assert value == pytest.approx(median(sizes), rel=1e-3)


@pytest.mark.parametrize("model", ["child", "hidden"])
@pytest.mark.parametrize("second", ["second", "base"])
def test_a_child_is_nearer_to_its_parent_than_siblings_are(lead, model, second):
    found = lead(model, "first", second)
    assert found.found == "nearer", found
    assert found.weak == pytest.approx(1, abs=0.2)
    assert found.agreeing == len(found.blocks)


@pytest.mark.parametrize("second", ["second", "base"])
def test_the_lead_of_a_parent_is_one_however_far_a_child_has_moved(lead, second):
    found = lead("distant", "first", second)
    assert found.lead == pytest.approx(1, abs=0.05)
    # its own movement is in the directions that are taken out, so that less is told than is so
    assert 0.4 < found.weak < found.lead
    assert found.found == "not told"


def test_the_second_takes_the_place_of_the_first(lead):
    one, other = lead("child", "first", "second"), lead("child", "second", "first")
    assert (one.found, other.found) == ("nearer", "farther")
    assert other.lead == pytest.approx(-one.lead, abs=1e-6)
    assert other.distances == pytest.approx(one.distances[::-1])


def test_of_a_sibling_of_both_nothing_is_told(lead):
    found = lead("third", "first", "second")
    assert found.found == "not told"
    assert abs(found.weak) < 0.2


def test_a_sibling_of_an_adapter_is_not_told_as_nearer_to_it_where_their_base_is_missing(lead):
    found = lead("near", "adapter", "second")
    assert found.low > LEAD_OF_SIBLINGS, "without its strong directions the adapter is the base"
    assert abs(found.lead) < 0.1
    assert found.found == "not told"


def test_a_difference_of_low_rank_tells_nothing_and_none_is_refused(lead):
    found = lead("child", "first", "adapted")
    assert (found.weak, found.low, found.found) == (None, None, "not told")
    assert found.lead == pytest.approx(1, abs=0.2)
    with pytest.raises(DegenerateError, match="differ in nothing"):
        lead("child", "first", "copy")


def test_a_search_says_how_much_nearer_and_keeps_it(executor, models):
    named = [models / name for name in ("first", "second", "base", "adapted", "third")]
    found = identify(models / "child", named, inputs=INPUTS, executor=executor)
    assert len(found.kin) == 5
    assert len(found.leads) == 3, "of the few nearest alone"
    others = [one.other for one in found.leads]
    assert others == [one.name for one in found.kin[1:4]]
    before = len(executor.store.journal())
    again = identify(models / "child", named, inputs=INPUTS, executor=executor)
    assert again.leads == found.leads
    assert len(executor.store.journal()) == before


def test_of_a_fingerprint_it_is_said_to_be_unknown(executor, models, tmp_path):
    file = tmp_path / "second.safetensors"
    fingerprint(models / "second", file, inputs=INPUTS, executor=executor)
    found = identify(models / "child", [models / "first", file], inputs=INPUTS, executor=executor)
    (only,) = found.leads
    assert only.lead is None
    assert "is a fingerprint, which holds no weights" in only.words("first")
