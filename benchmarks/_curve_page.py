"""The page of fading power."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from benchmarks._curve_judge import (
    GARBLED,
    HELD_OUT,
    LACKING,
    NEAR,
    OTHER_TEXT,
    POWERLESS,
    WEAK,
)
from benchmarks._curve_plot import THRESHOLD_WORD, Axis, picture
from benchmarks._curve_tables import fading_table, missed_table, moved_table, strengths_table
from benchmarks._page import BEGIN, END, about_machine
from benchmarks._table import table
from provenance.evidence.doubts import MOST_NEARNESS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks._curve_changes import Size
    from benchmarks._curve_judge import Judged

LOSSES = (HELD_OUT, OTHER_TEXT)


@dataclass(frozen=True)
class Population:
    """The models of one series.

    Parameters
    ----------
    sentence
        What they are, with a place for the strengths.
    strengths
        All that were asked for, the weakest change first.
    bases
        Losses of the bases, nats a token, by base and by text.
    chance
        The loss of guessing, nats a token.
    rows
        The verdicts on them.
    """

    sentence: str
    strengths: tuple[str, ...]
    bases: Mapping[str, Mapping[str, float]]
    chance: float
    rows: tuple[Judged, ...]

    def predicts(self, row: Judged) -> bool:
        """Whether a model still predicts text: on one, half of what its base knows of code is left."""
        known = self.chance - self.bases[row.base][HELD_OUT]
        return self.chance - min(row.losses.values()) >= known / 2


@dataclass(frozen=True)
class Section:
    """A picture's heading, what its strengths are, and what is done."""

    heading: str
    axis: str
    about: str


SECTIONS = {
    "training": Section(
        "Training",
        "steps of training",
        "A base is trained on prose, which it never saw, in batches of 4. The rate 0.003 is that of its\n"
        "own training. One run is looked at after each number of steps. Between two looks it warms up\n"
        "shortly, and then its rate falls to a tenth.",
    ),
    "merging": Section(
        "Merging",
        "the base's share of the merge, %",
        "A base is merged with an independent model, weight by weight. That is the next base, and for\n"
        "the real model random weights of its shape. A merge with 0 % of the base is the stranger, which\n"
        "is no kin.",
    ),
    "pruning": Section(
        "Pruning",
        "what is left, %",
        "By magnitude, all but the largest weights of each linear map become zero, and embeddings stay.\n"
        "By width, the most important units of every MLP are left. Nothing heals the model.",
    ),
    "noise": Section(
        "Noise",
        "noise, standard deviations of the matrix",
        "Gaussian noise is added to every matrix, embeddings included.",
    ),
    "retraining": Section(
        "Retrained MLPs",
        "blocks whose MLP was retrained",
        "The MLPs of the first blocks are drawn anew, and trained for {fitting} steps to do what the\n"
        "old ones did.",
    ),
    "healing": Section(
        "Retrained MLPs, and training after that",
        "steps of training after all MLPs were retrained",
        "When all MLPs were retrained, the whole model trains on at 0.001, on the text of the base.",
    ),
}

COLUMNS = {
    f"loss on {HELD_OUT}, on {OTHER_TEXT}": "of the changed model, nats a token, median of the bases",
    "likeness": "the cosine between all gates and ups of the two, unit by unit, median of the bases",
    "`match_tokens`, `match_weights`, `match`, `kinship`, blocks": (
        "log10 p of the blocks of all bases: the median, in brackets the weakest and the strongest"
    ),
    "`kinship`, claim": (
        "log10 of the p-value that decides: of all blocks together and of the strongest one"
    ),
    "nearness": (
        f"the greatest of any block; above {MOST_NEARNESS:g} no "
        "[independence](statistics.md#decoys-and-nearness) is "
        "believed"
    ),
    "verdict": "of how many bases, and in brackets why it is inconclusive",
}
REASONS = {
    WEAK: "p is below 0.001 and not below the threshold, or one block alone shows kinship",
    NEAR: "units have their like on the other side by gate or by up alone",
    POWERLESS: (
        "a disguised copy of one of the two would not have been found ([controls](statistics.md#controls))"
    ),
    GARBLED: "the changed model reads the text much worse than guessing would",
    LACKING: "a part was not defined on some blocks",
}


def axes_of(populations: Sequence[Population]) -> dict[str, Axis]:
    """Return each picture's axis: the strengths that were measured, in the order of the longest series."""
    axes = {}
    for name, section in SECTIONS.items():
        drawn = [one for one in populations if one.rows and one.rows[0].picture == name]
        asked = sorted((one.strengths for one in drawn), key=len, reverse=True)
        measured = {row.strength for one in drawn for row in one.rows}
        strengths = [each for each in dict.fromkeys(chain(*asked)) if each in measured]
        if strengths:
            axes[name] = Axis(section.axis, tuple(strengths))
    return axes


def rows_of(populations: Sequence[Population]) -> list[Judged]:
    """Return the verdicts of all populations."""
    return [row for one in populations for row in one.rows]


def pictures(populations: Sequence[Population]) -> dict[str, str]:
    """Return the pictures as SVG, by the names of their files."""
    rows = rows_of(populations)
    return {
        _file(name): picture(
            f"power-{name}",
            f"{SECTIONS[name].heading}: how power fades",
            axis,
            [row for row in rows if row.picture == name],
        )
        for name, axis in axes_of(populations).items()
    }


def _file(name: str) -> str:
    return f"power-{name}.svg"


def page(populations: Sequence[Population], size: Size, command: str, reading: str) -> str:
    """Return docs/power.md."""
    about, scale = about_machine(), size.scale
    rows, axes = rows_of(populations), axes_of(populations)
    first = populations[0]
    losses = ", ".join(f"{base[HELD_OUT]:.2f}" for base in first.bases.values())
    sections = "\n\n".join(
        f"## {SECTIONS[name].heading}\n\n{SECTIONS[name].about.format(fitting=size.fitting)}\n\n"
        f"![{SECTIONS[name].heading}: p-values by strength]({_file(name)})\n\n"
        + _tables([row for row in rows if row.picture == name], axis, first)
        for name, axis in axes.items()
    )
    return f"""# Where power fades

This page shows how strong a change may be before the harness no longer finds it, and what it says then.

This command changes small Llamas and, where it is given one, a pretrained model, at rising strengths:

<!-- not run: it takes hours; tests/benchmarks/test_curves.py runs it small -->
```console
{command}
```

* {about["date"]}
* {about["machine"]}
* {about["versions"]}

{BEGIN}
{reading}
{END}

The *bases* are small Llamas of {scale.blocks} blocks, hidden size {scale.hidden} and {scale.units} units
a block. Each is trained apart for {scale.steps} steps of {scale.batch} × {scale.length} tokens, on code.
Their losses on held-out code are {losses} nats a token; guessing has {first.chance:.2f}.

Every changed model is compared with its base, by `kinship` as a claim of independence measures it, and by
each part as a claim by itself. The threshold is {THRESHOLD_WORD}. The inputs are {scale.tokens:,} tokens
of the default text.

{table(("column", "meaning"), COLUMNS.items(), left=2)}

{table(("why it is inconclusive", "meaning"), REASONS.items(), left=2)}

## Where each fades

Each cell has the strongest change that is found on all bases, and the next one, with how many are missed.

{fading_table(rows, axes)}

### Descendants that were called independent

{missed_table(rows, axes)}

{sections}
"""


def _tables(rows: Sequence[Judged], axis: Axis, population: Population) -> str:
    tables = [strengths_table(rows, axis, LOSSES)]
    if rows[0].picture == "training":
        moved = moved_table(rows, axis, population.bases, population.chance)
        tables.append(
            "How far the losses moved, as shares of what the bases' own training had brought. At 100 %,\n"
            f"up or down, a loss has moved by as much as it had fallen.\n\n{moved}"
        )
    return "\n\n".join(tables)
