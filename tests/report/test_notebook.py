"""What a notebook shows of evidence, of results and of a mistake."""

import html
import re
import sys
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree as ET

import pytest

from fixtures.models import save_checkpoint, tiny_llama
from provenance import InputsSpec, ProvenanceError, compare
from provenance.comparison.in_notebook import notebook_progress
from provenance.evidence.shown import PValue
from tests.support import synthetic


@pytest.fixture
def kin():
    return synthetic.kin("copy", "base")


def framed(shown):
    (page,) = re.findall(r'<iframe srcdoc="(.*?)" title=', shown, re.DOTALL)
    return html.unescape(page)


def test_a_pair_says_itself_in_a_line(kin):
    assert repr(kin) == (
        "<Evidence on path:./copy and path:./base: match, p = 2.4e-3332, 4 of 4 blocks tested>"
    )
    dead = synthetic.evidence("a", "b", [synthetic.block(0, None)])
    assert repr(dead).endswith("match, no p-value, 0 of 1 blocks tested>")


def test_a_pair_is_judged_and_has_a_p_value_that_is_never_zero(kin):
    assert kin.verdict() == "dependent"
    assert synthetic.strangers("a", "b").verdict() == "independent"
    assert 0 < kin.p < 1e-6
    assert (str(kin.p), kin.p.log10) == ("2.4e-3332", kin.log10_p)
    assert PValue(-2.0) == pytest.approx(0.01)
    assert synthetic.evidence("a", "b", [synthetic.block(0, None)]).p is None


def test_a_notebook_has_the_pairs_part_of_the_report(kin):
    shown = kin._repr_html_()
    assert "sandbox" in shown
    page = framed(shown)
    assert "<script" not in page
    assert "dependent: path:./copy and path:./base" in page
    assert "match over 4 blocks: p = 2.4e-3332" in page
    assert "Numbers of every block" in page
    assert page.count('class="panel"') == 4


def test_a_name_cannot_leave_the_frame():
    hostile = synthetic.kin(synthetic.SCRIPT, '"><b>')
    for shown in (hostile._repr_html_(), hostile.plot()._repr_html_()):
        assert shown.count("<") == 2
        assert synthetic.SCRIPT not in framed(shown)


def test_a_plot_is_a_file_that_needs_nothing_else(kin, tmp_path):
    drawing = kin.plot(alpha=1e-3)
    drawing.save(tmp_path / "p.svg")
    svg = ET.parse(tmp_path / "p.svg").getroot()
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    words = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert "threshold 0.0010" in words
    assert "--kin:" in svg.find("{http://www.w3.org/2000/svg}style").text


def test_a_statistic_of_whole_models_has_no_plot(kin):
    whole = synthetic.evidence("a", "b", [], statistic="l2")
    with pytest.raises(ValueError, match="l2 is of whole models: there is no block to plot"):
        whole.plot()


def test_blocks_and_claims_are_frames(kin):
    pytest.importorskip("pandas", reason="pandas is not installed: pip install '.[notebook]'")
    blocks = kin.to_frame()
    assert list(blocks.candidate_block) == [0, 1, 2, 3]
    assert list(blocks.log10_p) == [-3000.0, -300.0, -30.0, -12.5]
    assert {"correlation", "reference_units", "candidate_live", "state"} <= set(blocks)
    claims = synthetic.every_kind().to_frame()
    assert list(claims.outcome).count("holds") == 2
    assert claims.log10_p.isna().sum() == 2


def test_a_frame_without_pandas_says_how_to_get_it(kin, monkeypatch):
    monkeypatch.setattr("provenance.evidence.shown.find_spec", lambda _name: None)
    with pytest.raises(ProvenanceError, match=r"pip install 'pytest-provenance\[notebook\]'"):
        kin.to_frame()


def test_results_say_themselves_in_a_line_and_are_their_report():
    found = synthetic.every_kind()
    assert repr(found).startswith("<Results: 6 claims: 1 false, 1 not checked (exit status 1)")
    assert "<h1" in framed(found._repr_html_())


def test_a_mistake_is_a_line_in_a_notebook():
    error = ProvenanceError("no folder ./nowhere")
    assert error._render_traceback_() == ["ProvenanceError: no folder ./nowhere"]


def test_a_comparison_shows_its_progress_in_a_notebook_and_cleans_up(monkeypatch, tmp_path):
    """The least of a kernel: what it is asked to display, and to change that to."""
    lines = []

    class Handle:
        def update(self, data, *, raw):
            assert raw
            lines.append(data["text/plain"])

    def display(data, *, raw, display_id):
        assert (data, raw, display_id) == ({"text/plain": ""}, True, True)
        return Handle()

    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())
    ipython.display = SimpleNamespace(display=display)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    monkeypatch.setenv("PROVENANCE_STORE", str(tmp_path))
    pair = [save_checkpoint(tiny_llama(seed), tmp_path / f"m{seed}") for seed in (0, 1)]
    inputs = InputsSpec(kind="random", tokens=64, sequence_length=32)
    evidence = compare(*pair, inputs=inputs, statistic="match")
    assert len(evidence.blocks) == 2
    assert any("m0" in line for line in lines)
    assert lines[-1] == ""


def test_without_a_kernel_nothing_is_shown(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    with notebook_progress() as shows:
        assert shows is None


def test_ipython_prints_that_line_alone(capsys):
    shell = pytest.importorskip("IPython.core.interactiveshell", reason="IPython is not installed")
    made = shell.InteractiveShell.instance()
    made.run_cell("import provenance\nprovenance.compare('./nowhere', './nothing')")
    out = capsys.readouterr().out
    assert out.strip().splitlines()[-1].startswith("SourceError: ")
    assert len(out.strip().splitlines()) == 1
