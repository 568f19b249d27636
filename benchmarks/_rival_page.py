"""The page of the head-to-head: verdicts, costs, and what was not run."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks._page import BEGIN, END, about_machine
from benchmarks._table import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks._rival_pairs import Pair
    from benchmarks._rival_results import Result
    from benchmarks._rival_tools import Rival

    Results = Mapping[tuple[str, str], Result]
    """By the tool's name and the pair's."""

RIGHT, WRONG, NO_CALL, OUTSIDE = "✓", "✗", "–", "○"

NOT_RUN = (
    (
        "[AWM](https://arxiv.org/abs/2510.06738)",
        "a score from embeddings, queries and keys",
        "AUC 1.0 on 60 kin and 90 other pairs; 30 s a pair of 7B models on one GPU",
    ),
    (
        "[HuRef](https://arxiv.org/abs/2312.04828)",
        "a score from invariants of the weights",
        "its similarity is near 100 % for offspring",
    ),
    (
        "[REEF](https://arxiv.org/abs/2410.14273)",
        "a similarity (CKA) of activations on equal texts",
        "finds fine-tuned, pruned, merged, permuted and rescaled models",
    ),
    (
        "[MDIR](https://arxiv.org/abs/2508.06309)",
        "a p-value by a large-deviation bound, from weights",
        "all detections in less than an hour on one PC",
    ),
    (
        "[SeedPrints](https://arxiv.org/abs/2509.26404)",
        "a p-value from outputs on random inputs",
        "AUC .992 on LeaFBench",
    ),
    (
        "[GhostSpec](https://arxiv.org/abs/2511.06390)",
        "a score from spectra of attention products, with an alignment of blocks",
        "finds fine-tuned, pruned, expanded and merged models",
    ),
    (
        "[LLM-DNA](https://arxiv.org/abs/2509.24496)",
        "a vector from outputs, of models behind an API as well",
        "a phylogeny of 305 models",
    ),
)
"""Method, what it gives, and what its authors report."""

_COUNTED = (
    *(("kin", sign) for sign in (RIGHT, WRONG, NO_CALL, OUTSIDE)),
    *(("strangers", sign) for sign in (RIGHT, WRONG, NO_CALL)),
)
"""Truths and marks that are counted for each tool."""


def mark(result: Result, pair: Pair, rival: Rival) -> str:
    """Return whether an answer is right, wrong, none, or none where the tool's documentation says so."""
    if result.call == pair.truth:
        return RIGHT
    if pair.candidate.name in rival.outside:
        return OUTSIDE
    return NO_CALL if result.call == "none" else WRONG


def page(
    rivals: Sequence[Rival],
    pairs: Sequence[Pair],
    results: Results,
    missing: Mapping[str, str],
    command: str,
    reading: str,
) -> str:
    """Return docs/comparison.md; ``missing`` says of tools why they could not be run."""
    about = about_machine()
    return f"""# Head to head

This page is for choosing a tool: what this one and others answer on the same pretrained models, how long
each takes, and what it reads.

This command installs each tool in an environment of its own and runs it as its documentation says, with its
own defaults:

<!-- not run: it takes hours; tests/benchmarks/test_rivals.py runs it small -->
```console
{command}
```

* {_dates(results.values())}; page written {about["date"]}
* {about["machine"]}
* {about["versions"]}

{BEGIN}
{reading}
{END}

## Tools

{RIGHT} is a right answer, {WRONG} a wrong one, {NO_CALL} none. {OUTSIDE} is a pair of which the tool's own
documentation says that it does not resolve it.

{_tools(rivals, pairs, results, missing)}

| tool | how its answer is counted |
| --- | --- |
{_rules(rivals)}

## Verdicts

The truth is known by how the models were made, or by what their makers say. An empty cell was not run.

{_verdicts(rivals, pairs, results)}

{_outside(rivals, pairs)}

## Costs

A cell is seconds of the processor, most memory, and what was read of both models' weight files. Each
command starts anew, with nothing kept from another pair, and one thread. Memory counts pages of mapped
files. What is read counts what the kernel read ahead. Both models' files were dropped from the kernel's
cache before.

{_costs(rivals, pairs, results)}

## Not run

No number of these methods is ours. Their code is not packaged, or needs a GPU, prompts to a model behind
an API, or a hub.

{_words(("method", "gives", "its authors report"), NOT_RUN)}
"""


def _dates(results: Iterable[Result]) -> str:
    dates = sorted({result.date for result in results})
    if not dates:
        return "nothing measured yet"
    return f"measured {dates[0]}" if len(dates) == 1 else f"measured {dates[0]} to {dates[-1]}"


def _tools(
    rivals: Sequence[Rival],
    pairs: Sequence[Pair],
    results: Results,
    missing: Mapping[str, str],
) -> str:
    rows = []
    for rival in rivals:
        found = [
            (pair, results[rival.name, pair.name])
            for pair in pairs
            if (rival.name, pair.name) in results
        ]
        if not found:
            why = missing.get(rival.name, "not run")
            rows.append([rival.name, why, *[""] * (len(_COUNTED) + 3)])
            continue
        versions = ", ".join(sorted({result.version for _, result in found}))
        marks = [(pair.truth, mark(result, pair, rival)) for pair, result in found]
        reads = [result.read for _, result in found if result.read is not None]
        rows.append(
            [
                rival.name,
                versions,
                *(str(marks.count(column)) for column in _COUNTED),
                f"{median(r.seconds for _, r in found):.1f}",
                _megabytes(max(r.peak for _, r in found)),
                _megabytes(median(reads)) if reads else "?",
            ]
        )
    head = (
        "tool",
        "version",
        *(f"{truth} {sign}" for truth, sign in _COUNTED),
        "median processor s",
        "most MB",
        "median MB read",
    )
    return table(head, rows)


def _rules(rivals: Sequence[Rival]) -> str:
    return "\n".join(f"| {rival.name} | {rival.decides} |" for rival in rivals)


def _verdicts(rivals: Sequence[Rival], pairs: Sequence[Pair], results: Results) -> str:
    rows = []
    for pair in pairs:
        cells = []
        for rival in rivals:
            result = results.get((rival.name, pair.name))
            cells.append(f"{mark(result, pair, rival)} {_plain(result.said)}" if result else "")
        rows.append([_named(pair), f"{pair.truth}: {pair.what}", *cells])
    return _words(("pair", "truth", *(rival.name for rival in rivals)), rows)


def _costs(rivals: Sequence[Rival], pairs: Sequence[Pair], results: Results) -> str:
    rows = []
    for pair in pairs:
        found = [results.get((rival.name, pair.name)) for rival in rivals]
        rows.append([_named(pair), *(_cost(result) if result else "" for result in found)])
    return _words(("pair", *(rival.name for rival in rivals)), rows)


def _cost(result: Result) -> str:
    read = "?" if result.read is None else _megabytes(result.read)
    return f"{result.seconds:.1f} s, {_megabytes(result.peak)} MB, {read} MB read"


def _outside(rivals: Sequence[Rival], pairs: Sequence[Pair]) -> str:
    kinds = {pair.candidate.name for pair in pairs}
    rows = []
    for rival in rivals:
        for words in dict.fromkeys(rival.outside.values()):
            named = [k for k, said in rival.outside.items() if said == words and k in kinds]
            if named:
                rows.append((rival.name, words, ", ".join(named)))
    return _words(("tool", "its documentation", "pairs"), rows)


def _words(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of words, all to the left."""
    return table(head, rows).replace("---:", "---")


def _named(pair: Pair) -> str:
    return f"{pair.candidate.name} against {pair.reference.name}"


def _plain(text: str) -> str:
    """Return a tool's words as they may stand in a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.0f}"
