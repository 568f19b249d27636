"""Measures reports on 4, 40 and 400 claims: ``python -m benchmarks.report [FOLDER]``.

The claims are invented, on models of 32 blocks. It prints the bytes of each page and the seconds of writing
it and, where playwright and a Chromium are, its nodes, its height, and the seconds until it is painted.
With a folder, the pages stay there, with pictures of them at the widths of a desk and of a phone.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance.report import render_report
from tests.support import synthetic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

CLAIMS = (4, 40, 400)
BLOCKS = 32
WIDTHS = {"desk": 1200, "phone": 390}
PAINTED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
HEAD = (
    "| claims | bytes | seconds to write | nodes | pixels high | seconds to paint |",
    "| --- | --- | --- | --- | --- | --- |",
)


def main(words: list[str] | None = None) -> None:
    """Write the pages and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where the pages stay")
    kept = parser.parse_args(words).folder
    with tempfile.TemporaryDirectory() as spare:
        folder = kept or Path(spare)
        folder.mkdir(parents=True, exist_ok=True)
        print("\n".join(HEAD))
        for line in _lines(folder, pictures=kept is not None):
            print(line)


def _lines(folder: Path, *, pictures: bool) -> Iterator[str]:
    for claims in CLAIMS:
        results = synthetic.registry(claims, BLOCKS)
        began = time.perf_counter()
        text = render_report(results)
        seconds = time.perf_counter() - began
        page = folder / f"report-{claims}.html"
        page.write_text(text, encoding="utf-8")
        shown = _shown(page, pictures=pictures)
        yield f"| {claims} | {len(text.encode()):,} | {seconds:.1f} | {' | '.join(shown)} |"


def _shown(page: Path, *, pictures: bool) -> tuple[str, ...]:
    """Nodes, height and seconds in a browser; dashes where there is none."""
    if find_spec("playwright") is None:
        return ("–", "–", "–")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - an extra

    chromium = Path(os.environ.get("PROVENANCE_CHROMIUM", "/usr/bin/chromium"))
    started: AbstractContextManager[Any] = sync_playwright()
    with started as driver:
        browser = driver.chromium.launch(
            executable_path=chromium if chromium.exists() else None, args=["--no-sandbox"]
        )
        window = browser.new_page(viewport={"width": WIDTHS["desk"], "height": 800})
        began = time.perf_counter()
        window.goto(page.as_uri())
        window.evaluate(PAINTED)
        seconds = time.perf_counter() - began
        nodes = window.evaluate("document.querySelectorAll('*').length")
        high = window.evaluate("document.documentElement.scrollHeight")
        for name, width in WIDTHS.items() if pictures else ():
            for scheme in ("light", "dark"):
                _picture(browser, page, name, width, scheme)
        browser.close()
    return f"{nodes:,}", f"{high:,}", f"{seconds:.1f}"


def _picture(browser: Any, page: Path, name: str, width: int, scheme: str) -> None:
    window = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    window.goto(page.as_uri())
    window.screenshot(path=page.with_name(f"{page.stem}-{name}-{scheme}.png"))
    window.close()


if __name__ == "__main__":
    main()
