"""The sync job against a real PostgreSQL and a real Valkey: afterwards both say the same, whatever happened between."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest
import valkey

from tests.support.valkey_server import ValkeyCluster, ValkeyServer
from tests.trinity.sync.ledger_copy import LedgerCopy, assert_same, run_sync
from tests.workers.ledger.ledger_fixture import EVENING_NS
from trinity.errors import CacheUnavailableError, SyncRunningError
from trinity.store.connect import connect
from trinity.sync import job, wire
from trinity.sync.job import Progress
from trinity.sync.source import SyncSource

DAY = 86_400


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a run of some thousand rows has a middle."""
    monkeypatch.setattr(job, "PIECE_BYTES", 20_000)
    monkeypatch.setattr(job, "_PIECE_BYTES_MAX", 60_000)


def _after(pieces: int, do: Callable[[], object]) -> Callable[[Progress], None]:
    """Called at each step of a run: at one of them something happens."""
    seen = 0

    def on_progress(_progress: Progress) -> None:
        nonlocal seen
        seen += 1
        if seen == pieces:
            do()

    return on_progress


def _fill(copy: LedgerCopy) -> int:
    """Three days of two rings."""
    for day in range(3):
        copy.load(700, ring=0, shift_seconds=-day * DAY, seed=day)
        copy.load(300, ring=1, shift_seconds=-day * DAY - 100, seed=day + 9)
    copy.add_calls(20)
    return 3000


def test_the_whole_history_is_brought_and_a_second_run_brings_nothing(
    ledger_copy: LedgerCopy, valkey_server: ValkeyServer
) -> None:
    """Every row, in words, in its sets; parameters and keys as well."""
    rows = _fill(ledger_copy)
    ledger_copy.connection.execute("""INSERT INTO application_parameters (name, value) VALUES ('a', '{"x": 1}')""")
    result = run_sync(ledger_copy.url, valkey_server.settings)
    with valkey_server.admin() as client:
        assert assert_same(ledger_copy, client) == result.usage_entries == rows
        assert (result.is_whole, result.report_calls, result.api_keys) == (True, 20, 4)
        assert client.hgetall("app:config")[b"a"] == b'{"x": 1}'
        assert 0 < client.ttl(f"apikey:{'01' * 32}") <= DAY
        name = next(client.scan_iter("usage_log:*"))
        ends = float(client.zscore("usage_logs:index", name.removeprefix(b"usage_log:")) or 0) / 1e6 + 93 * DAY
        assert abs(client.expiretime(name) - ends) <= 1
        again = run_sync(ledger_copy.url, valkey_server.settings)
        assert (again.usage_entries, again.report_calls, again.is_whole) == (0, 0, False)
        assert assert_same(ledger_copy, client) == rows


def test_an_increment_brings_what_was_committed_since_however_late_it_is(
    ledger_copy: LedgerCopy, valkey_server: ValkeyServer
) -> None:
    """Rows of another node that are two days old, and a transaction that was open while a run took its snapshot."""
    _fill(ledger_copy)
    run_sync(ledger_copy.url, valkey_server.settings)
    ledger_copy.load(50, node=2, shift_seconds=-2 * DAY, seed=50)
    ledger_copy.add_calls(3)
    late = ledger_copy.ledger(3)
    with late._connection.transaction():
        ledger_copy.load(40, node=3, shift_seconds=-DAY, seed=51)
        with valkey_server.admin() as client:
            result = run_sync(ledger_copy.url, valkey_server.settings)
            assert not result.is_whole
            assert result.report_calls >= 3
            assert assert_same(ledger_copy, client) == 3050
    result = run_sync(ledger_copy.url, valkey_server.settings)
    with valkey_server.admin() as client:
        assert assert_same(ledger_copy, client) == 3090
    assert 40 <= result.usage_entries < 3090


def test_two_at_once_are_one(ledger_copy: LedgerCopy, valkey_server: ValkeyServer) -> None:
    """The second one says so, and changes nothing."""
    with connect(ledger_copy.url, "sync", autocommit=True) as holder:
        SyncSource(holder)
        with pytest.raises(SyncRunningError, match="another one"):
            run_sync(ledger_copy.url, valkey_server.settings)
    run_sync(ledger_copy.url, valkey_server.settings)


def test_a_run_that_was_killed_in_the_middle_is_gone_on_with(
    ledger_copy: LedgerCopy, valkey_server: ValkeyServer
) -> None:
    """The next one brings the rest, and not what had arrived."""
    rows = _fill(ledger_copy)
    code = (
        "import os, signal, sys\n"
        "from trinity.sync import job\n"
        "job.PIECE_BYTES, job._PIECE_BYTES_MAX = 20_000, 60_000\n"
        "from tests.trinity.sync.ledger_copy import run_sync\n"
        "from tests.trinity.sync.test_job import _after\n"
        "from trinity.cache.address import cache_settings\n"
        "die = _after(4, lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
        "run_sync(sys.argv[1], cache_settings(sys.argv[2]), on_progress=die)\n"
    )
    command = [sys.executable, "-c", code, ledger_copy.url, valkey_server.url]
    assert subprocess.run(command, timeout=120, check=False, cwd=os.getcwd()).returncode == -signal.SIGKILL
    result = run_sync(ledger_copy.url, valkey_server.settings)
    assert 0 < result.usage_entries < rows
    with valkey_server.admin() as client:
        assert assert_same(ledger_copy, client) == rows


@pytest.mark.parametrize("how", ["flushed", "restarted", "paused", "database"])
def test_what_goes_away_in_the_middle_is_right_after_the_next_run(
    ledger_copy: LedgerCopy, valkey_server: ValkeyServer, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Valkey emptied, restarted empty or paused; PostgreSQL's connection cut. Each ends the run with a typed error."""
    rows = _fill(ledger_copy)
    monkeypatch.setattr(wire, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(job, "SILENCE_SECONDS", 1.0)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'trinity sync'"
    happening = {
        "flushed": valkey_server.flush,
        "restarted": valkey_server.restart,
        "paused": valkey_server.pause,
        "database": lambda: ledger_copy.connection.execute(cut),
    }[how]
    expected = psycopg.OperationalError if how == "database" else CacheUnavailableError
    with pytest.raises(expected):
        run_sync(ledger_copy.url, valkey_server.settings, on_progress=_after(4, happening))
    valkey_server.resume()
    run_sync(ledger_copy.url, valkey_server.settings)
    with valkey_server.admin() as client:
        assert assert_same(ledger_copy, client) == rows


def test_an_emptied_valkey_gets_the_whole_history_again(ledger_copy: LedgerCopy, valkey_server: ValkeyServer) -> None:
    """The mark went with the rows."""
    rows = _fill(ledger_copy)
    run_sync(ledger_copy.url, valkey_server.settings)
    valkey_server.flush()
    assert run_sync(ledger_copy.url, valkey_server.settings).is_whole
    with valkey_server.admin() as client:
        assert assert_same(ledger_copy, client) == rows


def test_entries_of_another_database_are_taken_away(ledger_copy: LedgerCopy, valkey_server: ValkeyServer) -> None:
    """And with --full those of this one, before they are brought anew."""
    rows = _fill(ledger_copy)
    run_sync(ledger_copy.url, valkey_server.settings)
    with valkey_server.admin() as client:
        client.hset("sync:mark", "database", "another")
        client.hset("usage_log:0", "time", "1970")
        run_sync(ledger_copy.url, valkey_server.settings)
        assert assert_same(ledger_copy, client) == rows
        client.hset("usage_log:0", "time", "1970")
        assert run_sync(ledger_copy.url, valkey_server.settings, is_whole=True).is_whole
        assert assert_same(ledger_copy, client) == rows


def test_a_valkey_without_room_gets_the_newest_and_it_is_said_what_was_left_out(
    ledger_copy: LedgerCopy, valkey_server: ValkeyServer
) -> None:
    """What arrived is whole; a newer batch later takes the place of the oldest rows."""
    rows = _fill(ledger_copy)
    with valkey_server.admin() as client:
        used = int(client.info("memory")["used_memory"])
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", int((used + 1_700_000) / 0.85))
        result = run_sync(ledger_copy.url, valkey_server.settings)
        assert 0 < result.usage_entries < rows
        assert result.left_out
        held_from = max(end for _, end in result.left_out)
        assert _entries(client) >= result.usage_entries
        assert_same_since(ledger_copy, client, held_from)
        ledger_copy.load(300, ring=2, shift_seconds=600, seed=77)
        newer = run_sync(ledger_copy.url, valkey_server.settings)
        assert newer.removed > 0
        assert newer.left_out
        assert_same_since(ledger_copy, client, max(end for _, end in newer.left_out))
        newest = EVENING_NS / 1e9 + 600
        assert client.zcount("usage_logs:index", newest * 1e6, "+inf") == 300


def assert_same_since(copy: LedgerCopy, client: "valkey.Valkey", since_s: int) -> None:
    """What is older than what is held is there in part, of a piece that did not fit: nobody is told of it."""
    for name in client.zrange("usage_logs:index", "-inf", f"({since_s * 1_000_000}", byscore=True):
        client.delete(b"usage_log:" + name)
    for name in client.scan_iter("usage_logs:*", count=1000):
        client.zremrangebyscore(name, "-inf", f"({since_s * 1_000_000}")
    for name in client.scan_iter("usage_log:*", count=1000):
        time = client.hget(name, "time")
        assert time is not None
    assert assert_same(copy, client, since_s=since_s) > 0


def _entries(client: "valkey.Valkey") -> int:
    return sum(1 for _ in client.scan_iter("usage_log:*", count=1000))


def test_a_cluster_gets_everything_and_a_server_that_was_emptied_alone_is_noticed(
    ledger_copy: LedgerCopy, valkey_cluster: ValkeyCluster
) -> None:
    """Each name where its slot is; the mark is on one server, so each of them has a word of its own."""
    rows = _fill(ledger_copy)
    run_sync(ledger_copy.url, valkey_cluster.settings)
    assert _in_cluster(valkey_cluster) == rows
    with valkey_cluster.servers[1].admin() as client:
        client.flushall()
    assert _in_cluster(valkey_cluster) < rows
    assert run_sync(ledger_copy.url, valkey_cluster.settings).is_whole
    assert _in_cluster(valkey_cluster) == rows


def _in_cluster(cluster: ValkeyCluster) -> int:
    found = 0
    for server in cluster.servers[:3]:
        with server.admin() as client:
            found += _entries(client)
    return found
