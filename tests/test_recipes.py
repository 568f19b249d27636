"""A recipe gives an ordinary checkpoint, the same each time, whose key says what made it."""

import copy
import dataclasses
import json
import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fixtures.models import tiny_llama
from provenance.errors import InputError, SourceError
from provenance.recipes import RECIPES, Recipe, get
from provenance.recipes.build import build, encode, follow, train_tokenizer
from provenance.recipes.settings import (
    CorpusSettings,
    Initialise,
    PermuteResidual,
    PermuteUnits,
    PruneDepth,
    PruneWidth,
    RescaleUnits,
    TokenizerSettings,
    Train,
    TrainSettings,
)
from provenance.recipes.train import initialise, train

TEXT = CorpusSettings("topics", 20_000)
TOKENIZER = TokenizerSettings(300, TEXT)
TRAIN = Train(TEXT, TrainSettings(steps=6, batch=2, length=16, warmup=2))
BEGIN = Initialise(0, hidden=32, units=64, blocks=2, heads=2, tokenizer=TOKENIZER)


def recipe(*steps, parent=None):
    return Recipe("test/tiny", "tiny", 2, parent, steps)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    follow(recipe(BEGIN, TRAIN), folder)
    return folder


@pytest.fixture
def tokens():
    return torch.arange(1000) % 7


def child(base, folder, *steps):
    follow(recipe(*steps, parent="test/base"), folder, base)
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def loss_after(tokens, **settings):
    return train(tiny_llama(), tokens, TrainSettings(**settings)).last()


# the table of recipes


def test_quickstart_has_its_five_recipes_parents_first():
    assert list(RECIPES) == [
        f"quickstart/{name}" for name in ("base", "finetuned", "rebranded", "other-seed", "pruned")
    ]
    names = list(RECIPES)
    for name, entry in RECIPES.items():
        assert entry.name == name
        assert entry.parent is None or names.index(entry.parent) < names.index(name)


def test_stated_blocks_are_those_that_the_steps_leave():
    for entry in RECIPES.values():
        blocks = RECIPES[entry.parent].blocks if entry.parent else None
        for step in entry.steps:
            if isinstance(step, Initialise):
                blocks = step.blocks
            elif isinstance(step, PruneDepth):
                blocks = len(step.keep_blocks)
        assert entry.blocks == blocks


def test_other_seed_differs_from_base_in_the_initial_weights_alone():
    base, other = get("quickstart/base").fields(), get("quickstart/other-seed").fields()
    assert base["steps"][0].pop("seed") != other["steps"][0].pop("seed")
    assert base.pop("name") != other.pop("name")
    assert base == other


def test_unknown_recipe_is_answered_with_the_likely_one_and_the_list():
    with pytest.raises(SourceError, match=r"did you mean 'quickstart/base'\?.*quickstart/pruned"):
        get("quickstart/bsae")


def test_unlikely_name_is_answered_with_the_list_alone():
    with pytest.raises(SourceError, match=r"'zzz'; recipes are: quickstart/base, "):
        get("zzz")


@pytest.mark.parametrize("name", RECIPES)
def test_fields_are_json(name):
    fields = get(name).fields()
    assert json.loads(json.dumps(fields)) == fields


def test_fields_hold_the_parents_and_the_versions():
    fields = get("quickstart/rebranded").fields()
    assert fields["parent"] == get("quickstart/finetuned").fields()
    assert fields["parent"]["parent"] == get("quickstart/base").fields()
    assert torch.__version__.startswith(fields["versions"]["torch"])


def test_fields_change_with_any_setting():
    variants = [
        recipe(BEGIN, TRAIN),
        recipe(BEGIN, Train(TEXT, TrainSettings(steps=7))),
        recipe(BEGIN, Train(CorpusSettings("topics", 20_000, seed=3), TRAIN.settings)),
        recipe(BEGIN, PermuteUnits(0)),
        recipe(BEGIN, PermuteResidual(0)),
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
    follow(recipe(BEGIN, TRAIN), tmp_path)
    for path in base.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_other_seed_shares_the_tokenizer_and_no_weights(base, tmp_path):
    other = Initialise(1, hidden=32, units=64, blocks=2, heads=2, tokenizer=TOKENIZER)
    follow(recipe(other, TRAIN), tmp_path)
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
    model = child(base, tmp_path, PermuteUnits(0), RescaleUnits(1), PermuteResidual(2))
    parent = AutoModelForCausalLM.from_pretrained(base).eval()
    ids = torch.arange(40)[None]
    with torch.no_grad():
        expected = parent(input_ids=ids).logits
        torch.testing.assert_close(model(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)
    assert not torch.equal(
        model.model.layers[0].mlp.up_proj.weight, parent.model.layers[0].mlp.up_proj.weight
    )


def test_pruned_child_has_the_shape_that_its_config_says(base, tmp_path):
    model = child(base, tmp_path, PruneWidth(48), PruneDepth((1,)), TRAIN)
    assert (model.config.num_hidden_layers, model.config.intermediate_size) == (1, 48)


def test_progress_is_told_and_nothing_is_printed(tmp_path, capfd):
    calls = []
    follow(recipe(BEGIN, TRAIN), tmp_path, progress=lambda *call: calls.append(call))
    assert calls == [("training test/tiny", 6, 6)]
    assert capfd.readouterr() == ("", "")


def test_parent_must_be_given_where_the_recipe_has_one(tmp_path):
    with pytest.raises(SourceError, match=r"'quickstart/pruned' needs .* quickstart/base"):
        build("quickstart/pruned", tmp_path)


def test_parent_must_not_be_given_where_the_recipe_has_none(tmp_path):
    with pytest.raises(SourceError, match="'quickstart/base' has no parent"):
        build("quickstart/base", tmp_path, tmp_path)


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
    model = initialise(dataclasses.replace(BEGIN, deviation=0.01), end_of_text=0)
    first = train(model, tokens, TrainSettings(steps=1)).losses[0]
    assert first == pytest.approx(math.log(300), abs=0.05)


def test_deviation_is_that_of_the_initial_weights():
    model = initialise(dataclasses.replace(BEGIN, deviation=0.05), end_of_text=0)
    gate = model.model.layers[1].mlp.gate_proj.weight.detach()
    assert gate.std().item() == pytest.approx(0.05, rel=0.05)


def test_order_seed_changes_the_losses(tokens):
    ids = torch.randint(128, (1000,), generator=torch.Generator().manual_seed(0))
    first, second = (
        train(tiny_llama(), ids, TrainSettings(steps=3, seed=seed)).losses for seed in (0, 1)
    )
    assert first != second


def test_training_restores_threads_and_leaves_global_state_alone(tokens):
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train(initialise(BEGIN, end_of_text=0), tokens, TrainSettings(steps=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_number_of_threads_of_the_caller_does_not_matter(tokens):
    threads, weights = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            model = initialise(BEGIN, end_of_text=0)
            train(model, tokens, TrainSettings(steps=3))
            weights.append(copy.deepcopy(model.state_dict()))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_trained_model_is_left_without_gradients_and_ready(tokens):
    model = tiny_llama()
    train(model, tokens, TrainSettings(steps=1))
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_too_short_a_text_is_refused():
    with pytest.raises(InputError, match="more than 64 tokens of text, but got 64"):
        train(tiny_llama(), torch.zeros(64, dtype=torch.int64), TrainSettings(steps=1))
