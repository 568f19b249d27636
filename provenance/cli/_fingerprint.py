"""`provenance fingerprint`: what others need to compare a model, without its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import provenance
from provenance.cli._base import BASE, on_base
from provenance.cli._completion import complete_model
from provenance.cli._executor import with_executor
from provenance.cli._inputs import with_inputs
from provenance.cli._options import FILE, JSON, Bytes
from provenance.vocabulary import SKETCH

if TYPE_CHECKING:
    from pathlib import Path

    from provenance import InputsSpec
    from provenance.checkpoints.fingerprint_file import Fingerprint
    from provenance.checkpoints.token_fingerprint_file import TokenFingerprint
    from provenance.cli._executor import OpenExecutor
    from provenance.vocabulary import ModelSpec


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
    help="Numbers to keep of each unit and projection.",
)
@click.option(
    "--whole",
    is_flag=True,
    help="Keep whole answers, a number for each token: the file is larger and reveals more.",
)
@click.option(
    "--size",
    type=Bytes(),
    metavar="SIZE",
    help="Hold answers to a published list of tokens instead, in a file of at most this size, such as 5MB: "
    "no model is run.",
)
@click.option("--name", help="What to call the model [default: where it came from].")
@click.option(
    "--vocabulary",
    type=click.IntRange(2),
    help="With --inputs random, draw ids below this bound, for models with another tokenizer "
    "[default: the model's own].",
)
@BASE
@with_inputs
@with_executor
@JSON
def fingerprint(
    model: str,
    output: Path,
    sketch: int,
    whole: bool,  # noqa: FBT001
    size: int | None,
    name: str | None,
    vocabulary: int | None,
    base: str | None,
    inputs: InputsSpec,
    open_executor: OpenExecutor,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Write a fingerprint of MODEL, which `compare` takes in the model's place.

    The file holds digests, and a sketch of what each unit of each MLP answers to public inputs. It holds
    no weights. MODEL is what `compare` takes.
    """
    (spec,) = on_base((model,), base)
    if size is not None:
        _of_tokens(spec, output, size, name, open_executor, as_json=as_json)
        return
    with open_executor() as executor:
        made = provenance.fingerprint(
            spec,
            output,
            inputs=inputs,
            vocabulary=vocabulary,
            sketch=None if whole else sketch,
            name=name,
            executor=executor,
        )
    if as_json:
        click.echo(made.to_json())
        return
    _print(output, made)


def _of_tokens(
    spec: ModelSpec,
    output: Path,
    size: int,
    name: str | None,
    open_executor: OpenExecutor,
    *,
    as_json: bool,
) -> None:
    from provenance.comparison.make_token_fingerprint import fingerprint_tokens

    with open_executor() as executor:
        made = fingerprint_tokens(spec, output, size=size, name=name, executor=executor)
    if as_json:
        click.echo(made.to_json())
        return
    click.echo(f"{output}: {made.source}, {made.blocks} blocks, {made.extent()}")
    _print_size(output, made)


def _print_size(output: Path, made: Fingerprint | TokenFingerprint) -> None:
    size = output.stat().st_size
    click.echo(f"{size:,} bytes, in the place of {made.parameters:,} parameters")


def _print(output: Path, made: Fingerprint) -> None:
    inputs = made.inputs
    fed = f"random ids below {inputs.vocabulary}" if inputs.kind == "random" else inputs.text
    note = f" ({inputs.note})" if inputs.note else ""
    click.echo(f"{output}: {made.source}, {made.blocks} blocks, {made.extent()}")
    click.echo(f"inputs: {inputs.tokens} tokens of {fed}{note}")
    _print_size(output, made)
    if made.columns >= made.hidden:
        click.echo(
            f"{made.columns} numbers a unit are as many as its inputs are wide ({made.hidden}) or more: "
            f"whoever knows these inputs can solve for its weights; --sketch {max(8, made.hidden // 2)} "
            "gives less away",
            err=True,
        )
