"""Every page of the documentation begins by saying what it is for."""

import re

import pytest

from tests.support.places import DOCS, ROOT

PAGES = [
    *sorted(DOCS.glob("*.md")),
    *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY")),
]
LINE = 125
"""Characters of a line of the site on a desktop, and about that of the sources."""
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")


def opening(text):
    """The first paragraph under the title, as it is read."""
    title, _, rest = text.partition("\n\n")
    assert re.fullmatch(r"# [^\n]+", title.strip())
    return " ".join(LINK.sub(r"\1", rest.partition("\n\n")[0]).split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_opens_with_what_it_is_for_in_two_lines(page):
    said = opening(page.read_text("utf-8"))
    assert re.match(r"[`A-Z0-9a-z]", said), "a page opens with words, not with a heading or a table"
    assert said.endswith("."), "its opening is a whole sentence"
    assert len(said) <= 2 * LINE


@pytest.mark.parametrize(
    "text",
    [
        "# A\n\n## B\n\nWords.",
        "# A\n\n| a |\n| --- |",
        "# A\n\n![a](b.svg)\n\nWords.",
        "# A\n\nDo so:",
    ],
)
def test_what_is_no_opening_is_found_out(text):
    said = opening(text)
    assert not (re.match(r"[`A-Z0-9a-z]", said) and said.endswith("."))
