"""Make a library of models, and identify kin and strangers by it: p-values, seconds, bytes.

``python -m benchmarks.library DIR`` takes models as ``python -m benchmarks.real models DIR --all`` and
``python -m benchmarks.real kin DIR`` make them. The library holds a token fingerprint of each model. Every
kin is asked for its nearest, and every model for its nearest among the others, which are strangers.

``python -m benchmarks.library DIR --zoo ZOO`` adds small models of the zoo to the library, which are made
in the folder ZOO with their copies, and asks for all of these. The tables are for docs/identify.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import _library_page, _library_zoo, _real_models
from benchmarks._arguments import at_least
from benchmarks._kind_page import between
from benchmarks._kinds_command import publish
from benchmarks._library_page import NONE, Asked, AskedCounts
from benchmarks._page import about_machine
from benchmarks._table import table
from benchmarks._zoo import FULL, SMALL, Zoo, members
from provenance import Executor, Store, identify
from provenance._quiet import quiet
from provenance.comparison.make_token_fingerprint import fingerprint_tokens
from provenance.identification.library import add, file_of
from provenance.recipes.train import one_thread
from provenance.statistics.pvalues import format_p
from provenance.vocabulary import FINGERPRINT_SUFFIX, TOKEN_FINGERPRINT_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from provenance.evidence.relatives import Identification

MODELS = 16
"""Models of the zoo in the library: one of each shape, text and order of batches that the zoo has."""
SCALES = {"full": FULL, "small": SMALL}


@dataclass(frozen=True)
class Entry:
    """A model of the library: its fingerprint, and the processor seconds that making it took."""

    file: Path
    seconds: float


@dataclass(frozen=True)
class Shelf:
    """A library that is being made, and the store that its questions share."""

    executor: Executor
    folder: Path
    size: int

    def enter(self, model: Path, name: str) -> Entry:
        """Make a fingerprint of a model, if there is none yet, and enter it."""
        file = self.folder / file_of(name)
        begun = time.process_time()
        if not file.exists():
            fingerprint_tokens(model, file, size=self.size, name=name, executor=self.executor)
        seconds = time.process_time() - begun
        add(self.folder, file)
        return Entry(file, seconds)

    def without(self, name: str) -> list[Path]:
        """Return the fingerprints of all others."""
        every = sorted(self.folder.glob(f"*{FINGERPRINT_SUFFIX}"))
        return [file for file in every if file.name != file_of(name)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the library, and print what it finds."""
    given = _parser().parse_args(arguments)
    models = [given.folder / name for name in _real_models.MODELS if (given.folder / name).exists()]
    kin = sorted(place for place in (given.folder / "kin").glob("*") if place.is_dir())
    with tempfile.TemporaryDirectory() as work, quiet(), one_thread():
        store = Store((given.zoo or Path(work)) / "store")
        shelf = Shelf(Executor(store, "cpu"), given.library or Path(work) / "library", given.size)
        shelf.folder.mkdir(parents=True, exist_ok=True)
        if given.zoo is not None:
            _with_zoo(given, shelf, models, kin)
            return
        entries = {place.name: shelf.enter(place, place.name) for place in models}
        rows = [(name, _megabytes(one.file), f"{one.seconds:.0f}") for name, one in entries.items()]
        print(table(("model", "MB", "processor s"), rows), end="\n\n")
        strangers = {place: shelf.without(place.name) for place in models}
        asked = {**{place: [shelf.folder] for place in kin}, **strangers}
        found = [_row(shelf.executor, place, references) for place, references in asked.items()]
        head = ("model", "references", "nearest", "p over all", "others", "processor s")
        print(table(head, found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.library",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--size",
        type=at_least(1),
        default=TOKEN_FINGERPRINT_SIZE,
        help="bytes of a fingerprint, at most",
    )
    parser.add_argument(
        "--zoo", type=Path, help="keeps models and what was measured, for the library"
    )
    parser.add_argument("--library", type=Path, help="keeps the fingerprints, for another run")
    parser.add_argument("--ask", choices=("all", "zoo"), default="all", help="who is asked about")
    parser.add_argument("--models", type=at_least(1), default=MODELS, help="of the zoo")
    parser.add_argument("--scale", choices=SCALES, default="full", help="of the zoo's models")
    parser.add_argument("--counts", type=Path, default=_library_page.COUNTS)
    parser.add_argument("--output", type=Path, default=Path("docs/identify.md"))
    return parser


def _with_zoo(
    given: argparse.Namespace, shelf: Shelf, models: Sequence[Path], kin: Sequence[Path]
) -> None:
    """Ask a library of the zoo and of pretrained models for all copies, and count the answers."""
    scale = SCALES[given.scale]
    zoo = _library_zoo.made(Zoo(given.zoo, scale), members(given.models, scale), _report)
    for name, (place, _) in zoo.items():
        shelf.enter(place, name)
    for place in models:
        shelf.enter(place, place.name)
    asked = list(_of_zoo(shelf, zoo))
    if given.ask == "all":
        asked += _of_pretrained(shelf, models, kin)
    counts = AskedCounts(
        "python -m benchmarks.library real --zoo models --output docs/identify.md",
        **about_machine(),
        zoo=len(zoo),
        pretrained=len(models),
        asked=tuple(asked),
    )
    publish(given, counts, _with_tables)


def _with_tables(page: str, counts: AskedCounts) -> str:
    return between(page, _library_page.BEGIN, _library_page.END, _library_page.tables(counts))


def _of_zoo(
    shelf: Shelf, zoo: Mapping[str, tuple[Path, tuple[_library_zoo.Copy, ...]]]
) -> Iterator[Asked]:
    for name, (place, copies) in zoo.items():
        _report(f"{name}: asked")
        yield _asked(shelf, place, "a model of the zoo itself", NONE, without=name)
        for copy in copies:
            if copy.kin:
                yield _asked(shelf, copy.place, copy.what, name)
                yield _asked(shelf, copy.place, "a copy of one", NONE, without=name)
            else:
                yield _asked(shelf, copy.place, f"{copy.what}; its teacher is there", NONE)


def _of_pretrained(shelf: Shelf, models: Sequence[Path], kin: Sequence[Path]) -> Iterator[Asked]:
    for place in models:
        _report(f"{place.name}: asked")
        yield _asked(shelf, place, "a pretrained model", NONE, without=place.name)
    for place in kin:
        _report(f"{place.name}: asked")
        yield _asked(shelf, place, f"a copy of {_real_models.BASE}", _real_models.BASE)


def _asked(
    shelf: Shelf, model: Path, what: str, expected: str, without: str | None = None
) -> Asked:
    """Ask the library, or all of it but one model, who is nearest."""
    references = [shelf.folder] if without is None else shelf.without(without)
    found = identify(model, references, executor=shelf.executor)
    names = {id(one): _name_of(one.name) for one in found.references}
    others = Counter(
        one.finding for one in found.references if expected == NONE or names[id(one)] != expected
    )
    least = [one.corrected for one in found.references if one.corrected is not None]
    nearest = NONE if found.nearest is None else names[id(found.nearest)]
    return Asked(what, expected, nearest, min(least, default=None), dict(others))


def _name_of(reference: str) -> str:
    """The name of an entry, of a library or by itself."""
    return Path(reference).name.removesuffix(FINGERPRINT_SUFFIX)


def _report(line: str) -> None:
    print(line, file=sys.stderr)


def _row(run: Executor, model: Path, references: Sequence[Path]) -> tuple[str, ...]:
    """Return a row: who is nearest, with its corrected p-value, and what the others are."""
    begun = time.process_time()
    found: Identification = identify(model, references, executor=run)
    seconds = time.process_time() - begun
    best = found.references[0]
    nearest = NONE if found.nearest is None else _name_of(found.nearest.name)
    others = [one.finding for one in found.references if one is not found.nearest]
    told = ", ".join(f"{others.count(word)} {word}" for word in dict.fromkeys(others))
    p = "–" if best.corrected is None else format_p(best.corrected)
    return model.name, str(len(found.references)), nearest, p, told, f"{seconds:.1f}"


def _megabytes(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.2f}"


if __name__ == "__main__":
    main()
