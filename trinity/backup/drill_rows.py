"""The drills that were: a row each in the live database, so that every node knows when the next one is due.

Rules: pure but for the three that ask the database. A drill that a killed process left is ended by the next one, which
has the lock.
"""

from typing import Any, Literal, NamedTuple

from psycopg.rows import namedtuple_row

from trinity.store import queries
from trinity.store.connect import AnyConnection

# By itself once a week; after one that was not good the next day, not at once: it reads the whole backup.
EVERY_SECONDS = 7 * 86400.0
AGAIN_SECONDS = 86400.0

Outcome = Literal["good", "different", "failed"]


class DrillResult(NamedTuple):
    """What came of a drill; None where it did not get that far. Moments are seconds since 1970."""

    outcome: Outcome
    detail: str = ""
    restored_to: int | None = None
    base_age_seconds: float | None = None
    lag_seconds: float | None = None
    rpo_seconds: float | None = None
    rto_seconds: float | None = None
    requests: int | None = None
    differences: int | None = None


class LastDrill(NamedTuple):
    """The newest drill that ended, and when one was good last."""

    result: DrillResult
    ended_at: float
    good_at: float | None


def is_due(outcome: str | None, began_ago_seconds: float) -> bool:
    """Whether another drill is to begin; the outcome is the newest one's, also of one that runs or was killed.

    A clock that was ahead when the newest began must not put the next one off for ever.
    """
    if outcome is None or began_ago_seconds < 0:
        return True
    return began_ago_seconds >= (EVERY_SECONDS if outcome == "good" else AGAIN_SECONDS)


def is_due_now(live: AnyConnection) -> bool:
    """The same, asked of the database."""
    row = live.execute(queries.load("drill.last_began_ago")).fetchone()
    return is_due(*row) if row is not None else True


def begin_row(live: AnyConnection) -> tuple[int, float] | None:
    """A drill begins: its row's number, and the moment of its commit; None when another one runs. Autocommit.

    The lock ends with the connection.
    """
    if live.execute(queries.load("drill.take_lock")).fetchone() != (True,):
        return None
    live.execute(queries.load("drill.end_left_over"))
    row = live.execute(queries.load("drill.begin_row")).fetchone()
    assert row is not None, "an insert returns its row"
    return int(row[0]), float(row[1])


def end_row(live: AnyConnection, number: int, result: DrillResult) -> None:
    live.execute(queries.load("drill.end_row"), {"id": number, **result._asdict()})


def last_drill(live: AnyConnection) -> LastDrill | None:
    """None: there was none."""
    with live.cursor(row_factory=namedtuple_row) as cursor:
        row: Any = cursor.execute(queries.load("drill.newest")).fetchone()
    if row is None:
        return None
    restored_to = None if row.restored_to is None else int(row.restored_to)
    result = DrillResult(
        row.outcome, row.detail or "", restored_to, row.base_age_seconds, row.lag_seconds, row.rpo_seconds,
        row.rto_seconds, row.requests, row.differences,
    )  # fmt: skip
    return LastDrill(result, row.ended_at, row.good_at)
