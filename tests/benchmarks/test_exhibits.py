"""Exhibits of strangers: counted small, kept where the package reads them, and shown from there."""

import pytest

from benchmarks import exhibits
from benchmarks._exhibit_page import page
from benchmarks._exhibit_pairs import saved, with_group
from benchmarks._page import reading_of
from fixtures.models import save_checkpoint, tiny_llama
from provenance.evidence.exhibits import EXHIBIT_NAMES, KINDS
from provenance.evidence.strangers import StrangerGroup, groups, read_groups
from tests.support.places import DOCS

pytestmark = pytest.mark.slow


@pytest.fixture
def kept(tmp_path):
    file = tmp_path / "strangers.json"
    file.write_text(saved(groups()), encoding="utf-8")
    return file


def count(kept, *arguments):
    output = kept.with_name("page.md")
    exhibits.main([*map(str, arguments), "--kept", str(kept), "--output", str(output)])
    return read_groups(kept.read_text("utf-8")), output.read_text("utf-8")


def test_what_is_kept_is_what_it_was(kept):
    assert read_groups(kept.read_text("utf-8")) == groups()
    assert exhibits.KEPT.read_text("utf-8") == saved(groups())


def test_the_page_is_made_of_what_the_package_ships():
    assert (DOCS / "exhibits.md").read_text("utf-8") == page(
        groups(), reading_of(DOCS / "exhibits.md")
    )


def test_small_models_are_made_and_every_two_are_counted(kept):
    counted, shown = count(kept, "--small", "--models", 3)
    small = counted[0]
    pairs = [(pair.candidate, pair.reference) for pair in small.pairs]
    assert pairs == [("m00", "m01"), ("m00", "m02"), ("m01", "m02")]
    assert all(list(pair.exhibits) == list(EXHIBIT_NAMES) for pair in small.pairs)
    assert min(small.values("norms")) > 0.99
    assert set(small.values("tokenizer")) == {1.0}
    assert "### Small strangers, 3 pairs" in shown


def test_a_folder_of_models_is_counted_beside_what_is_kept(kept, tmp_path):
    for name, seed in (("one", 1), ("two", 2)):
        save_checkpoint(tiny_llama(seed, num_hidden_layers=4), tmp_path / "models" / name)
    counted, shown = count(kept, "--pretrained", tmp_path / "models")
    assert [group.name for group in counted] == ["small", "pretrained"]
    assert counted[0] == groups()[0]
    (pair,) = counted[1].pairs
    assert (pair.candidate, pair.reference) == ("one", "two")
    assert pair.exhibits.keys() == {*EXHIBIT_NAMES} - {"tokenizer"}
    assert f"| {KINDS['tokenizer'].title} | 0 | – | – | – |" in shown
    assert "Models: one, two" in shown


def test_a_group_takes_the_place_of_the_one_of_its_name():
    made = {name: StrangerGroup(name, name, *["-"] * 5, ()) for name in ("pretrained", "small")}
    both = with_group([made["pretrained"]], made["small"])
    assert [group.name for group in both] == ["small", "pretrained"]
    assert with_group(both, made["small"]) == both


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "2"], "must be from 3 to 16"),
        (["--pretrained", "."], "two checkpoint folders"),
    ],
)
def test_a_mistake_is_told_before_anything_is_made(
    kept, arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    before = kept.read_text("utf-8")
    with pytest.raises(SystemExit):
        count(kept, *arguments)
    assert message in capsys.readouterr().err
    assert kept.read_text("utf-8") == before
