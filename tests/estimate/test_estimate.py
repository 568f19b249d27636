"""A plan counts what a run then does, and does nothing itself."""

import json
from dataclasses import replace

import pytest

from fixtures.synthetic_weights import Size, Weights, write_checkpoint
from provenance import Executor, InputsSpec, ModelSpec, Store, load_suite
from provenance.cli import main
from provenance.comparison.plan import Comparison
from provenance.errors import ProvenanceError
from provenance.estimate import Constants, constants, foresee
from provenance.estimate.known import Known
from provenance.estimate.making import making
from provenance.estimate.matching import matchings
from provenance.estimate.models import model_cost, sizes_of_bytes
from provenance.estimate.suites import wanted_of
from provenance.estimate.words import in_bytes, in_time, lines
from provenance.recipes import RECIPES
from provenance.recipes.quickstart import QUICKSTART
from provenance.recipes.sizes import Sizes
from provenance.recipes.steps import Initialise, PruneDepth, PruneWidth
from provenance.store.store import digest_of
from provenance.vocabulary import Memory
from tests.support import hub_server
from tests.support.quantized_weights import write_quantized

COSTS = Constants(
    start=4.0,
    opening=0.5,
    resident=4 << 28,
    training_step=0.01,
    training_flop=1e-11,
    forward_flop=1e-11,
    product_flop=1e-11,
    matching=0.01,
    assign=5e-6,
    exponent=1.4,
    read_byte=1e-9,
    tokenizer_character=1e-6,
)
SUITE = "suites/quickstart.suite.yaml"
INPUTS = InputsSpec(tokens=512, sequence_length=64)


@pytest.fixture
def known(tmp_path):
    return Known(Store(tmp_path / "store"), "cpu", Memory())


@pytest.fixture
def quick(request):
    return load_suite(request.config.rootpath / SUITE)


def plan(wanted, store, **options):
    return foresee(wanted.items(), Store(store), "cpu", constants=COSTS, **options)


def between(family, candidate, statistic, **options):
    specs = (ModelSpec(path=str(getattr(family, name))) for name in (candidate, "base"))
    return Comparison.of(*specs, INPUTS, statistic, **options)


def test_a_plan_of_models_that_must_be_made_names_each_piece_of_work_once(quick, tmp_path):
    outlook = plan(wanted_of(quick).comparisons, tmp_path)
    assert {model.state for model in outlook.models} == {"to make"}
    names = [one.recipe for one in outlook.makings]
    assert sorted(names) == sorted(recipe.name for recipe in QUICKSTART)
    for name in names:  # a parent stands before its child
        assert {*RECIPES[name].ancestors} <= {*names[: names.index(name)]}
    assert len(outlook.forwards) == len(quick.models)
    assert len(outlook.matches) == len(quick.claims)
    assert outlook.moved == outlook.known == 0
    assert outlook.cpu_seconds == pytest.approx(
        COSTS.start
        + sum(one.seconds for one in (*outlook.makings, *outlook.forwards, *outlook.matches))
    )


def test_a_plan_makes_nothing(quick, tmp_path):
    plan(wanted_of(quick).comparisons, tmp_path / "store")
    assert not (tmp_path / "store" / "v1" / "checkpoint").exists()
    assert Store(tmp_path / "store").journal() == []


def test_what_two_suites_share_is_counted_once(quick, tmp_path):
    wanted = wanted_of(quick).comparisons
    one = plan(wanted, tmp_path)
    assert plan({**wanted, **wanted_of(quick).comparisons}, tmp_path).to_dict() == one.to_dict()
    half = dict(list(wanted.items())[:3])
    other = dict(list(wanted.items())[3:])
    apart = plan(half, tmp_path).cpu_seconds + plan(other, tmp_path).cpu_seconds
    assert one.cpu_seconds < apart


@pytest.mark.parametrize(("sample", "state"), [(None, "to convert"), (1, "here")])
def test_of_a_sample_nothing_is_converted(tmp_path, sample, state):
    size = Size(blocks=2, hidden=64, units=96, vocabulary=100)
    folders = (
        write_quantized(tmp_path / "copy", Weights(size, 0), "fp8 blocks"),
        write_checkpoint(tmp_path / "base", Weights(size, 1)),
    )
    specs = (ModelSpec(path=str(folder)) for folder in folders)
    comparison = Comparison.of(*specs, INPUTS, "kinship", sample=sample, control=False)
    outlook = plan({comparison: True}, tmp_path / "store")
    assert [model.state for model in outlook.models] == [state, "here"]
    assert len(outlook.makings) == (0 if sample else 1)


@pytest.mark.slow
@pytest.mark.parametrize("statistic", ["match", "kinship", "match_weights"])
@pytest.mark.parametrize("candidate", ["kin", "other", "short"])
@pytest.mark.parametrize("extent", ["decided", "all"])
def test_as_many_pairs_of_blocks_are_counted_as_are_tested(
    family, tmp_path, statistic, candidate, extent
):
    told = []
    comparison = between(family, candidate, statistic, extent=extent, control=False)
    executor = Executor(Store(tmp_path), "cpu", told.append)
    kin = candidate != "other"
    outlook = plan({comparison: kin}, tmp_path)
    executor.evidence(comparison)
    tested = max(stage.total for stage in told if stage.action == "match")
    (match,) = outlook.matches
    assert match.work.pairs == tested


@pytest.mark.slow
def test_what_the_store_has_costs_nothing(family, tmp_path):
    wanted = {
        between(family, "kin", "match"): True,
        between(family, "other", "match"): False,
    }
    before = plan(wanted, tmp_path)
    assert [model.state for model in before.models] == ["here"] * 3
    assert before.read > 0
    executor = Executor(Store(tmp_path), "cpu")
    first, second = wanted
    executor.evidence(first)
    between_runs = plan(wanted, tmp_path)
    assert between_runs.known == 1
    assert len(between_runs.matches) == 1
    assert [one.source for one in between_runs.forwards] == [f"path:{family.other}"]
    executor.evidence(second)
    after = plan(wanted, tmp_path)
    assert after.idle
    assert (after.known, after.cpu_seconds, after.memory, after.kept) == (2, 0.0, 0, 0)


@pytest.mark.slow
def test_what_activations_take_is_foreseen(family, tmp_path):
    comparison = between(family, "other", "match")
    outlook = plan({comparison: False}, tmp_path)
    executor = Executor(Store(tmp_path), "cpu")
    executor.evidence(comparison)
    _, kept = executor.store.size()["activations"]
    assert kept / 2 <= outlook.kept <= 2 * kept


def test_a_recipe_that_was_made_before_takes_what_it_took(tmp_path):
    recipe = RECIPES["quickstart/base"]
    sizes = Sizes(128, 384, 4, 2048)
    counted = making(recipe, sizes, COSTS, {})
    assert counted.trained_tokens == 240 * 8 * 64
    assert not counted.before
    again = making(recipe, sizes, COSTS, {digest_of(recipe.fields()): 7.0})
    assert (again.seconds, again.before) == (7.0, True)


def test_the_sizes_of_a_recipe_are_those_of_its_model(known):
    step = RECIPES["quickstart/base"].steps[0]
    assert isinstance(step, Initialise)
    sizes = step.first_sizes(known.store)
    model = step.draw(end_of_text=0)
    assert sizes.parameters == sum(p.numel() for p in model.parameters())
    narrow = PruneWidth(keep=256).sizes(sizes)
    assert narrow == replace(sizes, units=256)
    assert PruneDepth(keep_blocks=(0, 2)).sizes(narrow).blocks == 2


@pytest.mark.parametrize(
    ("counted", "hidden", "blocks"), [(7e9, 4096, 32), (70e9, 8192, 80), (1.2e9, 2048, 16)]
)
def test_sizes_of_usual_models_follow_from_their_bytes(counted, hidden, blocks):
    sizes = sizes_of_bytes(int(2 * counted))
    assert hidden / 1.5 <= sizes.hidden <= 1.5 * hidden
    assert blocks / 1.5 <= sizes.blocks <= 1.5 * blocks
    assert (sizes.width, sizes.parameters) == (2, counted)


def test_strangers_cost_more_than_kin_and_experts_more_than_one(quick):
    (comparison, *_) = wanted_of(quick).comparisons
    dense, mixture = Sizes(64, 128, 4, 512), Sizes(64, 128, 4, 512, experts=4)
    kin = matchings(comparison, dense, dense, kin=True)
    strangers = matchings(comparison, dense, dense, kin=False)
    assert (kin.pairs, kin.solved) == (4, 0)
    assert strangers.solved == 4 * (1 + 3)
    assert strangers.pairs == strangers.solved + 2 * 2
    assert matchings(comparison, mixture, mixture, kin=True).pairs == 4 * 4 * 4


def test_a_model_of_the_hub_is_told_by_the_hub_and_not_downloaded(known, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    files = {"config.json": b"{}", "model.safetensors": bytes(3000), "README.md": bytes(9)}
    with hub_server.serve(files) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        model = model_cost(ModelSpec(repo="org/tiny"), known)
        assert (model.state, model.moved) == ("to download", 3002)
        assert not any("resolve" in request for request in hub.requests)
    assert not (tmp_path / "hub").exists()


def test_without_the_hub_the_size_is_unknown_and_one_line_says_why(known, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    spec = ModelSpec(repo="org/tiny")
    wanted = {Comparison.of(spec, spec, INPUTS, "match"): True}
    outlook = plan(wanted, tmp_path / "store")
    (model,) = outlook.models
    assert (model.state, model.moved, model.sizes) == ("to download", None, None)
    (note,) = outlook.notes
    assert "HF_HUB_OFFLINE is set" in note
    assert "\n" not in note
    assert "download  0 B, and 1 model of unknown size" in "\n".join(lines("a", outlook))


def test_a_folder_that_is_not_there_is_a_note(known):
    model = model_cost(ModelSpec(path="/nowhere"), known)
    assert model.state == "unknown"
    assert "/nowhere is not there" in model.note


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1024, "1 KiB"), (3 << 29, "1.5 GiB"), (5 << 50, "5.12e+03 TiB")],
)
def test_bytes_are_told_in_three_figures(number, text):
    assert in_bytes(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (95, "95 s"), (150, "2.5 min"), (7200, "2.0 h")]
)
def test_seconds_are_told_as_people_do(seconds, text):
    assert in_time(seconds) == text


@pytest.fixture
def measured(monkeypatch):
    """How often the machine was measured."""
    times = []
    monkeypatch.setattr(constants, "_measured", lambda: times.append(1) or COSTS)
    return times


def test_constants_are_measured_once_a_machine(tmp_path, measured, monkeypatch):
    store = Store(tmp_path)
    assert constants.constants_of(store) == COSTS
    assert constants.constants_of(store) == COSTS
    assert len(measured) == 1
    monkeypatch.setattr(constants, "machine", lambda: {"host": "another"})
    constants.constants_of(store)
    assert len(measured) == 2


@pytest.mark.parametrize("text", ["", "{}", '{"constants": {"start": 1}}', '{"constants": [1]}'])
def test_a_damaged_note_of_constants_is_written_again(tmp_path, measured, text):
    store = Store(tmp_path)
    constants.constants_of(store)
    (name,) = store.notes.names("constants")
    store.notes.write(name, text)
    assert constants.constants_of(store) == COSTS
    assert len(measured) == 2


def test_a_measurement_that_fails_is_one_line(monkeypatch):
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(ProvenanceError, match=r"could not be measured .*provenance doctor"):
        constants._measured()


@pytest.mark.extended
def test_this_machine_can_be_measured(tmp_path):
    found = constants.constants_of(Store(tmp_path))
    assert all(value > 0 for value in vars(found).values())
    assert 0.5 < found.exponent < 3
    assert found.resident > 100 << 20


@pytest.fixture
def command(capsys, measured, tmp_path):
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["plan", *map(str, arguments), "--store", str(tmp_path / "store")])
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run


def test_the_command_tells_each_suite_and_all_together(command, quick, tmp_path):
    copy = tmp_path / "copy.suite.yaml"
    copy.write_text(quick.path.read_text("utf-8"), encoding="utf-8")
    code, out, err = command(quick.path, copy)
    assert (code, err) == (0, "")
    titles = [line for line in out.splitlines() if not line.startswith(" ")]
    assert titles == [
        f"{path}: 6 comparisons to measure, 0 in the store"
        for path in (quick.path, copy, "all together")
    ]
    assert "  model     recipe:quickstart/base        to make, 1.12M parameters" in out
    code, out, err = command(quick.path, copy, "--json")
    found = json.loads(out)
    assert [suite["path"] for suite in found["suites"]] == [str(quick.path), str(copy)]
    assert found["total"]["cpu_seconds"] == found["suites"][0]["cpu_seconds"]
    assert (code, err) == (0, "")


def test_mistakes_are_those_of_suite_check(command, tmp_path, capsys):
    suite = tmp_path / "bad.suite.yaml"
    suite.write_text("version: 1\nmodels: {a: {recipe: quickstart/base}}\npairs: [{}]\n")
    code, out, err = command(suite)
    assert (code, out) == (2, "")
    with pytest.raises(SystemExit) as stop:
        main(["suite", "check", str(suite)])
    assert stop.value.code == 2
    assert capsys.readouterr().err == err


def test_a_recipe_of_a_conftest_is_named_with_what_to_do(command, tmp_path):
    suite = tmp_path / "own.suite.yaml"
    suite.write_text(
        "version: 1\n"
        "models: {a: {recipe: quickstart/base}, b: {recipe: own/recipe}}\n"
        "pairs: [{candidate: b, reference: a, expect: derived}]\n"
    )
    code, out, _ = command(suite)
    assert code == 0
    assert "0 comparisons to measure, 0 in the store, 1 of unknown cost" in out
    assert "note      no recipe is called 'own/recipe'" in out
    assert "`pytest SUITE --provenance-plan -` plans with it" in out
