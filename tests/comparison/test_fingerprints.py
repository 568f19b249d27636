"""Two models are compared by what one's owner, or both, passed on, and no weights."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy import stats

from fixtures import transforms
from fixtures.models import TINY, save_checkpoint, tiny_model
from provenance import (
    Evidence,
    Executor,
    InputsSpec,
    ModelSpec,
    Store,
    compare,
    fingerprint,
    verify,
)
from provenance.architecture.units import LinearMap, MLPFactors
from provenance.checkpoints.fingerprint_file import KEY, Fingerprint, read_fingerprint
from provenance.cli import main
from provenance.cluster import run_plan
from provenance.comparison.fingerprints import serves
from provenance.comparison.plan import Comparison, Plan
from provenance.errors import BundleError, ProvenanceError, SourceError
from provenance.gate.verify import read_stored
from provenance.statistics._sketch import Sketcher
from provenance.statistics.match import match
from tests import reference

pytestmark = pytest.mark.slow

INPUTS = InputsSpec(tokens=512, sequence_length=64)
RANDOM = replace(INPUTS, kind="random")
DIGEST = "sha256:" + "ab" * 32


def draw(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mlp(seed, units=48, tokens=256, hidden=24, inputs=7):
    gate, up, down = (draw(units, hidden, seed=10 * seed + k) for k in range(3))
    fed = draw(tokens, hidden, seed=inputs)
    return MLPFactors(fed, LinearMap(gate), LinearMap(up), lambda: down)


def renumbered(side, order):
    gate, up = (LinearMap(x.weight[order]) for x in (side.gate, side.up))
    return MLPFactors(side.inputs, gate, up, lambda: side.down()[order])


# what a sketch is


@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    tokens=st.integers(24, 60),
    hidden=st.integers(12, 30),
    columns=st.integers(1, 9),
)
def test_a_sketch_is_the_answers_along_random_signs(seed, tokens, hidden, columns):
    side = mlp(seed, units=5, tokens=tokens, hidden=hidden, inputs=seed + 1)
    found = Sketcher(DIGEST, tokens, columns).of(side)
    answers = side.dense()
    for name in ("gate", "up"):
        slow = reference.sketch(getattr(answers, name).double().numpy(), DIGEST, columns)
        assert np.allclose(getattr(found, name).numpy(), slow, atol=1e-3)
    assert found.live.tolist() == list(range(5))


def test_the_signs_are_the_same_on_every_machine_and_of_fewer_columns_the_first():
    signs = Sketcher(DIGEST, 100, 32).matrix()
    assert signs.shape == (100, 32)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(Sketcher(DIGEST, 100, 8).matrix(), signs[:, :8])
    assert not torch.equal(Sketcher("sha256:" + "cd" * 32, 100, 32).matrix(), signs)
    first = "".join("+" if sign > 0 else "-" for sign in signs[:16, 0].tolist())
    assert first == GOLDEN
    balance = Sketcher(DIGEST, 4096, 64).matrix().mean()
    assert abs(float(balance)) < 4 / (4096 * 64) ** 0.5


GOLDEN = "++++--++--++++--"


def test_a_sketch_follows_a_renumbering_of_the_units():
    side, order = mlp(1), torch.randperm(48, generator=torch.Generator().manual_seed(3))
    sketcher = Sketcher(DIGEST, 256, 16)
    before, after = sketcher.of(side), sketcher.of(renumbered(side, order))
    for name in ("gate", "up", "share"):
        assert torch.allclose(getattr(after, name), getattr(before, name)[order], atol=1e-5)


def test_dead_units_leave_no_trace():
    side = mlp(1)
    side.up.weight[5] = 0
    found = Sketcher(DIGEST, 256, 16).of(side)
    assert 5 not in found.live.tolist()
    assert len(found.live) == len(found.gate) == len(found.up) == 47


def test_whole_answers_are_compared_as_models_are():
    whole = Sketcher(DIGEST, 256, None)
    a = mlp(1)
    b = renumbered(a, torch.randperm(48, generator=torch.Generator().manual_seed(3)))
    b.up.weight.add_(0.5 * draw(48, 24, seed=5))
    sides = [
        whole.prepare(whole.of(x), role, 0) for x, role in ((a, "candidate"), (b, "reference"))
    ]
    assert match(*sides).log10_p == pytest.approx(match(a, b).log10_p)
    mixed = match(sides[0], whole.prepare(b, "reference", 0))
    assert mixed.log10_p == pytest.approx(match(a, b).log10_p)


def test_two_sketches_meet_on_the_columns_that_both_have():
    a = mlp(1)
    b = renumbered(a, torch.randperm(48, generator=torch.Generator().manual_seed(3)))
    few = Sketcher(DIGEST, 256, 16)
    for wide in (Sketcher(DIGEST, 256, 64), Sketcher(DIGEST, 256, None)):
        ours = few.prepare(wide.of(a), "candidate", 0)
        same = few.prepare(few.of(a), "candidate", 0)
        assert torch.allclose(ours.gate, same.gate, atol=1e-4)
        assert match(ours, few.prepare(few.of(b), "reference", 0)).agreeing() == 48


# how it errs and what it finds


@pytest.mark.parametrize("columns", [16, 64])
def test_p_values_of_independent_mlps_are_uniform(columns):
    sketcher = Sketcher(DIGEST, 128, columns)
    made = [sketcher.of(mlp(seed, units=32, tokens=128)) for seed in range(28)]
    found = [
        match(sketcher.prepare(a, "candidate", i), sketcher.prepare(b, "reference", i)).log10_p
        for i, a in enumerate(made)
        for b in made[:i]
    ]
    assert len(found) == 378
    for level in (0.05, 0.01):
        positives = sum(p <= np.log10(level) for p in found)
        assert stats.binomtest(positives, len(found), level, alternative="greater").pvalue > 0.01
    assert stats.kstest([10.0**p for p in found], "uniform").pvalue > 0.01


@pytest.mark.parametrize(("columns", "least"), [(16, -10), (64, -20), (None, -20)])
def test_a_noisy_disguised_copy_is_found(columns, least):
    sketcher = Sketcher(DIGEST, 256, columns)
    for seed in range(5):
        a = mlp(seed)
        b = renumbered(a, torch.randperm(48, generator=torch.Generator().manual_seed(seed)))
        b.up.weight.mul_(-3.0)
        for x in (b.gate, b.up):
            x.weight.add_(0.2 * x.weight.std() * draw(48, 24, seed=100 + seed))
        sides = zip((a, b), ("candidate", "reference"), strict=True)
        sides = [sketcher.prepare(sketcher.of(x), role, seed) for x, role in sides]
        assert match(*sides).log10_p < least


# bundles in the place of models


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def bundles(family, store, tmp_path_factory):
    """A factory of bundles of the family, each made once."""
    root = tmp_path_factory.mktemp("bundles")
    made = {}

    def make(model, **how):
        key = (model, repr(sorted(how.items())))
        if key not in made:
            file = root / f"{model}-{len(made)}.safetensors"
            options = {"inputs": INPUTS, "sketch": 64, "executor": Executor(store)} | how
            fingerprint(getattr(family, model), file, **options)
            made[key] = file
        return made[key]

    return make


def measured(store, candidate, reference, **how):
    return compare(candidate, reference, executor=Executor(store), **how)


@pytest.mark.parametrize("sides", ["candidate", "reference", "both"])
def test_kin_are_found_and_strangers_are_not(family, bundles, store, sides):
    for name, kin in (("kin", True), ("other", False)):
        ours = family.__dict__[name] if sides == "reference" else bundles(name)
        theirs = family.base if sides == "candidate" else bundles("base")
        evidence = measured(store, ours, theirs)
        assert len(evidence.tested()) == 3
        assert evidence.log10_p < -100 if kin else evidence.log10_p > -3


def test_a_pair_of_other_depth_meets_its_best_partners(family, bundles, store):
    evidence = measured(store, bundles("short"), family.base)
    assert evidence.pairing == "best-of-reference"
    assert [block.reference_block for block in evidence.blocks] == [1, 2]
    crossed = measured(store, bundles("short"), bundles("base"), cross=True)
    aligned = [(a.candidate_block, a.reference_block) for a in crossed.alignment]
    assert aligned == [(0, 1), (1, 2)]


def test_a_narrower_model_is_found_with_its_units(family, store, tmp_path):
    small = transforms.prune_width(
        transformers.AutoModelForCausalLM.from_pretrained(family.base), 40
    )
    folder = save_checkpoint(small, tmp_path / "small")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((family.base / name).read_bytes())
    file = tmp_path / "small.safetensors"
    fingerprint(folder, file, inputs=INPUTS, sketch=128, executor=Executor(store))
    evidence = measured(store, file, family.base)
    exact = measured(store, folder, family.base, inputs=INPUTS, statistic="match")
    assert [block.units for block in evidence.blocks] == [(40, 64)] * 3
    assert evidence.log10_p < -60
    assert abs(evidence.log10_p - exact.log10_p) < 0.2 * abs(exact.log10_p)


def test_whole_answers_give_what_the_models_give(family, bundles, store):
    exact = measured(store, family.kin, family.base, inputs=INPUTS, statistic="match")
    for evidence in (
        measured(store, bundles("kin", sketch=None), family.base),
        measured(store, family.kin, bundles("base", sketch=None)),
        measured(store, bundles("kin", sketch=None), bundles("base", sketch=None)),
    ):
        assert evidence.log10_p == pytest.approx(exact.log10_p, rel=1e-3)
        assert evidence.details["compared"] == "whole answers"


def test_evidence_says_what_was_compared_and_whose_word_it_is(family, bundles, store):
    wide, narrow = bundles("kin", sketch=128, name="ours"), bundles("base")
    evidence = measured(store, wide, narrow)
    run = Executor(store)
    kin = run.checkpoint(ModelSpec(path=str(family.kin)))
    ours = evidence.candidate
    assert ours.source == "fingerprint of ours"
    assert ours.claimed == kin.digest
    assert ours.digest == "sha256:" + store.sha256(wide)
    assert ours.weights_digest is None
    assert (ours.architecture, ours.blocks) == ("LlamaForCausalLM", 3)
    assert evidence.details == {
        "power control": "not run",
        "compared": "sketches of 64",
        "candidate_fingerprint": f"sketch of 128, said to be of {kin.digest}",
        "reference_fingerprint": f"sketch of 64, said to be of {evidence.reference.claimed}",
    }
    alone = measured(store, family.kin, family.base, inputs=INPUTS, statistic="match")
    assert evidence.inputs == replace(alone.inputs, distinct=None)
    assert Evidence.from_json(evidence.to_json()) == evidence


def test_stored_evidence_can_be_verified(bundles, store, tmp_path):
    kept = tmp_path / "kept.json"
    evidence = measured(store, bundles("kin"), bundles("base"))
    kept.write_text(evidence.to_json())
    (stored,) = read_stored(kept)
    assert all(found.stands for found in verify(stored))


def test_a_comparison_is_measured_once_and_anew_for_another_bundle(family, store, tmp_path):
    file = tmp_path / "moving.safetensors"
    found = []
    for name in ("base", "other"):
        fingerprint(
            getattr(family, name), file, inputs=INPUTS, name="same", executor=Executor(store)
        )
        before = len(store.journal())
        found.append(measured(store, family.kin, file).log10_p)
        again = measured(store, family.kin, file)
        assert again.log10_p == found[-1]
        made = [entry["kind"] for entry in store.journal()[before:]]
        assert made.count("evidence") == 1
    assert found[0] < -100
    assert found[1] > -3


def test_a_plan_captures_the_model_alone(family, bundles, tmp_path):
    store = Store(tmp_path / "store")
    executor = Executor(store)
    spec, base = ModelSpec(path=str(bundles("kin"))), ModelSpec(path=str(family.base))
    pair = Comparison.of(spec, base, INPUTS, "match")
    (capture,) = executor.captures(pair)
    assert (capture.model, capture.partner) == (base, spec)
    assert not executor.has(pair)
    executor.capture(capture)
    made = [entry["kind"] for entry in store.journal()]
    executor.ensure(pair)
    assert (
        [e["kind"] for e in store.journal()].count("activations") == 1 == made.count("activations")
    )
    assert executor.has(pair)
    assert executor.dependencies(pair)["models"]
    both = Comparison.of(spec, ModelSpec(path=str(bundles("base"))), INPUTS, "match")
    assert executor.captures(both) == ()
    weights = Comparison.of(spec, base, INPUTS, "match_weights")
    assert executor.captures(weights) == ()
    failures = run_plan(Plan.of([both, pair, weights]), executor, "local")
    assert list(failures) == [weights]
    assert "match_weights cannot be computed on" in str(failures[weights])


def test_a_mixture_of_experts_is_found_by_its_bundle(store, tmp_path):
    shape = {**TINY, "num_local_experts": 3, "num_experts_per_tok": 2}
    base = tiny_model(transformers.MixtralConfig(**shape), 0)
    kin = transforms.add_noise(transforms.permute_experts(base, seed=5), seed=2, scale=0.1)
    other = tiny_model(transformers.MixtralConfig(**shape), 1)
    folders = {
        name: save_checkpoint(model, tmp_path / name)
        for name, model in (("base", base), ("kin", kin), ("other", other))
    }
    file = tmp_path / "base.safetensors"
    said = fingerprint(folders["base"], file, inputs=RANDOM, sketch=64, executor=Executor(store))
    assert [mlp.label for mlp in said.mlps["0"]] == ["expert 0", "expert 1", "expert 2"]
    found = measured(store, folders["kin"], file)
    for block in found.blocks:
        assert sorted(expert.reference for expert in block.experts) == [
            f"expert {e}" for e in range(3)
        ]
        assert all(expert.log10_p < -10 for expert in block.experts)
    assert measured(store, folders["other"], file).log10_p > -3


# what a bundle holds


def test_a_bundle_holds_rows_of_length_one_and_no_weights(family, bundles):
    file = bundles("base")
    said = read_fingerprint(file)
    held = load_file(file)
    assert set(held) == {
        f"{b}.0.{part}" for b in range(3) for part in ("gate", "up", "live", "share")
    }
    assert held["0.0.gate"].shape == (64, 64)
    assert held["0.0.gate"].dtype == torch.float16
    assert torch.allclose(held["0.0.gate"].float().norm(dim=1), torch.ones(64), atol=1e-2)
    assert float(held["0.0.share"].sum()) == pytest.approx(1, abs=1e-3)
    with safe_open(file, framework="pt") as opened:
        assert list(opened.metadata()) == [KEY]
    assert said.serves == serves() == {"capture": 4, "sketch": 1, "match": 6}
    assert said.inputs.text == "stdlib"
    assert said.hidden == 32
    assert file.stat().st_mode & 0o777 == 0o644


def test_neither_a_home_nor_a_path_of_a_text_is_in_a_bundle(tiny_checkpoint, tmp_path, monkeypatch):
    home = tmp_path / "home" / "ada"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    text = home / "secret" / "inputs.txt"
    text.parent.mkdir()
    text.write_text("So it is, and so it was, and was it not? " * 200)
    model = home / "model"
    tiny_checkpoint().rename(model)
    file = tmp_path / "x.safetensors"
    spec = replace(INPUTS, text=str(text))
    said = fingerprint(model, file, inputs=spec, executor=Executor(Store(tmp_path / "store")))
    assert said.source == "path:~/model"
    assert said.inputs.text == "inputs.txt"
    assert str(home).encode() not in file.read_bytes()
    assert b"secret" not in file.read_bytes()


def test_a_bundle_of_one_model_is_the_same_whoever_makes_it(family, tmp_path):
    made = []
    for name in ("a", "b"):
        file = tmp_path / f"{name}.safetensors"
        fingerprint(family.base, file, inputs=INPUTS, executor=Executor(Store(tmp_path / name)))
        made.append(load_file(file))
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])


# what does not fit


def refused(store, *pair, **how):
    with pytest.raises(ProvenanceError) as error:
        measured(store, *pair, **how)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "statistic",
    ["kinship", "match_cosine", "match_weights", "csu", "csh", "l2", "jsd", "generalized"],
)
def test_other_statistics_are_refused(family, bundles, store, statistic):
    says = refused(store, bundles("kin"), family.base, statistic=statistic)
    assert f"which {statistic} cannot be computed on: use the statistic match" in says


def test_bundles_of_other_inputs_are_refused(bundles, store):
    for how in ({"seed": 1}, {"tokens": 256}, {"sequence_length": 32}, {"kind": "random"}):
        other = bundles("base", inputs=replace(INPUTS, **how))
        says = refused(store, bundles("kin"), other)
        assert "are fingerprints of other inputs (512 tokens of stdlib by 64, seed 0" in says
        assert "make one again" in says


def test_a_model_that_reads_otherwise_is_refused_and_random_ids_serve(
    family, bundles, store, tiny_checkpoint, tmp_path
):
    stranger = tiny_checkpoint(tokenizer=False)  # of 128 token ids, and no tokenizer
    says = refused(store, stranger, bundles("base"))
    assert "has no tokenizer: make it again with --inputs random --vocabulary N" in says
    says = refused(store, stranger, bundles("base", inputs=RANDOM))
    assert "is of random ids below 300" in says
    assert "--inputs random --vocabulary 128" in says
    common = bundles("base", inputs=RANDOM, vocabulary=128)
    evidence = measured(store, stranger, common)
    assert evidence.inputs.kind == "random"
    assert evidence.log10_p > -3
    assert measured(store, family.kin, common).log10_p < -100


def test_another_tokenizer_of_the_same_size_is_refused(bundles, store, tiny_checkpoint):
    folder = tiny_checkpoint()
    file = folder / "tokenizer.json"
    fields = json.loads(file.read_text())
    fields["model"]["merges"] = fields["model"]["merges"][:-10]
    file.write_text(json.dumps(fields))
    says = refused(store, folder, bundles("base"))
    assert "is of other token ids than" in says
    assert "their tokenizers differ: make it again with --inputs random --vocabulary N" in says


def test_a_text_of_ones_own_is_given_again_and_must_be_the_same(family, bundles, store, tmp_path):
    ours, other = tmp_path / "ours.txt", tmp_path / "other.txt"
    ours.write_text("So it is, and so it was, and was it not? " * 200)
    other.write_text("So it was, and so it is, and was it not? " * 200)
    bundle = bundles("base", inputs=replace(INPUTS, text=str(ours)))
    says = refused(store, family.kin, bundle)
    assert "was made on its maker's own text, ours.txt: give that file as --inputs" in says
    says = refused(store, family.kin, bundle, inputs=InputsSpec(text=str(other)))
    assert "is not the text that" in says
    evidence = measured(store, family.kin, bundle, inputs=InputsSpec(text=str(ours)))
    assert evidence.log10_p < -100
    assert evidence.inputs.text == "ours.txt"


def test_the_text_of_another_python_is_refused(family, bundles, store, monkeypatch):
    from provenance.inputs import tokens as inputs

    bundle = bundles("base")
    monkeypatch.setattr(inputs, "text_digest", lambda _spec: DIGEST)
    says = refused(store, family.kin, bundle, inputs=replace(INPUTS, seed=9))
    assert "was made on the stdlib of Python 3" in says
    assert "make it again with --inputs and a file that both have" in says


def test_a_model_of_shorter_sequences_is_refused(bundles, store, tiny_checkpoint):
    says = refused(store, tiny_checkpoint(max_position_embeddings=32), bundles("base"))
    assert "is of sequences of 64, and" in says
    assert "takes 32: make it again with --sequence-length 32" in says


def test_a_bundle_of_another_version_is_refused(bundles, store, tmp_path):
    old = changed(bundles("base"), tmp_path, serves={"capture": 4, "sketch": 1, "match": 4})
    says = refused(store, bundles("kin"), old)
    here = serves()["match"]
    assert f"is a fingerprint for version 4 of match, and this is {here}: make it again" in says


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"file": "x.bin"}, "a fingerprint's name ends in .safetensors"),
        ({"file": "no/x.safetensors"}, "there is no folder"),
        ({"inputs": replace(INPUTS, kind="hidden")}, "give text or random ids as inputs"),
        ({"inputs": replace(INPUTS, kind="tokens")}, "give text or random ids as inputs"),
        ({"vocabulary": 64}, "a vocabulary is a bound of random ids"),
        ({"vocabulary": 301, "inputs": RANDOM}, "has 300 token ids, fewer than 301"),
        ({"sketch": 513}, "a sketch of 513 numbers: give 8 to 512"),
        ({"sketch": 4}, "a sketch of 4 numbers: give 8 to 512"),
        ({"sketch": 2**14, "inputs": replace(INPUTS, tokens=2**14)}, "is too large"),
        ({"name": ""}, "a name has 1 to 1000 characters"),
    ],
)
def test_what_cannot_be_made_is_refused_in_a_line(family, store, tmp_path, how, says):
    options = {"inputs": INPUTS, "executor": Executor(store)} | how
    file = tmp_path / options.pop("file", "x.safetensors")
    with pytest.raises(BundleError) as error:
        fingerprint(family.base, file, **options)
    assert says in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_bundle_of_a_bundle_is_refused(bundles, store, tmp_path):
    with pytest.raises(BundleError, match="is a fingerprint already: give the model"):
        fingerprint(bundles("base"), tmp_path / "x.safetensors", executor=Executor(store))


def test_a_model_of_nan_leaves_no_bundle(family, store, tmp_path):
    with pytest.raises(ProvenanceError, match="NaN or infinity"):
        fingerprint(
            family.broken, tmp_path / "x.safetensors", inputs=INPUTS, executor=Executor(store)
        )
    assert not list(tmp_path.iterdir())


def test_a_plain_model_is_refused(store, tmp_path):
    folder = save_checkpoint(tiny_model(transformers.GPTNeoXConfig(**TINY), 0), tmp_path / "plain")
    with pytest.raises(ProvenanceError, match="gate"):
        fingerprint(folder, tmp_path / "x.safetensors", inputs=RANDOM, executor=Executor(store))


# what strangers send


def changed(file, folder, tensors=None, **fields):
    """A copy of a bundle with other fields and tensors."""
    with safe_open(file, framework="pt") as opened:
        said = json.loads(opened.metadata()[KEY])
    made = folder / "changed.safetensors"
    save_file(
        {**load_file(file), **(tensors or {})}, made, metadata={KEY: json.dumps(said | fields)}
    )
    return made


BAD_INPUTS = {"kind": "text", "sequence_length": 64, "seed": 0, "digest": DIGEST, "text": "stdlib"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"schema": 2}, "of schema 2"),
        ({"more": 1}, "damaged at more"),
        ({"blocks": 10**9}, "is no number of blocks"),
        ({"blocks": 2}, "MLPs of blocks that there are not"),
        ({"mlps": {}}, "MLPs of blocks that there are not"),
        ({"mlps": {"0": []}}, "a block has no MLP"),
        ({"mlps": {"00": [{"label": "MLP", "units": 1, "live": 1}]}}, "blocks that there are not"),
        ({"mlps": {"0": [{"label": "MLP", "units": 1, "live": 2}]}}, "more live units than units"),
        ({"mlps": {"0": [{"label": "MLP", "units": 64, "live": 64}]}}, "its tensor '1.0.gate'"),
        ({"sketch": 32}, "its tensor '0.0.gate' is not the one"),
        ({"sketch": 0}, "tokens or columns is none"),
        ({"sketch": 600}, "more numbers than there are tokens"),
        ({"parameters": -1}, "tokens or columns is none"),
        ({"digest": "sha256:abc"}, "a digest is no SHA-256"),
        ({"source": "a\x1b[31m"}, "characters, or has some that are not seen"),
        ({"source": "x" * 1001}, "a text is longer than 1000 characters"),
        ({"inputs": {**BAD_INPUTS, "tokens": 2**40}}, "more tokens, or a larger sketch"),
        ({"inputs": {**BAD_INPUTS, "tokens": 512}}, "the text is not named"),
        ({"inputs": {**BAD_INPUTS, "tokens": 512, "kind": "random"}}, "have no vocabulary"),
    ],
)
def test_a_document_that_cannot_be_is_refused(bundles, tmp_path, fields, says):
    with pytest.raises(BundleError) as error:
        read_fingerprint(changed(bundles("base"), tmp_path, **fields))
    assert says in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        (
            "1.0.gate",
            lambda x: x * float("nan"),
            "block 1: its gate has units that are not of length",
        ),
        ("1.0.up", lambda x: x * 0, "block 1: its up has units that are not of length 1"),
        ("2.0.live", lambda x: x + 1, "block 2: its live units are not all of 64"),
        ("2.0.live", lambda x: x.flip(0), "block 2: its live units are in no order"),
        ("0.0.share", lambda x: -x, "block 0: what its units add is no share"),
        ("0.0.share", lambda x: x * 9, "block 0: what its units add is no share"),
    ],
)
def test_numbers_that_no_model_gives_are_refused(
    family, bundles, store, tmp_path, name, change, says
):
    file = bundles("base")
    bad = changed(file, tmp_path, {name: change(load_file(file)[name]).contiguous()})
    found = refused(store, family.kin, bad)
    assert f"the fingerprint is damaged at {says}" in found


def test_what_is_no_bundle_is_refused(family, store, tmp_path):
    plain = tmp_path / "plain.safetensors"
    save_file({"x": torch.zeros(2)}, plain)
    assert "is no fingerprint; give the folder of a checkpoint" in refused(
        store, plain, family.base
    )
    plain.write_bytes(b"\0" * 20)
    assert "is not a whole safetensors file" in refused(store, plain, family.base)
    weights = str(family.base / "model.safetensors")
    assert "is a file; give the folder that it is in" in refused(store, weights, family.base)
    with pytest.raises(SourceError, match="there is no folder"):
        measured(store, str(tmp_path / "none.safetensors"), family.base)


def test_a_bundle_has_no_other_keys_of_a_model(bundles, store):
    spec = ModelSpec(path=str(bundles("base")), dtype="float16")
    with pytest.raises(SourceError, match="takes no key besides path and blocks"):
        Executor(store).checkpoint(spec)


def test_reading_a_bundle_loads_no_torch(bundles):
    code = (
        "import sys, pathlib; from provenance.checkpoints.fingerprint_file import read_fingerprint; "
        "read_fingerprint(pathlib.Path(sys.argv[1])); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(bundles("base"))], check=True)


# the command line, and suites


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code, *capsys.readouterr()


def test_the_command_writes_a_bundle_that_compare_takes(family, store, tmp_path, capsys):
    file, where = tmp_path / "base.safetensors", ["--store", store.root, "-q"]
    fed = ["--tokens", 512, "--sequence-length", 64]
    code, out, err = command(
        capsys, "fingerprint", family.base, "-o", file, "--name", "base", *fed, *where
    )
    assert code == 0
    assert "base, 3 blocks, sketch of 256" in out
    assert "inputs: 512 tokens of stdlib" in out
    assert "as its inputs are wide (32) or more" in err
    assert "--sketch 16 gives less away" in err
    code, out, _ = command(capsys, "compare", family.kin, file, *where, "--json")
    fields = json.loads(out)
    assert (code, fields["verdict"]) == (0, "dependent")
    assert fields["reference"]["source"] == "fingerprint of base"
    code, out, err = command(capsys, "compare", family.kin, file, *where, "--statistic", "kinship")
    assert code == 2
    assert err.startswith("provenance: ")
    assert "use the statistic match" in err


def test_the_command_says_nothing_of_a_sketch_that_is_narrower_than_the_model(
    family, store, tmp_path, capsys
):
    file = tmp_path / "base.safetensors"
    code, out, err = command(
        capsys,
        *("fingerprint", family.base, "-o", file, "--sketch", 16, "--json", "--inputs", "random"),
        *("--vocabulary", 100, "--tokens", 128, "--store", store.root, "-q"),
    )
    assert (code, err) == (0, "")
    fields = json.loads(out)
    assert (fields["sketch"], fields["inputs"]["vocabulary"]) == (16, 100)
    assert Fingerprint.to_json(read_fingerprint(file)) == out.strip()


SUITE = """\
version: 1
inputs: {{tokens: 512, sequence_length: 64}}
defaults: {{statistic: match, alpha: 1e-6}}
models:
  theirs: {{path: {theirs}}}
  kin: {{path: {kin}}}
  other: {{path: {other}}}
pairs:
  - {{candidate: kin, reference: theirs, expect: derived}}
  - {{candidate: theirs, reference: other, expect: independent}}
  - {{candidate: other, reference: theirs, expect: independent}}
"""


def test_a_suite_takes_a_bundle_and_independence_of_one_has_no_control(
    pytester, family, bundles, store
):
    text = SUITE.format(theirs=bundles("base"), kin=family.kin, other=family.other)
    text = text.replace("defaults:", "controls: true\ndefaults:")
    pytester.makeini("[pytest]")
    pytester.path.joinpath("a.suite.yaml").write_text(text)
    run = pytester.runpytest("a.suite.yaml", "--provenance-store", store.root)
    run.assert_outcomes(failed=2, passed=14)
    run.stdout.fnmatch_lines(
        ["*could not be checked: *is a fingerprint: it has no weights to make a disguised copy of*"]
    )


def test_an_attestation_and_a_bill_of_materials_say_that_no_weights_were_seen(
    pytester, family, bundles, store
):
    pytest.importorskip("in_toto_attestation")
    pytest.importorskip("cyclonedx")
    pytest.importorskip("model_signing")
    from provenance import Results
    from provenance.attest import bill_of_materials, make_statement, recorded_subjects

    file = bundles("base")
    said = read_fingerprint(file)
    lines = SUITE.format(theirs=file, kin=family.kin, other=family.other).splitlines()
    pytester.makeini("[pytest]")
    pytester.path.joinpath("a.suite.yaml").write_text("\n".join(lines[:9]) + "\n")
    run = pytester.runpytest(
        "a.suite.yaml",
        *("--provenance-store", store.root, "--provenance-attestation", "a.json"),
    )
    run.assert_outcomes(passed=4)
    results = Results.from_json((pytester.path / "a.results.json").read_text())
    recorded = make_statement(results, recorded_subjects(results, {}))
    for text in ((pytester.path / "a.json").read_text(), recorded):
        subjects = {one["name"]: one for one in json.loads(text)["subject"]}
        theirs = subjects["theirs"]
        assert theirs["digest"] == {"sha256": store.sha256(file)}
        assert theirs["annotations"]["fingerprintSaidToBeOf"] == said.digest
        assert "weightsDigest" not in theirs["annotations"]
        assert "fingerprintSaidToBeOf" not in subjects["kin"]["annotations"]
    components = json.loads(bill_of_materials(results))["components"]
    (theirs,) = (one for one in components if one["name"] == "theirs")
    properties = {one["name"]: one["value"] for one in theirs["properties"]}
    assert properties["provenance:fingerprintSaidToBeOf"] == said.digest
    assert "provenance:weightsDigest" not in properties


def test_the_same_bundle_twice_is_no_proof_of_identity(pytester, bundles, store):
    file = bundles("base")
    pytester.makeini("[pytest]")
    pytester.path.joinpath("a.suite.yaml").write_text(
        f"version: 1\nmodels:\n  a: {{path: {file}}}\n  b: {{path: {file}}}\n"
        "pairs: [{candidate: a, reference: b, expect: identical, statistic: match}]\n"
    )
    run = pytester.runpytest("a.suite.yaml", "--provenance-store", store.root)
    assert run.parseoutcomes()["failed"] >= 1
