"""What the list of claims can be narrowed to: by style rules alone, so that it works without a script."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from provenance.evidence.outcomes import counts
from provenance.report.view import Filter, Option

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provenance.report.cast import Cast
    from provenance.report.view import Row

LEAST = 5
"""Fewer claims need no filter."""
MODELS = 100
"""Models that can be chosen, those of the most claims: each costs a rule, and words find the others."""
URGENT = "u"


def filters_of(rows: Sequence[Row], cast: Cast) -> tuple[Filter, ...]:
    """The choices of outcome, kind and model, each with how many claims it leaves."""
    if len(rows) < LEAST:
        return ()
    urgent = sum(row.urgent for row in rows)
    outcomes = [Option(URGENT, f"needs a person ({urgent})")] if urgent else []
    outcomes += [
        Option(f"o-{outcome.key}", f"{outcome.word} ({number})")
        for outcome, number in counts([row.outcome for row in rows])
    ]
    kinds = Counter(row.expect for row in rows)
    verdicts = Counter(row.verdict for row in rows)
    models = Counter(model for row in rows for model in set(row.models))
    return tuple(
        Filter(f"by-{name}", name, tuple(options))
        for name, options in (
            ("outcome", outcomes),
            ("expected", _options("k", kinds.items())),
            ("verdict", _options("v", verdicts.items())),
            (
                "model",
                [
                    Option(f"m-{model}", f"{cast.labels[model]} ({number})")
                    for model, number in sorted(
                        models.most_common(MODELS),
                        key=lambda entry: (cast.labels[entry[0]], entry[0]),
                    )
                ],
            ),
        )
        if len(options) > 1
    )


def _options(letter: str, found: Iterable[tuple[str, int]]) -> list[Option]:
    return [
        Option(_class(letter, what), f"{what} ({number})")
        for what, number in sorted(found, key=lambda entry: (-entry[1], entry[0]))
    ]


def classes_of(row: Row) -> str:
    """What the rules know a claim by."""
    found = [f"o-{row.outcome.key}", _class("k", row.expect), _class("v", row.verdict)]
    found += [f"m-{model}" for model in dict.fromkeys(row.models)]
    return " ".join([*found, URGENT] if row.urgent else found)


def _class(letter: str, word: str) -> str:
    return f"{letter}-{word.replace(' ', '-')}"


def rules(filters: Iterable[Filter]) -> str:
    """The style rules behind the choices; what a link leads to is shown whatever is chosen."""
    return "".join(
        f'body:has(#{one.id} option[value="{option.value}"]:checked) '
        f".pair:not(.{option.value}){{display:none}}\n"
        for one in filters
        for option in one.options
    )
