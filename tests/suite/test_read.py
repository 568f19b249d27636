import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.errors import SuiteError
from provenance.suite import messages, schema
from provenance.suite import read as suite
from provenance.suite.claims import Blocks
from provenance.suite.yaml12 import Mark
from provenance.vocabulary import RELATIONSHIPS, InputsSpec, ModelSpec
from tests.support.places import ROOT

PATH = Path("/suites/a.suite.yaml")
MODELS = "models: {base: {recipe: quickstart/base}, chat: {repo: acme/chat}}\n"
PAIRS = "pairs:\n  - {candidate: chat, reference: base, expect: finetune}\n"
GOOD = "version: 1\n" + MODELS + PAIRS


def loads(text):
    return suite.loads(text, PATH)


def pair(keys="", expect="finetune"):
    """A suite of one pair with these keys."""
    keys = f", {keys}" if keys else ""
    claim = f"- {{candidate: chat, reference: base, expect: {expect}{keys}}}\n"
    return f"version: 1\n{MODELS}pairs:\n{claim}"


def mistakes(text):
    with pytest.raises(SuiteError, match=r"\A/suites/a.suite.yaml:") as caught:
        loads(text)
    return [f"{p.line}:{p.column}: {p.message}" for p in caught.value.problems]


def mistake(text):
    (only,) = mistakes(text)
    return only


# What a suite says


def test_a_suite_needs_only_version_models_and_pairs():
    found = loads(GOOD)
    assert found.path == PATH
    assert found.inputs == InputsSpec()
    assert found.models == {
        "base": ModelSpec(recipe="quickstart/base"),
        "chat": ModelSpec(repo="acme/chat"),
    }
    (claim,) = found.claims
    assert (claim.id, claim.candidate, claim.reference) == ("chat-vs-base", "chat", "base")
    assert (claim.expect, claim.statistic, claim.alpha) == ("finetune", "kinship", 1e-6)
    assert (claim.blocks, claim.tags, claim.xfail, claim.skip) == (Blocks(), (), None, None)


def test_a_pair_can_say_everything():
    text = pair(
        "alpha: 1e-4, blocks: {at_least: 0.9}, tags: [nightly], xfail: why, id: x, statistic: match"
    )
    (claim,) = loads(text).claims
    assert (claim.id, claim.alpha, claim.tags, claim.xfail) == ("x", 1e-4, ("nightly",), "why")
    assert claim.blocks == Blocks(at_least=0.9)


def test_defaults_hold_where_a_pair_says_nothing():
    text = (
        "defaults: {alpha: 0.01, blocks: [0, 2], tags: [slow]}\n" + GOOD
        + "  - {candidate: base, reference: chat, expect: derived,"
        + " alpha: 0.005, blocks: all, tags: []}\n"
    )  # fmt: skip
    first, second = loads(text).claims
    assert (first.alpha, first.blocks, first.tags) == (0.01, Blocks(indices=(0, 2)), ("slow",))
    assert (second.alpha, second.blocks, second.tags) == (0.005, Blocks(), ())


@pytest.mark.parametrize(
    ("keys", "alpha", "own"),
    [
        ("alpha: {0: 1e-9, default: 1e-5}", 1e-5, ((0, 1e-9),)),
        ("alpha: {11: 1e-8, 2: 1e-9}", 1e-4, ((2, 1e-9), (11, 1e-8))),
        ("alpha: {default: 1e-5}", 1e-5, ()),
        ("alpha: {'1': 0.01}, blocks: [0, 1]", 1e-4, ((1, 0.01),)),
        ("alpha: {0: 1e-9}, statistic: [match, csu]", 1e-4, ((0, 1e-9),)),
    ],
)
def test_blocks_of_a_claim_can_have_an_alpha_of_their_own(keys, alpha, own):
    found = loads("defaults: {alpha: 1e-4}\n" + pair(keys))
    for claim in found.claims:
        assert (claim.alpha, claim.block_alphas) == (alpha, own)
        number = len(found.claims)
        for index, level in own:
            assert claim.thresholds.of(index) == pytest.approx(level / number)
        assert claim.thresholds.of(500) == claim.threshold == alpha / number


def test_the_threshold_is_alpha_over_the_pairs_of_the_file_skipped_ones_too():
    text = GOOD + '  - {candidate: base, reference: chat, expect: unknown, skip: "slow"}\n'
    assert [claim.threshold for claim in loads(text).claims] == [5e-7, 5e-7]


def test_a_claim_is_marked_at_the_value_of_expect():
    (claim,) = loads(GOOD).claims
    assert claim.mark == Mark(4, 48, 4, 56)
    line = GOOD.splitlines()[claim.mark.line - 1]
    assert line[claim.mark.column - 1 : claim.mark.end_column - 1] == "finetune"


@pytest.mark.parametrize("expect", RELATIONSHIPS)
def test_every_relationship_can_be_expected(expect):
    assert loads(pair(expect=expect)).claims[0].expect == expect


def test_local_paths_are_relative_to_the_suite():
    found = loads(
        "version: 1\ninputs: {text: ../corpus.txt}\n"
        "models: {base: {path: ./x/step-9}, chat: {path: /abs}}\n" + PAIRS
    )
    assert found.models["base"].path == "/suites/x/step-9"
    assert found.models["chat"].path == "/abs"
    assert found.inputs.text == "/corpus.txt"


def test_a_relative_suite_resolves_against_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = GOOD.replace("recipe: quickstart/base", "path: m")
    assert suite.loads(text, Path("s.yaml")).models["base"].path == str(tmp_path / "m")


@pytest.mark.parametrize("text", ["stdlib", "topics"])
def test_named_texts_are_not_paths(text):
    assert loads(f"inputs: {{text: {text}}}\n" + GOOD).inputs.text == text


@pytest.mark.parametrize("revision", ["12345678", "1e10", "0123456", "main"])
def test_a_revision_is_text_whatever_it_looks_like(revision):
    text = GOOD.replace("acme/chat", f"acme/chat, revision: {revision}")
    assert loads(text).models["chat"].revision == revision


def test_models_may_have_numbers_for_names():
    text = GOOD.replace("base", "7").replace("chat", "1e3")
    assert loads(text).claims[0].id == "1e3-vs-7"


def test_a_declared_model_need_not_be_used():
    loads(GOOD.replace("models: {", "models: {spare: {path: x}, "))


def test_keys_with_x_hold_anchors():
    text = "x-all: &all {expect: finetune, tags: [a]}\nx-n: 5\n" + GOOD.replace(
        "expect: finetune", "<<: *all"
    )
    (claim,) = loads(text).claims
    assert (claim.expect, claim.tags, claim.mark.line) == ("finetune", ("a",), 1)


def test_a_reason_is_one_line():
    assert loads(GOOD.replace("}\n", "}\n") + """\
  - candidate: base
    reference: chat
    expect: derived
    skip: >
      too
      big
""").claims[1].skip == "too big"  # fmt: skip


def test_repeated_tags_count_once():
    assert loads(pair("tags: [a, b, a]")).claims[0].tags == ("a", "b")


# Mistakes, each where it is


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inptus: {}\n" + GOOD, "1:1: unknown key 'inptus'; did you mean 'inputs'?"),
        (
            "zzz: {}\n" + GOOD,
            (
                "1:1: unknown key 'zzz'; known keys: controls, defaults, distances, exhibits, inputs, "
                "lineage, models, pairs, version"
            ),
        ),
        ("inputs: {token: 99}\n" + GOOD, "1:10: unknown key 'token'; did you mean 'tokens'?"),
        ("defaults: {aplha: 1}\n" + GOOD, "1:12: unknown key 'aplha'; did you mean 'alpha'?"),
        (
            GOOD.replace("recipe", "repo: x, recpie"),
            "2:26: unknown key 'recpie'; did you mean 'recipe'?",
        ),
        (pair("tag: [a]"), "4:56: unknown key 'tag'; did you mean 'tags'?"),
        (pair("blocks: {at_least: 1, x: 1}"), "4:78: unknown key 'x'; known keys: at_least"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_named_with_what_may_be_meant(text, message):
    assert mistake(text) == message


def test_a_duplicate_key_is_refused():
    assert mistake(GOOD + "version: 1\n") == (
        "5:1: duplicate key 'version', first at line 1 and again at line 5: keep one"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MODELS + PAIRS, "1:1: missing key 'version': this version of provenance reads suites of"),
        ("version: 1\n" + PAIRS, "1:1: missing key 'models': add models, a mapping of names"),
        ("version: 1\n" + MODELS, "1:1: no pair is declared, and a suite that checks nothing"),
        (GOOD.replace(", expect: finetune", ""), "4:5: missing key 'expect': add expect, one of"),
        (GOOD.replace("candidate: chat, ", ""), "4:5: missing key 'candidate': add candidate"),
        (pair("blocks: {}"), "4:64: missing key 'at_least': add at_least, a number from 0.1 to 1"),
    ],
)
def test_a_missing_key_is_reported_at_its_mapping(text, message):
    assert mistake(text).startswith(message)


@pytest.mark.parametrize("version", ["2", "0", "true", "1.0", "'1'", "v1"])
def test_only_version_1_is_read(version):
    found = mistake(GOOD.replace("version: 1", f"version: {version}"))
    assert found.endswith("this version of provenance reads suites of version 1: write version: 1")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("alpha: 0", "alpha must be a number from 1e-300 to 0.01"),
        ("alpha: 1", "alpha must be a number from 1e-300 to 0.01"),
        ("alpha: -1e-6", "not -1e-06"),
        ("alpha: .nan", "not nan"),
        ("alpha: .inf", "not inf"),
        ("alpha: 1e-320", "a number from 1e-300 to 0.01"),
        ("alpha: '1e-6'", "not the text '1e-6'"),
        ("alpha: true", "not true"),
        ("alpha: {}", "not an empty mapping"),
        ("alpha: [1e-6]", "not a list"),
        ("alpha: {x: 1e-6}", "alpha has the key 'x': write a block number such as 0, or default"),
        ("alpha: {-1: 1e-6}", "alpha has the key '-1'"),
        ("alpha: {1.5: 1e-6}", "alpha has the key '1.5'"),
        ("alpha: {00: 1e-6}", "alpha has the key '00'"),
        ("alpha: {0: 2}", "alpha of '0' must be a number from 1e-300 to 0.01"),
        ("alpha: {0: {1: 1e-6}}", "alpha of '0' must be a number .*, not a mapping"),
        ("alpha: {default: no}", "alpha of 'default' must be a number .*, not the text 'no'"),
        ("alpha: {0: 1e-6, 0: 1e-7}", "duplicate key '0'"),
        ("alpha: {0: }", "key '0' has no value"),
        ("alpha: {3: 1e-6}, blocks: [0, 1]", "alpha names block 3, which is not among the claim's"),
        ("alpha: {0: 1e-6}, statistic: csu_all", "csu_all compares whole models: give one alpha"),
        ("blocks: {at_least: 0}", "at_least must be a number from 0.1 to 1, such as 0.9"),
        ("blocks: {at_least: 1.1}", "not 1.1"),
        ("blocks: {at_least: .nan}", "not nan"),
        ("blocks: []", "blocks must be all, a list of block numbers such as .*, not an empty list"),
        ("blocks: [0, -1]", "a block number must be a whole number, 0 or more, not -1"),
        ("blocks: [1.0]", "a block number must be"),
        ("blocks: [0, 1, 0]", "block 0 is in the list twice: keep one"),
        ("blocks: some", "not the text 'some'"),
        ("blocks: 3", "blocks must be all, .* not 3"),
        ("statistic: mathc", "unknown statistic 'mathc'; did you mean 'match'"),
        ("id: a b", "id must be made of letters, digits, .* not the text 'a b'"),
        ("id: [1]", "not a list"),
        ("tags: nightly", "tags must be a list of words"),
        ("tags: [gpu-only]", "a tag must be made of ASCII letters"),
        ("tags: [_private]", "a tag must"),
        ("tags: [1a]", "a tag must"),
        ("tags: [and]", "a tag must .* no word of Python's"),
        ("tags: [skip]", "a tag must .* no mark of pytest's"),
        ("tags: [relation]", "a tag must"),
        ("skip: x, xfail: why", "a pair has both skip and xfail: keep one"),
        ("id: ", "key 'id' has no value: give it one, or remove it"),
        ("tags: [a, ~]", "an item is empty: give it one, or remove it"),
    ],
)
def test_a_pair_with_a_mistake_is_refused(keys, message):
    other = "  - {candidate: base, reference: chat, expect: unknown}\n"  # lest all be skipped
    assert re.search(f"^4:.*{message}", mistake(pair(keys) + other[2:]))


@pytest.mark.parametrize("key", ["skip", "xfail"])
@pytest.mark.parametrize("reason", ["true", "5", "''", "'  '", "no", "Yes", "[a]"])
def test_skip_and_xfail_want_a_reason(key, reason):
    assert any(
        f"{key} must be a text that gives a reason" in line
        for line in mistakes(pair(f"{key}: {reason}"))
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("tokens: 15", "1:18: tokens must be a whole number from 16 to 10000000, not 15"),
        ("tokens: 10000001", "1:18: tokens"),
        ("tokens: 4096.0", "1:18: tokens"),
        ("sequence_length: 1", "1:27: sequence_length must be a whole number from 2 to 1000000"),
        ("sequence_length: 1000001", "1:27: sequence_length"),
        ("seed: -1", "1:16: seed must be a whole number from 0 to 4294967295, not -1"),
        ("kind: file", "1:16: unknown kind 'file'; known: text, random"),
        ("kind: rnd", "1:16: unknown kind 'rnd'; did you mean 'random'?"),
        ("kind: [text]", "1:16: kind must be one of text, random, hidden, tokens, not a list"),
        ("text: ''", "1:16: text must be stdlib, topics, or a file"),
        ("kind: random, text: topics", "1:24: 'text' is not used with kind: random"),
        ("kind: hidden, text: topics", "1:24: 'text' is not used with kind: hidden"),
        ("kind: tokens, text: topics", "1:24: 'text' is not used with kind: tokens"),
        ('text: "a\\0b"', "1:16: in 'a\\x00b': character U+0000 cannot stand in a suite"),
    ],
)
def test_inputs_with_a_mistake_are_refused(inputs, message):
    assert mistake(f"inputs: {{{inputs}}}\n" + GOOD).startswith(message)


@pytest.mark.parametrize("where", ["pair", "defaults"])
def test_exhaustive_is_true_or_false(where):
    def suite_with(value):
        if where == "pair":
            return pair(f"exhaustive: {value}")
        return GOOD + f"defaults: {{exhaustive: {value}}}\n"

    assert [loads(suite_with(v)).claims[0].exhaustive for v in ("true", "false")] == [True, False]
    assert not loads(GOOD).claims[0].exhaustive
    for value, shown in (("3", "3"), ("yes", "the text 'yes'")):
        assert mistake(suite_with(value)).endswith(f"exhaustive must be true or false, not {shown}")


@pytest.mark.parametrize("kind", ["hidden", "tokens"])
def test_inputs_on_which_no_model_is_run_have_a_kind(kind):
    assert loads(f"inputs: {{kind: {kind}, seed: 3}}\n" + GOOD).inputs == InputsSpec(kind, seed=3)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("{}", "2:16: model 'base' comes from nowhere: give recipe, path, repo or url"),
        ("{recipe: a, repo: b}", "2:28: model 'base' comes from recipe and repo: keep one"),
        ("{path: a, revision: b}", "2:26: 'revision' belongs to a repo"),
        ("{path: a, dtype: bf16}", "2:33: unknown dtype 'bf16'; did you mean 'bfloat16'?"),
        ("{path: a, blocks: 0}", "2:34: blocks must be a whole number, 1 or more, not 0"),
        ("{path: [a]}", "2:23: path must be a folder or file, as a text, not a list"),
        ("{path: ''}", "2:23: path must be"),
        ("x", "2:16: model 'base' must be a mapping such as {repo: org/name}"),
        ("{path: 's3://b/x'}", "2:17: path is a URL: write url: 's3://b/x'"),
        ("{path: 'hf://b/x'}", "2:17: path is an address of the hub: write repo: 'b/x'"),
        ("{url: 'hf://b/x'}", "2:17: url is an address of the hub: write repo: 'b/x'"),
        (
            "{url: 'https://huggingface.co/b/x/tree/v1'}",
            "2:17: url is an address of the hub: write repo: 'b/x', revision: 'v1'",
        ),
        (
            "{repo: 'https://huggingface.co/b/x'}",
            "2:17: repo is an address of the hub: write repo: 'b/x'",
        ),
        ("{repo: ./x}", "2:17: repo is a path: write path: './x'"),
        ("{repo: ~/x}", "2:17: repo is a path: write path: '~/x'"),
        (
            "{repo: b/x@v1}",
            "2:17: repo holds a revision: write repo: 'b/x', revision: 'v1'",
        ),
        ("{url: x}", "2:22: url must be an address such as s3://bucket/model, not the text 'x'"),
        ("{url: 's3://b/x', repo: a}", "2:17: model 'base' comes from repo and url: keep one"),
        ("{path: a, allow_pickle: yes}", "2:40: allow_pickle must be true or false, not the text"),
        ("{path: a, trust_remote_code: 1}", "2:45: trust_remote_code must be true or false, not 1"),
        ("{path: a, base: [b]}", "2:32: base must be a name under models:, or a folder"),
        ("{path: a, base: base}", "2:32: model 'base' has more than 10 bases below it: name an"),
        ("{recipe: a, base: b}", "2:28: 'base' has no use for a recipe: remove it"),
        ("{recipe: a, allow_pickle: true}", "2:28: 'allow_pickle' has no use for a recipe"),
    ],
)
def test_a_model_with_a_mistake_is_refused(model, message):
    text = f"version: 1\nmodels: {{base: {model}, chat: {{recipe: x}}}}\n" + PAIRS
    assert mistake(text).startswith(message)


def test_a_base_is_a_model_of_the_suite_a_folder_beside_it_or_text_for_later():
    models = """
      one: {path: one, base: two, allow_pickle: true}
      two: {path: two, base: chat}
      three: {repo: a/three, base: ./four}
      five: {url: "s3://b/five", base: quickstart/base, trust_remote_code: true}
    """
    head = "models:\n      base: {path: x}\n      chat: {repo: acme/chat}"
    found = loads(GOOD.replace(MODELS, head + models.rstrip() + "\n")).models
    two = ModelSpec(path="/suites/two", base=ModelSpec(repo="acme/chat"))
    assert found["one"] == ModelSpec(path="/suites/one", base=two, allow_pickle=True)
    assert found["three"].base == "/suites/four"
    assert found["five"] == ModelSpec(
        url="s3://b/five", base="quickstart/base", trust_remote_code=True
    )
    assert not found["two"].allow_pickle


def test_no_default_allows_pickles_or_code():
    for key in ("allow_pickle", "trust_remote_code"):
        assert "unknown key" in mistake(f"defaults: {{{key}: true}}\n" + GOOD)
        assert "unknown key" in mistake(f"{key}: true\n" + GOOD)


@pytest.mark.parametrize("name", ["a b", "-x", "", "é", "a/b", "[key]"])
def test_a_model_name_is_a_slug(name):
    text = GOOD.replace("models: {", f'models: {{"{name}": {{path: x}}, ')
    assert mistake(text).startswith(f"2:10: model name {name!r} must be made of letters")


def test_an_undeclared_model_is_reported_with_what_may_be_meant():
    assert mistake(GOOD.replace("candidate: chat", "candidate: chatt")) == (
        "4:17: candidate 'chatt' is not declared under models:; did you mean 'chat'?"
    )


def test_an_undeclared_model_unlike_any_other_gets_the_list():
    assert mistake(GOOD.replace("reference: base", "reference: zzz")).endswith(
        "declared: base, chat"
    )


def test_a_pair_is_of_two_models():
    assert mistake(GOOD.replace("reference: base", "reference: chat")) == (
        "4:34: candidate and reference are both 'chat': name two models"
    )


def test_two_pairs_with_one_id_are_told_to_differ():
    assert mistake(GOOD + "  - {candidate: chat, reference: base, expect: derived}\n") == (
        "5:5: two pairs have the id 'chat-vs-base', at lines 4 and 5: give one an id: of its own"
    )


def test_a_given_id_can_collide_with_a_default_one():
    text = GOOD + "  - {candidate: base, reference: chat, expect: derived, id: chat-vs-base}\n"
    assert "two pairs have the id 'chat-vs-base'" in mistake(text)


def test_an_unknown_expectation_is_reported_with_what_may_be_meant():
    assert mistake(pair(expect="finetuned")).endswith(
        "unknown expect 'finetuned'; did you mean 'finetune'?"
    )


def test_distilled_is_refused_with_the_reason():
    found = mistake(pair(expect="distilled"))
    assert "shares no weights with its teacher" in found
    assert "write expect: independent, or expect: unknown" in found


@pytest.mark.parametrize("pairs", ["pairs: []\n", ""])
def test_a_suite_without_a_pair_is_an_error(pairs):
    assert "a suite that checks nothing is an error" in mistake("version: 1\n" + MODELS + pairs)


def test_a_suite_of_which_every_pair_is_skipped_is_an_error():
    assert mistake(pair("skip: later")) == (
        "4:1: every pair is skipped, so that the suite checks nothing: remove a skip, or the file"
    )


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "~"])
def test_an_empty_file_is_an_error(text):
    assert "the file is empty: write a suite" in mistake(text)


@pytest.mark.parametrize(
    ("text", "kind"), [("[]", "an empty list"), ("5", "5"), ("x", "the text 'x'")]
)
def test_the_top_is_a_mapping(text, kind):
    assert (
        mistake(text)
        == f"1:1: a suite is a mapping with the keys version, models and pairs, not {kind}"
    )


def test_all_mistakes_of_a_file_are_reported_at_once_in_order():
    found = mistakes("""\
version: 2
inptus: {}
models:
  base: {recipe: a, path: b}
  base: {recipe: x}
pairs:
  - {candidate: chat, reference: base, expect: !x distilled, alpha: 2, skip: no}
  - nonsense
""")
    assert [line.split(":")[0] for line in found] == ["1", "2", "4", "5", *"77777", "8"]


def test_a_mistake_that_is_merged_into_many_pairs_is_one_problem():
    text = "x-d: &d {alhpa: 1, expect: derived}\nversion: 1\n" + MODELS + "pairs:\n"
    pairs = "".join(
        f"- {{candidate: chat, reference: base, id: a{i}, <<: *d}}\n" for i in range(200)
    )
    assert mistake(text + pairs) == "1:10: unknown key 'alhpa'; did you mean 'alpha'?"


def test_a_message_is_one_line_and_short_whatever_the_file_says():
    found = mistake(GOOD + f'"{"x" * 5000}\\n": 1\n')
    assert len(found) < 200
    assert "\n" not in found


# Files


@pytest.fixture
def file(tmp_path):
    return tmp_path / "a.suite.yaml"


def test_a_file_is_read_with_or_without_a_byte_order_mark(file):
    for start in (b"", b"\xef\xbb\xbf"):
        file.write_bytes(start + GOOD.encode())
        assert suite.load(file).claims == loads(GOOD).claims


def test_a_file_over_1_mib_is_refused_unread(file, monkeypatch):
    with file.open("wb") as huge:
        huge.truncate(100_000_000)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(SuiteError, match="1:1: the file has 100000000 bytes; a suite has at most"):
        suite.load(file)


def test_a_text_over_1_mib_is_refused():
    assert "a suite has at most 1048576 bytes" in mistake("#" * (2 << 20))


def test_a_file_that_is_not_utf_8_is_refused_where_it_is_not(file):
    file.write_bytes("a: é\nb: é".encode() + b"\xff")
    with pytest.raises(SuiteError, match="2:5: byte 0xff is not UTF-8: save the file as UTF-8"):
        suite.load(file)


def test_a_file_that_is_not_there_is_refused(file):
    with pytest.raises(SuiteError, match="1:1: there is no such file"):
        suite.load(file)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(SuiteError, match="1:1: this is a folder"):
        suite.load(tmp_path)


def test_a_file_below_a_file_is_refused(file):
    file.write_text("")
    with pytest.raises(SuiteError, match="1:1: the file cannot be read: Not a directory"):
        suite.load(file / "x")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_not_waited_for(file):
    os.mkfifo(file)
    with pytest.raises(SuiteError, match="1:1: this is no regular file"):
        suite.load(file)


# Any text


_WORDS = st.sampled_from(
    [
        *(f"{key}: " for key in ("version", "models", "pairs", "defaults", "inputs", "blocks")),
        *(f"{key}: " for key in ("candidate", "reference", "expect", "tags", "skip", "at_least")),
        *(f"{key}: " for key in ("recipe", "path", "<<", "base", "chat", "")),
        *("base", "chat", "finetune", "1", "1e-6", "{", "}", "[", "]", ", ", "- ", "\n", "\n  "),
        *("&a ", "*a", "!", "'"),
    ]
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(_WORDS, max_size=30).map("".join))
def test_any_text_is_a_suite_or_a_suite_error(text):
    with contextlib.suppress(SuiteError):
        loads(text)


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["base", "all", ""]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["at_least", "path", "[key]"]), inner, max_size=2)
    ),
    max_leaves=4,
)  # fmt: skip
_KEYS = sorted(
    {"<all>", "[key]"}.union(
        *(part.model_fields for part in (
            schema.SuiteDocument, schema.PairDocument,
            schema.ModelDocument, schema.InputsDocument))
    )
)  # fmt: skip
_PART = st.dictionaries(st.sampled_from(_KEYS), _JUNK, max_size=5)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "version": st.just(1) | _JUNK,
            "models": st.dictionaries(st.sampled_from(["base", *_KEYS]), _PART | _JUNK, max_size=3),
            "pairs": st.lists(_PART | _JUNK, max_size=3),
        },
        optional={
            "inputs": _PART | _JUNK,
            "defaults": _PART | _JUNK,
            "lineage": st.dictionaries(st.sampled_from(["base", *_KEYS]), _JUNK, max_size=3)
            | _JUNK,
        },
    )
)
def test_any_value_anywhere_is_a_suite_error_in_plain_words(data):
    found = mistakes(yaml.safe_dump(data))
    assert not [line for line in found if "Input should" in line or "validat" in line]


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "".join(f"k{i}: 1\n" for i in range(24_000)),
        pair(f"blocks: [{'-1, ' * 20_000}]"),
        pair(f"tags: [{'1, ' * 20_000}]"),
        "version: 1\n" + MODELS + "pairs:\n"
        + "".join(f"- {{candidate: a{i}, reference: b{i}, expect: merge}}\n" for i in range(6000)),
        "version: " + "1" * 1_000_000,
        "'" * 1_000_000,
    ],
    ids=["keys", "blocks", "tags", "undeclared", "number", "quotes"],
)  # fmt: skip
@pytest.mark.timeout(120)  # about 1 s alone; a quadratic step takes minutes
def test_many_mistakes_end(text):
    assert mistakes(text)


# The JSON Schema


SCHEMA = schema.json_schema()
_TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def _is_a(value, name):
    return isinstance(value, _TYPES[name]) and (isinstance(value, bool) == (name == "boolean"))


def fits(value, schema):
    """The slow obvious JSON Schema validator, of the keywords that ours uses."""
    unknown = set(schema) - set(_CHECKS) - {"$schema", "$defs", "title", "description", "default"}
    assert not unknown - {"patternProperties", "additionalProperties"}
    return all(_CHECKS[word](value, schema[word]) for word in schema if word in _CHECKS) and (
        not isinstance(value, dict) or _members_fit(value, schema)
    )


def _members_fit(value, schema):
    patterns = schema.get("patternProperties", {})
    for key, inner in value.items():
        known = [s for pattern, s in patterns.items() if re.search(pattern, key)]
        known += [schema["properties"][key]] if key in schema.get("properties", {}) else []
        if not known and schema.get("additionalProperties", True) is False:
            return False
        if not all(fits(inner, each) for each in known):
            return False
    return True


_CHECKS = {
    "$ref": lambda v, ref: fits(v, SCHEMA["$defs"][ref.removeprefix("#/$defs/")]),
    "type": lambda v, t: any(_is_a(v, each) for each in ([t] if isinstance(t, str) else t)),
    "const": lambda v, const: v == const,
    "enum": lambda v, enum: v in enum,
    "not": lambda v, s: not fits(v, s),
    "anyOf": lambda v, options: any(fits(v, each) for each in options),
    "oneOf": lambda v, options: sum(fits(v, each) for each in options) == 1,
    "required": lambda v, names: not isinstance(v, dict) or set(names) <= set(v),
    "dependentRequired": lambda v, needs: all(set(n) <= set(v) for k, n in needs.items() if k in v),
    "properties": lambda _v, _s: True,
    "propertyNames": lambda v, s: all(fits(key, s) for key in v),
    "items": lambda v, s: not isinstance(v, list) or all(fits(each, s) for each in v),
    "minProperties": lambda v, n: not isinstance(v, dict) or len(v) >= n,
    "minItems": lambda v, n: not isinstance(v, list) or len(v) >= n,
    "uniqueItems": lambda v, _: not isinstance(v, list) or len(set(v)) == len(v),
    "minLength": lambda v, n: not isinstance(v, str) or len(v) >= n,
    "pattern": lambda v, p: not isinstance(v, str) or bool(re.search(p, v)),
    "minimum": lambda v, n: isinstance(v, str) or v >= n,
    "maximum": lambda v, n: isinstance(v, str) or v <= n,
    "exclusiveMinimum": lambda v, n: isinstance(v, str) or v > n,
    "exclusiveMaximum": lambda v, n: isinstance(v, str) or v < n,
}


def test_the_committed_schema_is_the_generated_one():
    committed = (ROOT / "suites" / "suite.schema.json").read_text(encoding="utf-8")
    assert json.loads(committed) == SCHEMA, (
        "write it anew from provenance.suite.schema.json_schema()"
    )


def accepted():
    yield GOOD
    yield "x-anchors: [1, {a: 2}]\n" + GOOD
    yield "inputs: {kind: random, tokens: 16, sequence_length: 2, seed: 7}\n" + GOOD
    yield "defaults: {statistic: match, alpha: 0.001, blocks: {at_least: 1}, tags: [a]}\n" + GOOD
    yield GOOD.replace("acme/chat", "acme/chat, revision: 12345678, dtype: bfloat16, blocks: 32")
    yield GOOD.replace("base: {", "'7': {").replace("reference: base", "reference: 7")
    yield from (pair(keys) for keys in ("blocks: all", "blocks: [0, 3]", "id: 5", "xfail: why"))
    yield from (pair(expect=each) for each in RELATIONSHIPS)


@pytest.mark.parametrize("text", [*accepted()])
def test_the_schema_accepts_what_is_accepted(text):
    loads(text)
    assert fits(yaml.safe_load(text), SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        "zzz: 1\n" + GOOD,
        GOOD.replace("version: 1", "version: 2"),
        GOOD.replace("recipe: quickstart/base", ""),
        GOOD.replace("recipe: quickstart/base", "recipe: a, path: b"),
        GOOD.replace("recipe: quickstart/base", "path: b, revision: c"),
        GOOD.replace("base: {", "'a b': {path: x}, base: {"),
        pair(expect="distilled"),
        pair("blocks: []"),
        pair("blocks: [0, 0]"),
        pair("blocks: some"),
        pair("alpha: 2"),
        pair("tags: [skip]"),
        pair("skip: true"),
        pair("id:"),
        "version: 1\npairs: []\n" + MODELS,
        "inputs: {tokens: 5}\n" + GOOD,
    ],
)
def test_the_schema_refuses_what_an_editor_can_see_is_wrong(text):
    assert mistakes(text)
    assert not fits(yaml.safe_load(text), SCHEMA)


def _fields():
    parts = [schema.SuiteDocument, schema.ShareDocument, schema.InputsDocument,
             schema.ModelDocument, schema.PairDocument]  # fmt: skip
    return [field for part in parts for field in part.model_fields.values()]


@pytest.mark.parametrize("field", _fields())
def test_every_field_has_help(field):
    assert field.description


def _parts(part=schema.StrictMapping):
    for inner in part.__subclasses__():
        yield from (inner, *_parts(inner))


@pytest.mark.parametrize(
    ("part", "name"), [(part, name) for part in _parts() for name in part.model_fields]
)
def test_what_every_field_must_be_can_be_said(part, name):
    field = messages.schema_at([name], part)
    assert messages.words_for(field) or messages.choices_of(field)


@pytest.mark.slow
def test_a_suite_is_read_without_torch_or_pytest():
    code = (
        "import sys; from pathlib import Path; from provenance.suite import read as suite, schema\n"
        f"suite.loads({GOOD!r}, Path('x')); schema.json_schema()\n"
        "sys.exit(', '.join({'torch', 'pytest', 'transformers'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Lineages


FOUR = "a: {recipe: r}, b: {recipe: r}, c: {recipe: r}, d: {recipe: r}"


def lineage(trees, more="", models=FOUR):
    return f"version: 1\nmodels: {{{models}}}\nlineage:\n{trees}{more}"


TWO_TREES = lineage("  a:\n    b: {c: {}}\n  d:\n")


def test_a_lineage_claims_kinship_within_a_tree_and_independence_across():
    found = loads(TWO_TREES)
    assert [(c.candidate, c.reference, c.expect) for c in found.claims] == [
        ("b", "a", "derived"),
        ("c", "a", "derived"),
        ("c", "b", "derived"),
        ("d", "a", "independent"),
        ("d", "b", "independent"),
        ("d", "c", "independent"),
    ]
    assert found.lineage == (("a", None), ("b", "a"), ("c", "b"), ("d", None))
    assert {c.threshold for c in found.claims} == {1e-6 / 6}
    assert found.claims[5].mark == Mark(6, 3, 6, 4)  # where the candidate stands
    assert found.claims[1].mark == Mark(5, 9, 5, 10)


def test_a_pair_that_is_written_out_replaces_that_of_the_lineage():
    pairs = "pairs:\n  - {candidate: a, reference: c, expect: unknown, statistic: match}\n"
    found = loads(TWO_TREES + pairs)
    assert [c.id for c in found.claims][:3] == ["a-vs-c", "b-vs-a", "c-vs-b"]
    assert (found.claims[0].expect, found.claims[0].statistic) == ("unknown", "match")
    assert len(found.claims) == 6


def test_defaults_hold_for_the_pairs_of_a_lineage():
    defaults = (
        "defaults: {statistic: [match, kinship], alpha: 0.006, inconclusive: warn, tags: [hub]}\n"
    )
    found = loads(TWO_TREES + defaults)
    assert len(found.claims) == 12
    assert {c.threshold for c in found.claims} == {0.0005}
    assert {(c.inconclusive, c.tags) for c in found.claims} == {("warn", ("hub",))}


@st.composite
def forests(draw):
    """Trees of numbered models: every model's parent, an earlier one or none."""
    count = draw(st.integers(2, 12))
    return [draw(st.none() | st.integers(0, i - 1)) if i else None for i in range(count)]


@pytest.mark.slow
@given(forests())
def test_every_pair_is_claimed_once_and_kin_where_a_root_is_shared(parents):
    trees, below, roots = {}, {}, {}
    for i, parent in enumerate(parents):
        below[i] = {}
        (trees if parent is None else below[parent])[f"m{i}"] = below[i]
        roots[f"m{i}"] = f"m{i}" if parent is None else roots[f"m{parent}"]
    text = {"version": 1, "models": {name: {"recipe": "r"} for name in roots}, "lineage": trees}
    found = loads(json.dumps(text)).claims
    pairs = {frozenset({c.candidate, c.reference}) for c in found}
    assert len(found) == len(pairs) == len(parents) * (len(parents) - 1) // 2
    for claim in found:
        same = roots[claim.candidate] == roots[claim.reference]
        assert claim.expect == ("derived" if same else "independent")
    above = {f"m{i}": f"m{parent}" for i, parent in enumerate(parents) if parent is not None}
    assert not any(above.get(claim.reference) == claim.candidate for claim in found)


@pytest.mark.parametrize(
    ("trees", "message"),
    [
        ("  a: {b: {x: {}}}\n", "4:11: model 'x' is not declared under models:; declared: a, b"),
        ("  a: {b: {}}\n  b: {}\n", "5:3: model 'b' stands in the lineage already, at line 4"),
        ("  a: {b: {a: {}}}\n", "4:11: model 'a' stands in the lineage already, at line 4"),
        ("  a: {}\n", "3:1: a lineage of fewer than two models claims nothing"),
        ("  {}\n", "3:1: a lineage of fewer than two models claims nothing"),
        ("  [a, b]\n", "4:3: lineage must be a mapping of names to what descends from them"),
        ("  a: {b: [c]}\n", "4:10: what descends from 'b' must be a mapping of names to what"),
        ("  a: {b: finetune}\n", "4:10: what descends from 'b' must be a mapping of names"),
    ],
)
def test_a_mistake_in_a_lineage_is_at_its_place(trees, message):
    assert mistakes(lineage(trees))[0].startswith(message)


def test_a_lineage_has_as_many_generations_as_a_file_has_levels():
    names = [f"m{i}" for i in range(21)]
    models = ", ".join(f"{name}: {{recipe: r}}" for name in names)

    def line(count):
        trees = "".join(f"{'  ' * (i + 1)}{name}:\n" for i, name in enumerate(names[:count]))
        return lineage(trees, models=models)

    assert len(loads(line(18)).claims) == 18 * 17 // 2
    assert mistake(line(21)).startswith(
        "23:41: nested more than 20 deep: a suite needs 4 levels, or"
    )


def test_a_lineage_without_a_value_is_a_mistake():
    assert "3:1: key 'lineage' has no value: give it one, or remove it" in mistakes(lineage(""))


def test_an_id_that_a_pair_of_the_lineage_has_is_refused():
    pairs = "pairs:\n  - {candidate: a, reference: d, expect: unknown, id: c-vs-b}\n"
    (found,) = mistakes(TWO_TREES + pairs)
    assert found == "8:55: the id 'c-vs-b' is that of a pair of the lineage: give it another id:"


def test_a_model_of_a_lineage_may_have_the_name_of_a_key():
    models = "expect: {recipe: r}, 'path': {recipe: r}, 1.5: {recipe: r}"
    found = loads(lineage("  expect: {path: {}}\n  1.5:\n", models=models))
    assert [c.id for c in found.claims] == ["path-vs-expect", "1.5-vs-expect", "1.5-vs-path"]


def test_a_lineage_that_no_statistic_could_decide_is_refused():
    defaults = "defaults: {statistic: l2}\n"
    assert any("raise permutations, or alpha" in m for m in mistakes(TWO_TREES + defaults))


def test_blocks_have_an_alpha_of_their_own_in_a_pair_alone():
    found = mistake("defaults: {alpha: {0: 1e-9}}\n" + GOOD)
    assert found.startswith("1:19: alpha must be a number from 1e-300 to 0.01")
    assert found.endswith("not a mapping")


def test_a_wrong_alpha_of_a_block_is_told_at_its_line():
    text = GOOD.rstrip().removesuffix("}") + ",\n     alpha: {default: 1e-6,\n       7: 5}}\n"
    assert mistake(text).startswith("6:11: alpha of '7' must be")


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (
            "candidate: a, reference: b, expect: derived, given: ''",
            "given must be the name of a model under models:, not the text ''",
        ),
        (
            "candidate: a, reference: '', expect: derived",
            "reference must be the name of a model under models:, not the text ''",
        ),
        (
            "candidate: a, expect: {nearest: b}, among: ['', b]",
            "a reference must be the name of a model under models:, not the text ''",
        ),
        (
            "candidate: a, reference: b, expect: merge, parents: [b]",
            "parents must be a list of two models or more, such as [a, b], not a list of 1",
        ),
    ],
)
def test_a_value_that_cannot_be_is_one_mistake(pair, message):
    text = f"version: 1\nmodels: {{a: {{path: ./a}}, b: {{path: ./b}}}}\npairs:\n  - {{{pair}}}\n"
    with pytest.raises(SuiteError) as caught:
        loads(text)
    assert [problem.message for problem in caught.value.problems] == [message]
