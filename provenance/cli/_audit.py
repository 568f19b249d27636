"""`provenance audit`: every pair of a registry, and what changed since the last time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

import provenance
from provenance.cli._console import console, print_table
from provenance.cli._executor import with_executor
from provenance.cli._files import expect_writable, write
from provenance.cli._options import CONTROL, FILE, JSON

if TYPE_CHECKING:
    from rich.console import Console

    from provenance.audit import Audit, AuditedPair, Outlook, Registry
    from provenance.cli._executor import OpenExecutor

STRETCHES = 7
"""Lines of the time line."""
MOST = 3
"""Pairs that the line on those that could not be judged names."""
STYLES = {"dependent": "bold red", "inconclusive": "yellow", "independent": "green"}


class ChangeKinds(click.ParamType[frozenset[str]]):
    """Kinds of change, with commas between them."""

    name = "kinds"

    def convert(self, value: Any, param: Any, ctx: Any) -> frozenset[str]:
        """Split the names, and refuse one that is no kind of change."""
        from provenance.audit import CHANGE_KINDS

        kinds = frozenset(part.strip() for part in value.split(",")) - {""}
        for kind in sorted(kinds - set(CHANGE_KINDS)):
            known = ", ".join(CHANGE_KINDS)
            self.fail(f"{kind!r} is no kind of change; there are: {known}", param, ctx)
        return kinds


@click.command()
@click.argument("registry", type=click.Path(path_type=Path))
@click.option(
    "--history",
    "url",
    metavar="URL",
    help="SQLAlchemy's URL of a database, or an SQLite file "
    "[default: $PROVENANCE_HISTORY or history.sqlite in the user's data folder].",
)
@click.option(
    "--name",
    help="What the registry is called in the history, where its path is not always the same "
    "[default: its absolute path, with ~ for the home folder].",
)
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="MODEL",
    help="Do not fail because pairs of this model could not be judged. Repeatable.",
)
@click.option("--fail-on-change", is_flag=True, help="Exit with 1 if anything changed.")
@click.option(
    "--fail-on",
    type=ChangeKinds(),
    default="",
    help="Exit with 1 on these kinds of change alone, with commas: new-kin,changed-digest.",
)
@click.option(
    "--results",
    type=FILE,
    help="Write the results, with the evidence, to this JSON file.",
)
@click.option(
    "--exhaustive",
    is_flag=True,
    help="Compare all blocks of every pair [default: a few, then all where these show anything].",
)
@click.option(
    "--dry-run", is_flag=True, help="Say what would be measured: models are opened, none is run."
)
@click.option(
    "--executor",
    "backend",
    metavar="WHERE",
    default="local",
    show_default=True,
    help="Where pairs are measured: local, or on a Ray cluster (ray, HOST:PORT or ray://HOST:PORT).",
)
@CONTROL
@with_executor
@JSON
def audit(
    registry: Path,
    url: str | None,
    name: str | None,
    allowed: tuple[str, ...],
    fail_on_change: bool,  # noqa: FBT001
    fail_on: frozenset[str],
    results: Path | None,
    exhaustive: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    backend: str,
    control: bool,  # noqa: FBT001
    open_executor: OpenExecutor,
    as_json: bool,  # noqa: FBT001
) -> int:
    """Judge every pair of REGISTRY: a registry file, a suite, or a folder of checkpoints.

    Pairs in the history are not measured again: only new or changed weights cost anything. The output
    says what changed since the last complete run. Exits 1 where a pair could not be judged.
    """
    from provenance.audit import CHANGE_KINDS, History, audit_results, foresee

    loaded = provenance.load_registry(registry)
    loaded = loaded.allowing(allowed, "--allow")
    loaded = replace(
        loaded,
        exhaustive=loaded.exhaustive or exhaustive,
        control=loaded.control and control,
    )
    if results is not None:
        expect_writable(results)
    with History(url, read_only=dry_run) as history, open_executor() as executor:
        if dry_run:
            outlook = foresee(loaded, executor, history, name=name)
        else:
            report = provenance.audit_registry(
                loaded, executor, history, name=name, backend=backend
            )
    if dry_run:
        _print_outlook(outlook, as_json=as_json)
        return 0
    if results is not None:
        write(results, audit_results(report, loaded).to_json())
    if as_json:
        click.echo(report.to_json())
    else:
        _print(console(), report, loaded)
    kinds = frozenset(CHANGE_KINDS) if fail_on_change else fail_on
    changed = any(change.kind in kinds for change in report.changes)
    return int(changed or not report.complete)


def _print_outlook(outlook: Outlook, *, as_json: bool) -> None:
    broken = {model.name: model.error for model in outlook.models if model.error is not None}
    if as_json:
        fields = {
            "to_measure": [list(pair) for pair in outlook.to_measure],
            "to_screen": [list(pair) for pair in outlook.to_screen],
            "known": [list(pair) for pair in outlook.known],
            "unreadable": broken,
        }
        click.echo(json.dumps(fields))
        return
    number, screened = len(outlook.to_measure), len(outlook.to_screen)
    first = f", {screened} of them by a screen first" if screened else ""
    click.echo(f"{number} pairs to measure{first}, {len(outlook.known)} known")
    for pair in outlook.to_measure:
        verb = "screen" if pair in outlook.to_screen else "measure"
        click.echo(f"would {verb}: {' and '.join(map(_plain, pair))}")
    for name, error in broken.items():
        click.echo(f"cannot read: {_plain(name)}: {_plain(error or '')}")


def _plain(text: str) -> str:
    """A text in one line that no terminal and no CI system takes for a command."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _print(to: Console, report: Audit, registry: Registry) -> None:
    from provenance.audit.finding import finding
    from provenance.evidence.wording import NO_CONTROL

    unreadable = {model.name: model.error for model in report.models if model.error is not None}
    judged = [pair for pair in report.pairs if not pair.names & unreadable.keys()]
    shown = [pair for pair in judged if pair.verdict != "independent"]
    shown.sort(key=lambda pair: (pair.error is not None, pair.log10_p or 0.0))
    size = f"{len(report.models)} models, {len(report.pairs)} pairs"
    level = f"alpha {registry.alpha:g}, {report.threshold:.3g} a pair"
    _say(to, f"{report.name}: {size} at {level}")
    _say(to, finding(report), style="bold")
    _print_changes(to, report)
    for family in report.families:
        _say(to, f"family of {len(family)}: {', '.join(family)}")
    _print_pairs(to, report, shown)
    independent = len(judged) - len(shown)
    _say(to, f"independent: {independent} of {len(report.pairs)} pairs")
    if _lacks_control(report):
        _say(to, NO_CONTROL)
    if report.screened:
        _say(to, f"{report.screened} of these by a few of their blocks; --exhaustive compares all")
    used = [registry.statistic_of(pair.candidate, pair.reference) for pair in report.pairs]
    by_fingerprint = [statistic for statistic in used if statistic != registry.statistic]
    if by_fingerprint:
        line = f"{len(by_fingerprint)} pairs by {by_fingerprint[0]}, all that a fingerprint carries"
        _say(to, line)
    for first, second, reason in report.ignored:
        _say(to, f"ignored: {first} and {second}: {reason}")
    _say(
        to,
        f"{report.measured} measured, {report.known} known; {report.failed} could not be judged",
    )
    _print_nights(to, report)
    for name, error in unreadable.items():
        _say(to, f"cannot read: {name}: {error}")
    if not report.complete:
        _say(to, _incomplete(report), style="bold red")


def _say(to: Console, line: str, style: str = "") -> None:
    to.print(Text(_plain(line), style=style), soft_wrap=True)


def _print_nights(to: Console, report: Audit) -> None:
    """Print what the last runs found, those in a row that found the same in one line."""
    from provenance.evidence.audits import spoken_stretch, stretches

    found = stretches(report.nights)
    if len(found) < 2:
        return
    _say(to, "the last runs, the newest first:")
    for stretch in found[:STRETCHES]:
        _say(to, f"  {spoken_stretch(stretch)}")


def _print_pairs(to: Console, report: Audit, pairs: list[AuditedPair]) -> None:
    """Print pairs, a line or a row each, and why those that are inconclusive are left open."""
    if to.is_terminal and pairs:
        print_table(to, _table(pairs))
    for pair in pairs:
        if not to.is_terminal:
            to.print(Text(_line(pair)), soft_wrap=True)
        means = report.meaning(pair)
        if pair.verdict == "inconclusive" and means is not None:
            _say(to, f"{pair.candidate} and {pair.reference}: {means}")


def _lacks_control(report: Audit) -> bool:
    """Whether a pair shows nothing, and nobody looked whether a copy would have shown."""
    return any(
        pair.verdict == "independent" and report.evidence[pair.key or ""].uncontrolled
        for pair in report.pairs
    )


def _incomplete(report: Audit) -> str:
    """Say why a night fails although nothing need have changed."""
    if not any(pair.judged for pair in report.pairs):
        return f"no pair was judged: {len(report.pairs)} of {len(report.pairs)} could not be"
    names = [f"{pair.candidate} and {pair.reference}" for pair in report.unjudged]
    more = f", and {len(names) - MOST} more" if len(names) > MOST else ""
    return (
        f"{len(names)} of {len(report.pairs)} pairs could not be judged: {'; '.join(names[:MOST])}{more} "
        "(--allow MODEL allows it)"
    )


def _table(pairs: list[AuditedPair]) -> Table:
    table = Table(title="kin, undecided and failed pairs")
    for column in ("candidate", "reference", "verdict", "p"):
        table.add_column(column, justify="right" if column == "p" else "left")
    for pair in pairs:
        verdict = pair.verdict or "failed"
        cell = Text(verdict, style=STYLES.get(verdict, "red"))
        names = [Text(_plain(name)) for name in (pair.candidate, pair.reference)]
        table.add_row(*names, cell, Text(_plain(pair.error)) if pair.error else _p(pair))
    return table


def _line(pair: AuditedPair) -> str:
    names = f"{_plain(pair.candidate)} and {_plain(pair.reference)}"
    if pair.error is not None:
        return f"failed: {names}: {_plain(pair.error)}"
    return f"{pair.verdict}: {names}, p = {_p(pair)}"


def _p(pair: AuditedPair) -> str:
    from provenance.evidence.outcomes import p_value

    return p_value(pair.log10_p, "none")


def _print_changes(to: Console, report: Audit) -> None:
    if report.since is None:
        line = f"run {report.run} is the first complete one: later runs are compared with it"
    elif report.changes:
        line = f"changes since run {report.since} ({report.since_created}):"
    else:
        line = f"no change since run {report.since} ({report.since_created})"
    _say(to, line)
    for change in report.changes:
        _say(to, change.line)
