"""workers/ledger/days.py: partitions before they are needed, and each asked for once."""

import datetime

import numpy as np
import psycopg
import pytest

from trinity.store import partitions
from workers.ledger.days import EnsuredDays


def test_days_are_made_once_and_new_ones_when_they_come(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All minutes of a day are one, at both of its ends."""
    asked: list[list[datetime.date]] = []
    ensure = partitions.ensure_days

    def counted(connection: psycopg.Connection, days: list[datetime.date]) -> tuple[str, ...]:
        asked.append(days)
        return ensure(connection, days)

    monkeypatch.setattr(partitions, "ensure_days", counted)
    day = datetime.date(2031, 5, 6)
    first = (day - datetime.date(1970, 1, 1)).days * 1440
    with psycopg.connect(database_url, autocommit=True) as connection:
        days = EnsuredDays(connection)
        days.ensure(np.array([first, first + 1439], dtype=np.int64))
        days.ensure(np.array([first + 700], dtype=np.int64))
        days.ensure(np.array([first, first + 1440], dtype=np.int64))
        days.ensure(np.zeros(0, dtype=np.int64))
        question = "SELECT to_regclass('usage_runs_20310506'), to_regclass('usage_runs_20310507')"
        made = connection.execute(question).fetchone()
    assert asked == [[day], [day + datetime.timedelta(days=1)]]
    assert made is not None
    assert None not in made
