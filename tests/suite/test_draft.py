"""Suites drafted from model cards: what cards claim becomes claims, and nothing else does."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import close_session
from hypothesis import given
from hypothesis import strategies as st

from provenance.checkpoints.parse import parse
from provenance.cli import main
from provenance.errors import SourceError
from provenance.suite.draft import DEPTH, draft_suite
from provenance.suite.model_cards import MAX_BYTES, read_card
from provenance.suite.read import loads
from tests.support.hub_server import COMMIT, serve

OFFLINE = "huggingface_hub.constants.HF_HUB_OFFLINE"  # read from the environment once


def card(**said):
    """A README that says so in its head, as YAML, and more below."""
    head = "".join(f"{key}: {json.dumps(value)}\n" for key, value in said.items())
    return f"---\n{head}---\n# A model\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make folders with cards, relative to where we are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(OFFLINE, True)

    def folder(name, text=None, **said):
        path = tmp_path / name
        path.mkdir(parents=True)
        if text is not None or said:
            (path / "README.md").write_text(card(**said) if text is None else text)
        return f"./{name}"

    return folder


def drafted(*models):
    draft = draft_suite(models)
    return draft, loads(draft.text, Path("a.suite.yaml"))


@pytest.mark.parametrize(
    ("relation", "expect"),
    [
        ("finetune", "finetune"),
        ("adapter", "adapter"),
        ("quantized", "quantized"),
        ("merge", "merge"),
        (None, "derived"),
        ("distilled", "derived"),
        ("independent", "derived"),
        (["finetune"], "derived"),
    ],
)
def test_the_relation_of_a_card_is_the_claim(folder, relation, expect):
    said = {} if relation is None else {"base_model_relation": relation}
    draft, suite = drafted(folder("ours", base_model="acme/base-7b", **said))
    (claim,) = suite.claims
    assert (claim.candidate, claim.reference, claim.expect) == ("ours", "base-7b", expect)
    assert suite.models["base-7b"].repo == "acme/base-7b"
    assert "# its README.md:2: " in draft.text
    assert (draft.claims, draft.models) == (1, 2)


def test_several_bases_are_a_merge(folder):
    _, suite = drafted(folder("ours", base_model=["acme/one", "acme/two"]))
    assert [(c.reference, c.expect) for c in suite.claims] == [("one", "merge"), ("two", "merge")]
    assert {claim.kind for claim in suite.claims} == {"any"}


def test_a_base_is_claimed_with_the_line_that_names_it(folder):
    text = "---\nlicense: mit\nbase_model:\n- acme/one\n\n- acme/two\n- acme/one\n---\n"
    draft, suite = drafted(folder("ours", text))
    whys = [line.partition(" # ")[2] for line in draft.text.splitlines() if "expect" in line]
    assert whys == ["its README.md:4: merge", "its README.md:6: merge"]
    assert len(suite.claims) == 2
    assert not any("no hub ids" in note for note in draft.notes)


def test_an_adapters_configuration_names_its_base_where_no_card_does(folder, tmp_path):
    path = folder("lora")
    (tmp_path / "lora" / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "acme/base"})
    )
    draft, suite = drafted(path)
    assert [(c.reference, c.expect) for c in suite.claims] == [("base", "adapter")]
    assert "its adapter_config.json: adapter" in draft.text


def test_models_of_which_no_card_says_anything_are_unknown_to_each_other(folder):
    ours = folder("ours", base_model="acme/base", base_model_relation="finetune")
    _, suite = drafted(ours, folder("theirs"))
    found = {c.id: c.expect for c in suite.claims}
    assert found == {"ours-vs-base": "finetune", "theirs-vs-ours": "unknown"}


def test_what_cards_say_in_two_steps_is_derived(tmp_path, monkeypatch, folder):
    ours = folder("ours", base_model="org/middle", base_model_relation="finetune")
    middle = card(base_model="org/tiny", base_model_relation="merge")
    with hub(tmp_path, monkeypatch, **{"README.md": ""}) as running:
        running.others["org/middle"] = {"README.md": middle.encode()}
        draft = draft_suite([ours, "org/tiny"], endpoint=running.endpoint)
    suite = loads(draft.text, Path("a.suite.yaml"))
    assert {claim.id: claim.expect for claim in suite.claims} == {
        "ours-vs-middle": "finetune",
        "middle-vs-tiny": "merge",
        "ours-vs-tiny": "derived",
    }
    assert "# cards say so, by way of middle" in draft.text
    assert suite.models["middle"].revision == COMMIT


def test_a_model_that_is_named_twice_is_one(folder):
    _, suite = drafted(folder("ours", base_model="acme/base"), "./ours", folder("theirs"))
    found = {claim.id: claim.expect for claim in suite.claims}
    assert found == {"ours-vs-base": "derived", "theirs-vs-ours": "unknown"}


def test_pairs_whose_names_join_to_one_id_are_told_apart(folder):
    _, suite = drafted(folder("a", base_model="o/b-vs-c"), folder("a-vs-b", base_model="o/c"))
    pairs = {claim.id: (claim.candidate, claim.reference) for claim in suite.claims}
    assert pairs["a-vs-b-vs-c"] == ("a", "b-vs-c")
    assert pairs["a-vs-b-vs-c-2"] == ("a-vs-b", "c")


def test_two_models_of_one_name_are_told_apart(folder):
    draft, suite = drafted(folder("a/model"), folder("b/model"))
    assert len(suite.models) == 2
    assert "model" in draft.text


def test_a_model_without_a_base_and_without_company_is_refused(folder):
    with pytest.raises(
        SourceError, match=r"nothing to compare it with \(its card names no base mod"
    ):
        draft_suite([folder("alone")])
    with pytest.raises(SourceError, match=r"are no hub ids: '/srv/base'\): name one more model"):
        draft_suite([folder("local", base_model="/srv/base")])


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("---\nbase_model: [acme/base\n---\n", "cannot be read"),
        ("---\na: &a [1,1]\nb: &b [*a,*a]\nc: &c [*b,*b]\n", None),
        ("---\nbase_model: 7\n---\n", "no hub ids: '7'"),
        ("---\nbase_model: {a: b}\n---\n", "no hub ids"),
        ("---\nbase_model: [[acme/base]]\n---\n", "no hub ids"),
        ("---\nbase_model: none\n---\n", "'none' was left out: repo:none: "),
        ("---\nbase_model: [acme/base, '../../etc', '', {a: b}]\n---\n", "3 of the bases"),
        ("---\nbase_model: acme/base\nbase_model: acme/other\n---\n", None),
        ("x" * (MAX_BYTES + 1), "it was not read"),
        ("", None),
    ],
)
def test_a_card_that_makes_no_sense_is_a_note(folder, text, note):
    draft, suite = drafted(folder("odd", text), folder("plain"))
    assert {"odd", "plain"} <= set(suite.models)
    assert note is None or any(note in each for each in draft.notes)


BOMB = "---\n" + "a0: &a0 {x: y}\n" + "".join(
    f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}], k{i}: v}}\n" for i in range(1, 60)
) + "base_model: acme/base\n---\n"  # fmt: skip


def test_a_card_that_would_grow_without_end_is_not_built(folder):
    draft, _ = drafted(folder("bomb", BOMB), folder("plain"))
    assert any("cannot be read" in note for note in draft.notes)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.slow
@given(_TEXT | st.lists(_TEXT, max_size=3), _TEXT)
def test_whatever_a_card_says_the_draft_is_a_suite(tmp_path_factory, base, relation):
    folder = tmp_path_factory.mktemp("card")
    for name in ("one", "two"):
        (folder / name).mkdir()
        text = card(base_model=base, base_model_relation=relation)
        (folder / name / "README.md").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OFFLINE, True)
        draft, suite = drafted(str(folder / "one"), str(folder / "two"))
    assert draft.claims == len(suite.claims) >= 1
    assert all(line == line.strip("\r\x85\u2028") for line in draft.text.split("\n"))


@contextmanager
def hub(tmp_path, monkeypatch, **files):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(OFFLINE, False)
    with serve({name: data.encode() for name, data in files.items()}) as running:
        yield running
    close_session()  # Python would warn of the connections that huggingface_hub keeps


def test_a_repository_is_pinned_to_the_commit_of_today_and_its_weights_stay_there(
    tmp_path, monkeypatch
):
    said = card(base_model="org/tiny-base", base_model_relation="quantized")
    files = {"README.md": said, "model.safetensors": "weights"}
    with hub(tmp_path, monkeypatch, **files) as running:
        draft = draft_suite(["org/tiny"], endpoint=running.endpoint)
        assert not any("safetensors" in request for request in running.requests)
    suite = loads(draft.text, Path("a.suite.yaml"))
    assert suite.models["tiny"].revision == COMMIT
    assert [(c.reference, c.expect) for c in suite.claims] == [("tiny-base", "quantized")]
    # the base is not on this hub: it is a model nevertheless, and a note says that it is not pinned
    assert any(note.startswith("tiny-base: ") for note in draft.notes)


def test_two_revisions_of_a_repository_are_two_models(tmp_path, monkeypatch):
    with hub(tmp_path, monkeypatch, **{"README.md": ""}) as running:
        running.revisions += ("v2",)
        draft = draft_suite(["org/tiny", "org/tiny@v2"], endpoint=running.endpoint)
    suite = loads(draft.text, Path("a.suite.yaml"))
    assert [(claim.id, claim.expect) for claim in suite.claims] == [("tiny-v2-vs-tiny", "unknown")]


def test_an_old_id_without_an_owner_is_a_base_where_the_hub_knows_it(tmp_path, monkeypatch):
    said = card(base_model=["gpt2", "none"], base_model_relation="finetune")
    with hub(tmp_path, monkeypatch, **{"README.md": said}) as running:
        running.others["gpt2"] = {"README.md": b""}
        draft = draft_suite(["org/tiny"], endpoint=running.endpoint)
    suite = loads(draft.text, Path("a.suite.yaml"))
    assert [(c.reference, c.expect) for c in suite.claims] == [("gpt2", "finetune")]
    assert (suite.models["gpt2"].repo, suite.models["gpt2"].revision) == ("gpt2", COMMIT)
    assert "# 'none' was left out: repo:none: there is no such repository" in draft.text


@pytest.mark.slow
def test_cards_that_name_each_other_in_a_circle_end(tmp_path, monkeypatch):
    with hub(tmp_path, monkeypatch, **{"README.md": card(base_model="org/b")}) as running:
        running.others["org/b"] = {"README.md": card(base_model="org/c").encode()}
        running.others["org/c"] = {"README.md": card(base_model="org/tiny").encode()}
        draft = draft_suite(["org/tiny"], endpoint=running.endpoint)
    suite = loads(draft.text, Path("a.suite.yaml"))
    pairs = [(claim.candidate, claim.reference) for claim in suite.claims]
    assert pairs == [("tiny", "b"), ("b", "c"), ("c", "tiny")]


@pytest.mark.slow
def test_bases_are_followed_so_far_and_no_further(tmp_path, monkeypatch):
    with hub(tmp_path, monkeypatch, **{"README.md": card(base_model="org/b1")}) as running:
        for i in range(1, 9):
            said = card(base_model=f"org/b{i + 1}").encode()
            running.others[f"org/b{i}"] = {"README.md": said}
        draft = draft_suite(["org/tiny"], endpoint=running.endpoint)
    assert (draft.models, draft.claims) == (1 + DEPTH, DEPTH)
    assert "b5: org/b6 was not looked up, 5 bases away" in draft.notes


@pytest.mark.slow
def test_more_models_than_can_be_meant_are_one_line(tmp_path, monkeypatch):
    wide = [f"org/w{i}" for i in range(20)]
    with hub(tmp_path, monkeypatch, **{"README.md": card(base_model=wide)}) as running:
        for name in wide:
            said = card(base_model=[f"{name}-{i}" for i in range(20)]).encode()
            running.others[name] = {"README.md": said}
        with pytest.raises(SourceError, match="more than 100 models descend from each other"):
            draft_suite(["org/tiny"], endpoint=running.endpoint)


def test_a_card_that_may_not_be_read_is_one_line(folder, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    ours = folder("ours", base_model="acme/base")
    monkeypatch.setattr(Path, "is_file", refused)
    with pytest.raises(
        SourceError, match=r"path:./ours: its card cannot be read: .*Permission den"
    ):
        draft_suite([ours])


def test_a_card_that_is_too_long_is_not_fetched(tmp_path, monkeypatch):
    files = {
        "README.md": "x" * (MAX_BYTES + 1),
        "adapter_config.json": '{"base_model_name_or_path": "a/b"}',
    }
    with hub(tmp_path, monkeypatch, **files) as running:
        draft = draft_suite(["org/tiny"], endpoint=running.endpoint)
        assert not any(r.startswith("GET") and "README" in r for r in running.requests)
    assert "expect: adapter" in draft.text


def test_a_card_that_names_itself_and_one_that_is_named_in_a_circle(folder, tmp_path, monkeypatch):
    said = card(base_model=["org/tiny", "org/other"])
    with hub(tmp_path / "hub", monkeypatch, **{"README.md": said}) as running:
        draft = draft_suite(["org/tiny"], endpoint=running.endpoint)
    assert any("names the model itself" in note for note in draft.notes)
    assert "reference: other" in draft.text


def test_a_model_that_is_not_there_is_one_line(folder, tmp_path, monkeypatch):
    with pytest.raises(SourceError, match="only a hub id or a folder has a card"):
        draft_suite(["s3://bucket/model"])
    with hub(tmp_path, monkeypatch, **{"README.md": ""}) as running:
        with pytest.raises(SourceError, match="repo:org/gone: ") as refused:
            draft_suite(["org/gone"], endpoint=running.endpoint)
        assert "\n" not in str(refused.value)


@pytest.fixture
def command(capfd):
    def command(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["init", *map(str, arguments)])
        out, err = capfd.readouterr()
        return stop.value.code, out, err

    return command


def test_from_the_command_line(folder, command, tmp_path):
    ours = folder("ours", base_model="acme/base", base_model_relation="finetune")
    code, out, _ = command(ours)
    assert (code, "expect: finetune} # its README.md:2: finetune" in out) == (0, True)
    path = tmp_path / "drafted.suite.yaml"
    assert command(ours, "-o", path)[1] == f"{path}: 1 claims on 2 models\n"
    assert loads(path.read_text(), path).claims
    # a suite's paths are relative to its own folder
    (tmp_path / "suites").mkdir()
    below = tmp_path / "suites" / "a.suite.yaml"
    command(ours, "-o", below)
    assert "{path: ../ours}" in below.read_text()
    assert Path(loads(below.read_text(), below).models["ours"].path).resolve() == tmp_path / "ours"
    code, _, err = command(ours, "-o", path)
    assert (code, "is there already" in err) == (2, True)
    assert command(ours, "-o", path, "--force")[0] == 0
    found = json.loads(command(ours, "--json")[1])
    assert (found["claims"], found["models"]) == (1, 2)
    assert command("org/gone")[0] == 2


MERGED = """\
merge_method: ties
base_model: org/base
models:
  - model: org/one@main
    parameters: {weight: 0.5}
  - model: {model: {path: org/two}}
  - model: ./local
  - model: org/one+org/lora
slices:
  - sources:
      - {model: org/three, layer_range: [0, 4]}
"""


def test_what_mergekit_merged_is_read_where_a_card_names_no_base(folder, tmp_path):
    place = folder("merged", license="mit")
    (tmp_path / "merged" / "mergekit_config.yml").write_text(MERGED)
    found = read_card(parse(place))
    assert [(base.repo, base.where) for base in found.bases] == [
        ("org/base", "mergekit_config.yml:2"),
        ("org/one", "mergekit_config.yml:4"),
        ("org/two", "mergekit_config.yml:6"),
        ("org/three", "mergekit_config.yml:11"),
    ]
    assert found.relation == "merge"
    assert found.notes == ("1 of the bases that it names are no hub ids: './local'",)


def test_a_card_that_names_a_base_counts_more_than_what_mergekit_wrote(folder, tmp_path):
    place = folder("merged", base_model="org/base", base_model_relation="finetune")
    (tmp_path / "merged" / "mergekit_config.yml").write_text(MERGED)
    found = read_card(parse(place))
    assert ([base.repo for base in found.bases], found.relation) == (["org/base"], "finetune")


@pytest.mark.parametrize("text", ["a: [", "models: 3", "model: [1, 2]", "&a [*a, *a]", "\x00"])
def test_a_damaged_file_of_mergekit_is_a_note_or_nothing(folder, tmp_path, text):
    place = folder("merged", license="mit")
    (tmp_path / "merged" / "mergekit_config.yml").write_text(text)
    found = read_card(parse(place))
    assert found.bases == ()
    assert len(found.notes) <= 1


@pytest.fixture
def gguf_file(folder, tmp_path):
    """Make GGUF files that say what their model is made from, and hold no tensor."""
    gguf = pytest.importorskip("gguf")

    def make(*bases):
        file = tmp_path / "model.gguf"
        writer = gguf.GGUFWriter(file, "llama")
        writer.add_base_model_count(len(bases))
        for i, base in enumerate(bases):
            writer.add_base_model_name(i, "a name")
            if base is not None:
                writer.add_base_model_repo_url(i, base)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        return "./model.gguf"

    return make


def test_a_gguf_file_says_what_its_model_is_made_from(gguf_file):
    found = read_card(parse(gguf_file("https://huggingface.co/org/base")))
    assert [(base.repo, base.where) for base in found.bases] == [
        ("org/base", "model.gguf: general.base_model.0")
    ]
    assert found.relation is None
    several = read_card(parse(gguf_file("https://huggingface.co/org/a", "https://hf.co/org/b/")))
    assert [base.repo for base in several.bases] == ["org/a", "org/b"]
    assert several.relation == "merge"


def test_what_a_gguf_file_names_that_is_no_hub_id_is_a_note(gguf_file, tmp_path):
    found = read_card(parse(gguf_file("https://example.org/x y", None)))
    assert found.bases == ()
    assert "2 of the bases that it names are no hub ids" in found.notes[0]
    (tmp_path / "model.gguf").write_bytes(b"GGUF nothing")
    damaged = read_card(parse("./model.gguf"))
    assert damaged.bases == ()
    assert damaged.notes[0].startswith("model.gguf cannot be read as GGUF")
    assert "\n" not in damaged.notes[0]
