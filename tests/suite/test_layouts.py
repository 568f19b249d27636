"""What a suite says of a model's tensors: read with its line, or refused with file, line and column."""

import pytest

from provenance.errors import SuiteError
from provenance.suite.read import load, loads
from provenance.vocabulary import LayoutSpec, MLPNames

HOME = "model.layers.{block}.mlp"
SUITE = """version: 1
models:
  base: {{recipe: quickstart/base}}
  odd:
    path: ./odd
{more}    layout:
{layout}
pairs:
  - {{candidate: odd, reference: base, expect: derived}}
"""


def written(tmp_path, layout, more=""):
    text = SUITE.format(layout="\n".join(f"      {line}" for line in layout), more=more)
    file = tmp_path / "a.suite.yaml"
    file.write_text(text)
    return file


def test_a_layout_is_part_of_the_model_with_its_line(tmp_path):
    file = written(
        tmp_path,
        [
            f'gate: "{HOME}.a[:I]"',
            f'up: "{HOME}.a[I:]"',
            f'down: "{HOME}.b"',
            "experts:",
            f'  up: "{HOME}.experts.{{expert}}.u.weight"',
            f'  down: "{HOME}.experts.{{expert}}.d.weight"',
            "norm: none",
            "norm_offset: 1",
            "norm_kind: rms",
            "embedding: table",
            "transposed: false",
        ],
    )
    said = load(file).models["odd"].layout
    assert said == LayoutSpec(
        dense=MLPNames(f"{HOME}.a[I:]", f"{HOME}.b", f"{HOME}.a[:I]"),
        experts=MLPNames(
            f"{HOME}.experts.{{expert}}.u.weight", f"{HOME}.experts.{{expert}}.d.weight"
        ),
        norm="none",
        norm_offset=1.0,
        norm_kind="rms",
        embedding="table",
        transposed=False,
    )
    assert said.where == f"{file}:6"


@pytest.mark.parametrize(
    ("layout", "line", "says"),
    [
        (['norm: "a.b.weight"'], 7, "norm must have {block} once, between dots"),
        (['norm: "a.x{block}.weight"'], 7, "norm must have {block} once, between dots"),
        (
            ['router: "a.{block}.{expert}.w"'],
            7,
            "router may not have {expert}: write the experts below",
        ),
        (['embedding: "a.{block}.w"'], 7, "embedding is one tensor of the model"),
        (['up: "a.{block}.u"'], 7, "up without down: an MLP has up and down"),
        (['gate: "a.{block}.u"', 'down: "a.{block}.d"'], 7, "gate without up"),
        (
            ['up: "a.{block}.{other}"', 'down: "a.{block}.d"'],
            7,
            "up may have no braces but {block}",
        ),
        (
            ['up: "a.{block}.u[:I]"', 'down: "a.{block}.d"'],
            7,
            "up is part of a tensor: name the gate",
        ),
        (['up: "a.{block}.u"', 'down: "a.{block}.d[I:]"'], 8, "down is a whole tensor"),
        (
            ['gate: "a.{block}.u"', 'up: "a.{block}.u"', 'down: "a.{block}.d"'],
            7,
            "gate and up are one tensor: say which part each is, by [:I] and [I:] or",
        ),
        (
            ['gate: "a.{block}.u[:I]"', 'up: "a.{block}.u[1::2]"', 'down: "a.{block}.d"'],
            7,
            "gate and up are parts of one tensor that do not make it up",
        ),
        (
            ['gate: "a.{block}.g[:I]"', 'up: "a.{block}.u[I:]"', 'down: "a.{block}.d"'],
            7,
            "gate and up are parts of one tensor that do not make it up",
        ),
        (
            ["experts:", '  up: "a.{block}.{expert}.u"', '  down: "a.{block}.d"'],
            8,
            "some of gate, up and down have {expert}",
        ),
        (
            [
                'up: "a.{block}.u"',
                'down: "a.{block}.d"',
                'shared: {up: "b.{block}.u", down: "b.{block}.d"}',
            ],
            9,
            "MLPs of 'a' and of 'b' are of two lists",
        ),
        (["experts:", '  down: "a.{block}.d"'], 8, "missing key 'up'"),
        (["gates: a"], 7, "unknown key 'gates'"),
        (["norm_kind: batch"], 7, "unknown norm_kind 'batch'"),
        (["transposed: maybe"], 7, "transposed must be true or false"),
        (["norm_offset: much"], 7, "norm_offset must be a number, such as 1"),
    ],
    ids=str,
)
def test_mistakes_in_a_layout_are_named_with_their_line(tmp_path, layout, line, says):
    file = written(tmp_path, layout)
    with pytest.raises(SuiteError) as raised:
        load(file)
    assert f"{file}:{line}:" in str(raised.value)
    assert says in str(raised.value)


def test_a_layout_is_of_a_model_whose_code_is_not_run(tmp_path):
    with pytest.raises(SuiteError, match="7:5: a layout is of a model whose code is not run"):
        load(written(tmp_path, ["norm: none"], more="    trust_remote_code: true\n"))
    text = (
        "version: 1\nmodels:\n  base: {recipe: quickstart/base}\n"
        "  kin: {recipe: quickstart/kin, layout: {norm: none}}\n"
        "pairs:\n  - {candidate: kin, reference: base, expect: derived}\n"
    )
    with pytest.raises(SuiteError, match="'layout' has no use for a recipe: remove it"):
        loads(text, tmp_path / "a.suite.yaml")
