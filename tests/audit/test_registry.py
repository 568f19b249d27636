"""What an audit reads: registry files, suites, folders of checkpoints."""

import shutil

import pytest

from provenance.audit import folder, load_registry
from provenance.checkpoints.folder import listing
from provenance.errors import ProvenanceError, SourceError, SuiteError
from provenance.vocabulary import AN_ALPHA, InputsSpec, ModelSpec


@pytest.fixture
def write(tmp_path):
    def write(text, name="registry.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def problems(path):
    with pytest.raises(SuiteError) as caught:
        load_registry(path)
    return [(p.line, p.column, p.message) for p in caught.value.problems]


def checkpoint(folder, *names):
    folder.mkdir(parents=True)
    for name in names or ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")


# files


def test_a_registry_says_what_is_compared_and_how(write, tmp_path):
    path = write(
        "version: 1\n"
        "inputs: {tokens: 512, text: ./words.txt}\n"
        "statistic: match\n"
        "alpha: 1e-3\n"
        "models:\n"
        "  b: {path: ./b}\n"
        "  a: {repo: org/a, revision: 12345678}\n"
        "  c: {recipe: quickstart/base}\n"
        "ignore:\n"
        "- {pair: [a, b], reason: 'they are\n  mirrors'}\n"
    )
    found = load_registry(path)
    assert found.models["b"] == ModelSpec(path=str(tmp_path / "b"))
    assert found.models["a"].revision == "12345678"
    assert found.inputs == InputsSpec(tokens=512, text=str(tmp_path / "words.txt"))
    assert (found.statistic, found.alpha) == ("match", 1e-3)
    assert set(found.pairs()) == {("c", "a"), ("c", "b")}  # the first declared is the reference
    assert found.threshold == 1e-3 / 2
    assert found.ignored == {frozenset("ab"): "they are mirrors"}
    assert (found.marks["b"].line, found.marks["b"].column) == (6, 3)
    assert found.digest.startswith("sha256:")


def test_a_suite_is_a_registry_of_its_models(write):
    found = load_registry(
        write(
            "version: 1\n"
            "inputs: {tokens: 512}\n"
            "defaults: {alpha: 1e-4, statistic: [jsd, match]}\n"
            "models: {a: {recipe: quickstart/base}, b: {recipe: quickstart/pruned}}\n"
            "pairs:\n- {candidate: b, reference: a, expect: unknown}\n"
        )
    )
    assert list(found.models) == ["a", "b"]
    assert (found.statistic, found.alpha, found.inputs.tokens) == ("match", 1e-4, 512)


def test_a_suite_of_a_lineage_is_a_registry_too(write):
    text = "version: 1\nmodels: {a: {path: x}, b: {path: y}}\nlineage: {a: {b: {}}}\n"
    assert load_registry(write(text)).pairs() == (("b", "a"),)


def test_a_suites_mistakes_are_said_as_the_suites(write):
    found = problems(write("version: 1\nmodels: {a: {path: x}}\npairs: []\n"))
    assert [line for line, _, _ in found] == [3]


def test_all_mistakes_of_a_registry_are_said_at_once(write):
    found = problems(
        write(
            "version: 1\n"
            "statistics: match\n"
            "statistic: jsd\n"
            "models:\n"
            "  a: {path: x, repo: org/x}\n"
            "  b: {pth: y}\n"
            "alpha: 2\n"
            "ignore:\n"
            "- {pair: [a], reason: mirror}\n"
            "- {pair: [a, b], reasn: mirror}\n"
            "- a\n"
            "folder: [x]\n"
        )
    )
    assert [(line, message.partition(":")[0].partition(";")[0]) for line, _, message in found] == [
        (2, "unknown key 'statistics'"),
        (3, "jsd has no p-value and decides no pair"),
        (5, "model 'a' comes from path and repo"),
        (6, "model 'b' comes from nowhere"),
        (6, "unknown key 'pth'"),
        (
            7,
            f"alpha must be {AN_ALPHA}, not 2",
        ),
        (9, "pair must be a list of two names of models, such as [chat, base], not a list of 1"),
        (10, "missing key 'reason'"),
        (10, "unknown key 'reasn'"),
        (11, "an ignored pair must be a mapping such as {pair"),
        (12, "folder must be a folder, as a text, not a list"),
    ]
    assert "did you mean 'statistic'?" in found[0][2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a registry is a mapping with the keys version and models"),
        ("[]", "a registry is a mapping"),
        ("version: 1\n", "the registry has no models: write models:, or folder:"),
        ("version: 2\nmodels: {}\n", "version 2"),
        ("version: 1\nmodels: {a: {path: x}\n", "not valid YAML"),
        ("version: 1\nfolder: .\nstatistic: l2\n", "l2 needs more permutations"),
        ("version: 1\nfolder: .\nstatistic: magic\n", "unknown statistic 'magic'"),
        (
            "version: 1\nfolder: .\nexhaustive: yes\n",
            "exhaustive must be true or false, not the text",
        ),
        (
            "version: 1\nfolder: .\nignore: [{pair: [[], b]}]",
            "a name in a pair must be the name of a",
        ),
        ("version: 1\nallow: [{reason: x}]", "missing key 'model': add model, the name of a model"),
        ("version: 1\nallow: [a]", "an allowed model must be a mapping such as {model: chat"),
        ("version: 1\nignore: [{reason: x}]", "missing key 'pair': add pair, a list of two names"),
    ],
)
def test_a_mistake_is_said_at_its_line(write, text, words):
    assert any(words in message for _, _, message in problems(write(text)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: {}", "has no model, and an audit compares pairs"),
        ("models: {a: {path: x}}", "has one model"),
        (
            "models: {a: {path: x}, b: {path: y}}\nignore: [{pair: [a, c], reason: mirror}]",
            "ignore: names 'a' and 'c', which is no pair",
        ),
        (
            "models: {a: {path: x}, b: {path: y}}\nignore: [{pair: [a, b], reason: mirror}]",
            "every pair is ignored",
        ),
        (
            "models: {a: {path: x}, b: {path: y}}\nallow: [{model: bb, reason: later}]",
            "allow: names 'bb', which is no model of the registry",
        ),
        ("models: {m: {path: x}}\nfolder: .", "'m' is declared under models: and lies in"),
        ("folder: ./none", "cannot be read"),
    ],
)
def test_a_registry_of_which_nothing_can_be_judged_is_a_mistake(write, tmp_path, text, words):
    checkpoint(tmp_path / "m")
    with pytest.raises(ProvenanceError, match=words):
        load_registry(write(f"version: 1\n{text}\n"))


def test_a_file_that_is_not_there_is_a_mistake(tmp_path):
    assert "there is no such file" in problems(tmp_path / "none.yaml")[0][2]


# folders


def test_what_is_no_checkpoint_is_left_alone(tmp_path):
    checkpoint(tmp_path / "b")
    checkpoint(
        tmp_path / "team" / "a", "config.json", "model.safetensors.index.json", "x.safetensors"
    )
    checkpoint(tmp_path / "team" / "adapter", "adapter_config.json")
    checkpoint(tmp_path / "team" / "pickled", "config.json", "pytorch_model.bin")
    checkpoint(tmp_path / "b" / "checkpoint-500")  # inside of a checkpoint
    checkpoint(tmp_path / ".trash" / "c")
    checkpoint(tmp_path / "notes", "README.md", "config.json")
    checkpoint(tmp_path / "gguf", "one.gguf", "two.GGUF", "mmproj-one.gguf")
    checkpoint(tmp_path / "team" / "trained", "config.json", "last.ckpt", "optimizer.pt")
    checkpoint(tmp_path / "team" / "training", "config.json", "optimizer.pt")
    checkpoint(tmp_path / "split", "m-00001-of-00002.gguf", "m-00002-of-00002.gguf")
    found = load_registry(tmp_path)
    assert list(found.models) == [
        "b",
        "gguf/one.gguf",
        "gguf/two.GGUF",
        "split/m-00001-of-00002.gguf",
        "team/a",
        "team/adapter",
        "team/pickled",
        "team/trained",
    ]
    assert found.models["team/a"] == ModelSpec(path=str(tmp_path / "team" / "a"))


def test_links_are_followed_but_not_in_circles(tmp_path):
    checkpoint(tmp_path / "models" / "v1")
    (tmp_path / "models" / "latest").symlink_to("v1")
    (tmp_path / "models" / "round").symlink_to("..", target_is_directory=True)
    checkpoint(tmp_path / "other")
    assert set(load_registry(tmp_path).models) == {"models/latest", "models/v1", "other"}


def test_a_folder_that_cannot_be_read_is_told_of_as_a_model(tmp_path, monkeypatch):
    """As root reads everything, the refusal is a stand-in's."""
    checkpoint(tmp_path / "a")
    checkpoint(tmp_path / "b")

    def refuse(place):
        if place.name == "b":
            raise SourceError(f"{place} cannot be read: Permission denied")
        return listing(place)

    monkeypatch.setattr(folder, "listing", refuse)
    assert list(load_registry(tmp_path).models) == ["a", "b"]


def test_a_checkpoint_is_no_folder_of_checkpoints(tmp_path):
    checkpoint(tmp_path / "a")
    with pytest.raises(ProvenanceError, match="is a checkpoint itself; give the folder"):
        load_registry(tmp_path / "a")


def test_a_new_model_makes_another_registry(tmp_path):
    for name in "abc":
        checkpoint(tmp_path / name)
    before = load_registry(tmp_path).digest
    assert load_registry(tmp_path).digest == before
    shutil.rmtree(tmp_path / "c")
    assert load_registry(tmp_path).digest != before
