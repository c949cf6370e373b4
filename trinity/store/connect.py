"""Connections to the database: how they are made, and what an error means for who asked.

Rules: only child processes and tools connect, never the supervisor, which forks. Every connection bears the name of
its user, works in UTC, and is bounded in time: to connect, for one statement, and for the silence of a server that has
vanished; watch.py cuts off who waits for one that is frozen. What fails before there is a connection is a
StoreUnavailableError; what fails on one is psycopg's error, and `judge` says what to do then.

    again    at once, from the start of the transaction: another one was in the way
    later    the database is down, full, starting or misconfigured: keep what you have and try again
    never    these rows or this statement will fail forever
"""

from typing import Any, Literal

import psycopg
from psycopg.conninfo import make_conninfo

from trinity.errors import StoreSilentError, StoreUnavailableError

Judgement = Literal["again", "later", "never"]
AnyConnection = psycopg.Connection[tuple[Any, ...]]

# A server on this machine answers within 1 ms, one across an ocean within 1 s; libpq knows nothing shorter.
CONNECT_SECONDS = 2
# The longest statement of an ordinary user is a COPY of some 100,000 rows: 1 s. Reports set their own.
STATEMENT_SECONDS = 30
# A server that vanished without a word is noticed after this time, also while a COPY is under way (tcp(7)).
_VANISHED_SECONDS = 15
# A transaction that its process forgot must not keep autovacuum from its work.
_IDLE_IN_TRANSACTION_SECONDS = 60

# States, else classes, of SQLSTATE (PostgreSQL's appendix A); None: no answer from a server at all.
_JUDGEMENTS: dict[str | None, Judgement] = {
    None: "later",
    "23514": "again",  # no partition for the row: another node dropped it a moment ago
    "08": "later",  # connection exception
    "25": "later",  # read-only transaction: a standby that was promoted or demoted
    "28": "later",  # the operator changed role or password
    "3D": "later",  # the database is not there (yet)
    "40": "again",  # deadlock, serialization failure
    "53": "later",  # disk full, out of memory, too many connections
    "55": "again",  # lock not available, object in use
    "57": "later",  # shutdown, starting up, statement time-out
    "58": "later",  # input/output error
    "XX": "later",  # corrupted data: what we hold is safe until an operator has repaired it
}


def judge(error: psycopg.Error) -> Judgement:
    """What to do about a failed statement or connection."""
    state = error.sqlstate
    if state is None and not isinstance(error, psycopg.OperationalError):
        return "never"  # found wrong before it was sent: a value that does not fit
    return _JUDGEMENTS.get(state) or _JUDGEMENTS.get(state and state[:2], "never")


def connect(
    url: str, name: str, *, statement_seconds: float = STATEMENT_SECONDS, autocommit: bool = False
) -> AnyConnection:
    """A connection whose user is shown as `name`; `statement_seconds` 0 sets no bound. StoreUnavailableError."""
    try:
        return psycopg.connect(bounded(url, name, statement_seconds), autocommit=autocommit)
    except psycopg.Error as error:
        if is_silence(error):
            raise StoreSilentError(CONNECT_SECONDS) from None
        raise StoreUnavailableError(reason_of(error)) from None


def is_silence(error: psycopg.Error) -> bool:
    """Whether a connection was not made because nobody said a word."""
    return isinstance(error, psycopg.errors.ConnectionTimeout)


def bounded(url: str, name: str, statement_seconds: float) -> str:
    """The address with our name, time zone and bounds; what it says itself wins, but for the name."""
    given = psycopg.conninfo.conninfo_to_dict(url)
    settings = {
        "statement_timeout": f"{statement_seconds * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{_IDLE_IN_TRANSACTION_SECONDS * 1000}",
        "timezone": "UTC",
    }
    options = [f"-c {setting}={value}" for setting, value in settings.items()]
    defaults: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": _VANISHED_SECONDS // 3,
        "keepalives_interval": _VANISHED_SECONDS // 3,
        "keepalives_count": 2,
        "tcp_user_timeout": _VANISHED_SECONDS * 1000,
    }
    own = {
        "application_name": f"trinity {name}",
        "client_encoding": "utf8",
        "options": " ".join([*options, str(given.get("options") or "")]).strip(),
    }
    return make_conninfo(**(defaults | given | own))


def reason_of(error: psycopg.Error) -> str:
    """One line that says why; libpq's messages hold addresses and names, no passwords."""
    return " ".join(str(error).split()) or type(error).__name__
