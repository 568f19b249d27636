"""Count how often the kind of descent is read as what it was made to be, on small models.

``python -m benchmarks.kinds --folder DIR --output docs/kinds.md``

Each of some trained models is changed in every way of `benchmarks._kind_changes`, at strengths down to
where a kind can no longer be seen, and the difference is read (`provenance.evidence.kinds`). Which blocks
are kin is known by the making and is not tested again. The base models are kept in the folder.
``--large`` changes a pretrained model instead, in a few ways: SmolLM2-135M, as ``python -m benchmarks.real
models`` makes it.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks._arguments import checkpoint
from benchmarks._kind_change import tuned
from benchmarks._kind_changes import changes, large_changes
from benchmarks._kind_page import COUNTS, LARGE, KindCount, KindCounts, with_large, with_tables
from benchmarks._kinds_command import keep, parser, publish
from benchmarks._page import about_machine
from benchmarks._zoo import Scale, Zoo, members, tokenizer_of
from provenance._quiet import quiet
from provenance.comparison.executor import Executor
from provenance.differences.measure import measure
from provenance.differences.side import Side
from provenance.errors import DegenerateError
from provenance.evidence.kinds import found_kind
from provenance.inputs import corpus
from provenance.loading.parameters import ModelTensors
from provenance.recipes.steps import load
from provenance.recipes.train import one_thread
from provenance.store.store import Store
from provenance.vocabulary import ModelSpec

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from transformers import PreTrainedModel

    from benchmarks._kind_change import Change

COMMAND = "python -m benchmarks.kinds --folder models --output docs/kinds.md"
LARGE_COMMAND = "python -m benchmarks.kinds --folder models --large smollm2 --output docs/kinds.md"
FEW = 4
SCALE = Scale(64, 160, 3, 120, 8, 32, 512, 60_000, 1024, 4096)
BASES = 5
NO_TEXT = torch.empty(0, dtype=torch.int64)
NOT_MAPPED = "not mapped"
"""In the place of a kind where nothing of one model could be mapped onto the other."""


@dataclass(frozen=True)
class Workshop:
    """Where models are saved, opened and compared, by as many blocks as ``most``."""

    executor: Executor
    folder: Path
    most: int | None = None

    def side(self, model: PreTrainedModel, name: str, *, narrow: bool) -> Side:
        """Save a model and open it."""
        path = self.folder / name
        if narrow:
            model = model.to(torch.bfloat16)
        with quiet():
            model.save_pretrained(path)
        checkpoint = self.executor.checkpoint(ModelSpec(path=str(path)))
        layout = self.executor.work.layout(checkpoint)
        return Side(checkpoint, layout, ModelTensors(checkpoint, stored=layout.stored))

    def read(
        self, changed: PreTrainedModel, base: PreTrainedModel, name: str, change: Change
    ) -> str:
        """Return the kind that is read off the difference."""
        ours = self.side(changed, f"{name}-changed", narrow=change.narrow)
        theirs = self.side(base, f"{name}-base", narrow=change.narrow)
        blocks = dict(enumerate(change.blocks or range(base.config.num_hidden_layers)))
        try:
            return found_kind(measure(ours, theirs, blocks, most=self.most)).kind
        except DegenerateError:
            return NOT_MAPPED


def count(folder: Path, scale: Scale, bases: int) -> Iterator[tuple[Change, str]]:
    """Yield every change of every base model, with the kind that was read."""
    zoo = Zoo(folder, scale)
    for member in members(bases, scale):
        path = zoo.member(member)
        ids = read_text(zoo, path, "prose")
        fine = tuned(load(path).eval(), ids)
        for number, change in enumerate(changes()):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                shop = Workshop(Executor(Store(Path(place) / "store"), "cpu"), Path(place))
                base = load(path).eval()
                changed = change.make(base, fine, ids)
                other = load(path).eval()
                if change.reference is not None:
                    other = change.reference(other, fine, ids)
                found = shop.read(changed, other, str(number), change)
            print(f"{member.name} {change.what}, {change.strength}: {found}", file=sys.stderr)
            yield change, found


def count_large(folder: Path, source: Path) -> Iterator[tuple[Change, str]]:
    """Yield some changes of a pretrained model, with the kind that was read; four blocks are looked at."""
    for number, change in enumerate(large_changes()):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            shop = Workshop(Executor(Store(Path(place) / "store"), "cpu"), Path(place), FEW)
            base = load(source).eval()
            changed = change.make(base, base, NO_TEXT)
            other = change.reference(base, base, NO_TEXT) if change.reference else base
            found = shop.read(changed, other, str(number), change)
        print(f"{change.what}, {change.strength}: {found}", file=sys.stderr)
        yield change, found


def read_text(zoo: Zoo, path: Path, name: str) -> torch.Tensor:
    """Return the first ids of a text of the zoo, as a model reads it, int64 (at most 8,192,)."""
    text = corpus.text(zoo.text(name).name, zoo.scale.characters)
    return torch.tensor(tokenizer_of(path).encode(text, add_special_tokens=False)[:8192])


def counted(found: Iterator[tuple[Change, str]], bases: int, command: str = COMMAND) -> KindCounts:
    """Gather the kinds that were read, by what was done."""
    rows: dict[tuple[str, str, str], Counter[str]] = {}
    for change, kind in found:
        key = change.truth or "", change.what, change.strength
        rows.setdefault(key, Counter())[kind] += 1
    about = about_machine()
    return KindCounts(
        command,
        about["date"],
        about["machine"],
        about["versions"],
        bases,
        tuple(KindCount(*key, dict(read)) for key, read in rows.items()),
    )


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    options = parser("kinds", __doc__, COUNTS, BASES)
    options.add_argument(
        "--large", type=checkpoint, help="count on this checkpoint of a pretrained model alone"
    )
    given = options.parse_args(arguments)
    if given.large is not None:
        _large(given)
        return
    with one_thread():
        made = counted(count(given.folder, SCALE, given.bases), given.bases)
    publish(given, made, with_tables)


def _large(given: argparse.Namespace) -> None:
    given.folder.mkdir(parents=True, exist_ok=True)
    with one_thread():
        made = counted(count_large(given.folder, given.large), 1, LARGE_COMMAND)
    keep(given.counts.with_name(LARGE.name), made)
    given.output.write_text(with_large(given.output.read_text("utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    main()
