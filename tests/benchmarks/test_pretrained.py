"""The page about pretrained models, made of models so small that its figures mean nothing."""

import math

import pytest

from benchmarks import _counts, _pretrained_page, pretrained
from fixtures.pretrained.weights import MODELS
from provenance.recipes import CorpusSettings, Initialise, Recipe, TokenizerSettings
from provenance.recipes.steps import PruneWidth
from provenance.suite.read import load

pytestmark = pytest.mark.slow

SUITE = """
version: 1
inputs: {kind: random, tokens: 256, sequence_length: 64}
models:
  base: {recipe: little/base}
  small: {recipe: little/small}
  other: {recipe: little/other}
  gone: {recipe: pretrained/gemma-bits8}
pairs:
  - {candidate: small, reference: base, expect: pruned}
  - {candidate: small, reference: base, expect: finetune, id: wrong}
  - {candidate: other, reference: base, expect: independent}
  - {candidate: gone, reference: base, expect: independent}
"""


def little():
    tokenizer = TokenizerSettings(300, CorpusSettings("topics", 20_000))
    base, other = (Initialise(s, 32, 64, blocks=2, heads=2, tokenizer=tokenizer) for s in (0, 1))
    yield Recipe("little/base", "A base", 2, None, (base,))
    yield Recipe("little/other", "A stranger", 2, None, (other,))
    yield Recipe("little/small", "The base, narrow", 2, "little/base", (PruneWidth(48),))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The folder, the page and the counts of a suite of little models."""
    folder = tmp_path_factory.mktemp("pretrained")
    (folder / "x.suite.yaml").write_text(SUITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "USUAL", folder / "x.suite.yaml")
        patch.setattr(pretrained, "PRETRAINED", (*pretrained.PRETRAINED, *little()))
        asked = [str(folder / "kept"), "--output", str(folder / "page.md")]
        for _ in range(2):
            pretrained.main([*asked, "--counts", str(folder / "counts")])
    return folder


def row_of(page, claim):
    text = (page / "page.md").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {claim} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_claim_that_holds_has_its_verdict_and_its_seconds(page):
    _, verdict, holds, measured, kin, p, seconds = row_of(page, "small is a pruned copy of base")
    assert (verdict, holds, kin) == ("dependent", "yes", "2 of 2")
    assert measured == "match_tokens, match_weights, match"
    assert "e-" in p
    assert float(seconds) >= 0  # rounded to tenths


def test_a_claim_that_does_not_hold_is_marked(page):
    assert row_of(page, "small is a fine-tune of base")[1:3] == ["dependent", "**no**"]


def test_a_stranger_was_measured_by_every_part(page):
    row = row_of(page, "other is independent of base")
    assert row[1:5] == ["independent", "yes", "match_tokens, match_weights, match", "0 of 2"]


def test_a_claim_without_weights_is_not_run_and_not_kept(page):
    row = row_of(page, "gone is independent of base")
    assert row[1:4] == ["not run", "–", "no weights of gemma"]
    assert not (page / "kept" / "measured" / "gone-vs-base.json").exists()
    assert (page / "kept" / "measured" / "wrong.json").exists()


def test_a_page_alone_measures_nothing(page, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "USUAL", page / "x.suite.yaml")
        pretrained.main([str(tmp_path), "--output", str(tmp_path / "page.md"), "--page"])
    assert row_of(tmp_path, "small is a pruned copy of base")[1:] == [
        *("not run", "–", "not yet", "–", "–", "–")
    ]


def test_what_is_counted_is_what_was_run(page):
    (source,) = _counts.sources(page / "counts")
    assert [(each.truth, dict(each.verdicts)) for each in source.counted] == [
        ("kin", {"dependent": 2}),
        ("strangers", {"independent": 1}),
    ]
    assert {each.threshold for each in source.counted} == {1e-6 / 4}


def test_a_model_has_the_seconds_that_it_took_to_make(page):
    text = (page / "page.md").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("| `little/small` |"))
    assert float(line.split(" | ")[-1].strip(" |")) >= 0  # rounded to tenths
    assert "| `pretrained/gemma` | Gemma 3 270M | 18 | – | – |" in text


def test_an_untrained_model_has_the_loss_of_guessing(page):
    (line,) = (
        line for line in (page / "page.md").read_text().splitlines() if "`little/base`" in line
    )
    assert float(line.split(" | ")[3]) == pytest.approx(math.log(300), abs=0.5)


def test_every_model_has_a_row_with_its_licence():
    assert _pretrained_page.LICENCES.keys() == MODELS.keys()
    rows = _pretrained_page._models().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(MODELS)


def test_the_suites_claim_kin_of_every_recipe():
    suites = [load(path) for path in (pretrained.USUAL, pretrained.NIGHTLY)]
    claimed = {
        suite.models[name].recipe
        for suite in suites
        for claim in suite.claims
        for name in (claim.candidate, claim.reference)
    }
    assert {recipe.name for recipe in pretrained.PRETRAINED} == claimed
    assert {claim.expect for suite in suites for claim in suite.claims} >= {
        *("finetune", "adapter", "quantized", "merge", "pruned", "permuted", "derived"),
        "independent",
    }
