"""`provenance fingerprint`: what others need to compare a model, without its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import provenance
from provenance import Store
from provenance.cli._completion import complete_model
from provenance.cli._files import FILE
from provenance.cli._inputs import LENGTH, SEED, SOURCE, TOKENS, read_inputs
from provenance.cli._options import DEVICE, JSON, MEMORY, QUIET, RESIDENT, STORE
from provenance.cli._progress import progress
from provenance.vocabulary import SKETCH, Memory

if TYPE_CHECKING:
    from pathlib import Path

    from provenance.checkpoints.fingerprint_file import Fingerprint


@click.command()
@click.argument("model", shell_complete=complete_model)
@click.option(
    "-o", "--output", type=FILE, required=True, help="The file to write: NAME.safetensors."
)
@click.option(
    "--sketch",
    default=SKETCH,
    type=click.IntRange(8),
    show_default=True,
    help="Numbers that are kept of a unit and projection.",
)
@click.option(
    "--whole",
    is_flag=True,
    help="Keep the whole answers, one number a token: larger, and reveals more.",
)
@click.option("--name", help="What to call the model [default: where it came from].")
@click.option(
    "--vocabulary",
    type=click.IntRange(2),
    help="Of --inputs random, the bound of the ids, for whoever has another tokenizer "
    "[default: the model's].",
)
@SOURCE
@TOKENS
@LENGTH
@SEED
@DEVICE
@MEMORY
@RESIDENT
@STORE
@QUIET
@JSON
def fingerprint(
    model: str,
    output: Path,
    sketch: int,
    whole: bool,  # noqa: FBT001
    name: str | None,
    vocabulary: int | None,
    source: str,
    tokens: int,
    sequence_length: int,
    seed: int,
    device: str,
    memory: int,
    resident: int | None,
    store: Path | None,
    quiet: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Write a fingerprint of MODEL, which `compare` takes in the model's place.

    It has a sketch of what each unit of each MLP answers to public inputs, and digests; no weights.
    MODEL is what `compare` takes.
    """
    with progress(quiet=quiet) as tell:
        said = provenance.fingerprint(
            model,
            output,
            inputs=read_inputs(source, tokens, sequence_length, seed),
            vocabulary=vocabulary,
            sketch=None if whole else sketch,
            name=name,
            executor=provenance.Executor(
                Store(store), device, tell, memory=Memory(memory, resident)
            ),
        )
    if as_json:
        click.echo(said.to_json())
        return
    _print(output, said)


def _print(output: Path, said: Fingerprint) -> None:
    inputs = said.inputs
    fed = f"random ids below {inputs.vocabulary}" if inputs.kind == "random" else inputs.text
    note = f" ({inputs.note})" if inputs.note else ""
    click.echo(f"{output}: {said.source}, {said.blocks} blocks, {said.extent()}")
    click.echo(f"inputs: {inputs.tokens} tokens of {fed}{note}")
    click.echo(f"{output.stat().st_size:,} bytes, in the place of {said.parameters:,} parameters")
    if said.columns >= said.hidden:
        click.echo(
            f"{said.columns} numbers a unit are as many as its inputs are wide ({said.hidden}) or more: "
            f"whoever knows these inputs can solve for its weights; --sketch {max(8, said.hidden // 2)} "
            "gives less away",
            err=True,
        )
