"""Every change of a model's weights, disguised or not, is mapped back and read for what it is."""

import json
from copy import deepcopy
from dataclasses import asdict, replace

import pytest
import torch

from benchmarks._kind_schemes import SCHEMES
from fixtures import transforms
from fixtures.models import save_checkpoint, tiny_llama, tiny_model
from provenance import Executor, Store, difference
from provenance.cli import main
from provenance.comparison.aligned import kin_blocks
from provenance.differences.measure import measure, spread
from provenance.differences.side import Side
from provenance.errors import BundleError, DegenerateError, SourceError
from provenance.evidence.direction import HALF, direction_of
from provenance.evidence.kinds import found_kind
from provenance.loading.parameters import ModelTensors
from provenance.vocabulary import ModelSpec

pytestmark = pytest.mark.slow

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "vocab_size": 512,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
}


def trained(model, scale=0.05, seed=3):
    """Every number moved, matrices and vectors alike."""
    moved = transforms.add_noise(model, seed, scale)
    for parameter in moved.parameters():
        if parameter.dim() == 1:
            parameter.data *= 1.001
    return moved


def two_of_four(model):
    """The two smallest of every four numbers of a row zero."""
    pruned = transforms.prune_magnitude(model, 0.0)
    for _, linear in transforms.weights.inner_linears(pruned):
        groups = linear.weight.data.view(-1, 4)
        groups.scatter_(1, groups.abs().topk(2, dim=1, largest=False).indices, 0.0)
    return pruned


def frozen(model, kept):
    """Trained, but for the blocks whose numbers are named."""
    moved = trained(model)
    for block in kept:
        moved.model.layers[block].load_state_dict(model.model.layers[block].state_dict())
    return moved


CHANGES = {
    "nothing": (lambda m: m, "same"),
    "trained": (trained, "finetune"),
    "a-block-frozen": (lambda m: frozen(m, [1]), "finetune"),
    "int8": (lambda m: transforms.round_trip(m, 8), "quantized"),
    "int4": (lambda m: transforms.round_trip(m, 4), "quantized"),
    "groups-of-4-bits": (lambda m: transforms.round_groups(m, 4, 32), "quantized"),
    "trained-then-int4": (lambda m: transforms.round_trip(trained(m, 0.5), 4), "unsure"),
    "half-zero": (lambda m: transforms.prune_magnitude(m, 0.5), "pruned"),
    "tenth-zero": (lambda m: transforms.prune_magnitude(m, 0.1), "pruned"),
    "two-of-four": (two_of_four, "pruned"),
    "half-zero-then-trained": (lambda m: zeros_kept(trained(m), 0.5), "pruned"),
    "narrower": (lambda m: transforms.prune_width(m, 96), "pruned"),
    "shorter": (lambda m: transforms.prune_depth(m, [0, 2]), "pruned"),
    "lora": (lambda m: transforms.lora_merge(m, 1, 4, 0.2), "adapter"),
    "lora-in-bfloat16": (lambda m: transforms.lora_merge(m, 1, 4, 0.2).bfloat16(), "adapter"),
    "lora-and-embeddings": (lambda m: embedded(transforms.lora_merge(m, 1, 4, 0.2)), "unsure"),
}
TWICE = {
    "4-bits": lambda m: transforms.round_trip(m, 4),
    "3-bits": lambda m: transforms.round_groups(m, 3, 32),
    "8-bits": lambda m: transforms.round_groups(m, 8, 32),
    "nf4": SCHEMES["NF4"],
    "float8": SCHEMES["float8"],
    "half-zero": lambda m: transforms.prune_magnitude(m, 0.5),
    "two-of-four": two_of_four,
}
DISGUISES = {
    "none": lambda m: m,
    "units": lambda m: transforms.rescale_mlp(transforms.permute_mlp_units(m, 1), 2, signs=True),
    "heads": lambda m: transforms.permute_heads(m, 3),
    "order": lambda m: transforms.permute_residual_stream(m, 4),
    "norms": lambda m: transforms.rescale_norms(m, 5, signs=True),
    "rotation": lambda m: transforms.rotate_residual_stream(m, 6),
}
THROUGH = {
    # what stays visible under a disguise that multiplies: a grid has other steps, zeros are turned
    "rotation": {"nothing", "trained", "a-block-frozen", "lora", "narrower", "shorter"},
    "norms": {"nothing", "trained", "half-zero", "lora", "narrower"},
    "units": {"nothing", "trained", "half-zero", "lora", "shorter"},
    "heads": {"nothing", "trained", "half-zero", "lora", "int4"},
    "order": {"nothing", "trained", "half-zero", "lora", "int4", "narrower"},
}


def zeros_kept(model, share):
    return transforms.prune_magnitude(model, share)


def embedded(model):
    model.get_input_embeddings().weight.data += 0.01 * torch.randn(
        model.get_input_embeddings().weight.shape, generator=torch.Generator().manual_seed(0)
    )
    return model


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    return Executor(Store(tmp_path_factory.mktemp("store")), "cpu")


@pytest.fixture(scope="module")
def base():
    return tiny_llama(**SIZES)


@pytest.fixture(scope="module")
def side(executor, tmp_path_factory):
    made = {}

    def side(model):
        if id(model) not in made:
            folder = save_checkpoint(model, tmp_path_factory.mktemp("models") / "model")
            checkpoint = executor.checkpoint(ModelSpec(path=str(folder)))
            layout = executor.work.layout(checkpoint)
            tensors = ModelTensors(checkpoint, stored=layout.stored)
            made[id(model)] = model, Side(checkpoint, layout, tensors)
        return made[id(model)][1]

    return side


def found(side, candidate, reference, blocks=None):
    ours, theirs = side(candidate), side(reference)
    depth = ours.layout.trace.blocks
    if blocks is None:
        blocks = {0: 0, 1: 2} if depth == 2 else {i: i for i in range(depth)}
    return measure(ours, theirs, blocks)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_read_for_what_it_is(side, base, change):
    apply, kind = CHANGES[change]
    record = found(side, apply(base), base)
    assert found_kind(record).kind == kind, found_kind(record)
    assert record.moved == (("the order of units",) if change == "narrower" else ())


@pytest.mark.parametrize(
    ("disguise", "change"), [(a, b) for a, some in THROUGH.items() for b in sorted(some)]
)
def test_a_disguise_hides_no_change(side, base, disguise, change):
    apply, kind = CHANGES[change]
    record = found(side, DISGUISES[disguise](apply(base)), base)
    assert found_kind(record).kind == ("permuted" if kind == "same" else kind), found_kind(record)
    assert record.moved


def test_a_rotation_leaves_of_a_grid_no_trace(side, base):
    record = found(side, DISGUISES["rotation"](CHANGES["int4"][0](base)), base)
    assert not any(one.grid for one in record.matrices)


def test_the_numbers_are_those_of_what_was_done(side, base):
    record = found(
        side, transforms.lora_merge(transforms.permute_mlp_units(base, 1), 2, 3, 0.1), base
    )
    inner = [m for m in record.matrices if m.block is not None and len(m.shape) > 1]
    assert len(inner) == 3 * 7
    assert {m.rank for m in inner} <= {3, 4}  # rounding is no even noise
    assert all(m.carried > 1 - 1e-9 for m in inner)
    assert all(m.relative == pytest.approx(0.1, rel=0.4) for m in inner)
    assert {m.unchanged for m in record.matrices if m not in inner} == {1.0}
    assert [(m.units, m.moved) for m in record.blocks] == [((128, 128), ("units",))] * 3


def test_zeros_are_counted_and_their_pattern_named(side, base):
    half = found(side, CHANGES["half-zero"][0](base), base).matrices[0]
    assert (half.new_zeros, half.kept, half.structure) == (
        pytest.approx(0.5, abs=0.01),
        1.0,
        "scattered",
    )
    regular = found(side, two_of_four(base), base).matrices[0]
    assert regular.structure == "n:m"
    rows = transforms.prune_magnitude(base, 0.0)
    rows.model.layers[0].mlp.gate_proj.weight.data[:32] = 0
    assert found(side, rows, base).matrices[0].structure == "rows"


def test_rounding_to_nearest_is_told_from_other_rounding(side, base):
    record = found(side, CHANGES["int4"][0](base), base)
    grids = [m.grid for m in record.matrices if m.grid]
    assert len(grids) == 21
    assert {(g.bits, g.group, g.within, g.nearest) for g in grids} == {(4, 0, 1.0, 1.0)}
    assert all(HALF[0] < g.quarter < HALF[1] for g in grids)
    assert direction_of(record).sign == "grid"


@pytest.mark.parametrize("scale", [1e-3, 2e-2, 2e-1])
def test_what_moved_within_the_steps_did_not_come_first(side, base, scale):
    rounded = CHANGES["int4"][0](base)
    record = found(side, rounded, transforms.add_noise(rounded, 3, scale))
    assert direction_of(record) is None


def test_a_copy_of_a_rounded_model_that_is_rounded_again_is_quantized(side, base):
    rounded = transforms.round_groups(base, 4, 16)
    record = found(side, transforms.round_trip(rounded, 8), rounded)
    assert found_kind(record).kind == "quantized", found_kind(record)
    assert {m.grid.group for m in record.matrices if m.grid} == {0}
    assert found_kind(found(side, trained(rounded), rounded)).kind == "finetune"


def test_renumbered_blocks_are_compared_with_their_own(side, base):
    moved = transforms.arrange_blocks(base, [2, 0, 1])
    record = found(side, moved, base, {0: 2, 1: 0, 2: 1})
    assert {m.relative for m in record.matrices} == {0.0}
    assert [b.reference_block for b in record.blocks] == [2, 0, 1]


def test_strangers_are_not_mapped(side, base):
    with pytest.raises(DegenerateError, match="mapped onto"):
        found(side, tiny_llama(seed=7, **SIZES), base)
    with pytest.raises(DegenerateError, match="no block of the two is kin"):
        found(side, base, base, {})


def test_a_part_that_cannot_be_mapped_leaves_the_kind_open(side, base):
    other = tiny_llama(seed=7, **SIZES)
    mixed = transforms.transplant_mlp(base, other, [1])
    record = found(side, mixed, base)
    assert record.blocks[1].reason is not None
    assert "model.layers.1.mlp.gate_proj.weight" in record.left_out
    assert found_kind(record).kind == "unsure"


def test_other_architectures_are_compared_by_name(side):
    from transformers import Phi3Config

    fused = tiny_model(Phi3Config(**{**SIZES, "num_attention_heads": 4, "pad_token_id": 0}))
    record = found(side, trained(fused), fused)
    assert {m.name.rpartition(" ")[2] for m in record.matrices if "gate_up" in m.name} == {
        "(gate)",
        "(up)",
    }
    assert found_kind(record).kind == "finetune"


@pytest.mark.parametrize(
    ("depth", "most", "told"),
    [(4, None, (0, 1, 2, 3)), (4, 8, (0, 1, 2, 3)), (9, 3, (0, 4, 8)), (5, 1, (0,))],
)
def test_blocks_are_evenly_spread(depth, most, told):
    assert spread(range(depth), most) == told


def test_a_reason_is_a_kind_that_cannot_be_told(side, base):
    record = replace(found(side, base, base), reason="it was not measured")
    assert found_kind(record).words() == "Of no kind that can be told: it was not measured."


def test_the_library_finds_the_blocks_itself(executor, base, tmp_path):
    folders = [
        save_checkpoint(model, tmp_path / name)
        for name, model in (
            ("chat", transforms.permute_residual_stream(trained(base), 4)),
            ("base", base),
            ("other", tiny_llama(seed=7, **SIZES)),
        )
    ]
    record = difference(folders[0], folders[1], blocks=2, executor=executor)
    assert [block.candidate_block for block in record.blocks] == [0, 2]
    assert found_kind(record).kind == "finetune"
    with pytest.raises(DegenerateError, match="are not found kin"):
        difference(folders[2], folders[1], executor=executor)


def test_kin_blocks_of_whole_models_are_those_of_one_index(family_evidence):
    assert kin_blocks(family_evidence) == {0: 0, 1: 1}
    shorter = replace(family_evidence, candidate=replace(family_evidence.candidate, blocks=1))
    assert kin_blocks(shorter) == {}


@pytest.fixture
def family_evidence():
    from tests.evidence.test_verdict import evidence, model

    return evidence(
        candidate=model("sha256:a", 2), reference=model("sha256:b", 2), statistic="l2", log10_p=-3.0
    )


def test_the_command_prints_a_table_or_json(base, tmp_path, capsys):
    chat = save_checkpoint(transforms.permute_mlp_units(base, 1), tmp_path / "chat")
    other = save_checkpoint(tiny_llama(seed=7, **SIZES), tmp_path / "other")
    store = ["--store", str(tmp_path / "store")]
    ours = str(save_checkpoint(base, tmp_path / "base"))
    with pytest.raises(SystemExit) as stop:
        main(["diff", str(chat), ours, *store, "--blocks", "0"])
    out = capsys.readouterr().out
    assert stop.value.code == 0
    assert "undone: the order of units" in out
    assert "A permuted copy: every number is equal, once the order of units is undone." in out
    with pytest.raises(SystemExit) as stop:
        main(["diff", str(chat), ours, *store, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["residual"], told["moved"]) == (
        "permuted",
        "same",
        ["the order of units"],
    )
    assert told["direction"] is None
    rounded = str(save_checkpoint(transforms.round_trip(base, 4), tmp_path / "rounded"))
    with pytest.raises(SystemExit):
        main(["diff", rounded, ours, *store, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["direction"]["first"], told["direction"]["sign"]) == ("reference", "grid")
    with pytest.raises(SystemExit):
        main(["diff", rounded, ours, *store])
    out = " ".join(capsys.readouterr().out.split())
    assert "The reference came first: the candidate's numbers are the reference's, rounded" in out
    with pytest.raises(SystemExit) as stop:
        main(["diff", str(other), ours, *store])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_fingerprint_has_no_weights(executor, base, tmp_path):
    from provenance import InputsSpec, fingerprint

    folder = save_checkpoint(base, tmp_path / "base")
    made = tmp_path / "base.safetensors"
    fingerprint(
        folder, made, inputs=InputsSpec("random", tokens=256, sequence_length=32), executor=executor
    )
    with pytest.raises(BundleError, match="holds no weights"):
        difference(folder, made, executor=executor)


@pytest.mark.parametrize("first", TWICE)
def test_noise_on_a_rounded_or_pruned_copy_is_neither_in_both_orders(side, base, first):
    copy = TWICE[first](base)
    noisy = transforms.add_noise(copy, 5, 0.001)
    for record in (found(side, noisy, copy), found(side, copy, noisy)):
        assert found_kind(record).kind == "finetune", found_kind(record)
        assert direction_of(record) is None


def test_a_rounded_copy_that_was_pruned_is_pruned(side, base):
    copy = TWICE["3-bits"](base)
    record = found(side, transforms.prune_magnitude(copy, 0.5), copy)
    assert found_kind(record).kind == "pruned", found_kind(record)
    assert direction_of(record).sign == "zeros"


def test_of_two_rounded_fine_tunes_none_is_a_quantized_copy_of_the_other(side, base):
    one, other = (transforms.round_trip(model, 4) for model in (trained(base, 0.2), base))
    record = found(side, one, other)
    assert found_kind(record).kind == "unsure", found_kind(record)
    assert direction_of(record) is None


def changed(model, name, change):
    made = deepcopy(model)
    with torch.no_grad():
        change(dict(made.named_parameters())[name])
    return made


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_was_rounded_to_16_bits_and_stored_in_32_is_no_fine_tune(side, base, dtype):
    record = found(side, deepcopy(base).to(dtype).float(), base)
    kind, name = found_kind(record), str(dtype).removeprefix("torch.")
    assert (kind.kind, direction_of(record).sign) == ("quantized", "grid")
    assert kind.why.startswith(f"rounding the reference to {name} gives 21 matrices")
    assert found_kind(found(side, deepcopy(base).to(dtype), base)).kind == "same"
    assert found_kind(found(side, trained(base).to(dtype).float(), base)).kind == "finetune"


TABLES = ("model.embed_tokens.weight", "lm_head.weight")
PLACES = {
    "down": "model.layers.1.mlp.down_proj.weight",
    "queries": "model.layers.1.self_attn.q_proj.weight",
    "norm": "model.layers.1.input_layernorm.weight",
    "embeddings": TABLES[0],
    "head": TABLES[1],
    "last-norm": "model.norm.weight",
}


def one_number(value):
    return lambda weight: weight.view(-1)[3].fill_(value)


def few_set(model, place):
    """Two numbers of a parameter set to what they might well be: to that of another one, negated."""

    def change(weight):
        flat = weight.view(-1)
        flat[3], flat[9] = -flat[9] - 0.02, flat[3] + 0.02

    return changed(model, PLACES[place], change)


@pytest.mark.parametrize("cast", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_reference", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_a_model_with_a_few_numbers_set_is_not_the_same(side, base, place, is_reference, cast):
    pair = (few_set(base, place), deepcopy(base).to(cast))
    record = found(side, *(reversed(pair) if is_reference else pair))
    kind = found_kind(record)
    assert kind.kind == "unsure"
    assert PLACES[place] in kind.why


@pytest.mark.parametrize("place", ["down", "queries", "embeddings", "head"])
@pytest.mark.parametrize("disguise", sorted(DISGUISES.keys() - {"none"}))
def test_a_disguise_hides_no_few_numbers(side, base, disguise, place):
    kind = found_kind(found(side, DISGUISES[disguise](few_set(base, place)), base))
    assert kind.kind not in {"same", "permuted"}, kind


@pytest.mark.parametrize("place", ["embeddings", "head"])
@pytest.mark.parametrize("change", ["int8", "groups-of-4-bits", "lora", "lora-in-bfloat16"])
def test_a_few_numbers_set_beside_a_change_are_told(side, base, change, place):
    kind = found_kind(found(side, CHANGES[change][0](few_set(base, place)), base))
    assert kind.kind == "unsure", kind
    assert PLACES[place] in kind.why


@pytest.mark.parametrize("row", [0, 500])
def test_a_model_with_one_token_taught_is_not_the_same(side, base, row):
    table = "model.embed_tokens.weight"
    taught = changed(base, table, lambda weight: weight[row].mul_(1.5))
    kind = found_kind(found(side, taught, base))
    assert (kind.kind, table in kind.why) == ("unsure", True)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize("place", PLACES)
def test_a_model_with_no_numbers_is_refused_by_name_on_either_side(side, base, place, value):
    broken = changed(base, PLACES[place], one_number(value))
    for pair in ((broken, base), (base, broken)):
        with pytest.raises(SourceError, match=rf"model: {PLACES[place]} holds NaN or infinity"):
            found(side, *pair)


@pytest.mark.parametrize("place", PLACES)
def test_a_huge_number_has_a_finite_size_on_either_side(side, base, place):
    huge = changed(trained(base), PLACES[place], one_number(3e38))
    for pair in ((huge, base), (base, huge)):
        record = found(side, *pair)
        json.dumps(asdict(record), allow_nan=False)
        assert found_kind(record).kind == "finetune"


def test_numbers_that_are_too_large_to_be_subtracted_are_left_out_and_named(side, base):
    ends = (changed(base, PLACES["down"], one_number(sign * 3.3e38)) for sign in (1, -1))
    assert found(side, *ends).left_out == (PLACES["down"],)


def test_tables_that_have_nothing_in_common_are_named_and_leave_the_kind_open(side, base):
    other = changed(base, TABLES[0], lambda weight: weight.copy_(weight.roll(1, dims=0)))
    record = found(side, other, base)
    assert record.left_out == TABLES
    assert found_kind(record).kind == "unsure"


@pytest.mark.parametrize("kept", [True, False])
def test_a_head_is_compared_with_the_table_that_a_model_is_tied_to(side, kept):
    tied = tiny_llama(**SIZES, tie_word_embeddings=True)
    own = tiny_llama(**SIZES)
    head = tied.model.embed_tokens.weight.detach()
    own.load_state_dict(tied.state_dict() | {TABLES[1]: head.clone() if kept else head.roll(1, 0)})
    for pair in ((own, tied), (tied, own)):
        record = found(side, *pair)
        assert record.left_out == ()
        assert [one.name for one in record.matrices if one.name in TABLES] == list(TABLES)
        assert found_kind(record).kind == ("same" if kept else "unsure")
