"""The command ``provenance``: compare two models, check suites, look after the store.

Results go to stdout, progress and errors to stderr. A user's mistake is one line and exit code 2.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

import provenance
from provenance import Evidence, InputsSpec, Memory, ProvenanceError, Stage, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.status import Status

DEFAULTS = InputsSpec()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits 0, or 2 on a user's mistake, or 130 on Ctrl-C."""
    try:
        code = cli.main(args=arguments, prog_name="provenance", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _complain(error.format_message())
    except ProvenanceError as error:
        _complain(str(error))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> None:
    click.echo(f"provenance: {message}", err=True)
    sys.exit(2)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pytest-provenance")
def cli() -> None:
    """Tell whether two language models share a lineage."""


_STORE = click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that keeps activations and evidence [default: $PROVENANCE_STORE or the user's cache].",
)
_DEVICE = click.option(
    "--device", default="auto", help="auto, cpu, cuda or cuda:N.", show_default=True
)


class _Bytes(click.ParamType[int]):
    """A number of bytes, such as 2GiB."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Return the number, or say what is wrong with it."""
        try:
            return value if isinstance(value, int) else provenance.parse_bytes(value)
        except ProvenanceError as error:
            self.fail(str(error), param, ctx)


_MEMORY = click.option(
    "--memory",
    default="2GiB",
    type=_Bytes(),
    show_default=True,
    help="Working memory, besides the weights of one model.",
)
_RESIDENT = click.option(
    "--resident",
    type=_Bytes(),
    help="A model whose weights take more is run block by block from disk "
    "[default: what is free besides the working memory].",
)


@cli.command()
@click.argument("candidate")
@click.argument("reference")
@click.option(
    "--statistic",
    default="match",
    type=click.Choice(sorted(provenance.REGISTRY)),
    show_default=True,
    help="The test; kinship runs match and match_weights.",
)
@click.option(
    "--blocks",
    default="auto",
    type=click.Choice(["auto", "cross"]),
    show_default=True,
    help="auto: by index, or against the best partner where depths differ. cross: every block of "
    "one against every block of the other, and the best map of blocks.",
)
@click.option(
    "--permutations",
    default=99,
    type=click.IntRange(19),
    show_default=True,
    help="Random permutations of the reference, for l2 and mode_connectivity.",
)
@click.option(
    "--inputs",
    "source",
    default="text",
    show_default=True,
    help="text (= stdlib: Python's own sources), topics (prose), a UTF-8 file, random "
    "(token ids), or hidden (isotropic: the weights alone).",
)
@click.option(
    "--tokens",
    default=DEFAULTS.tokens,
    type=click.IntRange(16),
    show_default=True,
    help="How many.",
)
@click.option(
    "--sequence-length",
    default=DEFAULTS.sequence_length,
    type=click.IntRange(2),
    show_default=True,
    help="Tokens a sequence.",
)
@click.option(
    "--seed", default=0, show_default=True, help="Of the choice of text or of random ids."
)
@click.option(
    "--alpha",
    default=1e-6,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    show_default=True,
    help="p-value below which the models are called dependent.",
)
@_DEVICE
@_MEMORY
@_RESIDENT
@_STORE
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def compare(
    candidate: str,
    reference: str,
    statistic: Any,
    blocks: str,
    permutations: int,
    source: str,
    tokens: int,
    sequence_length: int,
    seed: int,
    alpha: float,
    device: str,
    memory: int,
    resident: int | None,
    store: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Compare CANDIDATE with REFERENCE, block by block.

    Each is a folder, a GGUF file, a hub id (org/name, org/name@revision), a URL (s3://bucket/model)
    or a recipe (quickstart/base).
    The exit code is 0 whatever the verdict.
    """
    inputs = _inputs(source, tokens, sequence_length, seed)
    with _progress() as tell:
        executor = provenance.Executor(Store(store), device, tell, memory=Memory(memory, resident))
        evidence = provenance.compare(
            candidate,
            reference,
            inputs=inputs,
            statistic=statistic,
            cross=blocks == "cross",
            permutations=permutations,
            executor=executor,
        )
    verdict = provenance.decide_evidence(evidence, alpha)
    if as_json:
        click.echo(json.dumps(_as_fields(evidence, verdict, alpha), allow_nan=False))
    else:
        print_evidence(Console(highlight=False), evidence, verdict, alpha)


def _as_fields(evidence: Evidence, verdict: str, alpha: float) -> dict[str, Any]:
    """Evidence as JSON values, judged; of the alignment, the pairs that are significant."""
    fields = evidence.to_dict()
    schema = fields.pop("schema")
    judged = {"schema": schema, "verdict": verdict, **fields, "alpha": alpha}
    if evidence.cross:
        aligned = provenance.significant(evidence, alpha)
        judged["alignment"] = [[a.candidate_block, a.reference_block, a.log10_p] for a in aligned]
        judged["survivors"] = [[a.candidate_units, a.reference_units] for a in aligned]
    else:
        del judged["cross"], judged["alignment"]
    return judged


def _inputs(source: Any, tokens: int, sequence_length: int, seed: int) -> InputsSpec:
    if source in {"random", "hidden"}:
        return InputsSpec(source, DEFAULTS.text, tokens, sequence_length, seed)
    text = DEFAULTS.text if source == "text" else source
    return InputsSpec("text", text, tokens, sequence_length, seed)


def print_evidence(console: Console, evidence: Evidence, verdict: str, alpha: float) -> None:
    """Print evidence as a table of blocks, or of what a statistic of whole models found."""
    console.print(_blocks_table(evidence) if evidence.blocks else _models_table(evidence))
    for index, what in evidence.candidate.skipped.items():
        console.print(f"block {index} of the candidate has no MLP: {what}")
    inputs = evidence.inputs
    fed = {"random": "random ids", "hidden": "no text"}.get(inputs.kind, inputs.text)
    note = f" ({inputs.note})" if inputs.note else ""
    console.print(f"inputs: {inputs.tokens} tokens of {fed}{note}; statistic: {evidence.statistic}")
    for pair in provenance.significant(evidence, alpha):
        p = provenance.format_p(pair.log10_p)
        units = f"{len(pair.candidate_units)} units in common"
        console.print(
            f"block {pair.candidate_block} is block {pair.reference_block}: p = {p}, {units}"
        )
    over = "over all blocks (Fisher)" if evidence.blocks else "for the models as a whole"
    p = "none" if evidence.log10_p is None else provenance.format_p(evidence.log10_p)
    console.print(f"[bold]{verdict}[/bold]: p = {p} {over}, alpha {alpha:g}")


def _blocks_table(evidence: Evidence) -> Table:
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
            cells = [f"{block.correlation:+.3f}", provenance.format_p(block.log10_p), units, alike]
        sides = [str(block.candidate_block), str(block.reference_block)]
        if block.mlps is not None:
            sides = [f"{side}, {mlp}" for side, mlp in zip(sides, block.mlps, strict=True)]
        table.add_row(*sides, *cells)
    return table


def _models_table(evidence: Evidence) -> Table:
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


def _title(evidence: Evidence) -> str:
    return f"{evidence.candidate.source} against {evidence.reference.source}"


class _progress:  # noqa: N801 - used as a context manager only
    """A spinner on stderr where that is a terminal; silence elsewhere."""

    def __init__(self) -> None:
        self._status: Status | None = None

    def __enter__(self) -> Callable[[Stage], None]:
        console = Console(stderr=True)
        if console.is_terminal:
            self._status = console.status("")
            self._status.start()
        return self._tell

    def __exit__(self, *_error: object) -> None:
        if self._status is not None:
            self._status.stop()

    def _tell(self, stage: Stage) -> None:
        if self._status is not None:
            count = f" {stage.done}/{stage.total}" if stage.total else ""
            self._status.update(f"{stage.action} {stage.subject}{count}")


@cli.command()
@_STORE
def demo(store: Path | None) -> None:
    """Make small models, check one true claim and one false one, and show what a failure says."""
    text = resources.files("provenance").joinpath("demo.suite.yaml").read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "demo.suite.yaml"
        suite.write_text(text, encoding="utf-8")
        (Path(folder) / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        click.echo(text)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", suite.name]
        command += ["--provenance-store", str(Store(store).root)]
        code = subprocess.run(command, check=False, cwd=folder).returncode  # noqa: S603 - ours
    if code != 1:
        raise ProvenanceError(
            f"the demo should end with one false claim found, but pytest said {code}"
        )
    click.echo(
        "\nThat was the demo: the first claim held; the second was false on purpose, and the failure "
        "above says so."
    )


@cli.group()
def suite() -> None:
    """Check suite files; print their schema."""


@suite.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def check(files: tuple[Path, ...]) -> None:
    """Check suite FILES without loading any model; exits 2 if one has a mistake."""
    mistaken = False
    for path in files:
        try:
            found = provenance.load_suite(path)
        except provenance.SuiteError as error:
            mistaken = True
            click.echo(str(error), err=True)
        else:
            click.echo(
                f"{path}: {_count(len(found.claims), 'claim')} on {_count(len(found.models), 'model')}"
            )
    if mistaken:
        sys.exit(2)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


@suite.command()
def schema() -> None:
    """Print the JSON Schema of suites, for editors."""
    click.echo(json.dumps(provenance.json_schema(), indent=2))


@cli.group()
def store() -> None:
    """Look at the store, or make it smaller."""


@store.command()
@_STORE
def show(store: Path | None) -> None:
    """Print what the store holds."""
    opened = Store(store)
    click.echo(str(opened.root))
    for kind, (entries, size) in sorted(opened.size().items()):
        click.echo(f"{kind:12} {entries:6} entries {size / 1e6:10.1f} MB")


@store.command()
@click.option("--keep", "megabytes", type=click.IntRange(0), required=True, help="MB to keep.")
@_STORE
def prune(megabytes: int, store: Path | None) -> None:
    """Remove what was least recently used until the store is small enough."""
    removed = Store(store).prune(megabytes * 1_000_000)
    click.echo(f"removed {len(removed)} entries")


if __name__ == "__main__":
    main()
