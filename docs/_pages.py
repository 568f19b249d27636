"""Put the pages that stand beside docs/ into the site, and fit its pages: hooks of mkdocs."""

from __future__ import annotations

import json
import re
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
PROJECT = "pytest-provenance/pytest-provenance"
ABSOLUTE = re.compile(
    rf"https://(?:github\.com/{PROJECT}/blob|raw\.githubusercontent\.com/{PROJECT})/main/"
)
"""README links to files of the repository by these, so that its links work on a package index."""
SEARCH = '<div class="md-search" data-md-component="search" role="dialog"'
NESTED = re.compile(r'(<nav class="md-nav") aria-label="([^"]*)"')
"""A section of a page in its table of contents; sections of the site may have its name."""
NOTEBOOK = Path(__file__).parent / "examples" / "pair.ipynb"
PAGES = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, with their links as they are from inside docs/."""
    for name, target in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=_relinked(text)))
    files.append(
        File.generated(config, "notebook.md", content=as_page(NOTEBOOK.read_text("utf-8")))
    )
    return files


def on_post_page(output: str, **_: object) -> str:
    """Give landmarks that the theme leaves without a name, or with that of another, one of their own."""
    output = output.replace(SEARCH, f'{SEARCH} aria-label="Search"')
    numbers = count(1)
    return NESTED.sub(
        lambda found: f'{found[1]} aria-label="Part {next(numbers)} of this page: {found[2]}"',
        output,
    )


def on_post_template(output: str, template_name: str, **_: object) -> str:
    """Do the same for the page that says that there is none, which is no page to mkdocs."""
    return on_post_page(output) if template_name == "404.html" else output


def as_page(notebook: str) -> str:
    """Write a notebook as a page: its words as they are, its code in fences."""
    parts = []
    for cell in json.loads(notebook)["cells"]:
        text = "".join(cell["source"])
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
    return "\n\n".join(parts) + "\n"


def _relinked(text: str) -> str:
    text = ABSOLUTE.sub("", text)
    text = re.sub(r"\]\(docs/", "](", text)
    for name, target in PAGES.items():
        text = text.replace(f"]({name}", f"]({target}")
    return re.sub(r"\[([^\]]*)\]\(LICENSE\)", r"\1", text)
