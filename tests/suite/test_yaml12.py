import json
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.errors import SuiteError
from provenance.suite.yaml12 import LOADER, Document, Mark, loader_over, read, resolve
from provenance.suite.yaml_limits import MAX_DEPTH, MAX_NODES

PATH = Path("a.suite.yaml")
VERBATIM = frozenset({"revision", "tags"})
PURE = loader_over(yaml.SafeLoader)


@pytest.fixture(params=[LOADER, PURE], ids=["default", "pure"])
def loader(request):
    return request.param


def parse(text, loader=LOADER) -> Document:
    return read(text, PATH, verbatim=VERBATIM, loader=loader)


def value(text, loader=LOADER):
    document = parse(text, loader)
    assert not document.problems
    return document.value


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("1e-6", 1e-6),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1.5E+3", -1500.0),
        ("012", 12),
        ("+7", 7),
        ("0o14", 12),
        ("0x1f", 31),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("Null", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("tRue", "tRue"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2026-11-23", "2026-11-23"),
        ("0b11", "0b11"),
        ("1e", "1e"),
        ("=", "="),
    ],
)
def test_plain_scalars_are_those_of_yaml_1_2(loader, text, meaning):
    found = value(f"a: {text}", loader)["a"]
    assert found == meaning
    assert type(found) is type(meaning)


def test_nan_is_a_number():
    assert math.isnan(value("a: .NaN")["a"])


def test_a_number_too_long_to_convert_quickly_is_text():
    assert resolve("1" * 1000) == "1" * 1000
    assert resolve("0x" + "f" * 1000) == "0x" + "f" * 1000


def test_quoted_and_block_scalars_are_text(loader):
    assert value("a: '1'\nb: \"no\"\nc: |-\n  1e5\n", loader) == {"a": "1", "b": "no", "c": "1e5"}


def test_keys_are_text_as_written(loader):
    assert value("{1: a, true: b, 1e3: c}", loader) == {"1": "a", "true": "b", "1e3": "c"}


@pytest.mark.parametrize("revision", ["12345678", "1e10", "0x1f", "012", "true"])
def test_a_verbatim_key_keeps_its_scalar_as_written(loader, revision):
    assert value(f"revision: {revision}", loader) == {"revision": revision}


def test_a_verbatim_key_keeps_the_items_of_its_list_as_written():
    assert value("tags: [1, no, 1e3]") == {"tags": ["1", "no", "1e3"]}


def test_an_alias_under_a_verbatim_key_is_as_written():
    assert value("x: &r 12345678\nrevision: *r") == {"x": 12345678, "revision": "12345678"}


@pytest.mark.parametrize("nothing", ["", "~", "null"])
def test_nothing_is_nothing_under_a_verbatim_key(nothing):
    assert value(f"revision: {nothing}") == {"revision": None}


def test_every_value_and_key_has_its_position(loader):
    document = parse("a: 1\nbc:\n  - {d: xyz}\n", loader)
    assert document.values["a",] == Mark(1, 4, 1, 5)
    assert document.values["bc", 0, "d"] == Mark(3, 9, 3, 12)
    assert document.keys["bc",] == Mark(2, 1, 2, 3)
    assert document.keys["bc", 0, "d"] == Mark(3, 6, 3, 7)


def test_columns_count_characters_not_bytes(loader):
    assert parse("{'äöü𝔘': b}", loader).values["äöü𝔘",].column == 10


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_are_counted_with_any_newline(loader, newline):
    assert parse(newline.join(["a: 1", "", "b: 2", ""]), loader).values["b",] == Mark(3, 4, 3, 5)


def test_a_merge_key_fills_in_what_the_mapping_does_not_say(loader):
    text = "x: &x {a: 1, b: 2}\ny: {b: 3, <<: *x}\n"
    assert value(text, loader)["y"] == {"a": 1, "b": 3}


def test_a_merge_key_takes_a_list_of_which_the_earlier_win():
    text = "x: &x {a: 1}\ny: &y {a: 2, b: 2}\nz: {<<: [*x, *y], c: 3}\n"
    assert value(text)["z"] == {"a": 1, "b": 2, "c": 3}


def test_merges_nest():
    text = "x: &x {a: 1}\ny: &y {<<: *x, b: 2}\nz: {<<: *y}\n"
    assert value(text)["z"] == {"a": 1, "b": 2}


def test_a_quoted_merge_key_is_a_key():
    assert value("{'<<': 1}") == {"<<": 1}


def test_a_merged_value_stands_where_its_anchor_is():
    assert parse("x: &x {a: 1}\ny: {<<: *x}\n").values["y", "a"].line == 1


def lines(document):
    return [f"{p.line}:{p.column}: {p.message}" for p in document.problems]


def test_a_duplicate_key_names_both_lines(loader):
    assert lines(parse("a: 1\nb: 2\na: 3\n", loader)) == [
        "3:1: duplicate key 'a', first at line 1 and again at line 3: keep one"
    ]


def test_two_merge_keys_are_a_duplicate_with_its_own_remedy():
    found = lines(parse("x: &x {a: 1}\ny:\n  <<: *x\n  <<: *x\n"))
    assert found == [
        "4:3: duplicate key '<<', first at line 3 and again at line 4: write <<: [*a, *b]"
    ]


def test_a_mistake_in_an_anchor_is_one_problem_however_often_it_is_used():
    assert len(parse("x: &x {a: 1, a: 2}\ny: [*x, *x, {<<: *x}]\n").problems) == 1


def test_only_mappings_can_be_merged():
    assert lines(parse("{<<: [1], a: {<<: x}}")) == [
        "1:7: '<<' takes a mapping, or a list of mappings, to merge in",
        "1:19: '<<' takes a mapping, or a list of mappings, to merge in",
    ]


def test_a_key_must_be_a_scalar(loader):
    assert "a key must be a text" in lines(parse("? [a]\n: b\n", loader))[0]


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("a: !function f", "!function"),
        ("a: !!python/object/apply:os.system [ls]", "!!python/object/apply:os.system"),
        ("a: !!str 1", "!!str"),
        ("a: ! 1", "!"),
        ("a: !!map {}", "!!map"),
    ],
)
def test_tags_are_refused_and_the_rest_is_read(loader, text, tag):
    document = parse(text, loader)
    assert lines(document) == [
        f"1:4: a suite is data; YAML tags are not read: remove {tag!r}",
    ]
    assert "a" in document.value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [*a]", r"1:8: alias 'a' stands inside its own anchor"),
        ("a: &a\n  <<: *a", r"2:7: alias 'a' stands inside its own anchor"),
        ("a: *b", r"1:4: alias 'b' has no anchor above it: write &b"),
        ("a: &x 1\nb: &x 2", r"2:4: anchor 'x' is already at line 1: rename one"),
        ("a: 1\n---\nb: 2", r"2:1: a second document begins: keep one suite to a file"),
        ("%YAML 1.1\n---\na: 1", r"1:1: a line beginning with '%' is a YAML directive: remove it"),
        ("a: \0", r"1:4: character U\+0000 cannot stand in a suite: remove it"),
        ("a: 1\nb: \x1b", r"2:4: character U\+001B"),
        ("a: \u2028", r"1:4: character U\+2028"),
        ("a: \ud800", r"1:4: character U\+D800"),
    ],
)
def test_what_cannot_be_built_is_refused(loader, text, message):
    with pytest.raises(SuiteError, match=message):
        parse(text, loader)


def test_all_that_cannot_be_built_is_reported_at_once():
    with pytest.raises(SuiteError) as caught:
        parse("a: *b\nc: !x 1\nd: *e\nf: &f [*f]\n")
    assert [problem.line for problem in caught.value.problems] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", r"1:5: not valid YAML: a ':' where none can stand: indent"),
        ("a:\n\t- x", r"2:1: not valid YAML: .* spaces, not tabs"),
        ("a: @x", r"1:4: not valid YAML: put text that begins so in quotes"),
        ("a: 'x", r"1:6: not valid YAML: a quote is not closed"),
        ("a: [1, 2", r"not valid YAML: a ',' is missing, or a bracket is not closed"),
        ("a: }", r"1:4: not valid YAML: a value was expected here"),
        ('a: "\\q"', r"not valid YAML: an unknown escape"),
    ],
)
def test_a_syntax_error_is_one_plain_line(loader, text, message):
    with pytest.raises(SuiteError, match=message) as caught:
        parse(text, loader)
    assert "\n" not in str(caught.value)


def test_an_escape_beyond_unicode_is_refused_by_either_scanner(loader):
    with pytest.raises(SuiteError, match="not valid YAML"):
        parse('a: "\\U00110000"', loader)


@pytest.mark.slow
@pytest.mark.parametrize("opening", ["[", "{", "{a: ", "- ", "? ", "[{"])
def test_deep_nesting_is_refused_at_once(loader, opening):
    with pytest.raises(SuiteError, match=f"nested more than {MAX_DEPTH} deep"):
        parse(opening * 200_000, loader)


def test_nesting_up_to_the_limit_is_read():
    assert value("[" * MAX_DEPTH + "]" * MAX_DEPTH)


def test_aliases_cannot_nest_deeper_than_brackets():
    text = "x0: &x0 [1]\n" + "".join(f"x{i}: &x{i} [*x{i - 1}]\n" for i in range(1, 30))
    with pytest.raises(SuiteError, match=f"nested more than {MAX_DEPTH} deep"):
        parse(text)


def test_a_billion_laughs_are_refused():
    tens = [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]\n" for i in range(1, 12)]
    with pytest.raises(SuiteError, match=f"more than {MAX_NODES} values, aliases written out"):
        parse("x0: &x0 [lol]\n" + "".join(tens))


def test_a_billion_merges_are_refused():
    tens = [f"x{i}: &x{i} {{<<: [{', '.join([f'*x{i - 1}'] * 10)}]}}\n" for i in range(1, 12)]
    with pytest.raises(SuiteError, match=f"more than {MAX_NODES} values"):
        parse("x0: &x0 {a: 1}\n" + "".join(tens))


def test_a_hundred_thousand_keys_are_refused():
    with pytest.raises(SuiteError, match=f"more than {MAX_NODES} values"):
        parse("".join(f"k{i}: 1\n" for i in range(100_000)))


def problems(text, loader):
    try:
        return parse(text, loader).problems
    except SuiteError as error:
        return error.problems


_YAML_ISH = st.text(alphabet="[]{}:,-?&*!|>'\"%@`#<~ \n\tab01.e\\xU\0\u2028é", max_size=60)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.one_of(_YAML_ISH, st.text(max_size=60)))
def test_any_text_is_read_or_refused_by_either_loader(text):
    for each in (LOADER, PURE):
        found = problems(text, each)
        assert all(p.line >= 1 and p.column >= 1 for p in found)


_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
_SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | _TEXT
_DATA = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(_DATA)
def test_data_survives_the_round_trip_through_json(data):
    # JSON is YAML 1.2, where a string is always quoted.
    assert value(json.dumps({"data": data})) == {"data": data}
