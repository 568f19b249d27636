"""How far long work is and how long it takes: one text for the command line and for pytest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from provenance.vocabulary import Stage

SOON = 1.0
"""Seconds before which nothing is said of what is left: too little has been seen."""


COUNTED = frozenset({"audit", "identify"})
"""Actions on one of many parts, of which the work on each part has stages of its own."""


class Pace:
    """Follows the stages of some work by a clock, which gives seconds.

    ``place`` is which of how many parts the work is in, such as the pairs of an audit or the claims of a
    run; None where there is one part, or nobody has said.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._stage_began = clock()
        self._stage: Stage | None = None
        self._first = 0
        self.place: tuple[int, int] | None = None

    def see(self, stage: Stage) -> bool:
        """Take the next stage; whether it is another one than before, not the same further on.

        One action on one subject may be several stages of a comparison, a part of its statistic each. They
        are told apart where their numbers are shown.
        """
        last, self._stage = self._stage, stage
        same = last is not None and (last.action, last.subject) == (stage.action, stage.subject)
        renumbered = last is None or last.number != stage.number
        if renumbered or not same:
            self._stage_began, self._first = self._clock(), stage.done
        if same and not (renumbered and self.number):
            return False
        if stage.action in COUNTED and stage.total:
            self.place = (min(stage.done + 1, stage.total), stage.total)
        return True

    def forget(self) -> None:
        """Let whatever stage comes next be another one."""
        self._stage = None

    @property
    def number(self) -> str:
        """Which stage of a comparison it is, in words; nothing where many parts are counted instead."""
        number = None if self._stage is None or self.place is not None else self._stage.number
        return "" if number is None else str(number)

    def text(self) -> str:
        """Where the work is: the part, the steps where their number is known, and the times."""
        stage = self._stage
        if stage is None:
            return ""
        parts = [f"{stage.done}/{stage.total}"] if stage.total else []
        if self.place is not None and stage.action not in COUNTED:
            parts.insert(0, "{} of {}".format(*self.place))
        elif self.number:
            parts.insert(0, self.number)
        left = self._left(stage)
        parts.append(clock_of(self._clock() - self._began))
        if left is not None:
            parts.append(f"about {clock_of(left)} left")
        return ", ".join(parts)

    def _left(self, stage: Stage) -> float | None:
        """Seconds that the rest of the stage takes at its pace so far; None where that is unknown."""
        spent, done = self._clock() - self._stage_began, stage.done - self._first
        if spent < SOON or done <= 0 or stage.done >= stage.total:
            return None
        return spent / done * (stage.total - stage.done)


def clock_of(seconds: float) -> str:
    """Write a duration as 0:07, 12:30 or 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
