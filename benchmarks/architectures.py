"""Trace the blocks of every architecture of the installed transformers, and write a page.

``python -m benchmarks.architectures --output docs/architectures.md``
``python -m benchmarks.architectures --multimodal --output docs/multimodal.md``
"""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import time
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
)

from benchmarks._by_names import AGREES
from benchmarks._survey import Outcome, Place, Summary, survey

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND = "python -m benchmarks.architectures --output docs/architectures.md"
TOLERANCE = 1e-4


def names() -> list[str]:
    """Every model type that the installed transformers can build a causal language model of."""
    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def multimodal_names() -> list[str]:
    """Every type of models of images or sounds and text that has no causal language model of its own."""
    every = {*MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, *MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES}
    return sorted(every - set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))


def kind(found: Summary) -> str:
    """Say what the blocks hold, in the words of the page's first table."""
    roles = {place.role for place in found.places}
    gated = [place for place in found.places if place.gate]
    words = []
    for role, name in (("expert", "experts"), ("shared", "shared"), ("dense", "dense")):
        if role in roles:
            words.append(name)
    if not words:
        return "refused" if found.refused else "none"
    base = "gated" if gated else "plain"
    fused = any(_is_fused(place) for place in gated if place.role != "expert")
    return f"{base}, {' + '.join(words)}{', fused' if fused else ''}"


def _is_fused(place: Place) -> bool:
    return place.gate.endswith("]") and place.gate.partition("[")[0] == place.up.partition("[")[0]


def page(outcomes: Sequence[Outcome], seconds: float, *, multimodal: bool = False) -> str:
    """Return the page."""
    known = [outcome for outcome in outcomes if outcome.summary is not None]
    unknown = [outcome for outcome in outcomes if outcome.summary is None]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("transformers", "torch"))
    parts = [
        (MULTIMODAL_HEAD if multimodal else HEAD).format(
            command=MULTIMODAL_COMMAND if multimodal else COMMAND,
            versions=versions,
            count=len(outcomes),
            minutes=seconds / 60,
            full=sum(isinstance(outcome.full, Summary) for outcome in outcomes),
            small=sum(isinstance(outcome.small, Summary) for outcome in outcomes),
            checked=_checked(outcomes),
            alone=_alone(known),
            read=_read(outcomes),
        ),
        _table(("what a block has", "types"), _kinds(known)),
        "## Types\n\n" + READING + ("" if multimodal else ALONE),
        _table(
            (*COLUMNS, *(() if multimodal else ("by names and shapes alone",))),
            [_row(outcome) + ([] if multimodal else [_by_names(outcome)]) for outcome in known],
        ),
        "## Not built\n\n" + (UNREAD if multimodal else UNBUILT),
        _table(("type", "full-size", "small"), [_failed(outcome) for outcome in unknown]),
        "## Default configurations that cannot be traced\n\n" + BROKEN,
        _table(
            ("type", "why"),
            [
                [f"`{o.model_type}`", _text(o.full)]
                for o in known
                if not isinstance(o.full, Summary)
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


COLUMNS = ("type", "kind", "blocks", "gate × up → down, or up → down", "small")

HEAD = """# Architectures

This page lists what the blocks of every causal language model of transformers hold, and where gate, up and
down lie.

Tracing follows the data through one forward pass, and knows no names of models or modules. This command
makes the page:

<!-- not run: it takes a quarter of an hour; tests/docs/test_architectures_page.py makes a part -->
```console
{command}
```

* {versions}
* {count} model types: {full} were traced in their default size without weights, {small} in a small size
  with random weights; {minutes:.0f} minutes on one core
* {checked}
* {alone}"""

MULTIMODAL_COMMAND = "python -m benchmarks.architectures --multimodal --output docs/multimodal.md"
MULTIMODAL_HEAD = """# Multimodal architectures

This page lists what the language models inside of multimodal models hold, and where gate, up and down lie.

The towers for images and sounds are loaded, and no token goes through them. Where the whole runs with an
image or a sound alone, the outermost part that runs on text is read, and the rest is left out. Types that
transformers has a causal language model of are in [Architectures](architectures.md). This command makes
the page:

<!-- not run: it takes a quarter of an hour; tests/docs/test_architectures_page.py makes a part -->
```console
{command}
```

* {versions}
* {read}
* {full} of {count} types were traced in their default size without weights, {small} in a small size
  with random weights; {minutes:.0f} minutes on one core
* {checked}"""

UNREAD = (
    "These types are not read. Some encode their text. Of some no part runs without an image or a sound.\n"
    "Of some neither the default configuration nor a small one gives a model."
)

READING = """Paths are within a block:

* `[:I]` and `[I:]` are the first and the second half of a fused projection's channels.
* `[::2]` and `[1::2]` are the even and the odd channels.
* `[e]` stands for one projection of each expert.

*Blocks* counts the blocks with an MLP and all blocks, in the default size, then names what the others hold.
*Small* counts the small model's records that one of eight tokens reached, and all its records. The reached
ones agree with its own forward pass."""

ALONE = """

*By names and shapes alone* says what is found where
[no code of a model](checkpoints.md#types-that-transformers-does-not-know) may run. The files of the small
model are compared by their numbers, and the parameters in the default size by their names. Where the two
outcomes differ, both are given. Of plain MLPs no statistic reads the norm."""

UNBUILT = (
    "For these types, neither the default configuration nor a small one gives a model that runs on "
    "token ids alone."
)

BROKEN = "The table of types has these in their small size."


def _checked(outcomes: Sequence[Outcome]) -> str:
    checks = [outcome.checked for outcome in outcomes if outcome.checked is not None]
    worst = max((check.worst for check in checks), default=0.0)
    reached, records = sum(c.reached for c in checks), sum(c.records for c in checks)
    return (
        f"A token reached {reached:,} of the small models' {records:,} records, which were then compared\n"
        f"  with the forward pass. The largest relative difference is {worst:.0e}.\n"
        f"* {sum(check.alike for check in checks)} of {len(checks)} small models give the same records "
        "without their weights"
    )


def _alone(known: Sequence[Outcome]) -> str:
    """Say of how many types names and shapes alone tell what following the data does."""
    said = [text for one in known for text in (one.as_saved, one.in_memory) if text is not None]
    right = sum(text.startswith(AGREES) for text in said)
    choices = sum(text.startswith("ambiguous") for text in said)
    norms = sum(text.startswith("norm ambiguous") and ";" not in text for text in said)
    return (
        f"By names and shapes alone, {right} of {len(said)} models agree in all. {norms} more leave the\n"
        f"  norm open, {choices} the MLPs, and {len(said) - right - norms - choices} differ."
    )


def _read(outcomes: Sequence[Outcome]) -> str:
    """Say how many types are read, of images and of all."""
    read = {o.model_type for o in outcomes if o.summary is not None and o.summary.with_mlp}
    every = {outcome.model_type for outcome in outcomes}
    images = every & set(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
    own = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.keys() & MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return (
        f"{len(read)} of these {len(every)} types are read; of {len(images)} for images and text "
        f"{len(read & images)}, and {len(own)} more\n  have a causal language model of their own"
    )


def _kinds(known: Sequence[Outcome]) -> list[list[str]]:
    counts = Counter(kind(outcome.summary) for outcome in known if outcome.summary)
    return [[name, str(count)] for name, count in sorted(counts.items(), key=lambda i: -i[1])]


def _row(outcome: Outcome) -> list[str]:
    found = outcome.summary
    assert found is not None
    places = "; ".join(_place(place) for place in found.places)
    blocks = f"{found.with_mlp} of {found.blocks}"
    if found.refused:
        blocks += f"; refused in {found.refused_blocks}, {_short(found.refused[0])}"
    if found.skipped:
        blocks += f"; {'; '.join(_short(_code(text)) for text in found.skipped[:3])}"
    return [f"`{outcome.model_type}`", kind(found), blocks, places or "–", _small(outcome)]


def _by_names(outcome: Outcome) -> str:
    """What names and shapes alone tell, in files first, and in memory where that is not the same."""
    said = {"as saved": outcome.as_saved, "in memory": outcome.in_memory}
    known = {where: _short(_code(text), 200) for where, text in said.items() if text is not None}
    if len(set(known.values())) < 2:
        return next(iter(known.values()), "not built")
    return "; ".join(f"{where} {text}" for where, text in known.items())


def _place(place: Place) -> str:
    role = "" if place.role == "dense" else f"{place.role} "
    gate = f"`{place.gate}` × " if place.gate else ""
    return f"{role}{gate}`{place.up}` → `{place.down}`"


def _small(outcome: Outcome) -> str:
    if outcome.checked is None:
        return "not built"
    if not outcome.checked.records:
        return "–"
    agree = (
        "agree" if outcome.checked.worst < TOLERANCE else f"differ by {outcome.checked.worst:.0e}"
    )
    return f"{outcome.checked.reached} of {outcome.checked.records} {agree}"


def _failed(outcome: Outcome) -> list[str]:
    return [f"`{outcome.model_type}`", _text(outcome.full), _text(outcome.small)]


def _text(found: Summary | str) -> str:
    if isinstance(found, Summary):
        return "–"
    # an ArchitectureError ends with the cause in brackets
    cause = found.partition(" (")[2].removesuffix(")") if ": no causal" in found else found
    return _short(_code(cause.replace("<", "&lt;")), 160)


def _code(text: str) -> str:
    return text.replace("|", "\\|")


def _short(text: str, limit: int = 110) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def _report(outcome: Outcome) -> None:
    found = outcome.summary
    words = [outcome.model_type, kind(found) if found else str(outcome.small)]
    if outcome.checked is not None and not outcome.checked.alike:
        words.append("(other records without weights)")
    print(*words, file=sys.stderr, flush=True)


def _kept(folder: Path | None, model_type: str, seconds: float) -> Outcome:
    """The outcome in a folder that this command made, or a new one."""
    file = None if folder is None else folder / f"{model_type}.pickle"
    if file is not None and file.exists():
        kept: Outcome = pickle.loads(file.read_bytes())  # noqa: S301 - our own
        return kept
    outcome = survey(model_type, seconds)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(outcome))
    return outcome


def main(arguments: list[str] | None = None) -> None:
    """Trace every architecture and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/architectures.md"))
    parser.add_argument("--types", nargs="*", help="model types; all by default")
    parser.add_argument(
        "--multimodal", action="store_true", help="types without a causal model of their own"
    )
    parser.add_argument(
        "--keep", type=Path, help="a folder of outcomes: those in it are not made again"
    )
    parser.add_argument("--seconds", type=float, default=120, help="the longest for one type")
    given = parser.parse_args(arguments)
    begun, outcomes = time.monotonic(), []
    types = multimodal_names() if given.multimodal else names()
    for model_type in types if given.types is None else given.types:
        outcomes.append(_kept(given.keep, model_type, given.seconds))
        _report(outcomes[-1])
    text = page(outcomes, time.monotonic() - begun, multimodal=given.multimodal)
    given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
