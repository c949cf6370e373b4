"""Migrations: the database's tables are brought to this version's state, forward only, one node at a time.

The files are `migrations/<number>-<name>.sql`, applied in the order of their names by yoyo-migrations. Three of its
habits are changed here:

    its lock is a row, which stays when its owner is killed: ours is an advisory lock, which ends with the connection
    it marks a migration in a transaction of its own: ours is marked in that of its tables, so never half
    it knows a migration by its name: we keep a digest of its statements as well, so an edited one is noticed

Rules: a database that knows a migration which this version does not have is newer: it is refused, not touched.
"""

import contextlib
import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import yoyo
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import parse_uri

from trinity.errors import SchemaError, StoreUnavailableError
from trinity.store import queries
from trinity.store.connect import AnyConnection, connect, reason_of
from trinity.store.watch import watched

FOLDER = Path(__file__).parent / "migrations"
# Any number, the same on every node, known to nobody else: the first bytes of SHA-256 of "trinity".
_LOCK_KEY = 0x1F1A5D32
# Another node may be making an index on a large table.
_LOCK_SECONDS = 300


class Status(NamedTuple):
    """Where a database stands: names of migrations, in their order."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    unknown: tuple[str, ...]  # applied, but not of this version: the database is newer
    edited: tuple[str, ...]  # applied with other statements than the file has now

    @property
    def is_current(self) -> bool:
        return not (self.pending or self.unknown or self.edited)


def ensure(url: str) -> Status:
    """Bring the database to this version's state if it is not; one short question when it is.

    StoreUnavailableError when there is no database, SchemaError when it does not fit this version.
    """
    with _connected(url) as connection:
        found = _checked(_status(connection))
        if found.is_current:
            return found
        connection.execute(queries.load("migrate.limit_wait"), [str(_LOCK_SECONDS * 1000)])
        connection.execute(queries.load("migrate.lock"), [_LOCK_KEY])
        # Another node may have done it while this one waited.
        if not _checked(_status(connection)).is_current:
            _apply(connection, FOLDER)
        return _checked(_status(connection))


def check(url: str) -> None:
    """Whether there is a database whose tables are of this version; one short question, nothing is changed.

    StoreUnavailableError when there is none or its tables are older (the operator process brings them forward),
    SchemaError when they do not fit this version.
    """
    with _connected(url) as connection:
        if not _checked(_status(connection)).is_current:
            raise StoreUnavailableError("its tables are not of this version yet: a node's operator process makes them")


def status(url: str) -> Status:
    """What is applied and what is not; changes nothing. StoreUnavailableError."""
    with _connected(url) as connection:
        return _status(connection)


@contextlib.contextmanager
def _connected(url: str) -> Iterator[AnyConnection]:
    try:
        with connect(url, "migrate", statement_seconds=0, autocommit=True) as connection, watched(url, connection):
            yield connection
    except psycopg.Error as error:
        raise StoreUnavailableError(reason_of(error)) from error


def _status(connection: AnyConnection) -> Status:
    known = digests(FOLDER)
    row = connection.execute(queries.load("migrate.has_table")).fetchone()
    assert row is not None
    found: dict[str, str] = dict(connection.execute(queries.load("migrate.applied")).fetchall()) if row[0] else {}
    return Status(
        applied=tuple(sorted(found)),
        pending=tuple(name for name in known if name not in found),
        unknown=tuple(sorted(name for name in found if name not in known)),
        edited=tuple(name for name in known if name in found and found[name] != known[name]),
    )


def _checked(found: Status) -> Status:
    if found.unknown:
        names = ", ".join(found.unknown)
        raise SchemaError(f"it is newer than this version ({names}): install the version that made it, or a newer one")
    if found.edited:
        names = ", ".join(found.edited)
        raise SchemaError(f"{names} is not what was applied: migrations are never edited, add a new one")
    return found


def digests(folder: Path) -> dict[str, str]:
    """Names of the migrations, in order, with a digest of their statements: comments and spaces do not count."""
    return dict(_digests(folder))


@functools.cache
def _digests(folder: Path) -> Sequence[tuple[str, str]]:
    made = []
    for path in sorted(folder.glob("*.sql")):
        words = [word for line in path.read_text().splitlines() for word in line.partition("--")[0].split()]
        made.append((path.stem, hashlib.sha256(" ".join(words).encode()).hexdigest()))
    return made


def _apply(connection: AnyConnection, folder: Path) -> None:
    """Apply what is missing; the caller holds the lock on this connection."""
    connection.execute(queries.load("migrate.create_table"))
    backend = _Backend(connection, digests(folder))
    # Escaped: yoyo takes the name of the folder for a pattern.
    migrations = yoyo.read_migrations("".join(f"[{char}]" if char in "*?[" else char for char in str(folder)))
    backend.apply_migrations_only(backend.to_apply(migrations))


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc] # yoyo has no types
    """yoyo's PostgreSQL on the connection that holds the lock."""

    def __init__(self, connection: AnyConnection, digests: dict[str, str]) -> None:
        self._given = connection
        self._digests = digests
        super().__init__(parse_uri("postgresql+psycopg:///"), "yoyo_migrations")

    def connect(self, _address: Any) -> AnyConnection:
        return self._given

    @contextlib.contextmanager
    def lock(self, timeout: float = 0) -> Iterator[None]:  # noqa: ARG002 - yoyo's signature
        yield  # ours is held

    def apply_one(self, migration: Any, force: bool = False, mark: bool = True) -> None:  # noqa: ARG002
        self.ensure_internal_schema_updated()
        with self.transaction():
            migration.process_steps(self, "apply")
            self.mark_one(migration, log=False)
            self._given.execute(queries.load("migrate.mark"), [migration.id, self._digests[migration.id]])
