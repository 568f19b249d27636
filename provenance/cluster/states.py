"""How the parts of a sharded plan stand: each part's note in the store that all of them share."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from provenance._text import without_home
from provenance.errors import retold
from provenance.store.store import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provenance.comparison.plan import Comparison
    from provenance.errors import ProvenanceError
    from provenance.store.store import Store

Stand = Literal["begun", "captured", "closed", "ended"]
ORDER: tuple[Stand, ...] = ("begun", "captured", "closed", "ended")
FOLDER = "shards"


@dataclass(frozen=True)
class Failure:
    """Why a pair could not be compared; ``rank`` is 0 where its candidate is at fault, else 1 or 2."""

    rank: int
    kind: str
    text: str

    @classmethod
    def of(cls, rank: int, error: ProvenanceError) -> Failure:
        """What is kept of an error."""
        return cls(rank, type(error).__name__, without_home(str(error)))

    def error(self) -> ProvenanceError:
        """An error that says the same."""
        return retold(self.kind, self.text)


@dataclass(frozen=True)
class State:
    """How one part stands.

    ``captured``: all of its models that can be run have been. ``closed``: it will compare no pair any more
    whose other model was not captured until then. ``ended``: nothing is left for it.
    """

    stand: Stand
    failures: Mapping[str, Failure] = field(default_factory=dict)
    host: str = field(default_factory=socket.gethostname)
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def reached(self, stand: Stand) -> bool:
        """Whether it has come as far as this."""
        return ORDER.index(self.stand) >= ORDER.index(stand)


class States:
    """The notes of the parts of one plan, run in ``count`` parts that all see the same models."""

    def __init__(self, store: Store, plan: str, models: str, count: int) -> None:
        self._notes = store.notes
        self._folder = f"{FOLDER}/{plan}/{count}/{models}"
        self._count = count

    def write(self, part: int, state: State) -> None:
        """Note how a part stands."""
        self._notes.write(f"{self._folder}/{part}", json.dumps(asdict(state)))

    def read(self) -> dict[int, State]:
        """How those stand that have begun."""
        found = {
            part: _state(self._notes.read(f"{self._folder}/{part}"))
            for part in range(1, self._count + 1)
        }
        return {part: state for part, state in found.items() if state is not None}


def latest(store: Store, plan: str) -> tuple[int, dict[int, State]]:
    """In how many parts a plan was run last, and how each of them stood last; (0, {}) if it never was."""
    found: dict[int, dict[int, State]] = {}
    for name in store.notes.names(f"{FOLDER}/{plan}"):
        count, part = (int(name.split("/")[place]) for place in (2, 4))
        state = _state(store.notes.read(name))
        parts = found.setdefault(count, {})
        if state is not None and (part not in parts or parts[part].time < state.time):
            parts[part] = state
    newest = {
        count: max(state.time for state in parts.values())
        for count, parts in found.items()
        if parts
    }
    if not newest:
        return 0, {}
    count = max(newest, key=lambda count: newest[count])
    return count, found[count]


def _state(text: str | None) -> State | None:
    if text is None:
        return None
    fields = json.loads(text)
    failures = {key: Failure(**failure) for key, failure in fields.pop("failures").items()}
    return State(failures=failures, **fields)


def key_of(comparison: Comparison) -> str:
    """What a comparison is called where its failure is noted or told."""
    return digest_of(asdict(comparison))


def failures_of(states: Mapping[int, State]) -> dict[str, Failure]:
    """What could not be compared, by `key_of`; of two reasons that which one process would meet first."""
    found: dict[str, Failure] = {}
    for state in states.values():
        for key, failure in state.failures.items():
            if key not in found or failure.rank < found[key].rank:
                found[key] = failure
    return found
