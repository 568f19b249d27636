"""`provenance card`: whether what a model's card says of its bases is so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from provenance import ProvenanceError
from provenance.cli._completion import complete_model
from provenance.cli._console import console, say
from provenance.cli._executor import with_executor
from provenance.cli._inputs import with_inputs
from provenance.cli._options import ALPHA, JSON

if TYPE_CHECKING:
    from provenance import InputsSpec
    from provenance.cli._executor import OpenExecutor

EXIT_CODES = {"consistent": 0, "contradicted": 1, "not known": 3}


class At(click.ParamType[tuple[str, str]]):
    """Where a base is: the id that a card names, an equals sign, and a model."""

    name = "place"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str]:
        """Split at the first equals sign."""
        if isinstance(value, tuple):
            return value
        base, equals, place = value.partition("=")
        if not (base and equals and place):
            self.fail(f"{value!r}: write ID=MODEL, as org/name=./folder", param, ctx)
        return base, place


@click.command()
@click.argument("model", shell_complete=complete_model)
@click.option(
    "--at",
    "places",
    type=At(),
    multiple=True,
    metavar="ID=MODEL",
    help="Where a base is that the card names, if not on the hub: a model or its fingerprint. Repeatable.",
)
@with_inputs
@ALPHA
@with_executor
@JSON
def card(
    model: str,
    places: tuple[tuple[str, str], ...],
    inputs: InputsSpec,
    alpha: float,
    open_executor: OpenExecutor,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Judge what the card of MODEL, a folder or a hub id, says: base_model and base_model_relation.

    The exit code is 0 where every base is as the card says, 1 where one is not, and 3 where that is not
    known: the card names no base, or a base cannot be had or decided.
    """
    from provenance.identification import judge_card

    twice = {base for base, _ in places if [name for name, _ in places].count(base) > 1}
    if twice:
        raise ProvenanceError(f"--at says more than once where {min(twice)} is: give one place")
    with open_executor() as executor:
        found = judge_card(
            model, places=dict(places), inputs=inputs, alpha=alpha, executor=executor
        )
    if as_json:
        click.echo(found.to_json())
        return EXIT_CODES[found.state]
    to = console()
    for note in found.notes:
        say(to, f"note: {note}")
    if not found.bases:
        say(to, "the card names no base model")
    for base in found.bases:
        say(to, f"{base.state}: {base.expect} of {base.base} ({base.where}). {base.why}")
    say(to, f"{found.model}: the card is {found.state}", style="bold")
    return EXIT_CODES[found.state]
