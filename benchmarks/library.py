"""Make a library of pretrained models, and identify kin and strangers by it: p-values, seconds, bytes.

``python -m benchmarks.library DIR`` takes models as ``python -m benchmarks.real models DIR --all`` and
``python -m benchmarks.real kin DIR`` make them. The library holds a token fingerprint of each model. Every
kin is asked for its nearest, and every model for its nearest among the others, which are strangers. The
tables are for docs/identify.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import _real_models
from benchmarks._table import table
from provenance import Executor, Store, identify
from provenance._quiet import quiet
from provenance.comparison.make_token_fingerprint import fingerprint_tokens
from provenance.identification.library import add, file_of
from provenance.recipes.train import one_thread
from provenance.statistics.pvalues import format_p
from provenance.vocabulary import TOKEN_FINGERPRINT_SIZE

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Entry:
    """A model of the library: its fingerprint, and the processor seconds that making it took."""

    file: Path
    seconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the library, and print what it finds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.library", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--size",
        type=int,
        default=TOKEN_FINGERPRINT_SIZE,
        help="bytes of a fingerprint, at most",
    )
    given = parser.parse_args(arguments)
    models = [given.folder / name for name in _real_models.MODELS if (given.folder / name).exists()]
    kin = sorted(place for place in (given.folder / "kin").glob("*") if place.is_dir())
    with tempfile.TemporaryDirectory() as work, quiet(), one_thread():
        run = Executor(Store(Path(work) / "store"), "cpu")
        library = Path(work) / "library"
        library.mkdir()
        entries = {place.name: _entered(run, place, library, given.size) for place in models}
        rows = [(name, _megabytes(one.file), f"{one.seconds:.0f}") for name, one in entries.items()]
        print(table(("model", "MB", "processor s"), rows), end="\n\n")
        strangers = {
            place: [one.file for name, one in entries.items() if name != place.name]
            for place in models
        }
        asked = {**{place: [library] for place in kin}, **strangers}
        found = [_identified(run, place, references) for place, references in asked.items()]
        head = ("model", "references", "nearest", "p over all", "others", "processor s")
        print(table(head, found))


def _entered(run: Executor, model: Path, library: Path, size: int) -> Entry:
    file = library / file_of(model.name)
    begun = time.process_time()
    fingerprint_tokens(model, file, size=size, name=model.name, executor=run)
    seconds = time.process_time() - begun
    add(library, file)
    return Entry(file, seconds)


def _identified(run: Executor, model: Path, references: Sequence[Path]) -> tuple[str, ...]:
    """Return a row: who is nearest, with its corrected p-value, and what the others are."""
    begun = time.process_time()
    found = identify(model, references, executor=run)
    seconds = time.process_time() - begun
    best = found.references[0]
    nearest = "none" if found.nearest is None else Path(found.nearest.name).name
    others = [one.finding for one in found.references if one is not found.nearest]
    told = ", ".join(f"{others.count(word)} {word}" for word in dict.fromkeys(others))
    p = "–" if best.corrected is None else format_p(best.corrected)
    return model.name, str(len(found.references)), nearest, p, told, f"{seconds:.1f}"


def _megabytes(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.2f}"


if __name__ == "__main__":
    main()
