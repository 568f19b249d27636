"""The history of audits, run by run, in SQLite or any other database of SQLAlchemy.

Each pair is written in a transaction of its own as soon as it is judged: a run that is killed loses
nothing. A run is complete once its end is recorded. Evidence has the digest of all that it depends on
as its key, and all registries of one history share it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from provenance._text import expanded, is_url
from provenance.audit.finding import families_of
from provenance.audit.records import (
    AuditedModel,
    AuditedPair,
    ScreenedBlock,
    Snapshot,
    shown_inputs,
)
from provenance.errors import ProvenanceError, extra
from provenance.evidence.audits import Night
from provenance.evidence.records import Evidence, EvidenceError
from provenance.store.files import make_folder, user_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection, Engine

    from provenance.audit.registry import Registry

WAIT_SECONDS = 60
"""How long a run waits for another that writes to the same SQLite file."""
POLL_SECONDS = 0.02
NIGHTS = 60
"""How many runs a time line goes back."""
ATTEMPTS = 5
"""Of making the tables, which several runs may do at once."""


class HistoryError(ProvenanceError):
    """The history cannot be used: not there, not ours, or of another schema than this version's."""


class History:
    """The history in one database.

    Parameters
    ----------
    url : str, optional
        A URL of SQLAlchemy (``postgresql+psycopg://host/name``), or the path of an SQLite file; by
        default the environment's ``PROVENANCE_HISTORY``, else ``history.sqlite`` in the user's data
        folder for ``pytest-provenance``.
    read_only : bool
        Make no file where there is none.

    Raises
    ------
    HistoryError
        If it cannot be used.

    Notes
    -----
    Close it, or use it in a ``with``. Any number of processes may use one database.
    """

    def __init__(self, url: str | None = None, *, read_only: bool = False) -> None:
        try:
            import sqlalchemy
        except ModuleNotFoundError:
            raise HistoryError(
                f"an audit needs SQLAlchemy for its history: {extra('audit')}"
            ) from None
        try:
            parsed = _url(url or os.environ.get("PROVENANCE_HISTORY") or default_path())
        except sqlalchemy.exc.ArgumentError:
            raise HistoryError(
                "the history's URL cannot be read; write sqlite:///history.sqlite or "
                "postgresql+psycopg://user@host/name"
            ) from None
        self.shown = parsed.render_as_string(hide_password=True)
        with self._usable():
            self._engine = _engine(parsed, read_only=read_only)
            try:
                self._prepare()
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def known(self, key: str) -> Evidence | str | None:
        """Evidence of a key, or why there can be none; None where the history has neither.

        Evidence that is damaged, or of another schema, counts as absent.
        """
        from provenance.audit import _tables as t

        with self._usable(), self._engine.connect() as connection:
            query = t.evidence.select().where(t.evidence.c.key == key)
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        if row["evidence"] is None:
            return str(row["error"])
        try:
            return Evidence.from_json(row["evidence"])
        except EvidenceError:
            return None

    def keep(self, key: str, evidence: Evidence) -> None:
        """Keep evidence; of two runs that measured the same, the first is kept."""
        self._keep(
            {
                "key": key,
                "statistic": evidence.statistic,
                "candidate_digest": evidence.candidate.digest,
                "reference_digest": evidence.reference.digest,
                "inputs_digest": evidence.inputs.digest,
                "log10_p": evidence.log10_p,
                "evidence": evidence.to_json(),
                "created": evidence.created,
            }
        )

    def keep_failure(self, key: str, statistic: str, reason: str) -> None:
        """Keep why there can be no evidence of a key."""
        self._keep({"key": key, "statistic": statistic, "error": reason, "created": _now()})

    def begin(self, name: str, registry: Registry, models: tuple[AuditedModel, ...]) -> int:
        """Begin a run over a registry, with its models as they are now; returns its number."""
        from provenance.audit import _tables as t

        run = {
            "registry": name,
            "digest": registry.digest,
            "statistic": registry.statistic,
            "inputs": json.dumps(asdict(shown_inputs(registry))),
            "alpha": registry.alpha,
            "threshold": registry.threshold,
            "version": version("pytest-provenance"),
            "started": _now(),
        }
        with self._writing() as connection:
            result = connection.execute(t.runs.insert().values(run))
            (number,) = result.inserted_primary_key or (0,)
            rows = [{"run": number, **asdict(model)} for model in models]
            connection.execute(t.models.insert(), rows)
        return int(number)

    def record(self, run: int, pair: AuditedPair) -> None:
        """Record how a pair was judged in a run."""
        from provenance.audit import _tables as t

        row = {"run": run, **asdict(pair)}
        blocks = row.pop("screened")
        names = {name: row[name] for name in ("run", "candidate", "reference")}
        with self._writing() as connection:
            connection.execute(t.pairs.insert().values(row))
            if blocks:
                connection.execute(t.screened.insert(), [names | block for block in blocks])

    def finish(self, run: int) -> str:
        """Record the end of a run; returns the time."""
        from provenance.audit import _tables as t

        finished = _now()
        with self._writing() as connection:
            connection.execute(t.runs.update().where(t.runs.c.id == run).values(finished=finished))
        return finished

    def last_complete(self, name: str) -> Snapshot | None:
        """What the last complete run over a registry found; None before the first."""
        from sqlalchemy import select

        from provenance.audit import _tables as t

        query = select(t.runs).where(t.runs.c.registry == name, t.runs.c.finished.is_not(None))
        with self._usable(), self._engine.connect() as connection:
            run = connection.execute(query.order_by(t.runs.c.id.desc()).limit(1)).mappings().first()
            if run is None:
                return None
            models, pairs = (
                connection.execute(select(table).where(table.c.run == run["id"])).mappings().all()
                for table in (t.models, t.pairs)
            )
            screened = self._screened(connection, run["id"])
        return Snapshot(
            run=run["id"],
            created=run["finished"],
            threshold=run["threshold"],
            models=tuple(AuditedModel(**_without_run(row)) for row in models),
            pairs=tuple(
                AuditedPair(**_without_run(row), screened=tuple(screened[_names(row)]))
                for row in pairs
            ),
        )

    def nights(self, name: str, most: int = NIGHTS) -> tuple[Night, ...]:
        """The last complete runs over a registry in numbers, the newest last."""
        from provenance.audit import _tables as t

        with self._usable(), self._engine.connect() as connection:
            runs = connection.execute(t.last_runs(name, most)).all()
            ids = [run.id for run in runs]
            models = {row.run: row.number for row in connection.execute(t.models_by_run(ids))}
            verdicts = {
                (row.run, row.verdict): row.number
                for row in connection.execute(t.verdicts_by_run(ids))
            }
            kin = defaultdict(list)
            for run, candidate, reference in connection.execute(t.kin_by_run(ids)):
                kin[run].append((candidate, reference))
        return tuple(
            Night(
                run=run.id,
                created=run.finished,
                models=models.get(run.id, 0),
                families=len(families_of(kin[run.id])),
                kin=len(kin[run.id]),
                undecided=verdicts.get((run.id, "inconclusive"), 0),
                failed=verdicts.get((run.id, None), 0),
            )
            for run in reversed(runs)
        )

    def _screened(
        self, connection: Connection, run: int
    ) -> defaultdict[tuple[str, str], list[ScreenedBlock]]:
        """The blocks of pairs that were judged by a screen, by their candidate and reference."""
        from sqlalchemy import select

        from provenance.audit import _tables as t

        blocks = defaultdict(list)
        query = select(t.screened).where(t.screened.c.run == run)
        for row in connection.execute(query.order_by(t.screened.c.candidate_block)).mappings():
            block = ScreenedBlock(row["candidate_block"], row["reference_block"], row["log10_p"])
            blocks[_names(row)].append(block)
        return blocks

    def unsettled(self) -> set[frozenset[str]]:
        """Pairs that any run judged and did not call independent, by their two digests."""
        from provenance.audit import _tables as t

        with self._usable(), self._engine.connect() as connection:
            return {frozenset(row) for row in connection.execute(t.UNSETTLED)}

    def _keep(self, row: dict[str, Any]) -> None:
        from sqlalchemy.exc import IntegrityError

        from provenance.audit import _tables as t

        with self._usable():
            try:
                with self._engine.begin() as connection:
                    connection.execute(t.evidence.insert().values(row))
            except IntegrityError:
                if self.known(row["key"]) is None:
                    self._mend(row)

    def _mend(self, row: dict[str, Any]) -> None:
        """Replace evidence that cannot be read."""
        from provenance.audit import _tables as t

        with self._writing() as connection:
            where = t.evidence.c.key == row["key"]
            connection.execute(t.evidence.update().where(where).values(row))

    def _prepare(self) -> None:
        """Make the tables, or check the schema of those that are there."""
        from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

        self._engine.connect().close()  # what cannot be reached is not tried again
        for attempt in range(ATTEMPTS):
            try:
                self._make_tables()
            except (IntegrityError, OperationalError, ProgrammingError):
                if attempt == ATTEMPTS - 1:  # not another run that made the same table
                    raise
            else:
                return

    def _make_tables(self) -> None:
        from sqlalchemy import select

        from provenance.audit import _tables as t

        with self._engine.begin() as connection:
            t.schema.create(connection, checkfirst=True)
            schema = connection.execute(select(t.schema.c.version)).scalar()
            if schema is None:
                connection.execute(t.schema.insert().values(id=1, version=t.SCHEMA))
            elif schema != t.SCHEMA:
                raise HistoryError(
                    f"the history {self.shown} is of schema {schema}, and this version of provenance "
                    f"reads schema {t.SCHEMA}: name another history with --history, or use the version "
                    "that wrote this one"
                )
            t.metadata.create_all(connection)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._usable(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Turn an error of the database into one line."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except ModuleNotFoundError as error:
            raise HistoryError(
                f"the history {self.shown} needs the driver {error.name}; install it, such as with "
                "pip install 'psycopg[binary]'"
            ) from error
        except SQLAlchemyError as error:
            lines = str(getattr(error, "orig", None) or error).strip().splitlines() or [""]
            raise HistoryError(f"cannot use the history {self.shown}: {lines[0]}") from error


def default_path() -> str:
    """The SQLite file that is the history where none is named."""
    folder = user_folder("data")
    if folder is None:
        raise HistoryError(
            "there is no home folder to keep the history in: set PROVENANCE_HISTORY to a file"
        )
    return str(folder / "history.sqlite")


def _url(text: str) -> URL:
    from sqlalchemy import URL, make_url

    if is_url(text):
        return make_url(text)
    return URL.create("sqlite", database=os.path.abspath(expanded(text)))  # noqa: PTH100


def _engine(url: URL, *, read_only: bool) -> Engine:
    from sqlalchemy import create_engine, event

    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    file = url.database
    if file and file != ":memory:" and not file.startswith("file:"):
        if not Path(file).exists() and read_only:
            return create_engine("sqlite://")
        _make_file(Path(file))
    engine = create_engine(url, connect_args={"timeout": WAIT_SECONDS})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        _write_ahead(connection)
        # what is lost with the machine's power is measured again, or is in the store
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")

    return engine


def _write_ahead(connection: Any) -> None:
    """Let readers and one writer work at once.

    SQLite refuses this at once, without its usual wait, while another process does the same or opens or
    closes the file.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)
        else:
            return


def _make_file(file: Path) -> None:
    """Make the file for its owner alone: SQLite itself would follow the umask."""
    try:
        make_folder(file.parent)
    except OSError as error:
        raise HistoryError(
            f"cannot make the folder {file.parent} for the history: {error.strerror or error}"
        ) from error
    with suppress(OSError):  # SQLite says why it cannot be had, or that it is there
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _without_run(row: Any) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "run"}


def _names(row: Any) -> tuple[str, str]:
    return row["candidate"], row["reference"]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
