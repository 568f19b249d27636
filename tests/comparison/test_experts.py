"""Blocks of several MLPs: each of the one meets each of the other, and the choice is paid for."""

import json
import math

import pytest
import torch
import transformers
from scipy.stats import binom

from fixtures import transforms
from fixtures.models import TINY, save_checkpoint, tiny_llama, tiny_model
from provenance import compare
from provenance.architecture.units import MLPActivations, MLPShape
from provenance.capture.units import Shape
from provenance.comparison.blocks import compare_blocks
from provenance.comparison.executor import Executor
from provenance.comparison.experts import partners
from provenance.comparison.limits import FURTHER, PARTNERS
from provenance.comparison.sides import KEPT_BYTES, Component, Sides
from provenance.errors import ProvenanceError
from provenance.evidence.records import Evidence
from provenance.statistics._directions import Glimpse
from provenance.statistics.match import glimpse, match, prepare
from provenance.store.store import Store
from provenance.vocabulary import InputsSpec

pytestmark = pytest.mark.slow

INPUTS = InputsSpec("random", tokens=512, sequence_length=64)
EXPERTS = 3
TOKENS, HIDDEN, UNITS = 96, 16, 20


def mixtral(seed):
    sizes = {**TINY, "num_key_value_heads": 4}
    experts = {"num_local_experts": EXPERTS, "num_experts_per_tok": 2}
    return tiny_model(transformers.MixtralConfig(**sizes, **experts), seed)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders by name, and the base mixture with its descendant."""
    base, dense = mixtral(0), tiny_llama(0)
    units = transforms.permute_traced_units(base, seed=1)
    kin = transforms.add_noise(transforms.permute_experts(units, seed=5), seed=2, scale=0.1)
    upcycled = transforms.add_noise(transforms.upcycle(dense, 4, seed=3), seed=4, scale=0.1)
    made = {
        "base": base,
        "kin": kin,
        "stranger": mixtral(1),
        "dense": dense,
        "upcycled": upcycled,
        "plain": tiny_model(transformers.GPTNeoXConfig(**TINY), 0),
        "plain-kin": transforms.add_noise(
            tiny_model(transformers.GPTNeoXConfig(**TINY), 0), seed=1, scale=0.1
        ),
        "plain-stranger": tiny_model(transformers.GPTNeoXConfig(**TINY), 1),
    }
    root = tmp_path_factory.mktemp("experts")
    folders = {name: save_checkpoint(model, root / name) for name, model in made.items()}
    return folders, {"base": base, "kin": kin}


@pytest.fixture(scope="module")
def measure(models, tmp_path_factory):
    executor = Executor(Store(tmp_path_factory.mktemp("store")))

    def run(candidate, reference, statistic="kinship"):
        folders, _ = models
        found = folders[candidate], folders[reference]
        return compare(*found, inputs=INPUTS, statistic=statistic, executor=executor)

    return run


def where_experts_went(models, block):
    """Of each expert of the descendant, the base's whose gate's and up's row norms it has."""

    def norms(model):
        rows = model.model.layers[block].mlp.experts.gate_up_proj.norm(dim=2)
        return rows.sort(dim=1).values

    apart = torch.cdist(norms(models["kin"]), norms(models["base"]))
    return apart.argmin(dim=1).tolist()


@pytest.mark.parametrize("statistic", ["kinship", "match", "match_weights"])
def test_each_expert_is_found_wherever_it_went(models, measure, statistic):
    evidence = measure("kin", "base", statistic)
    assert len(evidence.blocks) == 2
    orders = [where_experts_went(models[1], block) for block in range(2)]
    assert any(order != sorted(order) for order in orders)
    for block, order in zip(evidence.blocks, orders, strict=True):
        assert sorted(order) == list(range(EXPERTS))
        assert [expert.candidate for expert in block.experts] == [
            f"expert {number}" for number in range(EXPERTS)
        ]
        assert [expert.reference for expert in block.experts] == [f"expert {n}" for n in order]
        assert all(expert.log10_p < -20 for expert in block.experts)
        ours, theirs = (int(label.split()[1]) for label in block.mlps)
        assert order[ours] == theirs


def test_strangers_have_no_kin_among_their_experts(measure):
    for block in measure("stranger", "base").blocks:
        assert block.log10_p > -3
        assert all(expert.log10_p > -3 for expert in block.experts)


def test_a_block_pays_for_all_pairs_and_an_expert_for_its_row(measure):
    evidence = measure("stranger", "base", "match")
    assert evidence.pairing == "index-first"
    for block in evidence.blocks:
        best = min(expert.log10_p for expert in block.experts)
        # and the block for its choice between two partners
        assert block.log10_p == pytest.approx(min(0.0, best + math.log10(2 * EXPERTS)))


def test_an_upcycled_mixture_is_kin_of_the_dense_model_in_all_experts(measure):
    for candidate, reference in (("upcycled", "dense"), ("dense", "upcycled")):
        evidence = measure(candidate, reference)
        assert {len(block.experts) for block in evidence.blocks} == {
            4 if candidate == "upcycled" else 1
        }
        for block in evidence.blocks:
            assert block.mlps[candidate == "upcycled"] == "MLP"
            assert all(expert.log10_p < -20 for expert in block.experts)
    assert measure("stranger", "dense").log10_p > -3


def test_evidence_of_experts_survives_json(measure):
    evidence = measure("kin", "base")
    assert Evidence.from_json(evidence.to_json()) == evidence
    assert json.loads(evidence.to_json())["blocks"][0]["experts"][2]["candidate"] == "expert 2"


def test_experts_are_imitated_one_by_one(measure, quick_distillation):
    del quick_distillation
    evidence = measure("kin", "base", "generalized")
    assert {len(block.experts) for block in evidence.blocks} == {EXPERTS}


@pytest.mark.parametrize("statistic", ["csu", "csh"])
def test_the_constrained_tests_need_no_gate(measure, statistic):
    assert measure("plain-kin", "plain", statistic).log10_p < -50
    assert measure("plain-stranger", "plain", statistic).log10_p > -3


@pytest.mark.parametrize("pair", [("plain", "dense"), ("dense", "plain")])
@pytest.mark.parametrize("statistic", ["kinship", "match", "match_weights"])
def test_plain_against_gated_says_in_a_line_what_to_use(measure, pair, statistic):
    with pytest.raises(ProvenanceError) as raised:
        measure(*pair, statistic)
    assert str(raised.value).endswith("use `statistic: generalized`")
    assert "\n" not in str(raised.value)


class Mixture:
    """Blocks of random experts, independent of all others, on hidden states that all share."""

    def __init__(self, seed, blocks=1, experts=3):
        self._seed, self.reads = seed, 0
        shapes = tuple(MLPShape(f"expert {number}", UNITS) for number in range(experts))
        self.shape = Shape("Mixture", blocks, dict.fromkeys(range(blocks), shapes), {}, "float32")

    def block(self, index, place=0):
        self.reads += 1
        inputs = torch.Generator().manual_seed(7)
        weights = torch.Generator().manual_seed(10_000 * self._seed + 100 * index + place)
        x = torch.randn(TOKENS, HIDDEN, generator=inputs)
        gate, up = (x @ torch.randn(HIDDEN, UNITS, generator=weights) for _ in range(2))
        return MLPActivations(gate, up)


def test_false_positives_are_no_more_than_the_level():
    """The choice of the best of nine pairs costs no validity."""
    pairs = 120
    small = 0
    for seed in range(pairs):
        sides = Mixture(2 * seed + 1), Mixture(2 * seed + 2)
        table = compare_blocks([Component("match", match, *sides, prepare)], "same-index", 0)
        small += table.blocks[0].log10_p < -1
    assert small <= binom.ppf(0.999, pairs, 0.1)


def test_each_expert_is_read_and_prepared_once():
    sides = Mixture(1, blocks=2), Mixture(2, blocks=2)
    compare_blocks([Component("match", match, *sides, prepare)], "same-index", 0)
    assert [side.reads for side in sides] == [6, 6]


class Descendant(Mixture):
    """Every expert of a mixture, noisy, in an order of its own."""

    def __init__(self, parent, order, noise=0.3):
        super().__init__(parent._seed, experts=len(order))
        self._order, self._noise = order, noise

    def block(self, index, place=0):
        found = super().block(index, self._order[place])
        noise = torch.Generator().manual_seed(place)
        units = torch.randperm(UNITS, generator=noise)
        gate, up = (
            (x + self._noise * x.std() * torch.randn(x.shape, generator=noise))[:, units]
            for x in (found.gate, found.up)
        )
        return MLPActivations(gate, up)


def many(candidate, reference, *, choose):
    part = Component("match", match, candidate, reference, prepare, glimpse if choose else None)
    return compare_blocks([part], "same-index", 0).blocks[0]


def test_of_many_experts_those_that_are_tested_hold_the_kin():
    base = Mixture(1, experts=40)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1)).tolist()
    chosen, everyone = (
        many(Descendant(base, order), base, choose=choose) for choose in (True, False)
    )
    assert [expert.reference for expert in chosen.experts] == [f"expert {e}" for e in order]
    assert chosen.experts == everyone.experts
    assert chosen == everyone


@pytest.mark.parametrize(("suspicious", "partners_each"), [(FURTHER, 1), (1.1, PARTNERS)])
def test_the_choice_of_experts_tests_few_and_pays_for_all(monkeypatch, suspicious, partners_each):
    """Of strangers each meets its likeliest partner, and others where that makes suspicious."""
    monkeypatch.setattr("provenance.comparison.sides.FURTHER", suspicious)
    tested = []

    def counted(candidate, reference, *, seed):
        tested.append(match(candidate, reference, seed=seed))
        return tested[-1]

    sides = Mixture(1, experts=40), Mixture(2, experts=40)
    part = Component("match", counted, *sides, prepare, glimpse)
    block = compare_blocks([part], "same-index", 0).blocks[0]
    assert len(tested) == 40 * partners_each
    least = min(result.log10_p for result in tested)
    assert block.log10_p == pytest.approx(min(0.0, least + math.log10(40 * 40)))
    assert all(side.reads == 40 for side in sides)


def test_a_plain_expert_among_many_is_told_why():
    class Plain(Mixture):
        def block(self, index, place=0):
            found = super().block(index, place)
            return MLPActivations(None, found.up) if place == 3 else found

    block = many(Plain(1, experts=20), Mixture(1, experts=20), choose=True)
    assert block.experts[3].log10_p is None
    assert block.experts[4].reference == "expert 4"
    assert block.untested == ("expert 3 of the candidate",)


class Steered(Descendant):
    """The same, with idle units beside its own that stick out as the expert itself does not."""

    def __init__(self, parent, order, idle, strength=1.0):
        super().__init__(parent, order)
        self._idle, self._strength = idle, strength
        self.shape = Shape(
            "Mixture",
            1,
            {0: tuple(MLPShape(f"expert {e}", UNITS * (1 + idle)) for e in range(len(order)))},
            {},
            "float32",
        )

    def block(self, index, place=0):
        found = super().block(index, place)
        sides = []
        for own in (found.gate, found.up):
            # answers along which the expert does least: what a mean over its units is steered by
            least = torch.linalg.svd(own, full_matrices=False).U[:, -self._idle :]
            idle = least.repeat(1, UNITS) * own.std() * self._strength
            sides.append(torch.cat([own, idle], dim=1))
        return MLPActivations(*sides)


@pytest.mark.parametrize(("idle", "strength"), [(2, 1.0), (2, 30.0), (6, 3.0)])
def test_idle_units_do_not_steer_the_choice_of_experts(idle, strength):
    """They did, by the mean over all of an expert's units: the true partner was the least alike."""
    base = Mixture(1, experts=24)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1)).tolist()
    part = Component("match", match, Steered(base, order, idle, strength), base, prepare, glimpse)
    sides = Sides(part, 0, KEPT_BYTES)
    chosen = sides.promising(0, 0, glimpse)
    assert all((place, partner) in chosen for place, partner in enumerate(order))


def test_decoys_of_other_experts_leave_the_true_partner_among_the_chosen():
    """Idle units of eight others beside an expert's own: it is alike to all nine, to its own in full."""
    base = [prepare(Mixture(1, experts=24).block(0, e), "reference", 0) for e in range(24)]
    glimpses = [glimpse(side) for side in base]
    parts = [glimpses[e] for e in (3, *range(10, 17))]
    decoyed = Glimpse(*(torch.cat([getattr(g, name) for g in parts]) for name in ("gate", "up")))
    assert (0, 3) in partners([decoyed], glimpses)
