"""`provenance compare`: two models, block by block."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from provenance._text import visible
from provenance.cli._base import BASE, on_base
from provenance.cli._completion import complete_model
from provenance.cli._console import console, exhibit_table, print_table, say
from provenance.cli._executor import with_executor
from provenance.cli._expect import EXPECT, as_fields, sentence
from provenance.cli._inputs import with_inputs
from provenance.cli._options import ALPHA, CONTROL, JSON, Bytes
from provenance.statistics import REGISTRY
from provenance.vocabulary import PERMUTATIONS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from provenance import Evidence, InputsSpec
    from provenance.cli._executor import OpenExecutor
    from provenance.vocabulary import Extent, Verdict


@click.command()
@click.argument("candidate", shell_complete=complete_model)
@click.argument("reference", shell_complete=complete_model)
@click.option(
    "--statistic",
    type=click.Choice(sorted(REGISTRY)),
    help="The test; kinship runs match_tokens, match_weights and match [default: kinship, or match where a "
    "side is a fingerprint].",
)
@click.option(
    "--blocks",
    default="auto",
    type=click.Choice(["auto", "cross"]),
    show_default=True,
    help="auto: blocks of equal index, or each block and its best partner where depths differ. cross: "
    "every block of one against every block of the other, and the best map of blocks.",
)
@click.option(
    "--permutations",
    default=PERMUTATIONS,
    type=click.IntRange(19),
    show_default=True,
    help="Number of random permutations of the reference, for l2 and mode_connectivity.",
)
@click.option(
    "--exhaustive",
    is_flag=True,
    help="Measure every part of the statistic on every pair of blocks, though less decides them.",
)
@click.option(
    "--component",
    metavar="PART",
    help="Compare this part of both: vision, audio, projector, language, encoder, decoder, or the path of "
    "a module, such as model.vision_tower.",
)
@click.option(
    "--reference-component",
    metavar="PART",
    help="The part of the reference, where it has another name there [default: that of --component].",
)
@click.option(
    "--sample",
    type=click.IntRange(1),
    help="Read so many blocks of the candidate in part, of mixtures so many experts of each, and what is "
    "likest to them; nothing is downloaded whole. Shows kinship, never independence.",
)
@click.option(
    "--budget",
    type=Bytes(),
    help="Most bytes to move for a sample; what would take more is refused before it is moved.",
)
@click.option(
    "--exhibits",
    is_flag=True,
    help="Show beside it what people argue with in public, and what strangers have of it; decides nothing.",
)
@EXPECT
@BASE
@with_inputs
@ALPHA
@CONTROL
@with_executor
@JSON
def compare(
    candidate: str,
    reference: str,
    base: str | None,
    statistic: Any,
    blocks: str,
    permutations: int,
    exhaustive: bool,  # noqa: FBT001
    component: str | None,
    reference_component: str | None,
    sample: int | None,
    budget: int | None,
    exhibits: bool,  # noqa: FBT001
    expect: Any,
    inputs: InputsSpec,
    alpha: float,
    control: bool,  # noqa: FBT001
    open_executor: OpenExecutor,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Compare CANDIDATE with REFERENCE, block by block.

    Each is a folder, a GGUF file, a hub id (org/name, org/name@revision), a URL (s3://bucket/model)
    or a recipe (quickstart/base). Either may be a fingerprint (base.safetensors): then both are compared on
    the fingerprint's inputs. The exit code is 0 whatever the verdict, unless --expect claims something.
    """
    from provenance.comparison.plan import Comparison, extent
    from provenance.evidence.decide import decide
    from provenance.evidence.single_claim import claim_of, holds, judged
    from provenance.statistics import default_statistic

    if sample is not None:
        _refuse_beside_sample(blocks, expect, exhaustive=exhaustive, exhibits=exhibits)
    elif budget is not None:
        raise click.UsageError("--budget is for what --sample moves: give both")
    ours, theirs = on_base((candidate, reference), base)
    ours = replace(ours, component=component)
    theirs = replace(theirs, component=reference_component or component)
    cross, statistic = blocks == "cross", statistic or default_statistic(ours, theirs)
    claim = None
    how: Extent = "all" if exhaustive else "decided"
    if expect is not None:  # the test of a suite would measure the same
        claim = claim_of(
            expect, statistic, alpha, cross=cross, exhaustive=exhaustive, sample=sample
        )
        how = extent(claim)
    comparison = Comparison.of(
        ours,
        theirs,
        inputs,
        statistic,
        cross=cross,
        permutations=permutations,
        extent=how,
        control=control,
        sample=sample,
        difference=claim is not None and claim.wants_difference,
        exhibits=exhibits,
    )
    with open_executor(budget) as executor:
        evidence = executor.evidence(comparison)
    verdict = decide(evidence, alpha)
    result = None if claim is None else judged(claim, evidence)
    if as_json:
        expected = {} if result is None else {"expected": as_fields(result)}
        fields = {**_as_fields(evidence, verdict, alpha), **expected}
        click.echo(json.dumps(fields, allow_nan=False))
    else:
        to = console()
        print_evidence(to, evidence, verdict, alpha)
        if result is not None:
            say(to, sentence(result))
    return int(result is not None and not holds(result))


def _refuse_beside_sample(
    blocks: str, expect: str | None, *, exhaustive: bool, exhibits: bool
) -> None:
    """Refuse what a sample cannot be asked for.

    Raises
    ------
    click.UsageError
        In one line.
    """
    if expect == "independent":
        raise click.UsageError(
            "--expect independent is about the whole models, and --sample looks at a part: give one of them"
        )
    given = "--blocks cross" if blocks == "cross" else "--exhaustive"
    if blocks == "cross" or exhaustive:
        raise click.UsageError(f"{given} compares all blocks, and --sample some: give one of them")
    if exhibits:
        raise click.UsageError(
            "--exhibits looks at whole models, and --sample reads a part of them: give one of them"
        )


def _as_fields(evidence: Evidence, verdict: Verdict, alpha: float) -> dict[str, Any]:
    """Evidence as JSON values, judged; of the alignment, the pairs that are significant."""
    from provenance.evidence.decide import significant

    fields = evidence.to_dict()
    schema = fields.pop("schema")
    says = _meaning(evidence, verdict, alpha)
    judged = {"schema": schema, "verdict": verdict, "meaning": says, **fields, "alpha": alpha}
    if evidence.cross:
        aligned = significant(evidence, alpha)
        judged["alignment"] = [[a.candidate_block, a.reference_block, a.log10_p] for a in aligned]
        judged["survivors"] = [[a.candidate_units, a.reference_units] for a in aligned]
    else:
        del judged["cross"], judged["alignment"]
    return judged


def print_evidence(to: Console, evidence: Evidence, verdict: Verdict, alpha: float) -> None:
    """Print evidence as a table of blocks, or of what a statistic of whole models found."""
    from rich.text import Text

    from provenance.evidence.decide import significant
    from provenance.evidence.doubts import NAMES
    from provenance.evidence.wording import counted_once, not_compared, sample_of, told_by_names
    from provenance.statistics.pvalues import format_p

    print_table(to, _blocks_table(evidence) if evidence.blocks else _models_table(evidence))
    for index, what in evidence.candidate.skipped.items():
        say(to, f"block {index} of the candidate has no MLP: {what}")
    inputs = evidence.inputs
    fed = {"random": "random ids", "hidden": "no text", "tokens": "both vocabularies"}.get(
        inputs.kind, inputs.text
    )
    note = f" ({inputs.note})" if inputs.note else ""
    statistic = evidence.statistic
    if any(model.claimed is not None for model in (evidence.candidate, evidence.reference)):
        statistic += ", all that a fingerprint carries"
    say(to, f"inputs: {inputs.tokens} tokens of {fed}{note}; statistic: {statistic}")
    for told in told_by_names(evidence, NAMES):
        say(to, told)
    for name in ("measured", "not measured"):
        if name in evidence.details:
            say(to, f"{name}: {evidence.details[name]}")
    for pair in significant(evidence, alpha):
        p = format_p(pair.log10_p)
        units = f"{len(pair.candidate_units)} units in common"
        say(
            to,
            f"block {pair.candidate_block} is block {pair.reference_block}: p = {p}, {units}",
        )
    once = counted_once(evidence.blocks)
    if once is not None:
        say(to, once)
    if verdict == "dependent" and (looked_at := sample_of(evidence, NAMES)):
        say(to, looked_at)
    if verdict == "independent" and (left := not_compared(evidence, NAMES)):
        say(to, left)
    over = "over all blocks (Fisher)" if evidence.blocks else "for the models as a whole"
    p = "none" if evidence.log10_p is None else format_p(evidence.log10_p)
    _print_exhibits(to, evidence)
    line = Text.assemble((verdict, "bold"), f": p = {p} {over}, alpha {alpha:g}")
    to.print(line)
    say(to, _meaning(evidence, verdict, alpha))


def _meaning(evidence: Evidence, verdict: Verdict, alpha: float) -> str:
    from provenance.evidence.doubts import NAMES
    from provenance.evidence.meaning import meaning

    return meaning(evidence, verdict, alpha, NAMES)


def _blocks_table(evidence: Evidence) -> Table:
    from rich.table import Table

    from provenance.statistics.pvalues import format_p

    table = Table(title=_title(evidence))
    for name in ("block", "reference block", "correlation", "p", "units", "matched alike"):
        table.add_column(name, justify="right")
    for block in evidence.blocks:
        units = f"{block.units[0]} x {block.units[1]}"
        if block.log10_p is None:
            cells = ["-", block.reason or block.state, units, "-"]
        else:
            alike = f"{block.agreeing} of {min(block.live)}"
            if block.fits is not None:
                alike += " (fits {:.2f}, {:.2f})".format(*block.fits)
            cells = [f"{block.correlation:+.3f}", format_p(block.log10_p), units, alike]
        sides = [str(block.candidate_block), str(block.reference_block)]
        if block.mlps is not None:
            sides = [f"{side}, {mlp}" for side, mlp in zip(sides, block.mlps, strict=True)]
        table.add_row(*sides, *cells)
    return table


def _models_table(evidence: Evidence) -> Table:
    from rich.table import Table

    table = Table(title=_title(evidence))
    table.add_column("quantity")
    table.add_column(evidence.statistic, justify="right")
    if evidence.value is not None:
        table.add_row("value", f"{evidence.value:.6g}")
    if evidence.permutations is not None:
        table.add_row("permutations", str(evidence.permutations))
    for name, value in evidence.details.items():
        shown = f"{value:.6g}" if isinstance(value, float) else str(value)
        table.add_row(name.replace("_", " "), shown)
    return table


def _print_exhibits(to: Console, evidence: Evidence) -> None:
    """Print the exhibits, where they were asked for; why they decide nothing has no room here."""
    if evidence.exhibits:
        print_table(to, exhibit_table(evidence.exhibits))
        say(to, "The report and docs/exhibits.md say why no exhibit decides anything.")


def _title(evidence: Evidence) -> str:
    return visible(f"{evidence.candidate.source} against {evidence.reference.source}")
