"""The command line that the benchmarks of docs/kinds.md share, and how they keep their counts."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def parser(name: str, description: str | None, counts: Path, bases: int) -> argparse.ArgumentParser:
    """Return a parser of where models are kept, and where counts and tables go."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--folder", type=Path, required=True, help="keeps the models")
    made.add_argument("--output", type=Path, default=Path("docs/kinds.md"))
    made.add_argument("--counts", type=Path, default=counts)
    made.add_argument("--bases", type=int, default=bases)
    return made


def keep(counts: Path, made: DataclassInstance) -> None:
    """Write counts as JSON."""
    counts.parent.mkdir(parents=True, exist_ok=True)
    counts.write_text(json.dumps(asdict(made), indent=1) + "\n", encoding="utf-8")
