"""Judge models whose authors hide where they come from, and measure what the hiding costs.

``python -m benchmarks.robustness --folder DIR --output docs/robustness.md``
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import _attacks
from benchmarks._page import BEGIN, END, about_machine, reading_of
from benchmarks._table import table
from benchmarks._zoo import SMALL
from provenance import Executor, InputsSpec, Store
from provenance._quiet import quiet
from provenance.comparison.executor import as_spec
from provenance.comparison.plan import Comparison
from provenance.errors import ProvenanceError
from provenance.evidence.decide import decide
from provenance.evidence.doubts import MOST_NEARNESS
from provenance.recipes.train import one_thread
from provenance.statistics import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from transformers import PreTrainedModel

    from benchmarks._attacks import Attack, Scene
    from provenance.evidence.records import Evidence
    from provenance.vocabulary import Extent, StatisticName

    Report = Callable[[str], None]

THRESHOLD = 1e-6
COSTS = (1.05, 1.25, 2.0)
"""An attack with a strength is made so strong that the loss is so many times the copy's."""

HALVINGS = 12
OTHERS: tuple[StatisticName, ...] = ("csu", "csu_all")
STATISTICS = ("kinship", *REGISTRY["kinship"].parts, *OTHERS, "generalized")


@dataclass(frozen=True)
class Row:
    """One attack: what it cost, and log10 p of the whole models by statistic (None: not defined).

    ``nearness`` is that of the nearest block; None where units were paired alike in all.
    """

    kind: str
    strength: str
    cost: float
    verdict: str
    log10_ps: dict[str, float | None]
    nearness: float | None = None


def measure(scene: Scene, folder: Path, attacks: Iterable[Attack], report: Report) -> list[Row]:
    """Make each attack's model and judge it."""
    judge = _Judge(scene, folder)
    rows = []
    for attack in attacks:
        for strength, model in _made(attack, scene):
            rows.append(judge(attack, strength, model))
            report(" | ".join(_cells(rows[-1])))
    return rows


def _made(attack: Attack, scene: Scene) -> Iterable[tuple[str, PreTrainedModel]]:
    if attack.bounds is None:
        yield "", attack.make(scene, 0.0)
        return
    least = scene.loss(scene.copy)
    for cost in COSTS:
        found = _strength(attack, scene, cost * least)
        if found is not None:
            yield f"{found:.2g}", attack.make(scene, found)


def _strength(attack: Attack, scene: Scene, loss: float) -> float | None:
    """The strength at which the loss is reached, by halving its logarithm; None if never."""
    assert attack.bounds is not None
    low, high = (math.log(x) for x in attack.bounds)
    if scene.loss(attack.make(scene, math.exp(high))) < loss:
        return None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if scene.loss(attack.make(scene, math.exp(middle))) < loss:
            low = middle
        else:
            high = middle
    return math.exp(high)


class _Judge:
    """Compares models with the reference as a claim of a suite would."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self._scene = scene
        self._folder = folder
        self._cost = scene.loss(scene.copy)

    def __call__(self, attack: Attack, strength: str, model: PreTrainedModel) -> Row:
        candidate = self._folder / "candidate"
        shutil.rmtree(candidate, ignore_errors=True)
        with quiet():
            model.save_pretrained(candidate)
            self._scene.tokenizer.save_pretrained(candidate)
        # a fresh one: an executor opens what lies in a folder once
        executor = Executor(Store(self._folder / "store"), "cpu")
        inputs = InputsSpec(
            kind="random" if attack.random_ids else "text", tokens=self._scene.scale.tokens
        )

        specs = as_spec(candidate), as_spec(self._scene.paths["reference"])

        def evidence(statistic: StatisticName, extent: Extent = "decided") -> Evidence | None:
            try:
                return executor.evidence(Comparison.of(*specs, inputs, statistic, extent=extent))
            except ProvenanceError:
                return None  # not defined for this pair

        # all parts, as a claim of independence measures them
        kinship = evidence("kinship", "parts")
        assert kinship is not None
        verdict = str(decide(kinship, THRESHOLD))
        found: dict[str, float | None] = {"kinship": kinship.log10_p}
        # each part by itself: what the evidence keeps of parts is of partners that the best one chose
        for name in (*REGISTRY["kinship"].parts, *OTHERS):
            found[name] = _p(evidence(name))
        if verdict != "dependent":
            found["generalized"] = _p(evidence("generalized"))
        cost = self._scene.loss(model) / self._cost
        near = [block.nearness for block in kinship.blocks if block.nearness is not None]
        return Row(attack.kind, strength, cost, verdict, found, max(near, default=None))


def _p(evidence: Evidence | None) -> float | None:
    return None if evidence is None else evidence.log10_p


def rows_table(rows: Sequence[Row]) -> str:
    """One line an attack."""
    head = ("what was done", "strength", "loss", "verdict", "nearness", *STATISTICS)
    return table(head, map(_cells, rows))


def _cells(row: Row) -> tuple[str, ...]:
    verdict = f"**{row.verdict}**" if row.verdict != "dependent" else row.verdict
    numbers = (_number(row, name) for name in STATISTICS)
    near = "" if row.nearness is None else f"{row.nearness:.2f}"
    return row.kind, row.strength, f"×{row.cost:.2f}", verdict, near, *numbers


def _number(row: Row, name: str) -> str:
    if name not in row.log10_ps:
        return ""
    value = row.log10_ps[name]
    return "–" if value is None else f"{value:.1f}".replace("-", "\N{MINUS SIGN}")


SECTIONS: dict[str, tuple[str, Callable[[], Iterable[Attack]]]] = {
    "Disguises": (
        "The weights change and the function does not. These cost nothing.",
        _attacks.disguises,
    ),
    "Padding": (
        "The units grow in number and the function does not change. A wider MLP is the only cost.",
        _attacks.paddings,
    ),
    "Damage": (
        "Each strength brings the loss to 1.05, 1.25 or 2 times the copy's, if that can be reached.",
        _attacks.dials,
    ),
    "Training": ("These need text and time.", _attacks.trainings),
    "Independent models": (
        "The harness must call these independent, padded or not.",
        _attacks.independents,
    ),
}


def page(scene: Scene, rows: dict[str, list[Row]], command: str, reading: str, took: float) -> str:
    """Return docs/robustness.md."""
    about = about_machine()
    tables = "\n\n".join(
        f"## {name}\n\n{SECTIONS[name][0]}\n\n{rows_table(found)}" for name, found in rows.items()
    )
    scale = scene.scale
    losses = ", ".join(
        f"{name} {scene.loss(getattr(scene, name)):.2f}"
        for name in ("reference", "copy", "stranger")
    )
    return f"""# Robustness

This page shows what the harness says of a copy whose author hides its origin, and what the hiding costs.

This command trains small Llamas and measures both:

<!-- not run: it takes most of an hour; tests/benchmarks/test_benchmarks.py runs it small -->
```console
{command}
```

* {about["date"]}; {took:.0f} s
* {about["machine"]}
* {about["versions"]}

{BEGIN}
{reading}
{END}

The *reference* is a Llama of {scale.blocks} blocks, hidden size {scale.hidden} and {scale.units} units
a block, trained for {scale.steps} steps. The *copy* is a fine-tune of it, for {scale.steps // 8} steps on
another text. Each line changes the copy, or in the last table makes an independent model, and judges the
result against the reference. Losses on held-out code, in nats a token:
{losses}; by chance {math.log(scale.vocabulary):.2f}.

| column | meaning |
| --- | --- |
| loss | of the attacked model, in multiples of the copy's |
| verdict | of a claim by `kinship`, the default, at {THRESHOLD:g} and {scale.tokens} tokens of text |
| nearness | how [near](statistics.md#decoys-and-nearness) units are in the nearest block |
| the others | log10 p of all blocks by Fisher; of `csu_all`, of the whole models by Bonferroni |

All three parts of `kinship` are measured, as a claim of independence does; one of descent stops at what
decides it. Each part also has a column of its own, as a claim by that statistic alone. A block's p-value
pays for the choice of its partner there, and in `kinship` for the choice of the part too.

Above a nearness of {MOST_NEARNESS:g} no independence is believed. Two blocks whose units gate and up pair
alike in all have none, so that where a copy is found in full it is empty, or that of other pairs of blocks.

A – means that the statistic is not defined for this pair. `generalized` is computed only if `kinship`
did not find the relation.

{tables}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where models are kept")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="tiny models, in a minute: a trial")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="these tables alone")
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    scale = SMALL if options.small else _attacks.FULL
    with one_thread():
        scene = _attacks.Scene(options.folder.resolve(), scale)
        rows = {
            name: measure(scene, options.folder.resolve(), make(), _say)
            for name, (_, make) in SECTIONS.items()
            if not options.only or name in options.only
        }
        command = "python -m benchmarks.robustness --folder robust --output docs/robustness.md"
        text = page(scene, rows, command, reading_of(options.output), time.monotonic() - begun)
    options.output.write_text(text, encoding="utf-8")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
