"""What an audit found: a sentence, families, changes since the last run, and night after night."""

from __future__ import annotations

from dataclasses import dataclass

from provenance.evidence.wording import count


@dataclass(frozen=True)
class Night:
    """One complete run over a registry, in numbers.

    ``kin`` and ``undecided`` are pairs, ``failed`` those that could not be judged; ``families`` are of two
    models or more. ``created`` is in UTC, ISO 8601.
    """

    run: int
    created: str
    models: int
    families: int
    kin: int
    undecided: int
    failed: int

    @property
    def counts(self) -> tuple[int, int, int, int, int]:
        """All that may differ between two nights: models, families, kin, undecided, failed."""
        return self.models, self.families, self.kin, self.undecided, self.failed


@dataclass(frozen=True)
class Stretch:
    """Nights in a row that found the same numbers, from the first to the last."""

    first: Night
    last: Night
    nights: int


@dataclass(frozen=True)
class AuditRecord:
    """What is new about a registry, for what draws results.

    ``finding`` says it in a sentence. ``families`` are the names of models that kinship connects, the
    largest first. ``changes`` are sentences, and ``since`` is when the run before was: None at the first.
    ``nights`` are the last complete runs, the newest last.
    """

    finding: str
    families: tuple[tuple[str, ...], ...]
    changes: tuple[str, ...]
    since: str | None
    nights: tuple[Night, ...]


def families_in_words(number: int) -> str:
    """Say how many families there are."""
    return "1 family" if number == 1 else f"{number or 'no'} families"


def spoken_stretch(stretch: Stretch) -> str:
    """Say when a stretch was and what its nights found, in a line."""
    first, last = stretch.first.created[:10], stretch.last.created[:10]
    when = last if first == last else f"{first} to {last}"
    nights = f", {stretch.nights} runs" if stretch.nights > 1 else ""
    night = stretch.last
    found = (
        f"{count(night.models, 'model')}, {families_in_words(night.families)}",
        f"{count(night.kin, 'pair')} of kin",
        f"{night.undecided} undecided" if night.undecided else "",
        f"{night.failed} failed" if night.failed else "",
    )
    return f"{when}{nights}: {', '.join(filter(None, found))}"


def stretches(nights: tuple[Night, ...]) -> tuple[Stretch, ...]:
    """Join nights in a row that found the same, the newest stretch first."""
    found: list[Stretch] = []
    for night in nights:
        if found and found[-1].first.counts == night.counts:
            found[-1] = Stretch(found[-1].first, night, found[-1].nights + 1)
        else:
            found.append(Stretch(night, night, 1))
    return tuple(reversed(found))
