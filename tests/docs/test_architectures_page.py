"""The page of architectures has every model type of the transformers that it was made with."""

import re
from importlib import metadata

import pytest

from benchmarks._survey import Checked, Outcome, Summary, survey
from benchmarks.architectures import kind, main, multimodal_names, names, page
from tests.support.places import DOCS

PAGE = (DOCS / "architectures.md").read_text("utf-8")
MULTIMODAL = (DOCS / "multimodal.md").read_text("utf-8")


def stated_version(text):
    return re.search(r"transformers (\d[\w.]*)", text)[1]


def listed(text):
    return sorted(
        re.findall(
            r"^\| `([^`]+)` \|", text.partition("## Default configurations")[0], re.MULTILINE
        )
    )


@pytest.mark.parametrize(("text", "types"), [(PAGE, names), (MULTIMODAL, multimodal_names)])
def test_a_page_has_every_model_type_of_its_transformers(text, types):
    if stated_version(text) != metadata.version("transformers"):
        pytest.skip(f"the page was made with transformers {stated_version(text)}: make it again")
    assert listed(text) == types(), "python -m benchmarks.architectures makes the page again"


def test_no_small_model_of_the_page_differs_from_its_forward_pass():
    assert "differ by" not in PAGE
    assert PAGE.count(" agree |") > 150
    assert "differ by" not in MULTIMODAL
    assert MULTIMODAL.count(" agree |") > 50


@pytest.mark.slow
def test_a_survey_of_one_type_is_a_row_with_its_kind():
    outcome = survey("qwen3", seconds=100)
    found = outcome.summary
    assert outcome.full == found
    assert isinstance(found, Summary)
    assert (kind(found), found.blocks, found.with_mlp) == ("gated, dense", 32, 32)
    assert outcome.checked == Checked(4, 4, pytest.approx(0, abs=1e-4), alike=True)
    assert outcome.as_saved == outcome.in_memory == "agrees"
    text = page([outcome], seconds=1)
    assert "| `qwen3` | gated, dense | 32 of 32 |" in text
    assert " | 4 of 4 agree | agrees |" in text
    assert "By names and shapes alone, 2 of 2 models agree in all. 0 more" in text
    assert stated_version(text) == metadata.version("transformers")


def test_a_type_that_takes_too_long_does_not_stop_the_page(tmp_path):
    main(["--types", "llama", "--seconds", "0", "--output", str(tmp_path / "page.md")])
    text = (tmp_path / "page.md").read_text("utf-8")
    assert "| `llama` | took more than 0 s | took more than 0 s |" in text


def test_a_type_that_cannot_be_built_says_why():
    outcome = Outcome("odd", "odd: no causal language model (KeyError: 'x')", "KeyError: 'x'", None)
    assert "| `odd` | KeyError: 'x' | KeyError: 'x' |" in page([outcome], seconds=1)


def test_what_names_alone_tell_is_said_of_files_and_of_memory_where_they_differ():
    found = Summary("layers", 2, 2, (), (), (), 0)
    outcome = Outcome("odd", found, found, None, "ambiguous: a or b", "agrees")
    text = page([outcome], seconds=1)
    assert "| not built | as saved agrees; in memory ambiguous: a or b |" in text
    assert "1 of 2 models agree in all. 0 more leave the" in text
    assert "by names" not in page([outcome], seconds=1, multimodal=True)
