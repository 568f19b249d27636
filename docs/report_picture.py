"""Draw docs/report.png, the top of a report on a real run: ``python docs/report_picture.py``.

The run is of README's claim, which is false, and of the suite ``quickstart``. It needs ``'.[browser]'`` and
a Chromium: at /usr/bin/chromium, where PROVENANCE_CHROMIUM points, or playwright's own.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parent.parent
PICTURE = Path(__file__).with_name("report.png")
FALSE = "release.suite.yaml"
SIZE = {"width": 1100, "height": 690}


def main() -> None:
    """Run the claims, and take a picture of their report."""
    chromium = Path(os.environ.get("PROVENANCE_CHROMIUM", "/usr/bin/chromium"))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=chromium if chromium.exists() else None, args=["--no-sandbox"]
        )
        draw(browser, report(Path(folder)), PICTURE)
        browser.close()


def claim() -> str:
    """Return the suite that README writes."""
    readme = (ROOT / "README.md").read_text("utf-8")
    (suite,) = re.findall(rf"in `{re.escape(FALSE)}`:\n\n```yaml\n(.*?)```", readme, re.DOTALL)
    return str(suite)


def report(folder: Path) -> Path:
    """Return the report on README's claim and the quickstart suite, run in the folder."""
    (folder / FALSE).write_text(claim(), encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    quickstart = folder / "suites" / "quickstart.suite.yaml"
    quickstart.parent.mkdir()
    quickstart.write_bytes((ROOT / "suites" / quickstart.name).read_bytes())
    made = folder / "report.html"
    command = [sys.executable, "-m", "pytest", "-q", FALSE, "suites", "--provenance-report", made]
    done = subprocess.run(command, cwd=folder, check=False)  # noqa: S603
    if done.returncode != 1:  # the one claim is false
        sys.exit(f"pytest ended with {done.returncode}")
    return made


def draw(browser: Browser, page: Path, picture: Path) -> None:
    """Take a picture of the top of a page, in light."""
    window = browser.new_page(viewport=SIZE, color_scheme="light")
    window.goto(page.as_uri())
    window.screenshot(path=picture)
    window.close()


if __name__ == "__main__":
    main()
