"""Exhibits: numbers that people argue with in public. None decides: no verdict looks at one.

Each is worth something only beside the value that known strangers have (`provenance.evidence.strangers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

from provenance.evidence.strangers import groups

if TYPE_CHECKING:
    from collections.abc import Mapping

ExhibitName = Literal["norms", "deviations", "tokenizer", "configuration", "units"]
EXHIBIT_NAMES: tuple[ExhibitName, ...] = get_args(ExhibitName)

CAPTION = "What people argue with in public, and what strangers have: none of it decides"


@dataclass(frozen=True)
class Exhibit:
    """One number about two models.

    Attributes
    ----------
    name : str
        Which; `KINDS` says what it is.
    value : float or None
        A cosine or a correlation from -1 to 1, a share from 0 to 1, or a number of units; None where the
        two have none.
    compared : int
        Of how many norms, matrices, tokens, settings or pairs of blocks it was made.
    reason : str or None
        Why there is no value; None where there is one.
    """

    name: ExhibitName
    value: float | None
    compared: int
    reason: str | None = None

    def fault(self) -> str | None:
        """Why no measurement gives these values, in words; None where one may."""
        if (self.value is None) == (self.reason is None):
            return f"{self.name} has either a value or a reason why there is none"
        least, most = KINDS[self.name].limits
        if self.compared >= 0 and (self.value is None or least <= self.value <= most):
            return None
        return f"{self.name} cannot be {self.value} of {self.compared}"


@dataclass(frozen=True)
class ExhibitKind:
    """What an exhibit is called, of what it is a number, its least and most, and why it decides nothing."""

    title: str
    counts: str
    limits: tuple[float, float]
    decides_nothing: str

    def text(self, value: float) -> str:
        """A value as people write it: a cosine with four places, a share in percent, or a count."""
        least, most = self.limits
        if most > 1:
            return f"{value:.0f}"
        return f"{value:.1%}" if least == 0 else f"{value:.4f}"


KINDS: Mapping[ExhibitName, ExhibitKind] = MappingProxyType(
    {
        "norms": ExhibitKind(
            "cosine of norm weights",
            "norms",
            (-1.0, 1.0),
            "Norm weights start at 1, so those of any two models point nearly the same way.",
        ),
        "deviations": ExhibitKind(
            "profile of standard deviations",
            "matrices",
            (-1.0, 1.0),
            "A profile has one point a block: curves of so few points run alike by chance.",
        ),
        "tokenizer": ExhibitKind(
            "overlap of tokenizers",
            "tokens",
            (0.0, 1.0),
            "Anyone may take a published tokenizer, and every tokenizer has the common words.",
        ),
        "configuration": ExhibitKind(
            "overlap of configurations",
            "settings",
            (0.0, 1.0),
            "Anyone may take a published architecture, and families share their defaults.",
        ),
        "units": ExhibitKind(
            "units on which gate and up agree, at most",
            "pairs of blocks",
            (0.0, 2.0**53),
            "Every model has units for one token, at which both gate and up point.",
        ),
    }
)
"""The exhibits, in the order in which they are shown."""


def table(exhibits: tuple[Exhibit, ...]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Exhibits beside what strangers have, as a head and rows of text."""
    known = groups()
    head = ("exhibit", "here", *(group.heading for group in known), "why it decides nothing")
    rows = tuple(
        (
            KINDS[one.name].title,
            _here(one),
            *(_of_strangers(one.name, group.values(one.name)) for group in known),
            KINDS[one.name].decides_nothing,
        )
        for one in exhibits
    )
    return head, rows


def line(exhibits: tuple[Exhibit, ...]) -> str:
    """The same on one line, without the reasons why; empty where there are none."""
    known = groups()
    return "; ".join(
        ", ".join(
            [
                f"{KINDS[one.name].title} {_here(one)}",
                *(
                    f"{group.title} {_of_strangers(one.name, group.values(one.name))}"
                    for group in known
                ),
            ]
        )
        for one in exhibits
    )


def _here(exhibit: Exhibit) -> str:
    if exhibit.value is None:
        return f"none: {exhibit.reason}"
    kind = KINDS[exhibit.name]
    return f"{kind.text(exhibit.value)} ({exhibit.compared} {kind.counts})"


def _of_strangers(name: ExhibitName, values: tuple[float, ...]) -> str:
    """The least and the most that pairs of strangers have."""
    if not values:
        return "none"
    text = KINDS[name].text
    least, most = text(min(values)), text(max(values))
    return least if least == most else f"{least} to {most}"
