"""Count the exhibits of known strangers: what people argue with in public about two models.

``python -m benchmarks.exhibits``
    Trains small models in a minute, and counts all their pairs.
``python -m benchmarks.exhibits --pretrained DIR``
    Counts all pairs of the checkpoint folders in DIR, such as `benchmarks.real` makes.

Either writes its group of pairs into the file that the package ships, leaves the other group as it is, and
writes the page.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks._arguments import at_least
from benchmarks._exhibit_page import page
from benchmarks._exhibit_pairs import measured, pretrained, saved, small, with_group
from benchmarks._page import about_machine, reading_of
from provenance.evidence import strangers
from provenance.evidence.strangers import StrangerGroup, read_groups

KEPT = Path(strangers.__file__).with_name(strangers.FILE)
MODELS = 8
SMALL_MODELS = (
    "Llamas of three and four blocks, each trained by itself for 150 steps; any two differ in their first "
    "weights at least, most in their texts or shapes as well, and all have one tokenizer"
)


def main(arguments: list[str] | None = None) -> None:
    """Count one group, keep it, and write the page of all that is kept."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.exhibits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--models", type=at_least(1), default=MODELS, help="small models, 3 to 16")
    parser.add_argument(
        "--pretrained", type=Path, metavar="DIR", help="folder of checkpoint folders"
    )
    parser.add_argument("--output", type=Path, default=Path("docs/exhibits.md"))
    parser.add_argument("--kept", type=Path, default=KEPT, help=argparse.SUPPRESS)
    parser.add_argument("--small", action="store_true", help="tiny models, as in the tests")
    parser.add_argument("--render", action="store_true", help="only write the page of what is kept")
    given = parser.parse_args(arguments)
    if not 3 <= given.models <= 16:
        parser.error("--models must be from 3 to 16")
    groups = read_groups(given.kept.read_text("utf-8"))
    if not given.render:
        if given.pretrained is not None and len(pretrained(given.pretrained)) < 2:
            parser.error(f"{given.pretrained} must have two checkpoint folders or more")
        groups = with_group(groups, _counted(given))
        given.kept.write_text(saved(groups), encoding="utf-8")
    given.output.write_text(page(groups, reading_of(given.output)), encoding="utf-8")


def _counted(given: argparse.Namespace) -> StrangerGroup:
    about = about_machine()
    with tempfile.TemporaryDirectory(prefix="exhibits-") as scratch:
        if given.pretrained is None:
            models = small(Path(scratch), given.models, tiny=given.small)
            name, title, said = "small", "small strangers", SMALL_MODELS
            command = "python -m benchmarks.exhibits"
        else:
            models = pretrained(given.pretrained)
            name, title, said = "pretrained", "pretrained strangers", ", ".join(models)
            command = "python -m benchmarks.exhibits --pretrained DIR"
        pairs = measured(models, Path(scratch) / "store", _report)
    return StrangerGroup(name, title, said, command, **about, pairs=pairs)


def _report(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
