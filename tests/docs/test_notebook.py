"""The notebook of the documentation runs from top to bottom, and shows something after each cell."""

import ast
import json
import runpy
from importlib.util import find_spec

import pytest

from tests.support.places import DOCS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm")]

NOTEBOOK = json.loads((DOCS / "examples" / "pair.ipynb").read_text("utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def shown(source, names):
    """Run a cell as a notebook does; what its last line shows, or None where that is a statement."""
    *before, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        exec(compile(source, "cell", "exec"), names)
        return None
    exec(compile(ast.Module(before, []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_the_notebook_runs_and_shows_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    framed = find_spec("pandas") is not None
    names = {}
    values = [shown(source, names) for source in CODE if framed or "to_frame" not in source]
    assert "<iframe" in values[0]._repr_html_()
    assert values[1][0] == "dependent"
    assert "<svg" in values[2].svg
    if framed:
        assert len(values[3]) == 4
        assert list(values[4].outcome) == ["measured"]
    out = capsys.readouterr().out
    assert out.startswith("<Evidence on recipe:quickstart/rebranded and recipe:quickstart/base: ")
    assert "nowhere" in out.splitlines()[-1]


def test_the_notebook_keeps_no_output():
    assert all(not cell.get("outputs") for cell in NOTEBOOK["cells"])


def test_the_page_has_every_cell():
    pytest.importorskip("mkdocs", reason="pip install '.[docs]' builds the site")
    page = runpy.run_path(str(DOCS / "_pages.py"))["as_page"](json.dumps(NOTEBOOK))
    for source in CODE:
        assert f"```python\n{source}\n```" in page
