"""A real browser, the screens that pages are looked at on, and what axe finds wrong with a page."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install '.[browser]'"
)
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

CHROMIUM = os.environ.get("PROVENANCE_CHROMIUM", "/usr/bin/chromium")
WIDTHS = {"desktop": 1200, "phone": 320}


@contextmanager
def chromium() -> Iterator[Any]:
    """Start a Chromium, or skip the test."""
    path = CHROMIUM if Path(CHROMIUM).exists() else None
    with playwright.sync_playwright() as started:
        try:
            found = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium: playwright install chromium ({str(error).splitlines()[0]})")
        yield found
        found.close()


def on_every_screen(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test at the widths of a desktop and a phone, light and dark."""
    wide = pytest.mark.parametrize("width", list(WIDTHS.values()), ids=list(WIDTHS))
    return pytest.mark.parametrize("scheme", ["light", "dark"])(wide(test))


def violations(page: Any) -> list[tuple[str, str]]:
    """What axe finds: the rule, and the beginning of the first element that breaks it."""
    found = axe.Axe().run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in found]
