"""Calibrate the statistics: false positives on independent models, power on descendants.

``python -m benchmarks.calibration --folder DIR --output docs/calibration.md``
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks import _null, _power, _table
from benchmarks._arguments import at_least
from benchmarks._page import BEGIN, END, about_machine, reading_of
from benchmarks._qq import qq_plot
from benchmarks._zoo import FULL, SMALL, Member, Scale, Zoo, members
from provenance.recipes.train import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Measured:
    """All numbers of one run; ``about`` says on what and with what they were made."""

    zoo: tuple[Member, ...]
    null: _null.Null
    power: list[_power.Row]
    tokens: dict[str, dict[int, list[float]]]
    about: dict[str, str]


def measure(
    folder: Path, count: int, scale: Scale, report: Callable[[str], None], *, small: bool = False
) -> Measured:
    """Train what is not in the folder yet, and compare."""
    begun = time.monotonic()
    seconds: dict[str, float] = {}
    chosen = members(count, scale)
    with one_thread():
        zoo = Zoo(folder, scale)
        paths = []
        for member in chosen:
            report(f"training {member.name} of {count}")
            paths.append((member, zoo.member(member)))
        seconds["training"] = sum(zoo.seconds(path) for _, path in paths)
        begun = time.monotonic() - seconds["training"]
        ids = zoo.held_out(scale.longest)
        null = _null.measure(paths, ids, scale, report)
        seconds["null"] = time.monotonic() - begun - sum(seconds.values())
        power = _power.measure(zoo, ids, report, small=small)
        tokens = _power.by_tokens(zoo, ids, report, small=small)
        seconds["power"] = time.monotonic() - begun - sum(seconds.values())
    return Measured(chosen, null, power, tokens, _about(scale, seconds))


def _about(scale: Scale, seconds: dict[str, float]) -> dict[str, str]:
    took = ", ".join(f"{what} {value:.0f} s" for what, value in seconds.items())
    return {
        **about_machine(),
        "took": took,
        "training": (
            f"{scale.steps} steps of {scale.batch} × {scale.length} tokens, AdamW at 3e-3, on "
            f"{scale.characters:,} characters; vocabulary {scale.vocabulary}"
        ),
        "inputs": f"{scale.tokens:,} tokens in sequences of 128",
    }


SHARE = (
    "The share of p-values at most the level, with its exact (Clopper-Pearson) 95 % interval. The "
    "interval is somewhat too narrow, since pairs of blocks that share a model are not independent."
)


def page(measured: Measured, command: str, reading: str, plot: str) -> str:
    """Return docs/calibration.md."""
    null, about = measured.null, measured.about
    blocks = _table.with_equal_widths(null.blocks, measured.zoo)
    pairs = len({(a, b) for a, b, *_ in null.blocks[_null.DEFAULT]})
    return f"""# Calibration

This page measures how often each statistic calls independent models related, and what hides a relation.

This command trains small Llamas and measures both:

<!-- not run: it takes hours; tests/benchmarks/test_calibration.py runs it small -->
```console
{command}
```

* {about["date"]}; {about["took"]}
* {about["machine"]}
* {about["versions"]}

{BEGIN}
{reading}
{END}

## Models

There are {len(measured.zoo)} models, each trained from its own initial weights:
{about["training"]}.
All models share one tokenizer. `code-0`, `code-1`, ... are pieces of the standard library's sources, which
share no character. `prose` is the language reference. One of the sources holds it too, so that a code text
may share some of it.

{_table.zoo_table(measured.zoo)}

Activations are of {about["inputs"]}. "On text" they are code that is in no model's code
text. "Random ids" are uniform on the vocabulary.

## False positives

The tests are all {pairs} pairs of models, each block of one model against each block of the other.

| column | meaning |
| --- | --- |
| p ≤ level | {SHARE} |
| SE at 0.05 | The standard error of that share, by leaving out one model at a time, which counts sharing. |
| KS p | Kolmogorov-Smirnov test of all p-values against the uniform law, as if independent. |

▲ marks a share above its level by both the interval and the standard error.

{_table.false_positives(blocks)}

| statistic | what it is |
| --- | --- |
| `match` | correlation over the tokens |
| `match_cosine` | the paper's cosine |
| `match`, Euclidean | the squared distance with a signed `up`, as in the paper's public code |
| `match_tokens` | correlation over the embeddings of 256 tokens, or of as many as it says |
| `kinship` | Bonferroni of `match_tokens`, `match_weights` and `match` |

`csu` and `csh` need equal widths; `csu` and `match_weights` need equal hidden sizes. For {null.checked}
tests the library also computed `match` and `match_cosine` on text, with the same numbers.

`match_tokens` is the library's own. Each pair of models draws tokens. Where widths differ, the best of
three sets of units counts, times 3 ([padded models](statistics.md#padded-models)). Such p-values pile up at
1: only those of equal widths can be uniform. `match` is computed here from activations alone, which have
one set.

![Q-Q plot of the p-values]({plot})

Grey shows where 95 % of independent uniform p-values of that rank would lie.

### Whole models

Each test combines the blocks of equal index of a pair of models by Fisher's method. `claim` is the p-value
that a suite judges, on `kinship`: twice the smaller of Fisher's p and the strongest block's (Bonferroni).

{_table.false_positives(null.models)}

### By what the models have in common

The table counts false positives at 0.05.

{_table.by_group(null.blocks, measured.zoo)}

### By pair of models

The table has the share of p ≤ 0.05 in each pair's blocks, and its spread over pairs. The expected spread
is that of independent blocks.

{_table.by_pair(blocks)}

### Dependence between blocks

Fisher's method assumes that the blocks of a pair are independent. The table has the mean correlation of
their z-scores over pairs of models, with its p-value by permutation. The variance is that of the sum of a
pair's z-scores, as a multiple of what independent uniform p-values would give.

{_table.between_blocks(blocks)}

## Power

The table compares `m00` with its changed copies. A cell is log10 p:

* the median over blocks, and in brackets the weakest and the strongest block if they differ;
* for `l2`, one p-value by {_power.PERMUTATIONS} permutations; \N{MINUS SIGN}2.0 is the least possible;
* –, if the statistic is not defined for the pair.

The least p-value that n units can show is 1/n!. If the depths differ, each block meets every block of
the base, and its best p-value is multiplied by their number.

{_table.power(measured.power)}

### Tokens

A cell is the median log10 p over blocks, with the weakest block in brackets.

{_table.tokens(measured.tokens)}
"""


def save(measured: Measured, file: Path) -> None:
    """Keep the numbers, so that the page can be made again without measuring."""
    file.write_text(json.dumps(asdict(measured)))


def restore(file: Path) -> Measured:
    """Read what `save` wrote."""
    kept: dict[str, Any] = json.loads(file.read_text())
    null = _null.Null(kept["null"]["blocks"], kept["null"]["models"], kept["null"]["checked"])
    tokens = {
        name: {int(count): found for count, found in row.items()}
        for name, row in kept["tokens"].items()
    }
    zoo = tuple(Member(**member) for member in kept["zoo"])
    return Measured(zoo, null, [_power.Row(**row) for row in kept["power"]], tokens, kept["about"])


def write(measured: Measured, output: Path, command: str) -> None:
    """Write the page and its plot; what is written about the numbers is kept."""
    plot = output.with_name(f"{output.stem}-qq.svg")
    blocks = _table.with_equal_widths(measured.null.blocks, measured.zoo)
    curves = {name: [trial[-1] for trial in blocks[name]] for name in _table.PLOTTED}
    title = "p-values of independent models against the uniform law"
    plot.write_text(qq_plot(curves, title), encoding="utf-8")
    output.write_text(page(measured, command, reading_of(output), plot.name), encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--models", type=at_least(2), default=16, help="independent models to train"
    )
    parser.add_argument(
        "--steps", type=at_least(1), default=FULL.steps, help="training steps of each"
    )
    parser.add_argument("--folder", type=Path, required=True, help="keeps models and numbers")
    parser.add_argument("--output", type=Path, default=Path("docs/calibration.md"))
    parser.add_argument("--small", action="store_true", help="tiny models, as in the tests")
    parser.add_argument("--render", action="store_true", help="only write the page again")
    given = parser.parse_args(arguments)
    scale = SMALL if given.small else replace(FULL, steps=given.steps)
    given.folder.mkdir(parents=True, exist_ok=True)
    numbers = given.folder / "numbers.json"
    if not given.render:
        save(measure(given.folder, given.models, scale, _report, small=given.small), numbers)
    asked = [f"--models {given.models}", f"--steps {scale.steps}", *["--small"] * given.small]
    command = f"python -m benchmarks.calibration {' '.join(asked)} --folder models --output {given.output}"
    write(restore(numbers), given.output, command)


def _report(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
