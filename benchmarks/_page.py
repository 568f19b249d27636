"""Pages of measured numbers: the machine that made them, and a person's text about them."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from provenance.evidence.doubts import MOST_NEARNESS
from provenance.statistics import REGISTRY

BEGIN, END = "<!-- reading: kept when the tables are made again -->", "<!-- end of reading -->"
UNREAD = "*Nothing has been written about these numbers yet.*"
PACKAGES = ("torch", "transformers", "scipy", "numpy")


def about_machine(used: str = "one thread") -> dict[str, str]:
    """Return the date, the machine with what was used of it, and versions of what made the numbers.

    Those are packages, and the statistics and the alarm that a verdict rests on.
    """
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {_processor()}, {used}",
        "versions": ", ".join(
            [f"Python {platform.python_version()}"]
            + [f"{package} {metadata.version(package)}" for package in PACKAGES]
            + [f"{name} {version}" for name, version in REGISTRY["kinship"].versions().items()]
            + [f"most nearness {MOST_NEARNESS:g}"]
        ),
    }


def reading_of(page: Path) -> str:
    """Return a person's text about the numbers of a page that may exist."""
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    return old.partition(BEGIN)[2].partition(END)[0].strip() or UNREAD


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"
