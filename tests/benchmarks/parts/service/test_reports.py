"""The measurement of reports, over a little database, with every question asked for real."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from benchmarks.errors import PeerError
from benchmarks.parts.service import reports
from benchmarks.parts.service.reports import _Asker, _check_room, _questions
from benchmarks.servers.processes import free_port, start, wait_for_port
from benchmarks.servers.usage_rows import fill
from trinity.clock import SystemClock


def test_every_question_is_answered_over_both_protocols(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused question would be measured as a fast one, so it ends the measurement."""
    monkeypatch.setattr(reports, "KEYS", 3)
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    with psycopg.connect(database_url) as connection:
        connection.execute("SET timezone = 'UTC'")
        rows = list(fill(connection, rows=1, days=2, keys=3, end=end))[-1]
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.servers.report_service", f"t-{port}", str(port), database_url]
    service = start("reports", command, tmp_path)
    asker = _Asker(port, SystemClock())
    try:
        wait_for_port(service, port)
        for name, ask in _questions(asker, end - timedelta(days=93), end):
            assert ask(0) > 0, name
        assert asker.csv_rows_per_second(end - timedelta(days=2), end) * 60 > rows
        with pytest.raises(PeerError, match="unknown_parameter"):
            asker.get("/reports/summary?nothing=1", reports.ADMIN_KEY)
    finally:
        asker.close()
        service.stop()


def test_a_database_that_does_not_fit_is_not_begun(tmp_path: Path) -> None:
    """The message says what to do."""
    with pytest.raises(PeerError, match="fewer --rows"):
        _check_room(tmp_path, 10**15)
