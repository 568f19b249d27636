"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from provenance import ProvenanceError
from provenance._text import is_url
from provenance.vocabulary import DEFAULT_ALPHA, MOST_ALPHA, Memory, check_alpha


class Place(click.Path):
    """A folder, or a URL, which is passed on as it is."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the path, or the text of the URL."""
        named = isinstance(value, str) and is_url(value)
        return value if named else super().convert(value, param, ctx)


STORE = click.option(
    "--store",
    type=Place(file_okay=False, path_type=Path),
    metavar="PLACE",
    help="Folder, or URL such as s3://BUCKET/PREFIX, that keeps activations and evidence "
    "[default: $PROVENANCE_STORE or the user's cache].",
)
FILE = click.Path(dir_okay=False, path_type=Path)
OUTPUT = click.option(
    "-o", "--output", type=FILE, default="-", help="Where to write [default: stdout]."
)
DEVICE = click.option(
    "--device", default="auto", help="auto, cpu, cuda or cuda:N.", show_default=True
)
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."
)
QUIET = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")


class Level(click.ParamType[float]):
    """A significance level."""

    name = "float"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the number, or say why it is none that tells strangers from kin."""
        number = click.FLOAT.convert(value, param, ctx)
        try:
            return check_alpha(number)
        except ProvenanceError as error:
            self.fail(str(error), param, ctx)


ALPHA = click.option(
    "--alpha",
    default=DEFAULT_ALPHA,
    type=Level(),
    show_default=True,
    help=f"p-value below which the models are called dependent, {MOST_ALPHA:g} at the most.",
)


CONTROL = click.option(
    "--no-control",
    "control",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Where nothing is found, test no blocks of either model against disguised copies of themselves, "
    "which show that a copy would have been found.",
)


class Bytes(click.ParamType[int]):
    """A number of bytes, such as 2GiB."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Return the number, or say what is wrong with it."""
        from provenance.vocabulary import parse_bytes

        try:
            return value if isinstance(value, int) else parse_bytes(value)
        except ProvenanceError as error:
            self.fail(str(error), param, ctx)


MEMORY = click.option(
    "--memory",
    default=Memory.working,
    type=Bytes(),
    show_default="2GiB",
    help="Working memory, besides the weights of one model.",
)
RESIDENT = click.option(
    "--resident",
    type=Bytes(),
    help="A model whose weights take more is run block by block from disk "
    "[default: what is free besides the working memory].",
)
