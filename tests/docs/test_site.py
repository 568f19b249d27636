"""The site: built without a warning, complete, current, and loading nothing from elsewhere."""

import re
import runpy
import shutil

import pytest

from tests.support.places import ROOT

pytestmark = pytest.mark.slow

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def maker():
    return runpy.run_path(str(DOCS / "_make.py"))


def test_the_reference_of_suites_is_made_from_the_schema_of_today(maker):
    assert (DOCS / "suite-reference.md").read_text("utf-8") == maker["suite_reference"]()


def test_the_table_of_layers_is_that_of_today(maker):
    page = (DOCS / "architecture.md").read_text("utf-8")
    assert maker["with_layers"](page) == page


def words(svg):
    return sorted(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz draws the picture")
def test_the_picture_is_that_of_today(maker):
    assert words((DOCS / "dataflow.svg").read_text("utf-8")) == words(maker["picture"]())


def test_the_pages_beside_the_documentation_are_in_the_site(site):
    for name in ("readme", "changes", "contributing", "security-policy", "notebook"):
        assert (site / f"{name}.html").is_file()


@pytest.mark.filterwarnings("default")
def test_every_page_is_in_the_site(site):
    pages = {path.stem for path in DOCS.glob("*.md")}
    assert pages <= {path.stem for path in site.glob("*.html")}


LOADS = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=["']?(https?:)?//""")


@pytest.mark.filterwarnings("default")
def test_a_page_loads_nothing_from_elsewhere(site):
    for page in site.glob("**/*.html"):
        found = [m.group() for m in LOADS.finditer(page.read_text("utf-8"))]
        assert [each for each in found if 'rel="canonical"' not in each] == [], page.name
    for sheet in site.glob("**/*.css"):
        assert not re.search(r"url\([\"']?https?:", sheet.read_text("utf-8"))
