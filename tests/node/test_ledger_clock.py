"""The machine's clock is set back by an hour under load, and forward again: each answer is a row all the same."""

import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.node.books import assert_exact, wait_for_ledger
from tests.node.customers import crowd_of
from tests.node.harness import Node, new_node
from trinity.store.embedded import embedded_url

pytestmark = pytest.mark.long

ANSWERS = 3_000
HOUR_SECONDS = 3600
# libfaketime looks into its file this often.
CACHE_SECONDS = 1

_SET_BACK = "SELECT count(*) FROM usage_log WHERE time < now() - interval '59 min'"


def _library() -> str:
    """Where the library is that stands between a program and its clock: its own command tells."""
    if shutil.which("faketime") is None:
        pytest.skip("faketime is not installed")
    told = subprocess.run(
        ["faketime", "-f", "+0s", "printenv", "LD_PRELOAD"], capture_output=True, text=True, check=True
    )
    return told.stdout.strip()


def _set_back_rows(node: Node) -> int:
    with psycopg.connect(embedded_url(node.data_dir)) as connection:
        row = connection.execute(_SET_BACK).fetchone()
    assert row is not None
    return int(row[0])


def test_a_clock_set_back_by_an_hour_costs_nothing(tmp_path: Path) -> None:
    """Only the wall clock jumps, as with date(1), and for the node alone: PostgreSQL keeps the real time. Prices go on,
    rows carry the time that the node took for true, and their number is that of the answers."""
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    clock = {
        "LD_PRELOAD": _library(),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": str(CACHE_SECONDS),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with new_node(tmp_path / "data", **clock) as node:
        node.start()
        wait_for_ledger(node)
        with crowd_of(node) as crowd:
            for seconds in (-HOUR_SECONDS, 0):
                answers, set_back = crowd.answers, _set_back_rows(node)
                offset.write_text(f"{seconds:+}\n")
                if seconds:
                    node.wait("rows of an hour ago", lambda: _set_back_rows(node) > set_back, 30)  # noqa: B023
                node.wait("answers that go on", lambda: crowd.answers > answers + ANSWERS)  # noqa: B023
                node.wait("fresh prices", lambda: node.get("/ready", "HEALTH_PORT_LPO")[0] == 200)
            assert_exact(node, crowd)
        assert node.stop() == 0
