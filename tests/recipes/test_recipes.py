"""A recipe gives an ordinary checkpoint, the same each time, whose key says what made it."""

import copy
import dataclasses
import inspect
import json
import math
import pkgutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fixtures import transforms
from fixtures.models import save_checkpoint, tiny_llama
from fixtures.pairs import tiny_gpt2
from fixtures.recipes import ZOO, families
from fixtures.recipes.distil import distil
from fixtures.recipes.lora import train_lora
from fixtures.recipes.retrain import hidden_states, retrain_mlp
from fixtures.recipes.steps import (
    AddNoise,
    Distil,
    FoldNorms,
    LoraMerge,
    LoraSettings,
    MergeLinear,
    MergeSlerp,
    MergeTies,
    PermuteExperts,
    PermuteHeads,
    PermuteTracedUnits,
    PruneMagnitude,
    RescaleNorms,
    RetrainMlp,
    RetrainSettings,
    RotateResidual,
    RoundTrip,
    TrainLora,
    TransplantMlp,
    Upcycle,
    UpscaleDepth,
)
from provenance import Executor, Store
from provenance.architecture.trace import trace
from provenance.errors import InputError, SourceError
from provenance.recipes import RECIPES, Recipe, get, register, with_ancestors
from provenance.recipes import recipe as recipe_module
from provenance.recipes.build import build
from provenance.recipes.quickstart import QUICKSTART
from provenance.recipes.settings import CorpusSettings, TokenizerSettings, TrainSettings
from provenance.recipes.steps import (
    FirstStep,
    Initialise,
    PermuteResidual,
    PermuteUnits,
    PruneDepth,
    PruneWidth,
    RescaleUnits,
    Step,
    TokenizerStep,
    Train,
    Transform,
)
from provenance.recipes.tokenizer import encode, train_tokenizer
from provenance.recipes.train import train

pytestmark = pytest.mark.slow

TEXT = CorpusSettings("topics", 20_000)
TOKENIZER = TokenizerSettings(300, TEXT)
SETTINGS = TrainSettings(steps=6, batch=2, length=16, warmup=2)
TRAIN = Train(TEXT, SETTINGS)
LORA = LoraSettings(SETTINGS, rank=3)
RETRAIN = RetrainSettings(steps=400, batch=64, tokens=1024, length=16)
DISGUISES = {
    PermuteUnits,
    PermuteTracedUnits,
    PermuteExperts,
    RescaleUnits,
    PermuteHeads,
    PermuteResidual,
    RotateResidual,
    FoldNorms,
    RescaleNorms,
}
BEGIN = Initialise(0, hidden=32, units=64, blocks=2, heads=2, tokenizer=TOKENIZER)


def recipe(*steps, parent=None):
    return Recipe("test/tiny", "tiny", 2, parent, steps)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    build(recipe(BEGIN, TRAIN), folder)
    return folder


@pytest.fixture
def tokens():
    return torch.arange(1000) % 7


def child(base, folder, *steps, others=None):
    build(recipe(*steps, parent="test/base"), folder, base, others=others or {})
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def loss_after(tokens, **settings):
    losses = train(tiny_llama(), tokens, TrainSettings(**settings))[-20:]
    return sum(losses) / len(losses)


# the table of recipes


NAMES = {
    "quickstart": "base finetuned rebranded other-seed pruned",
    "disguise": "units scales signs heads residual rotation norms all",
    "lineage": "noise int8 int4 magnitude upscaled transplant merge slerp lora ties retrained "
    "distilled",
    "family": "chat rebranded merge",
    "architectures": " ".join(f"{f} {f}-disguised {f}-stranger" for f in families.FAMILIES),
}


def test_recipes_are_those_of_the_quickstart_then_those_of_the_zoo():
    names = [f"{kind}/{name}" for kind in NAMES for name in NAMES[kind].split()]
    assert [entry.name for entry in (*QUICKSTART, *ZOO)] == names
    assert [name for name in RECIPES if name in names] == names


def test_what_a_recipe_needs_stands_before_it():
    names = list(RECIPES)
    for name, entry in RECIPES.items():
        assert entry.name == name
        needed = (*entry.others, *([entry.parent] if entry.parent else []))
        assert all(names.index(other) < names.index(name) for other in needed)


def test_disguises_are_the_fine_tune_and_disguise_steps_alone():
    for name, entry in RECIPES.items():
        if name.startswith("disguise/"):
            assert entry.parent == "quickstart/finetuned"
            assert {type(step) for step in entry.steps} <= DISGUISES


def test_stated_blocks_are_those_that_the_steps_leave():
    for entry in RECIPES.values():
        blocks = RECIPES[entry.parent].blocks if entry.parent else None
        for step in entry.steps:
            if isinstance(step, FirstStep):
                blocks = step.blocks
            elif isinstance(step, PruneDepth):
                blocks = len(step.keep_blocks)
            elif isinstance(step, UpscaleDepth):
                blocks = len(step.blocks)
        assert entry.blocks == blocks


def test_other_seed_differs_from_base_in_the_initial_weights_alone():
    base, other = get("quickstart/base").fields(), get("quickstart/other-seed").fields()
    assert base["steps"][0].pop("seed") != other["steps"][0].pop("seed")
    assert base.pop("name") != other.pop("name")
    assert base == other


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_family_has_a_base_a_disguised_descendant_and_a_stranger(family):
    base, disguised, stranger = (
        get(f"architectures/{family}{kind}") for kind in ("", "-disguised", "-stranger")
    )
    assert disguised.parent == base.name
    assert {type(step) for step in disguised.steps} - {Train} <= DISGUISES
    first, other = base.steps[0], stranger.steps[0]
    assert dataclasses.replace(first, seed=other.seed) == other != first
    assert base.steps[1:] == stranger.steps[1:]


def test_every_family_has_initial_weights_of_its_own():
    begun = [entry.steps[0] for entry in RECIPES.values() if not entry.parent]
    drawn = [step for step in begun if isinstance(step, Initialise)]
    seeds = [step.seed for step in drawn if step.family != "llama"]
    assert len(set(seeds)) == len(seeds) == 2 * len(families.FAMILIES)


def test_unknown_recipe_is_answered_with_the_likely_one_and_the_list():
    with pytest.raises(SourceError, match=r"did you mean 'quickstart/base'\?.*quickstart/pruned"):
        get("quickstart/bsae")


def test_unlikely_name_is_answered_with_the_list_alone():
    with pytest.raises(
        SourceError, match=r"'zzz'; recipes are: quickstart/base, .*conftest.py can"
    ):
        get("zzz")


# recipes of one's own


@pytest.fixture
def table(monkeypatch):
    """Have `RECIPES` of the quickstart alone; what a test registers goes with it."""
    known = {entry.name: entry for entry in QUICKSTART}
    monkeypatch.setattr(recipe_module, "_recipes", known)
    monkeypatch.setattr(recipe_module, "RECIPES", known)
    return known


def tuned(name="ours/chat", parent="quickstart/base", steps=(TRAIN,)):
    return Recipe(name, "ours", 4, parent, steps)


def test_a_registered_recipe_is_found_and_a_second_time_changes_nothing(table):
    register([tuned()])
    register([tuned()])
    assert get("ours/chat") == tuned()
    assert list(table)[-1] == "ours/chat"


def test_two_recipes_of_one_name_are_refused_and_nothing_is_registered(table):
    with pytest.raises(ValueError, match="two different recipes are called 'quickstart/base'"):
        register([tuned(), dataclasses.replace(tuned(), name="quickstart/base")])
    assert "ours/chat" not in table


def test_an_ancestor_must_be_registered_too(table):
    child = tuned("ours/child", "ours/chat")
    with pytest.raises(ValueError, match="'ours/child' needs 'ours/chat', and no recipe is"):
        register([child])
    register([child, tuned()])
    assert with_ancestors(["ours/child", "unknown"]) == (child, tuned(), get("quickstart/base"))


def test_ancestors_are_parents_and_the_others_of_all():
    names = [entry.name for entry in with_ancestors(["lineage/ties"])]
    assert sorted(names) == [
        "lineage/lora",
        "lineage/ties",
        "quickstart/base",
        "quickstart/finetuned",
    ]


@dataclasses.dataclass(frozen=True)
class Halve(Step):
    factor: float

    def apply(self, model, context):
        for weight in model.parameters():
            weight.data *= self.factor
        return model


def test_a_step_of_ones_own_is_done_and_keys_the_store(base, tmp_path):
    model = child(base, tmp_path, Halve(0.5))
    parent = AutoModelForCausalLM.from_pretrained(base)
    assert torch.equal(model.model.norm.weight, parent.model.norm.weight * 0.5)
    fields = tuned(steps=(Halve(0.5),)).fields()
    assert fields["steps"] == [{"step": f"{Halve.__module__}.Halve", "factor": 0.5}]


@pytest.mark.parametrize("name", RECIPES)
def test_fields_are_json(name):
    fields = get(name).fields()
    assert json.loads(json.dumps(fields)) == fields


def test_fields_hold_the_parents_and_the_versions():
    fields = get("quickstart/rebranded").fields()
    assert fields["parent"] == get("quickstart/finetuned").fields()
    assert fields["parent"]["parent"] == get("quickstart/base").fields()
    assert torch.__version__.startswith(fields["versions"]["torch"])


def test_fields_hold_those_of_the_other_models_each_once():
    entry = recipe(
        MergeLinear("quickstart/base", 0.5), MergeSlerp("quickstart/base", 0.5), parent="p"
    )
    assert entry.others == ("quickstart/base",)
    assert get("lineage/transplant").fields()["others"] == [get("quickstart/base").fields()]
    assert get("lineage/ties").others == ("quickstart/finetuned", "lineage/lora")
    assert get("quickstart/base").fields()["others"] == []


def test_texts_are_those_of_every_step_that_reads_one():
    steps = (BEGIN, TRAIN, TrainLora(TEXT, LORA), RetrainMlp(TEXT, (0,)), Distil(TEXT, 1, SETTINGS))
    assert recipe(*steps, AddNoise(0, 0.1)).texts() == (TEXT,) * 5


def subclasses(kind):
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


STEPS = {
    step
    for step in subclasses(Step)
    if step.__module__ in {"provenance.recipes.steps", "fixtures.recipes.steps"}
    or (step.__module__ == "fixtures.pretrained.steps" and issubclass(step, Transform))
}
TRANSFORMS = sorted(
    (step for step in STEPS if issubclass(step, Transform) and hasattr(step, "function")),
    key=lambda step: step.__name__,
)


@pytest.mark.parametrize("step", [*TRANSFORMS, MergeTies])
def test_fields_of_a_step_are_arguments_of_its_transform(step):
    names = {field.name for field in dataclasses.fields(step)} - {"other", "others"}
    transform = transforms.merge_ties if step is MergeTies else pkgutil.resolve_name(step.function)
    parameters = inspect.signature(transform).parameters
    models = {"model", "recipient", "donor", "a", "b", "base", "models"} & set(parameters)
    assert names == set(parameters) - models
    for field in dataclasses.fields(step):
        if field.name in {"low", "high", "chosen"}:
            assert field.default == parameters[field.name].default


def test_every_step_begins_trains_or_transforms():
    bases = {FirstStep, TokenizerStep, Transform}
    whole = {step for step in STEPS if not step.__name__.startswith("_")} - bases
    trains = {Train, TrainLora, RetrainMlp, Distil}
    assert whole == {Initialise, *trains, *TRANSFORMS, MergeTies}


def test_fields_change_with_any_setting():
    variants = [
        recipe(BEGIN, TRAIN),
        recipe(BEGIN, Train(TEXT, TrainSettings(steps=7))),
        recipe(BEGIN, Train(CorpusSettings("topics", 20_000, seed=3), TRAIN.settings)),
        recipe(BEGIN, PermuteUnits(0)),
        recipe(BEGIN, PermuteResidual(0)),
        recipe(Initialise(0, family="qwen2", tokenizer=TOKENIZER)),
        recipe(
            Initialise(
                0,
                family="qwen2",
                configuration=(("num_key_value_heads", 2),),
                tokenizer=TOKENIZER,
            )
        ),
    ]
    assert len({json.dumps(variant.fields()) for variant in variants}) == len(variants)


@pytest.mark.parametrize(
    ("parent", "steps"),
    [(None, ()), (None, (TRAIN,)), ("p", (BEGIN,)), (None, (BEGIN, BEGIN)), ("p", ())],
)
def test_recipe_begins_with_a_parent_or_with_initial_weights(parent, steps):
    with pytest.raises(ValueError, match="must begin with Initialise"):
        recipe(*steps, parent=parent)


# following a recipe


def test_checkpoint_is_loaded_as_any_other(base):
    model = AutoModelForCausalLM.from_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    ids = tokenizer("def f(x): return x", return_tensors="pt").input_ids
    assert model(input_ids=ids).logits.shape == (*ids.shape, len(tokenizer))
    names = {path.name for path in base.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names


def test_two_builds_are_equal_byte_for_byte(base, tmp_path):
    build(recipe(BEGIN, TRAIN), tmp_path)
    for path in base.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_other_seed_shares_the_tokenizer_and_no_weights(base, tmp_path):
    other = Initialise(1, hidden=32, units=64, blocks=2, heads=2, tokenizer=TOKENIZER)
    build(recipe(other, TRAIN), tmp_path)
    file = "tokenizer.json"
    assert (tmp_path / file).read_bytes() == (base / file).read_bytes()
    weights = [
        AutoModelForCausalLM.from_pretrained(folder).model.embed_tokens.weight
        for folder in (base, tmp_path)
    ]
    assert not torch.isclose(*weights).any(dim=1).all()


def test_child_keeps_its_parents_tokenizer(base, tmp_path):
    child(base, tmp_path, TRAIN)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / file).read_bytes() == (base / file).read_bytes()


def test_disguised_child_has_its_parents_function(base, tmp_path):
    seeded = DISGUISES - {FoldNorms, PermuteExperts}
    steps = [step(seed) for seed, step in enumerate(sorted(seeded, key=lambda step: step.__name__))]
    model = child(base, tmp_path, *steps, FoldNorms())
    parent = AutoModelForCausalLM.from_pretrained(base).eval()
    ids = torch.arange(40)[None]
    with torch.no_grad():
        expected = parent(input_ids=ids).logits
        torch.testing.assert_close(model(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)
    assert not torch.equal(
        model.model.layers[0].mlp.up_proj.weight, parent.model.layers[0].mlp.up_proj.weight
    )


def test_disguised_child_with_experts_has_its_parents_function(tmp_path):
    settings = (("num_local_experts", 4), ("num_key_value_heads", 2))
    begin = Initialise(
        0, 32, 48, 2, 2, tokenizer=TOKENIZER, family="mixtral", configuration=settings
    )
    build(recipe(begin, TRAIN), tmp_path / "parent")
    parent = AutoModelForCausalLM.from_pretrained(tmp_path / "parent").eval()
    model = child(tmp_path / "parent", tmp_path / "child", PermuteTracedUnits(1), PermuteExperts(2))
    ids = torch.arange(40)[None]
    with torch.no_grad():
        expected = parent(input_ids=ids).logits
        torch.testing.assert_close(model(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)
    routers = [each.model.layers[0].mlp.gate.weight for each in (model, parent)]
    assert not torch.equal(*routers)


def test_pruned_child_has_the_shape_that_its_config_says(base, tmp_path):
    model = child(base, tmp_path, PruneWidth(48), PruneDepth((1,)), TRAIN)
    assert (model.config.num_hidden_layers, model.config.intermediate_size) == (1, 48)


@pytest.mark.parametrize(
    "step",
    [
        AddNoise(0, 0.1),
        RoundTrip(4),
        PruneMagnitude(0.5),
        LoraMerge(0, 2, 0.1),
        TrainLora(TEXT, LORA),
        RetrainMlp(TEXT, (1,), dataclasses.replace(RETRAIN, steps=2)),
        Distil(TEXT, 5, SETTINGS),
    ],
    ids=lambda step: type(step).__name__,
)
def test_changed_child_has_other_weights_of_the_same_shapes(base, tmp_path, step):
    model = child(base, tmp_path, step)
    parent = AutoModelForCausalLM.from_pretrained(base)
    pairs = list(zip(model.parameters(), parent.parameters(), strict=True))
    assert all(a.shape == b.shape for a, b in pairs)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_upscaled_and_upcycled_children_are_what_their_config_says(base, tmp_path):
    model = child(base, tmp_path, UpscaleDepth((0, 1, 0)), Upcycle(3, 0))
    assert len(model.model.layers) == model.config.num_hidden_layers == 3
    assert model.config.num_local_experts == 3


# a second parent


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    folder = tmp_path_factory.mktemp("second")
    other = Initialise(1, hidden=32, units=64, blocks=2, heads=2, tokenizer=TOKENIZER)
    build(recipe(other), folder)
    return folder


def test_transplanted_block_is_the_others(base, second, tmp_path):
    model = child(base, tmp_path, TransplantMlp("second", (1,)), others={"second": second})
    origins = [AutoModelForCausalLM.from_pretrained(folder) for folder in (base, second)]
    for block, origin in enumerate(origins):
        gates = [m.model.layers[block].mlp.gate_proj.weight for m in (model, origin)]
        assert torch.equal(*gates)


def test_merges_take_the_parent_first_and_the_others_as_named(base, second, tmp_path):
    a, b = (AutoModelForCausalLM.from_pretrained(folder) for folder in (base, second))
    cases = {
        "linear": (MergeLinear("second", 0.25), transforms.merge_linear(a, b, 0.25)),
        "slerp": (MergeSlerp("second", 0.25), transforms.merge_slerp(a, b, 0.25)),
        "ties": (
            MergeTies(("second", "base"), 0.5, 0.25),
            transforms.merge_ties(a, [b, a], 0.5, 0.25),
        ),
    }
    for name, (step, expected) in cases.items():
        made = child(base, tmp_path / name, step, others={"second": second, "base": base})
        torch.testing.assert_close(made.state_dict(), expected.state_dict())


def test_other_models_must_be_given(base, tmp_path):
    with pytest.raises(
        SourceError, match="'lineage/merge' needs the folder of quickstart/base too"
    ):
        build(get("lineage/merge"), tmp_path, base)


def test_executor_makes_the_other_models_first(tmp_path, monkeypatch):
    begin = dataclasses.replace(BEGIN, seed=1)
    merge = Recipe("t/merge", "merge", 2, "t/a", (MergeLinear("t/b", 0.5),))
    table = [Recipe("t/a", "a", 2, None, (BEGIN,)), Recipe("t/b", "b", 2, None, (begin,)), merge]
    monkeypatch.setattr(recipe_module, "RECIPES", {entry.name: entry for entry in table})
    stages = []
    executor = Executor(Store(tmp_path), on_stage=stages.append)
    folders = [executor.checkpoint(recipe_spec(name)).folder for name in ("t/merge", "t/a", "t/b")]
    assert [stage.subject for stage in stages if stage.action == "make"] == [
        "t/a",
        "t/b",
        "t/merge",
    ]
    made, a, b = (AutoModelForCausalLM.from_pretrained(folder) for folder in folders)
    expected = transforms.merge_linear(a, b, 0.5).state_dict()
    torch.testing.assert_close(made.state_dict(), expected)


def recipe_spec(name):
    from provenance import ModelSpec

    return ModelSpec(recipe=name)


def test_progress_is_told_and_nothing_is_printed(tmp_path, capfd):
    calls = []
    build(recipe(BEGIN, TRAIN), tmp_path, progress=lambda *call: calls.append(call))
    assert calls == [(6, 6)]
    assert capfd.readouterr() == ("", "")


def test_parent_must_be_given_where_the_recipe_has_one(tmp_path):
    with pytest.raises(SourceError, match=r"'quickstart/pruned' needs .* quickstart/base"):
        build(get("quickstart/pruned"), tmp_path)


def test_parent_must_not_be_given_where_the_recipe_has_none(tmp_path):
    with pytest.raises(SourceError, match="'quickstart/base' has no parent"):
        build(get("quickstart/base"), tmp_path, tmp_path)


# tokenizer


def test_tokenizer_gives_every_text_back():
    tokenizer = train_tokenizer(TOKENIZER)
    text = "def f():\n\treturn 'žluťoučký kůň 🐎'\x00\r\n"
    assert tokenizer.decode(encode(tokenizer, text)) == text


def test_loaded_tokenizer_reads_as_the_trained_one(base):
    text = "for i in range(10):\n    print(i)"
    trained, loaded = train_tokenizer(TOKENIZER), AutoTokenizer.from_pretrained(base)
    assert loaded(text)["input_ids"] == encode(trained, text).tolist()
    assert loaded.eos_token == loaded.bos_token == loaded.pad_token == "<|endoftext|>"


# training


def test_training_learns(tokens):
    assert loss_after(tokens, steps=60, length=16, warmup=5) < 0.5 < loss_after(tokens, steps=1)


def test_first_loss_is_that_of_a_model_that_knows_nothing(tokens):
    # wide tied embeddings would favour the token that was just read
    model = dataclasses.replace(BEGIN, deviation=0.01).draw(end_of_text=0)
    first = train(model, tokens, TrainSettings(steps=1))[0]
    assert first == pytest.approx(math.log(300), abs=0.05)


def test_deviation_is_that_of_the_initial_weights():
    model = dataclasses.replace(BEGIN, deviation=0.05).draw(end_of_text=0)
    gate = model.model.layers[1].mlp.gate_proj.weight.detach()
    assert gate.std().item() == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_family_is_begun_at_its_stated_sizes(family):
    first = get(f"architectures/{family}").steps[0]
    model = first.draw(end_of_text=0)
    assert model.config.model_type == family
    found = trace(model)
    assert found.blocks == first.blocks
    assert found.skipped == {}
    assert {record.block for record in found.mlps} == set(range(first.blocks))
    assert {record.hidden for record in found.mlps} == {first.hidden}
    assert {record.units for record in found.mlps} <= {96, 128, first.units}
    assert any(record.role == "expert" for record in found.mlps) == (
        family in families.WITH_EXPERTS
    )
    up = found.mlps[0].up
    assert model.get_parameter(up.parameter).std().item() == pytest.approx(0.125, rel=0.05)


def test_an_initial_family_is_drawn_from_its_seed_alone():
    state = torch.random.get_rng_state()
    first = Initialise(0, 64, 192, 3, tokenizer=TOKENIZER, family="phi3")
    weights = [
        dataclasses.replace(first, seed=seed).draw(end_of_text=0).lm_head.weight
        for seed in (0, 0, 1)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_order_seed_changes_the_losses(tokens):
    ids = torch.randint(128, (1000,), generator=torch.Generator().manual_seed(0))
    first, second = (train(tiny_llama(), ids, TrainSettings(steps=3, seed=seed)) for seed in (0, 1))
    assert first != second


def test_training_restores_threads_and_leaves_global_state_alone(tokens):
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train(BEGIN.draw(end_of_text=0), tokens, TrainSettings(steps=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_number_of_threads_of_the_caller_does_not_matter(tokens):
    threads, weights = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            model = BEGIN.draw(end_of_text=0)
            train(model, tokens, TrainSettings(steps=3))
            weights.append(copy.deepcopy(model.state_dict()))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_dropout_is_drawn_from_the_seed_alone(tokens):
    weights = []
    for _ in range(2):
        torch.rand(1)
        model, state = tiny_gpt2(), torch.random.get_rng_state()
        train(model, tokens, TrainSettings(steps=2, length=16))
        assert torch.equal(torch.random.get_rng_state(), state)
        weights.append(model.lm_head.weight)
    assert torch.equal(*weights)


def test_trained_model_is_left_without_gradients_and_ready(tokens):
    model = tiny_llama()
    train(model, tokens, TrainSettings(steps=1))
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_too_short_a_text_is_refused():
    with pytest.raises(InputError, match="more than 64 tokens of text, but got 64"):
        train(tiny_llama(), torch.zeros(64, dtype=torch.int64), TrainSettings(steps=1))


# low-rank fine-tuning


def test_low_rank_tuning_learns_by_updates_of_its_rank(tokens):
    model = tiny_llama()
    before = copy.deepcopy(model.state_dict())
    tuned = train_lora(
        model, tokens, LoraSettings(TrainSettings(steps=40, length=16, learning_rate=2e-2), rank=3)
    )
    assert mean_loss(tuned, tokens) < mean_loss(model, tokens) - 0.5
    for name, weight in tuned.state_dict().items():
        rank = torch.linalg.matrix_rank(torch.atleast_2d(weight - before[name]).double(), rtol=1e-4)
        assert rank == (3 if "proj" in name else 0), name


def test_low_rank_tuning_leaves_its_model_and_an_ordinary_one(tokens, tmp_path):
    model = tiny_llama()
    before = copy.deepcopy(model.state_dict())
    tuned = train_lora(model, tokens, LORA)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert tuned.state_dict().keys() == before.keys()
    assert all(weight.requires_grad for weight in [*tuned.parameters(), *model.parameters()])
    loaded = AutoModelForCausalLM.from_pretrained(save_checkpoint(tuned, tmp_path))
    torch.testing.assert_close(loaded.state_dict(), tuned.state_dict())


def mean_loss(model, tokens):
    with torch.no_grad():
        return model(input_ids=tokens[None, :100], labels=tokens[None, :100]).loss.item()


# an MLP retrained


def test_retrained_mlp_does_what_the_old_one_did_with_other_weights():
    model = tiny_llama()
    tokens = torch.randint(128, (2048,), generator=torch.Generator().manual_seed(0))
    retrained = retrain_mlp(model, tokens, (1,), RETRAIN)
    states = hidden_states(model, tokens[1024:], 1, RETRAIN)
    with torch.no_grad():
        old, new = (m.model.layers[1].mlp(states) for m in (model, retrained))
    assert (old - new).square().mean() < 0.3 * old.var()
    gates = [m.model.layers[1].mlp.gate_proj.weight for m in (model, retrained)]
    cosines = torch.nn.functional.cosine_similarity(*gates)
    assert cosines.abs().mean() < 0.5


def test_all_but_the_retrained_mlps_is_left(tokens):
    model = tiny_llama()
    settings = dataclasses.replace(RETRAIN, steps=2)
    retrained, again = (retrain_mlp(model, tokens, (1,), settings) for _ in range(2))
    for name, tensor in model.state_dict().items():
        same = torch.equal(tensor, retrained.state_dict()[name])
        assert same != name.startswith("model.layers.1.mlp."), name
        assert torch.equal(retrained.state_dict()[name], again.state_dict()[name])
    assert all(parameter.grad is None for parameter in retrained.parameters())


def test_hidden_states_are_what_enters_the_mlp_and_the_hook_is_gone(tokens):
    model = tiny_llama()
    states = hidden_states(model, tokens, 1, RETRAIN)
    assert states.shape == (1000 // 16 * 16, 32)
    # the slow, obvious version, of the second sequence
    with torch.no_grad():
        seen = []
        norm = model.model.layers[1].post_attention_layernorm
        norm.register_forward_hook(lambda *call: seen.append(call[2]))
        model(input_ids=tokens[None, 16:32])
    torch.testing.assert_close(states[16:32], seen[0][0], atol=1e-5, rtol=1e-4)
    assert not model.model.layers[1].mlp._forward_pre_hooks


def test_retraining_refuses_too_short_a_text_and_absent_blocks(tokens):
    with pytest.raises(InputError, match="at least 16 tokens of text, but got 7"):
        retrain_mlp(tiny_llama(), tokens[:7], (0,), RETRAIN)
    for blocks in [(), (2,), (-1,)]:
        with pytest.raises(ValueError, match="numbers from 0 to 1, but got"):
            retrain_mlp(tiny_llama(), tokens, blocks, RETRAIN)


# distillation


def test_student_comes_to_say_what_its_teacher_says():
    teacher = tiny_llama(tie_word_embeddings=True)
    tokens = torch.randint(128, (2000,), generator=torch.Generator().manual_seed(0))
    distances = []
    for steps in (1, 60):
        student = distil(teacher, 7, tokens, TrainSettings(steps=steps, length=16, warmup=5))
        with torch.no_grad():
            said = [
                m(input_ids=tokens[None, :64]).logits.log_softmax(-1) for m in (student, teacher)
            ]
        distances.append(torch.nn.functional.kl_div(*said, log_target=True, reduction="sum").item())
    assert distances[1] < 0.6 * distances[0]


def test_student_begins_from_weights_of_its_own_and_the_teacher_stays(tokens):
    teacher, state = tiny_llama(), torch.random.get_rng_state()
    before = copy.deepcopy(teacher.state_dict())
    first, second, third = (distil(teacher, seed, tokens, SETTINGS) for seed in (1, 1, 2))
    gates = [m.model.layers[0].mlp.gate_proj.weight for m in (first, second, third, teacher)]
    assert torch.equal(gates[0], gates[1])
    for one, other in [(0, 2), (0, 3), (2, 3)]:
        assert torch.nn.functional.cosine_similarity(gates[one], gates[other]).abs().max() < 0.8
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
