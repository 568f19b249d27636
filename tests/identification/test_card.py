"""What a model's card says of its bases is judged: consistent, contradicted, or not known."""

import json
import shutil

import pytest

from provenance import Executor, InputsSpec, Store, fingerprint, judge_card
from provenance.cli import main
from provenance.errors import SourceError

pytestmark = pytest.mark.slow

INPUTS = InputsSpec(tokens=256, sequence_length=64)
OFFLINE = "huggingface_hub.constants.HF_HUB_OFFLINE"


@pytest.fixture
def model(tmp_path, family, monkeypatch):
    """Make a copy of the fine-tune with a card that says so."""
    monkeypatch.setattr(OFFLINE, True)

    def model(**said):
        folder = shutil.copytree(family.kin, tmp_path / "model")
        head = "".join(f"{key}: {json.dumps(value)}\n" for key, value in said.items())
        (folder / "README.md").write_text(f"---\n{head}---\n# A model\n")
        return folder

    return model


@pytest.fixture
def judge(shared_store):
    executor = Executor(Store(shared_store), "cpu")
    return lambda folder, **places: judge_card(
        folder, places=places, inputs=INPUTS, executor=executor
    )


@pytest.mark.parametrize(
    ("base", "relation", "state", "says"),
    [
        ("base", "finetune", "consistent", ""),
        ("base", None, "consistent", ""),
        ("other", "finetune", "contradicted", ""),
        ("short", "finetune", "contradicted", "blocks"),
        ("broken", "finetune", "not known", "holds NaN or infinity"),
    ],
)
def test_a_base_is_held_against_the_weights(family, model, judge, base, relation, state, says):
    said = {"base_model": "base"} | ({"base_model_relation": relation} if relation else {})
    found = judge(model(**said), base=getattr(family, base))
    assert found.state == state
    assert found.bases[0].where == "README.md:2"
    assert says in found.bases[0].why


def test_a_base_may_be_a_fingerprint(tmp_path, family, model, judge, shared_store):
    file = tmp_path / "base.safetensors"
    executor = Executor(Store(shared_store), "cpu")
    fingerprint(family.base, file, inputs=INPUTS, executor=executor)
    found = judge(model(base_model="base", base_model_relation="finetune"), base=file)
    assert found.state == "consistent"
    assert found.bases[0].evidence.statistic == "match"


def test_one_wrong_base_of_several_contradicts_the_card(family, model, judge):
    found = judge(model(base_model=["one", "two"]), one=family.base, two=family.other)
    assert [base.expect for base in found.bases] == ["merge", "merge"]
    assert found.state == "contradicted"


def test_what_the_card_does_not_name_is_refused(family, model, judge):
    with pytest.raises(SourceError, match="its card does not name 'bose': it names base"):
        judge(model(base_model="base"), bose=family.base)


@pytest.fixture
def run(capfd, shared_store):
    def run(*arguments):
        where = ["--store", str(shared_store), "--device", "cpu"]
        fed = ["--tokens", "256", "--sequence-length", "64"]
        with pytest.raises(SystemExit) as stop:
            main(["card", *map(str, arguments), *where, *fed])
        out, err = capfd.readouterr()
        return stop.value.code, " ".join(out.split()), err

    return run


@pytest.mark.parametrize(
    ("base", "code", "state"), [("base", 0, "consistent"), ("other", 1, "contradicted")]
)
def test_the_exit_code_says_what_became_of_the_card(family, model, run, base, code, state):
    folder = model(base_model="org/base", base_model_relation="finetune")
    found, out, err = run(folder, "--at", f"org/base={getattr(family, base)}")
    assert (found, err) == (code, "")
    assert f"the card is {state}" in out
    assert "finetune of org/base (README.md:2)" in out


def test_the_exit_code_is_3_where_it_is_not_known(model, run):
    code, out, _ = run(model(base_model="org/base"), "--json")
    fields = json.loads(out)
    assert (code, fields["state"]) == (3, "not known")
    assert fields["bases"][0]["why"]


def test_a_card_without_a_base_is_not_known(model, run):
    code, out, _ = run(model(license="mit"))
    assert code == 3
    assert "names no base model" in out


def test_a_base_at_two_places_is_a_line(family, model, run):
    places = (f"--at=org/base={one}" for one in (family.base, family.other))
    code, out, err = run(model(base_model="org/base"), *places)
    assert (code, out) == (2, "")
    assert "--at says more than once where org/base is: give one place" in err


@pytest.mark.parametrize("place", ["org/base", "=./base", "org/base="])
def test_a_place_that_is_none_is_a_line(model, run, place):
    code, out, err = run(model(base_model="org/base"), "--at", place)
    assert (code, out) == (2, "")
    assert "write ID=MODEL" in err
