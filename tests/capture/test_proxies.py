"""Every MLP is imitated once for all pairs, and evidence says how well."""

import json
from dataclasses import replace

import pytest
import torch

from provenance import Evidence, Executor, InputsSpec, ModelSpec, Store, compare
from provenance.capture.proxies import ProxyUnits
from provenance.comparison.per_model import PerModel
from provenance.errors import ProvenanceError
from provenance.evidence.decide import decide, decide_blocks
from provenance.vocabulary import DistillSettings, Memory

pytestmark = pytest.mark.slow

QUICK = DistillSettings(steps=500, batch=128, held_out=1024)
FAST = replace(QUICK, steps=20, least_fit=-100.0)
"""Where it does not matter how good the imitations are."""
ALPHA = 1e-6


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("proxies"))


@pytest.fixture
def measure(store, plain_family):
    """Compare two of the family by `generalized`, with a new executor each time."""

    def measure(candidate, reference="base", settings=QUICK, **options):
        named = vars(plain_family)
        folders = [named.get(name, name) for name in (candidate, reference)]
        executor = Executor(store, distillation=settings)
        return compare(*folders, statistic="generalized", executor=executor, **options)

    return measure


def made(store):
    return sum(entry["kind"] == "proxies" for entry in store.journal())


def test_a_permuted_noisy_copy_is_dependent_and_strangers_of_either_kind_are_not(measure):
    assert decide(measure("kin"), ALPHA) == "dependent"
    gated = measure("gated")
    for stranger in (measure("other"), gated):
        assert decide_blocks(stranger.blocks, ALPHA) == "independent"
        assert decide(stranger, ALPHA) == "inconclusive"  # a permuted stream hides a copy from it
    assert gated.candidate.architecture == "LlamaForCausalLM"
    assert [block.units for block in gated.blocks] == [(64, 128), (64, 128)]


def test_gated_mlps_are_compared_too(measure):
    evidence = measure("gated", "gated")
    assert evidence.log10_p < -20
    assert [block.candidate_block for block in evidence.blocks] == [0, 1]


def test_a_model_is_imitated_once_a_role_whatever_the_pairs(measure, store):
    for candidate in ("kin", "other", "gated"):
        measure(candidate)
    before = made(store)
    for candidate in ("kin", "other", "gated"):
        measure(candidate, cross=True)
        measure(candidate, inputs=InputsSpec("hidden"))
    assert made(store) == before
    measure("base", "kin")
    assert made(store) == before + 2  # each in the role that it had not had


def test_a_second_run_computes_nothing(measure, store):
    first = measure("kin", "base")
    computed = store.journal()
    assert measure("kin", "base") == first
    assert store.journal() == computed


def test_other_settings_and_other_seeds_are_other_imitations(measure, store):
    before = made(store)
    for settings in (FAST, replace(FAST, steps=21)):
        for seed in (0, 1):
            measure("kin", settings=settings, inputs=InputsSpec(seed=seed))
    assert made(store) == before + 8


def test_every_block_meets_every_block(measure):
    evidence = measure("kin", cross=True)
    assert evidence.pairing == "cross"
    assert [(a.candidate_block, a.reference_block) for a in evidence.alignment] == [(0, 0), (1, 1)]
    off = [evidence.cross[0][1], evidence.cross[1][0]]
    assert max(evidence.cross[0][0], evidence.cross[1][1]) < -10 < -3 < min(off)


def test_evidence_says_how_mlps_were_imitated_and_how_well(measure):
    evidence = measure("kin")
    assert all(0.8 < fit <= 1 for block in evidence.blocks for fit in block.fits)
    assert [block.live for block in evidence.blocks] == [(128, 128), (128, 128)]
    assert evidence.details["steps"] == 500
    assert evidence.details["least_fit"] == 0.8
    assert evidence.details["distribution"] == "isotropic Gaussian hidden inputs of scale 1"
    assert evidence.inputs.kind == "hidden"
    assert "each MLP was imitated on isotropic Gaussian" in evidence.inputs.note
    assert Evidence.from_json(evidence.to_json()) == evidence


def test_evidence_from_before_there_were_fits_can_be_read(measure):
    evidence = measure("kin")
    fields = json.loads(evidence.to_json())
    for block in fields["blocks"]:
        del block["fits"]
    old = Evidence.from_json(json.dumps(fields))
    assert [replace(block, fits=None) for block in evidence.blocks] == list(old.blocks)


def test_a_block_that_was_imitated_too_badly_is_not_judged(measure, store):
    fits = [min(block.fits) for block in measure("kin").blocks]
    limit = sum(fits) / 2
    assert min(fits) < limit < max(fits)
    before = made(store)
    evidence = measure("kin", settings=replace(QUICK, least_fit=limit))
    assert made(store) == before  # the limit judges what was made and makes nothing
    bad = evidence.blocks[fits.index(min(fits))]
    assert (bad.state, bad.log10_p) == ("degenerate", None)
    assert f"below {limit:g}" in bad.reason
    assert min(bad.fits) == min(fits)
    with pytest.raises(ProvenanceError, match=r"no block could be tested: .*with a fit of 0\.\d+"):
        measure("kin", settings=replace(QUICK, least_fit=1.0))


def test_other_hidden_sizes_are_one_line(measure):
    with pytest.raises(ProvenanceError, match="hidden size 48 and 32") as raised:
        measure("wide", settings=FAST)
    assert "\n" not in str(raised.value)


def test_an_mlp_without_units_to_find_is_a_degenerate_block(measure, tmp_path):
    from fixtures.models import save_checkpoint
    from fixtures.pairs import tiny_gpt2

    model = tiny_gpt2(4)
    torch.nn.init.zeros_(model.transformer.h[1].mlp.c_fc.weight)
    evidence = measure(save_checkpoint(model, tmp_path / "flat"), settings=FAST)
    assert [block.state for block in evidence.blocks] == ["tested", "degenerate"]
    assert evidence.blocks[1].reason == (
        "the candidate: the MLP is an affine map on Gaussian inputs: it has no units to find"
    )


def test_a_block_without_an_mlp_is_skipped_by_name(measure, tmp_path, monkeypatch):
    """No architecture of transformers' own mixes plain MLPs and none: one is taken out."""
    from fixtures.models import save_checkpoint
    from fixtures.pairs import tiny_gpt2
    from provenance.capture import proxies

    def load(checkpoint, *arguments, **options):
        model = original(checkpoint, *arguments, **options)
        if checkpoint.source.endswith("holed"):
            model.transformer.h[0].mlp = torch.nn.Identity()
        return model

    original = proxies.load_model
    monkeypatch.setattr(proxies, "load_model", load)
    evidence = measure(save_checkpoint(tiny_gpt2(5), tmp_path / "holed"), settings=FAST)
    assert [block.candidate_block for block in evidence.blocks] == [1]
    assert evidence.candidate.skipped == {"0": "GPT2Block: LayerNorm, GPT2Attention, Identity"}


def test_proxies_are_what_the_distillation_made(measure, store, plain_family):
    from transformers import AutoModelForCausalLM

    from provenance.architecture.functions import block_callables
    from provenance.statistics.generalized import distil

    measure("kin")
    work = PerModel(store, "auto", lambda _: None, Memory(), FAST)
    checkpoint = Executor(store).checkpoint(ModelSpec(path=str(plain_family.kin)))
    computed = store.journal()
    units = ProxyUnits(work.proxies(checkpoint, QUICK, 0).path, "candidate", "cpu")
    assert store.journal() == computed
    model = AutoModelForCausalLM.from_pretrained(plain_family.kin)
    again = distil(block_callables(model)[1], 32, QUICK, 0)
    assert torch.equal(units.block(1).gate, again.gate)
    assert torch.equal(units.block(1).down, again.down)
    assert units.block(1).fit == again.fit


def test_stages_are_told_in_order(tmp_path, plain_family):
    stages = []
    executor = Executor(Store(tmp_path), on_stage=stages.append, distillation=FAST)
    compare(plain_family.kin, plain_family.base, statistic="generalized", executor=executor)
    actions = list(dict.fromkeys((s.action, s.subject.rpartition("/")[2]) for s in stages))
    assert actions == [
        ("load", "kin"),
        ("distil", "kin"),
        ("load", "base"),
        ("distil", "base"),
        ("match", "base"),
    ]
    assert [(s.done, s.total) for s in stages if s.action == "distil"][:3] == [
        (0, 2),
        (1, 2),
        (2, 2),
    ]


def test_other_statistics_point_here(store, plain_family):
    for statistic in ("match", "kinship", "match_weights"):
        with pytest.raises(ProvenanceError, match="use `statistic: generalized`") as raised:
            compare(
                plain_family.kin,
                plain_family.base,
                statistic=statistic,
                inputs=InputsSpec("random"),
                executor=Executor(store),
            )
        assert "\n" not in str(raised.value)
