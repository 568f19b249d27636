"""Measure what fingerprints find, how often they err, how large they are, and what they give away.

``python -m benchmarks.fingerprint --folder DIR`` prints the tables of RESULTS.md and docs/fingerprint.md.
It keeps its models in DIR and uses those that are there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks._arguments import at_least
from benchmarks._null import LEVELS, rate, uniformity
from benchmarks._power import Change, Relatives
from benchmarks._power import changes as all_changes
from benchmarks._sketches import EXACT, Fingerprinted, null, null_of_equals, recovered, strengths
from benchmarks._table import table
from benchmarks._zoo import FULL, SMALL, Zoo, members
from provenance._quiet import quiet
from provenance.comparison.executor import Executor
from provenance.comparison.make_fingerprint import fingerprint
from provenance.recipes.train import one_thread
from provenance.store.store import Store
from provenance.vocabulary import InputsSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks._null import Trial

SKETCHES = (64, 128, 256, 512)
AGAIN = (64, 256)
"""Counted again on several texts."""
TEXTS = 6
KINDS = {
    "fine-tune on prose, lr 1e-3": ("50 steps", "500 steps"),
    "LoRA, merged": ("rank 8, 150 steps",),
    "Gaussian noise": ("0.5 std", "1.0 std", "2.0 std"),
    "rounding": ("int4", "int8"),
    "magnitude pruning": ("50% zero", "70% zero", "90% zero"),
    "width pruning": ("50% of units gone", "75% of units gone"),
    "depth pruning": ("2 of 4 blocks",),
    "merge with a stranger": ("50% stranger", "75% stranger"),
    "disguised fine-tune": ("all together", "up rows rescaled, signs flipped"),
    "stranger (independent)": ("",),
}
"""Of the changes of docs/calibration.md, by strength."""

Extent = int | str | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fingerprint", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="keeps the models")
    parser.add_argument(
        "--models", type=at_least(2), default=16, help="strangers, of which all pairs"
    )
    parser.add_argument("--small", action="store_true", help="little of everything")
    options = parser.parse_args(arguments)

    def report(what: str) -> None:
        print(what, file=sys.stderr, flush=True)

    with one_thread():
        print(measure(options.folder, options.models, report, small=options.small))


def measure(folder: Path, count: int, report: Callable[[str], None], *, small: bool) -> str:
    """Make what is not there, measure, return the tables."""
    scale = SMALL if small else FULL
    zoo = Zoo(folder, scale)
    run = Executor(Store(folder / "store"), "cpu")
    inputs = InputsSpec("text", zoo.text("held-out").name, scale.tokens, 128)
    columns: tuple[int | None, ...] = (16, 32, None) if small else (*SKETCHES, None)
    extents: tuple[Extent, ...] = (*columns, EXACT)

    def read(path: Path) -> Fingerprinted:
        return Fingerprinted(run, path, inputs, columns)

    strangers = []
    for member in members(count, scale):
        report(f"training {member.name} of {count}")
        strangers.append(read(zoo.member(member)))
    relatives = Relatives(zoo, small=small)
    rows = []
    for change in _chosen(zoo, small=small):
        report(f"power: {change.kind}, {change.strength}")
        found = strengths(read(relatives.path(change)), strangers[0], extents)
        rows.append([change.kind, change.strength, *(_cell(found[extent]) for extent in extents)])
    named = [_name(extent) for extent in extents]
    trials = null(strangers, extents, report)
    widths = [member.units for member in members(count, scale)]
    equal = {
        extent: [trial for trial in found if widths[trial[0]] == widths[trial[1]]]
        for extent, found in trials.items()
    }
    parts = [
        f"## False positives\n\n{_rates(trials)}",
        f"## False positives, equal widths alone\n\n{_rates(equal)}",
        f"## False positives, equal widths, other texts\n\n{_by_texts(run, zoo, count, report)}",
        f"## Power\n\n{table(['change', 'strength', *named], rows)}",
        f"## Size\n\n{_sizes(run, zoo, inputs, columns)}",
        f"## What can be solved for\n\n{_attacks(run, zoo, inputs, small=small)}",
    ]
    return "\n\n".join(parts)


def _by_texts(run: Executor, zoo: Zoo, count: int, report: Callable[[str], None]) -> str:
    """False positives over several texts, and so matrices: on one, the tests of all pairs share it."""
    scale, chosen = zoo.scale, members(count, zoo.scale)
    text = Path(zoo.text("held-out").name).read_text(encoding="utf-8")
    size = scale.characters * 3 // 20
    extents: tuple[Extent, ...] = (*AGAIN, EXACT)
    found: dict[Extent, list[Trial]] = {extent: [] for extent in extents}
    for number in range(TEXTS):
        report(f"independent models: text {number + 1} of {TEXTS}")
        piece = zoo.folder / f"piece-{number}.txt"
        piece.write_text(text[number * size : (number + 1) * size], encoding="utf-8")
        inputs = InputsSpec("text", str(piece), scale.tokens, 128)
        models = {
            index: Fingerprinted(run, zoo.member(member), inputs, AGAIN)
            for index, member in enumerate(chosen)
        }
        widths = [member.units for member in chosen]
        for extent in extents:
            found[extent] += null_of_equals(models, widths, extent, number)
    head = ["held", "tests", *(f"p ≤ {level:g} (SE)" for level in LEVELS)]
    rows = []
    for extent, trials in found.items():
        rates = [rate(trials, level) for level in LEVELS]
        cells = [f"{r.share:.4f} ({r.error:.4f})" for r in rates]
        rows.append([_name(extent), f"{len(trials):,}", *cells])
    return table(head, rows)


def _chosen(zoo: Zoo, *, small: bool) -> list[Change]:
    return [
        change
        for change in all_changes(zoo, small=small)
        if small or change.strength in KINDS.get(change.kind, ())
    ]


def _name(extent: Extent) -> str:
    if extent == EXACT:
        return "no fingerprint"
    return "whole" if extent is None else f"sketch {extent}"


def _rates(found: dict[Extent, list[Trial]]) -> str:
    """False positives of pairs of blocks."""
    head = ["held", "tests", *(f"p ≤ {level:g}" for level in LEVELS), "least p", "KS p"]
    rows = []
    for extent, trials in found.items():
        rates = [rate(trials, level) for level in LEVELS]
        cells = [f"{r.share:.4f} ({r.low:.4f}–{r.high:.4f}){' ▲' * r.above}" for r in rates]
        least = 10.0 ** min(trial[-1] for trial in trials)
        ks = uniformity(trials)[1]
        rows.append([_name(extent), f"{len(trials):,}", *cells, f"{least:.1e}", f"{ks:.2g}"])
    return table(head, rows)


def _cell(log10_ps: list[float]) -> str:
    """The median over blocks of log10 p."""
    return f"{float(np.median(log10_ps)):.1f}".replace("-", "\N{MINUS SIGN}")


def _sizes(run: Executor, zoo: Zoo, inputs: InputsSpec, columns: Sequence[int | None]) -> str:
    base = zoo.member(members(1, zoo.scale)[0])
    weights = (base / "model.safetensors").stat().st_size
    rows = []
    for extent in columns:
        file = zoo.folder / "size.safetensors"
        with quiet():
            fingerprint(base, file, inputs=inputs, sketch=extent, executor=run)
        size = file.stat().st_size
        rows.append([_name(extent), f"{size / 1e6:.2f}", f"{size / weights:.2f}"])
    return table(["held", "MB", "of the weights in float32"], rows)


def _attacks(run: Executor, zoo: Zoo, inputs: InputsSpec, *, small: bool) -> str:
    """Rows of a fine-tune, solved for by three attackers who know ever less."""
    relatives = Relatives(zoo, small=small)
    hidden = zoo.scale.hidden
    columns = (hidden // 4, hidden // 2, hidden, 2 * hidden, None)
    victim = Fingerprinted(run, relatives.paths["fine-tune"], inputs, columns)
    base, stranger = (
        Fingerprinted(run, relatives.paths[name], inputs, ()) for name in ("base", "stranger")
    )
    known = {
        "what its MLPs were fed": victim,
        "what its base's were fed": base,
        "what a stranger's were fed": stranger,
    }
    rows = []
    for who, whose in known.items():
        fed = {index: whose.exact.block(index).inputs for index in victim.exact.shape.mlps}
        cosines = [recovered(victim, fed, extent) for extent in columns]
        rows.append([who, *(f"{found.rows:.3f}, {found.answers:.3f}" for found in cosines)])
    rows.append(["its base's weights, and no fingerprint", *[f"{_alike(victim, base):.3f}"] * 5])
    head = [f"the attacker knows (hidden {hidden})", *map(_name, columns)]
    return table(head, rows)


def _alike(ours: Fingerprinted, theirs: Fingerprinted) -> float:
    """Mean cosine of the rows of two models' gates and ups."""
    found = []
    for index in ours.exact.shape.mlps:
        for name in ("gate", "up"):
            rows = [getattr(side.exact.block(index), name).weight for side in (ours, theirs)]
            found.append(torch.nn.functional.cosine_similarity(*rows, dim=1))
    return float(torch.cat(found).mean())


if __name__ == "__main__":
    main()
