"""What people read on a terminal: text as it is, and every number in full, however narrow it is."""

import re
import shutil
from dataclasses import replace

import pytest
from rich.table import Table
from rich.text import Text

import provenance
from provenance import InputsSpec, Store
from provenance.cli import main
from provenance.cli._console import console, print_table, say
from provenance.evidence.outcomes import p_value

QUICK = ("--tokens", "512", "--sequence-length", "64")
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def printed(capsys, width, draw):
    draw(console(width=width))
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    ["a[lr=1e-4]", "run[/final]", "[red]x[/red]", "[bold", "[/]", r"\[a]", ":fire:", "[link=x]y"],
)
def test_no_text_is_taken_for_markup(capsys, text):
    assert printed(capsys, 80, lambda to: say(to, text)) == f"{text}\n"
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    for width in (80, 12):
        out = printed(capsys, width, lambda to: print_table(to, table))
        assert re.sub(r"[\s│┃┏┓┡┩└┘━─╇╞]", "", out).count(text) == 3


def test_what_hides_in_a_text_is_made_visible(capsys):
    out = printed(capsys, 80, lambda to: say(to, "a\x1b[31mb\u202ec"))
    assert out == "a⟨U+001B⟩[31mb⟨U+202E⟩c\n"


def _table(rows):
    table = Table(title="path:some/where/chat against path:some/where/base")
    for name in ("block", "reference block", "correlation", "p", "units", "matched alike"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


ROWS = (
    ("0", "0", "+1.000", "2.1e-285", "160 x 160", "160 of 160"),
    ("11", "13", "-0.012", "7.04e-12345", "11008 x 11008", "3 of 11008 (fits 0.98, 0.97)"),
    ("expert 7 of 12", "-", "-", "degenerate: constant activations", "64 x 64", "-"),
)


@pytest.mark.parametrize("width", [200, 120, 100, 80, 70, 60, 50, 40, 30, 20])
@pytest.mark.parametrize("rows", [ROWS[:1], ROWS[:2], ROWS], ids=len)
def test_every_number_stands_in_full_at_every_width(capsys, rows, width):
    out = printed(capsys, width, lambda to: print_table(to, _table(rows)))
    assert "…" not in out
    found = NUMBER.findall(out)
    for cell in (cell for row in rows for cell in row):
        for number in NUMBER.findall(cell):
            assert number in found
    assert all(len(line) <= width for line in out.splitlines())


def test_cells_of_text_objects_are_measured_too(capsys):
    table = Table()
    table.add_column("a long heading of a column")
    table.add_column("p")
    table.add_row(Text("kin"), Text("2.1e-285"))
    assert "2.1e-285" in printed(capsys, 20, lambda to: print_table(to, table))


# --- commands ------------------------------------------------------------------------------------


@pytest.fixture
def called(capfd, shared_store, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def called(*arguments, width=80, store=True):
        monkeypatch.setenv("COLUMNS", str(width))
        extra = ["--store", str(shared_store)] if store else []
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments), *extra])
        out, err = capfd.readouterr()
        assert err == ""
        return stop.value.code, out

    return called


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chat[lr=1e-4]", "run[/final]", "[bold]x[/bold]", "a:fire:b"])
def test_compare_shows_a_path_as_it_is(called, family, tmp_path, name):
    shutil.copytree(family.kin, tmp_path / name)
    code, out = called("compare", f"./{name}", family.base, *QUICK, width=400)
    assert code == 0
    assert f"path:./{name} against path:{family.base}" in " ".join(out.split())


@pytest.mark.slow
def test_compare_shows_the_text_that_was_read_as_it_is(called, family, tmp_path):
    tmp_path.joinpath("text[red].txt").write_text("def f(x):\n    return x + 1\n" * 400)
    how = ("--inputs", "text[red].txt", "--statistic", "match")
    assert "tokens of text[red].txt" in called("compare", family.kin, family.base, *QUICK, *how)[1]


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 60, 40])
def test_compare_cuts_no_number(called, family, width):
    arguments = ("compare", family.kin, family.base, *QUICK)
    out = called(*arguments, width=width)[1]
    wide = NUMBER.findall(called(*arguments, width=300)[1])
    assert "…" not in out
    assert set(wide) <= set(NUMBER.findall(out))


@pytest.mark.slow
def test_verify_shows_brackets_and_numbers_as_they_are(called, family, tmp_path):
    inputs = InputsSpec("tokens")
    store = Store(tmp_path / "store")
    evidence = provenance.compare(
        family.kin, family.base, inputs=inputs, executor=provenance.Executor(store, "cpu")
    )
    source = replace(evidence.candidate, source="path:run[/x]")
    kept = tmp_path / "evidence[red].json"
    kept.write_text(replace(evidence, candidate=source).to_json())
    code, out = called("verify", kept.name, width=60, store=False)
    assert code == 0
    assert "…" not in out
    assert p_value(evidence.log10_p) in out
    assert called("verify", kept.name, width=300, store=False)[1].count("[red]") == 1
    assert "path:run[/x] against" in called("verify", kept.name, width=300, store=False)[1]


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 40, 24])
def test_audit_cuts_no_number_on_a_terminal(called, family, monkeypatch, tmp_path, width):
    for name in ("kin[/final]", "base"):
        shutil.copytree(getattr(family, name.partition("[")[0]), tmp_path / "models" / name)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    how = ("--history", tmp_path / "history.sqlite", "-q")
    code, out = called("audit", tmp_path / "models", *how, width=width)
    assert code == 0
    assert "…" not in out
    assert re.search(r"\d\.\de-\d{3}\b", out)


@pytest.mark.parametrize("columns", [None, "60"])
def test_no_line_is_folded_where_nobody_says_how_wide_it_may_be(capsys, monkeypatch, columns):
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    name, line = "a-long-name-of-a-model/" * 8, "word " * 60
    to = console()
    print_table(to, _table([(name, *ROWS[0][1:])]))
    say(to, line)
    out = capsys.readouterr().out
    assert (name in out) == (columns is None)
    assert (line.strip() in out) == (columns is None)
