"""Structure from names and shapes: what following the data finds, or an error that names the choices."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from provenance.architecture.by_names.around import norm_before
from provenance.architecture.by_names.structure import structure
from provenance.architecture.known import FAMILIES, known_trace, norm_offset
from provenance.errors import ArchitectureError
from provenance.suite.claims import layout_of
from provenance.suite.schema import LayoutDocument
from provenance.vocabulary import LayoutSpec, MLPNames
from tests.architecture.test_known import built
from tests.reference import gated_mlps

H, U, V = 32, 24, 64
LLAMA = ("gate_proj", "up_proj", "down_proj")
MIXTRAL = ("w1", "w3", "w2")
CONFIG = {"model_type": "odd", "hidden_act": "silu", "rms_norm_eps": 1e-6}


def mlp(path, names=LLAMA, hidden=H, units=U, *, transposed=False):
    wide, narrow = (units, hidden), (hidden, units)
    if transposed:
        wide, narrow = narrow, wide
    shapes = (wide, wide, narrow)
    return {f"{path}.{name}.weight": shape for name, shape in zip(names, shapes, strict=True)}


def block(stack, number, *mlps, hidden=H):
    home = f"{stack}.{number}"
    made = {
        f"{home}.input_layernorm.weight": (hidden,),
        f"{home}.post_attention_layernorm.weight": (hidden,),
    }
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
        made[f"{home}.self_attn.{name}.weight"] = (hidden, hidden)
    for shapes in mlps or (mlp("mlp"),):
        made |= {f"{home}.{name}": shape for name, shape in shapes.items()}
    return made


def model(*mlps, stack="model.layers", blocks=2, hidden=H, table="model.embed_tokens.weight"):
    tensors = {} if table is None else {table: (V, hidden)}
    for number in range(blocks):
        tensors |= block(stack, number, *mlps, hidden=hidden)
    return tensors


def answered(error, config=CONFIG):
    """What a person who copies an error's answer into a suite says."""
    text = re.search(r"(layout: \{.*?\})(?=, with|, or|$)", str(error))[1]
    return layout_of(LayoutDocument(**yaml.safe_load(text)["layout"]), None)


def core(record):
    return (
        record.block,
        record.path,
        record.kind,
        record.role,
        record.expert,
        record.gate,
        record.up,
        record.down,
        record.units,
        record.hidden,
        record.input.norm,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_of_a_known_family_names_tell_what_its_trace_is(family):
    _, config, shapes = built(family, tie_word_embeddings=False)
    known, found = known_trace(config, shapes), structure(shapes, config)
    assert list(map(core, found.trace.mlps)) == list(map(core, known.mlps))
    assert (found.trace.stack, found.trace.blocks) == (known.stack, known.blocks)
    assert found.trace.embedding == known.embedding
    assert {norm.offset for norm in found.norms.values()} <= {norm_offset(known)}
    assert {norm.kind for norm in found.norms.values()} <= {"rms"}


PARTS = st.sampled_from(["mlp", "ffn", "block_sparse_moe", "feed_forward"])


@given(
    stack=st.sampled_from(["model.layers", "transformer.h", "layers", "a.b.blocks"]),
    blocks=st.integers(1, 11),
    experts=st.integers(0, 11),
    home=PARTS,
    names=st.sampled_from([LLAMA, MIXTRAL, ("w1", "v1", "w2"), ("gate", "up", "down")]),
    hidden=st.integers(2, 9),
    units=st.integers(2, 9),
    shared=st.booleans(),
    transposed=st.booleans(),
)
def test_names_and_shapes_tell_what_trying_every_three_tensors_does(
    stack, blocks, experts, home, names, hidden, units, shared, transposed
):
    if hidden == units:
        units += 1
    parts = [mlp(home, names, hidden, units, transposed=transposed)]
    if experts:
        of_experts = [f"{home}.experts.{number}" for number in range(experts)]
        parts = [mlp(path, names, hidden, units, transposed=transposed) for path in of_experts]
        if shared:
            parts.append(mlp(f"{home}.shared_experts", names, hidden, units, transposed=transposed))
    tensors = model(*parts, stack=stack, blocks=blocks, hidden=hidden)
    found = structure(tensors, CONFIG)
    told = {
        (record.gate.parameter, record.up.parameter, record.down.parameter)
        for record in found.trace.mlps
    }
    assert told == gated_mlps(tensors, names)
    assert found.trace.stack == stack
    assert found.trace.blocks == blocks
    for record in found.trace.mlps:
        assert (record.units, record.hidden) == (units, hidden)
        assert record.up.transposed is record.down.transposed is transposed
        assert record.up.channels.axis == (1 if transposed else 0)
        assert record.down.channels.axis == (0 if transposed else 1)
    roles = [record.role for record in found.trace.of_block(0)]
    assert roles == (["dense"] if not experts else ["shared"] * shared + ["expert"] * experts)
    numbers = [one.expert for one in found.trace.of_block(0) if one.role == "expert"]
    assert numbers == list(range(experts))


def only(tensors, config=CONFIG, said=None):
    found = structure(tensors, config, said)
    return found, found.trace.of_block(0)


def test_stacked_experts_are_one_record_each():
    stacked = {"mlp.experts.gate_up_proj": (5, 2 * U, H), "mlp.experts.down_proj": (5, H, U)}
    router = {"mlp.gate.weight": (5, H)}
    found, records = only(model(stacked | router))
    assert [record.expert for record in records] == [0, 1, 2, 3, 4]
    third = records[3]
    assert (third.gate.expert, third.gate.channels.indices()) == (3, range(U))
    assert third.up.channels.indices() == range(U, 2 * U)
    assert third.up.parameter == "model.layers.0.mlp.experts.gate_up_proj"
    assert (third.down.channels.axis, third.down.transposed) == (2, False)
    assert found.routers == {
        0: "model.layers.0.mlp.gate.weight",
        1: "model.layers.1.mlp.gate.weight",
    }


def test_experts_in_the_rows_of_one_matrix_are_counted_by_their_router():
    rows = {f"ffn.experts.mlp.{name}": (4 * U, H) for name in ("w1", "v1", "w2")}
    router = {"ffn.router.layer.weight": (4, H)}
    _, records = only(model(rows | router))
    assert len(records) == 4
    assert records[2].gate.parameter.endswith("w1")
    assert records[2].up.channels.indices() == range(2 * U, 3 * U)
    assert (records[2].up.transposed, records[2].down.transposed) == (False, True)
    with pytest.raises(
        ArchitectureError, match="rows of several experts, and nothing tells how many"
    ):
        structure(model(rows), CONFIG)
    assert len(only(model(rows), {**CONFIG, "num_experts": 4})[1]) == 4


def test_halves_of_a_fused_projection_are_told_by_their_width():
    _, (fused,) = only(
        model({"mlp.gate_up_proj.weight": (2 * U, H), "mlp.down_proj.weight": (H, U)})
    )
    assert fused.gate.channels.indices() == range(U)
    _, (last,) = only(model({"ff_proj.weight": (2 * U, H), "ff_out.weight": (H, U)}))
    assert last.up.channels.indices() == range(U)
    _, (plain,) = only(
        model({"mlp.dense_h_to_4h.weight": (U, H), "mlp.dense_4h_to_h.weight": (H, U)})
    )
    assert plain.kind == "plain"
    _, (gated,) = only(
        model({"mlp.dense_h_to_4h.weight": (2 * U, H), "mlp.dense_4h_to_h.weight": (H, U)})
    )
    assert gated.kind == "gated"


def test_gpt2s_matrices_are_transposed():
    tensors = {"wte.weight": (V, H), "wpe.weight": (16, H)}
    for number in range(2):
        home = f"h.{number}"
        tensors |= {f"{home}.ln_{k}.{part}": (H,) for k in (1, 2) for part in ("weight", "bias")}
        tensors |= {f"{home}.attn.c_attn.weight": (H, 3 * H), f"{home}.attn.c_proj.weight": (H, H)}
        tensors |= {f"{home}.mlp.c_fc.weight": (H, 4 * H), f"{home}.mlp.c_fc.bias": (4 * H,)}
        tensors |= {f"{home}.mlp.c_proj.weight": (4 * H, H), f"{home}.mlp.c_proj.bias": (H,)}
    found, (record,) = only(tensors)
    assert (record.kind, record.up.transposed, record.down.transposed) == ("plain", True, True)
    assert (record.up.channels.axis, record.down.channels.axis) == (1, 0)
    assert record.up.bias == "h.0.mlp.c_fc.bias"
    norm = found.norms["h.0.ln_2"]
    assert (norm.kind, norm.bias) == ("layer", "h.0.ln_2.bias")
    assert found.trace.embedding.parameter == "wte.weight"


UNTOLD = ("fc1_1", "fc1_2", "fc2")


def test_symmetric_names_are_a_choice_that_a_person_answers():
    tensors = model(mlp("mlp", UNTOLD))
    with pytest.raises(ArchitectureError) as raised:
        structure(tensors, CONFIG)
    assert (
        'write in a suite, at this model, layout: {gate: "model.layers.{block}.mlp.fc1_1.weight", up: '
        '"model.layers.{block}.mlp.fc1_2.weight", down: "model.layers.{block}.mlp.fc2.weight"}, or with '
        "gate and up exchanged" in str(raised.value)
    )
    found, (record,) = only(tensors, said=answered(raised.value))
    assert record.gate.parameter == "model.layers.0.mlp.fc1_1.weight"
    assert record.input.norm == "model.layers.0.post_attention_layernorm"
    assert len(found.trace.mlps) == 2


def test_listed_experts_under_symmetric_names_are_answered_in_one_pattern():
    tensors = model(*(mlp(f"moe.experts.{number}", UNTOLD) for number in range(12)))
    with pytest.raises(ArchitectureError, match=r"experts\.\{expert\}\.fc1_1") as raised:
        structure(tensors, CONFIG)
    _, records = only(tensors, said=answered(raised.value))
    assert [record.expert for record in records] == list(range(12))
    assert records[11].up.parameter == "model.layers.0.moe.experts.11.fc1_2.weight"


def test_a_stack_of_transposed_pairs_may_alternate():
    tensors = model({"mlp.experts.gate_up_proj": (3, H, 2 * U), "mlp.experts.down_proj": (3, U, H)})
    with pytest.raises(ArchitectureError, match="as halves or in turn") as raised:
        structure(tensors, CONFIG)
    said = answered(raised.value)
    _, halves = only(tensors, said=said)
    assert halves[1].gate.channels.indices() == range(U)
    turns = MLPNames(
        said.experts.up.replace("[I:]", "[1::2]"),
        said.experts.down,
        said.experts.gate.replace("[:I]", "[::2]"),
    )
    _, records = only(tensors, said=LayoutSpec(experts=turns))
    assert records[2].gate.channels.indices() == range(0, 2 * U, 2)
    assert records[2].up.channels.indices() == range(1, 2 * U, 2)
    assert records[2].up.transposed


@pytest.mark.parametrize(
    "config",
    [
        CONFIG | {"model_type": "gpt_oss"},
        CONFIG | {"quantization_config": {"quant_method": "mxfp4"}},
    ],
    ids=["type", "quantization"],
)
@pytest.mark.parametrize("transposed", [True, False])
def test_a_stack_of_a_type_that_is_known_to_alternate_is_no_choice(config, transposed):
    both, down = ((3, H, 2 * U), (3, U, H)) if transposed else ((3, 2 * U, H), (3, H, U))
    tensors = model({"mlp.experts.gate_up_proj": both, "mlp.experts.down_proj": down})
    records = structure(tensors, config).trace.of_block(0)
    assert len(records) == 3
    assert records[2].gate.channels.indices() == range(0, 2 * U, 2)
    assert records[2].up.channels.indices() == range(1, 2 * U, 2)
    assert records[2].up.transposed == transposed


def test_a_fused_projection_under_another_name_is_a_choice():
    tensors = model({"mlp.in_proj.weight": (2 * U, H), "mlp.out_proj.weight": (H, U)})
    with pytest.raises(ArchitectureError, match=r"\[:I\] and \[I:\] exchanged") as raised:
        structure(tensors, CONFIG)
    _, (record,) = only(tensors, said=answered(raised.value))
    assert record.gate.channels.indices() == range(U)


def test_experts_under_names_that_say_nothing_are_never_left_out():
    stacked = {"mlp.experts.fc1.weight": (3, H, 2 * U), "mlp.experts.fc2.weight": (3, U, H)}
    tensors = model(stacked, mlp("mlp.shared_experts"))
    with pytest.raises(ArchitectureError, match=r"experts\.fc1\.weight\[:I\]") as raised:
        structure(tensors, CONFIG)
    _, records = only(tensors, said=answered(raised.value))
    assert [record.role for record in records] == ["shared", "expert", "expert", "expert"]
    assert records[1].up.transposed


def test_another_mlp_under_names_that_say_nothing_is_noted():
    trace = structure(model(mlp("mlp"), mlp("adapter", UNTOLD)), CONFIG).trace
    assert [(one.block, one.path) for one in trace.refused] == [
        (0, "model.layers.0.adapter"),
        (1, "model.layers.1.adapter"),
    ]
    assert "do not say which is its gate" in trace.refused[0].reason


def test_what_only_has_the_shapes_of_an_mlp_is_none_beside_one_that_has_the_names():
    mamba = {"mamba.in_proj.weight": (4 * H, H), "mamba.out_proj.weight": (H, 2 * H)}
    found, records = only(model(mlp("mlp"), mamba))
    assert len(records) == 1
    assert found.trace.skipped == {}
    tensors = model(mlp("mlp")) | block("model.layers", 2, mamba)
    assert structure(tensors, CONFIG).trace.skipped == {
        2: "no MLP by its names, but input_layernorm, post_attention_layernorm, self_attn, mamba"
    }


def test_one_matrix_that_is_called_a_gate_is_one():
    _, (record,) = only(model(mlp("mlp", ("linear_gate", "widen", "narrow"))))
    assert record.gate.parameter == "model.layers.0.mlp.linear_gate.weight"
    assert record.up.parameter == "model.layers.0.mlp.widen.weight"
    _, (turned,) = only(model(mlp("mlp", ("widen", "my_gate", "narrow"))))
    assert turned.gate.parameter == "model.layers.0.mlp.my_gate.weight"
    with pytest.raises(ArchitectureError, match="which is an MLP's gate"):
        structure(model(mlp("mlp", ("gate_a", "gate_b", "narrow"))), CONFIG)


def test_a_plain_reading_is_not_taken_where_a_third_matrix_may_be_the_gate():
    odd = {**mlp("mlp", ("g", "up_proj", "down_proj"))}
    with pytest.raises(ArchitectureError, match="which is an MLP's gate"):
        structure(model(odd), CONFIG)


def test_attention_is_never_read_as_an_mlp():
    odd = {f"self_attn.{name}": shape for name, shape in mlp("inner").items()}
    assert len(only(model(mlp("mlp"), odd))[1]) == 1
    with pytest.raises(ArchitectureError, match="no tensors are called and shaped like"):
        structure(model(odd), CONFIG)


@pytest.mark.parametrize("evidence", ["norm", "table", "config", "nothing", "said"])
def test_what_tells_rows_from_columns(evidence):
    tensors = mlp("layers.0.mlp") | mlp("layers.1.mlp")
    tensors |= {"layers.0.ffn_norm.weight": (H,)} if evidence == "norm" else {}
    tensors |= {"embed_tokens.weight": (V, H)} if evidence == "table" else {}
    config = {**CONFIG, "hidden_size": H} if evidence == "config" else CONFIG
    said = LayoutSpec(transposed=False) if evidence == "said" else None
    if evidence == "nothing":
        with pytest.raises(ArchitectureError, match=r"do not tell rows from columns.*transposed"):
            structure(tensors, config)
    else:
        assert only(tensors, config, said)[1][0].hidden == H


def test_a_configuration_that_lies_decides_nothing_that_shapes_show():
    lies = {"hidden_size": U, "intermediate_size": H, "num_hidden_layers": 90, "num_experts": 7}
    honest, found = (structure(model(), {**CONFIG, **more}) for more in ({}, lies))
    assert honest == found


def test_square_matrices_are_a_choice():
    square = model(mlp("mlp", units=H))
    with pytest.raises(ArchitectureError, match="do not tell rows from columns"):
        structure(square, CONFIG)
    _, (record,) = only(square, said=LayoutSpec(transposed=False))
    assert (record.up.channels.axis, record.down.channels.axis) == (0, 1)
    _, (turned,) = only(square, said=LayoutSpec(transposed=True))
    assert (turned.up.channels.axis, turned.down.channels.axis) == (1, 0)


def tower(stack, blocks=2):
    return model(stack=stack, blocks=blocks, table=None)


def test_of_two_towers_the_one_beside_the_table_of_tokens_is_read():
    both = tower("net.seeing.layers") | tower("net.text.layers", 3)
    with pytest.raises(ArchitectureError, match=r"'net\.seeing\.layers' or 'net\.text\.layers'"):
        structure(both, CONFIG)
    found = structure({**both, "net.text.embed_tokens.weight": (V, H)}, CONFIG)
    assert (found.trace.stack, found.trace.elsewhere) == ("net.text.layers", ("net.seeing.layers",))
    named = structure(tower("model.vision_tower.layers", 9) | tower("model.layers"), CONFIG)
    assert named.trace.stack == "model.layers"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (block("model.layers", 3), r"numbered up to 3, but 2 has no tensor"),
        (mlp("model.layers.01.mlp"), r"'model\.layers\.01.*zeros in front"),
        (mlp(f"model.layers.{'9' * 5000}.mlp"), r"has the number 9{20}\.\.\. in its name"),
        (mlp("model.layers.0.mlp.experts.2"), r"experts of block 0 .*but 0 has no tensor"),
        (mlp("model.layers.0.ffn", units=0), r"is \[0, 32\]: it holds no numbers"),
        (
            {
                "model.layers.0.f.experts.gate_up_proj": (10_000, 2 * U, H),
                "model.layers.0.f.experts.down_proj": (10_000, H, U),
            },
            r"is a stack of 10,000 experts; no model has so many",
        ),
    ],
    ids=["gap", "zeros", "digits", "experts", "empty", "stack"],
)
def test_what_is_hostile_is_one_line(more, says):
    with pytest.raises(ArchitectureError, match=says) as raised:
        structure({**model(), **more}, CONFIG)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_names_without_end_and_thousands_of_lists_are_read_once():
    wild = {f"list{k}.0.{'x.' * 50}weight": (2, 2) for k in range(2000)}
    wild[".".join(["7"] * 20_000)] = (3,)
    found = structure({**model(), **wild}, CONFIG)
    assert found.trace.stack == "model.layers"
    many = {name: shape for k in range(40) for name, shape in tower(f"t{k}").items()}
    with pytest.raises(ArchitectureError, match="or 37 more"):
        structure(many, CONFIG)


@pytest.mark.parametrize(
    ("table", "config", "found"),
    [
        ("model.embed_tokens.weight", {}, "model.embed_tokens.weight"),
        ("lm_head.weight", {"tie_word_embeddings": True}, "lm_head.weight"),
        ("lm_head.weight", {}, None),
        (None, {}, None),
    ],
)
def test_a_table_of_tokens_may_be_tied_or_absent(table, config, found):
    embedding = structure(model(table=table), {**CONFIG, **config}).trace.embedding
    assert (None if embedding is None else embedding.parameter) == found


@pytest.mark.parametrize(
    ("names", "before"),
    [
        ({"input_layernorm", "post_attention_layernorm"}, "post_attention_layernorm"),
        ({"attention_norm", "ffn_norm"}, "ffn_norm"),
        ({"ln_1", "ln_2"}, "ln_2"),
        ({"input_layernorm"}, "input_layernorm"),
        ({"post_attention_layernorm", "post_feedforward_layernorm"}, None),
        (
            {
                "input_layernorm",
                "post_attention_layernorm",
                "pre_feedforward_layernorm",
                "post_feedforward_layernorm",
            },
            "pre_feedforward_layernorm",
        ),
        (
            {
                "input_layernorm",
                "post_attention_layernorm",
                "post_self_attn_layernorm",
                "post_mlp_layernorm",
            },
            "post_attention_layernorm",
        ),
        (
            {"input_layernorm", "post_attention_layernorm", "post_mlp_layernorm"},
            ["input_layernorm", "post_attention_layernorm", "post_mlp_layernorm"],
        ),
        ({"norm_a", "norm_b"}, ["norm_a", "norm_b"]),
        ({"output.LayerNorm"}, ["output.LayerNorm"]),
        (set(), []),
    ],
    ids=lambda value: str(
        sorted(value) if isinstance(value, set) else value
    ),  # in one order everywhere
)
def test_which_norm_stands_before_the_mlp(names, before):
    assert norm_before(names) == before


@pytest.mark.parametrize(
    ("names", "before"),
    [
        # of attention, whatever it is called: transformers saves a block of OLMo Hybrid under these
        (["feedforward_layer_norm", "post_feedforward_layernorm"], None),
        (["post_mlp_norm", "pre_mlp_norm"], None),
        (["attention_norm", "ffn_norm", "post_ffn_norm"], "ffn_norm"),
        (["ffn_norm"], "ffn_norm"),
    ],
)
def test_beside_attention_one_of_two_norms_is_its_own(names, before):
    assert norm_before(names, with_attention=True) == (names if before is None else before)
    assert norm_before(names) == (before or next(name for name in names if "post" not in name))


def test_matrices_in_a_norm_are_no_mlp_and_hide_none():
    gated = {
        name.replace("layernorm.weight", f"layernorm.{part}.weight"): shape
        for name in model()
        if "layernorm" in name
        for part, shape in (("norm", (H,)), ("mlp.fc1", (3, H)), ("mlp.fc2", (H, 3)))
    }
    others = {name: shape for name, shape in model().items() if "layernorm" not in name}
    found = structure(others | gated, CONFIG)
    (reason,) = {found.norms[record.input.norm] for record in found.trace.mlps}
    assert "input_layernorm.norm.weight' or " in reason
    assert "post_attention_layernorm.norm.weight'" in reason


def test_a_norm_that_is_not_known_says_what_to_write():
    tensors = {
        name.replace("post_attention_layernorm", "norm_b").replace(
            "input_layernorm", "norm_a"
        ): shape
        for name, shape in model().items()
    }
    found, (record,) = only(tensors)
    assert found.norms[record.input.norm] == (
        "the norm before the MLPs could be 'model.layers.{block}.norm_a.weight' or "
        "'model.layers.{block}.norm_b.weight': write in a suite, at this model, which, as in "
        'layout: {norm: "model.layers.{block}.norm_a.weight"}, or layout: {norm: none}'
    )
    said = LayoutSpec(norm="model.layers.{block}.norm_b.weight", norm_offset=1.0)
    found, (record,) = only(tensors, said=said)
    norm = found.norms[record.input.norm]
    assert (norm.weight, norm.offset) == ("model.layers.0.norm_b.weight", 1.0)
    assert only(tensors, said=LayoutSpec(norm="none"))[1][0].input.norm is None


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (
            LayoutSpec(dense=MLPNames("a.{block}.u", "a.{block}.d")),
            "layout.up: no tensor is called",
        ),
        (LayoutSpec(norm="model.layers.{block}.no.weight"), "layout.norm: block 0 has no tensor"),
        (LayoutSpec(norm="model.layers.{block}.mlp.up_proj.weight"), r"is \[24, 32\], not \[32\]"),
        (LayoutSpec(embedding="no"), "layout.embedding: no tensor is called 'no'"),
        (
            LayoutSpec(embedding="model.layers.0.mlp.down_proj.weight"),
            "a table of tokens has rows of",
        ),
        (LayoutSpec(router="model.layers.{block}.no"), "layout.router: no tensor is called"),
        (
            LayoutSpec(router="model.layers.{block}.mlp.down_proj.weight"),
            "a router has a row of 32",
        ),
    ],
    ids=str,
)
def test_what_is_said_must_be_there_and_fit(said, says):
    with pytest.raises(ArchitectureError, match=says):
        structure(model(), CONFIG, said)


def test_patterns_of_one_mlp_must_fit_each_other():
    home = "model.layers.{block}.mlp"
    good = MLPNames(
        f"{home}.up_proj.weight", f"{home}.down_proj.weight", f"{home}.gate_proj.weight"
    )
    assert structure(model(), CONFIG, LayoutSpec(dense=good)).trace.mlps
    swapped = MLPNames(good.down, good.up, good.gate)
    with pytest.raises(ArchitectureError, match=r"are no MLP: its gate is \[24, 32\] and its up"):
        structure(model(), CONFIG, LayoutSpec(dense=swapped))
    tensors = model()
    del tensors["model.layers.1.mlp.gate_proj.weight"]
    with pytest.raises(ArchitectureError, match=r"layout\.gate: block 1 has no tensor called"):
        structure(tensors, CONFIG, LayoutSpec(dense=good))
    elsewhere = MLPNames("b.{block}.u", "b.{block}.d")
    with pytest.raises(ArchitectureError, match=r"are in 'b' and in 'model\.layers'"):
        structure(tensors, CONFIG, LayoutSpec(dense=good, experts=elsewhere))


def test_statements_are_patterns_that_a_person_can_write_down():
    experts = [mlp(f"mlp.experts.{number}") for number in range(2)]
    says = structure(model(*experts, {"mlp.gate.weight": (2, H)}), CONFIG).says
    home = "model.layers.{block}"
    of_expert = f"{home}.mlp.experts.{{expert}}"
    assert says == (
        (
            f"expert gate {of_expert}.gate_proj.weight, up {of_expert}.up_proj.weight, "
            f"down {of_expert}.down_proj.weight"
        ),
        f"norm {home}.post_attention_layernorm.weight, taken for a root mean square times that",
        f"router {home}.mlp.gate.weight",
        "table of tokens model.embed_tokens.weight",
        "activation silu, as the configuration says",
    )


WORDS = [
    *("model", "layers", "mlp", "experts", "shared", "self_attn", "norm", "weight", "bias", "gate"),
    *(
        "gate_proj",
        "up_proj",
        "down_proj",
        "gate_up_proj",
        "w1",
        "w2",
        "w3",
        "fc1",
        "fc2",
        "router",
    ),
    *(
        "embed_tokens",
        "lm_head",
        "input_layernorm",
        "0",
        "1",
        "2",
        "01",
        "",
        "\n",
        "{block}",
        "x" * 300,
    ),
]
NAMES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=7).map(".".join)
SHAPES = st.lists(st.sampled_from([0, 1, 4, 6, 8, 12]), max_size=4).map(tuple)
SAID = st.none() | st.builds(
    LayoutSpec,
    dense=st.none()
    | st.builds(
        MLPNames,
        up=st.sampled_from(["model.{block}.up_proj.weight", "{block}.w3", "layers.{block}.mlp.w3"]),
        down=st.sampled_from(
            ["model.{block}.down_proj.weight", "{block}.w2", "layers.{block}.mlp.w2"]
        ),
        gate=st.none() | st.sampled_from(["{block}.w1", "layers.{block}.mlp.w1"]),
    ),
    norm=st.none() | st.sampled_from(["none", "layers.{block}.norm.weight"]),
    router=st.none() | st.just("layers.{block}.router.weight"),
    embedding=st.none() | st.just("embed_tokens.weight"),
    transposed=st.none() | st.booleans(),
)


VALUES = st.sampled_from([0, -1, 4, 6, True, None, "gemma9", "", [], ["x"], {"hidden_size": 4}])
KEYS = st.sampled_from(["model_type", "hidden_size", "num_experts", "architectures", "hidden_act"])


@given(
    tensors=st.dictionaries(NAMES, SHAPES, max_size=14),
    beside=st.sampled_from([{}, model(), model(mlp("mlp.experts.0"), mlp("mlp.shared"))]),
    said=SAID,
    data=st.data(),
)
def test_whatever_files_hold_is_read_or_refused_in_one_line(tensors, beside, said, data):
    tensors = {**beside, **tensors}
    config = data.draw(st.dictionaries(KEYS, VALUES, max_size=4))
    found = refusal = None
    try:
        found = structure(tensors, config, said)
    except ArchitectureError as error:
        refusal = str(error)
    if found is None:
        assert "\n" not in refusal
        assert len(refusal) < 1000
        return
    for record in found.trace.mlps:
        for part in (record.gate, record.up, record.down):
            if part is not None:
                side = tensors[part.parameter][part.channels.axis]
                assert len(part.channels) == record.units > 0
                assert max(part.channels.indices()) < side


@given(
    scrambled=st.permutations(list(model(*(mlp(f"mlp.experts.{k}") for k in range(3))).items())),
)
def test_the_order_of_tensors_is_nothing(scrambled):
    tensors = dict(scrambled)
    assert structure(tensors, CONFIG) == structure(dict(sorted(scrambled)), CONFIG)
