"""`provenance identify`: one model against many, and who is its nearest kin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import provenance
from provenance.cli._base import BASE, on_base
from provenance.cli._completion import complete_model
from provenance.cli._console import console, print_table, reference_table, say
from provenance.cli._executor import with_executor
from provenance.cli._files import expect_writable, write
from provenance.cli._inputs import with_inputs
from provenance.cli._options import ALPHA, FILE, JSON
from provenance.statistics import REGISTRY, WITHOUT_P

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from provenance import InputsSpec
    from provenance.cli._executor import OpenExecutor
    from provenance.identification import Identification


@click.command()
@click.argument("model", shell_complete=complete_model)
@click.argument("references", nargs=-1, required=True, shell_complete=complete_model)
@click.option(
    "--nearest",
    metavar="REFERENCE",
    help="Claim that this one of the references is the nearest kin; exits 1 where it is not.",
)
@click.option(
    "--statistic",
    type=click.Choice(sorted(REGISTRY.keys() - WITHOUT_P)),
    help="The test [default: kinship, or match for a fingerprint].",
)
@click.option(
    "--exhaustive",
    is_flag=True,
    help="Compare all blocks of each reference, by all parts of the statistic [default: weight files of a "
    "few blocks, then of all where these settle nothing].",
)
@click.option(
    "--results", type=FILE, help="Write the evidence of each reference to this JSON file."
)
@BASE
@with_inputs
@ALPHA
@with_executor
@JSON
def identify(
    model: str,
    references: tuple[str, ...],
    nearest: str | None,
    statistic: Any,
    exhaustive: bool,  # noqa: FBT001
    results: Path | None,
    base: str | None,
    inputs: InputsSpec,
    alpha: float,
    open_executor: OpenExecutor,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Find the nearest kin of MODEL among REFERENCES: models, fingerprints, and folders of them.

    p-values are corrected over all references (Holm). Kin are ordered by how close their units are. What is
    wrong with one reference is said, and loses no other: then the exit code is 1.
    """
    from provenance.identification import identify, references_of

    (spec,) = on_base((model,), base)
    named = references_of(references, spec)
    if nearest is not None and nearest not in named:
        names = ", ".join(named)
        raise provenance.ProvenanceError(f"--nearest {nearest} is none of the references: {names}")
    if results is not None:
        expect_writable(results)
    with open_executor() as executor:
        found = identify(
            spec,
            named,
            inputs=inputs,
            statistic=statistic,
            alpha=alpha,
            exhaustive=exhaustive,
            executor=executor,
        )
    if results is not None:
        _write_results(results, found)
    if as_json:
        click.echo(found.to_json())
    else:
        print_identification(console(), found)
        if nearest is not None:
            held = "holds" if found.is_nearest(nearest) else "does not hold"
            say(console(), f"{held}: {nearest} is the nearest kin")
    return int(bool(found.failed) or (nearest is not None and not found.is_nearest(nearest)))


def _write_results(file: Path, found: Identification) -> None:
    from provenance.evidence.read import results_of_evidence

    given = {one.name: one.evidence for one in found.references if one.evidence is not None}
    if not given:
        raise provenance.ProvenanceError(f"{file} is not written: no reference was compared")
    write(file, results_of_evidence(given, found.alpha).to_json())


def print_identification(to: Console, found: Identification) -> None:
    """Print what each reference showed, and who is the nearest kin."""
    from provenance.evidence.nearest import cells_of, leads_in_words, nearest_in_words

    print_table(to, reference_table(f"kin of {found.model}", map(cells_of, found.references)))
    for one in found.failed:
        say(to, f"not checked: {one.name}: {one.error}")
    say(to, nearest_in_words(found), style="bold")
    for said in leads_in_words(found):
        say(to, f"{said[:1].upper()}{said[1:]}.")
    if found.kin and not found.kin[0].same:
        say(to, "Closeness orders kin; it does not say which of two came first.")
    if any(one.finding == "none found" for one in found.references):
        say(to, "None found is no independence: `provenance compare` looks at all of a pair.")
