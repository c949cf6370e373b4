"""benchmarks/servers/database.py"""

from pathlib import Path

import psutil
import psycopg

from benchmarks.servers.database import database_in


def test_a_database_has_its_tables_and_leaves_with_the_measurement(tmp_path: Path) -> None:
    """A real server with the migrated tables, which is gone afterwards."""
    with database_in(tmp_path) as (url, pid), psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM api_keys").fetchone() == (0,)
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)
