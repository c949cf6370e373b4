"""The process: real sockets, two processes on one port, a drain."""

import asyncio
import contextlib
import multiprocessing
import os
import resource
import signal
import socket
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from tests.support.node_fixture import busy_node
from tests.support.patience import PATIENCE
from tests.trinity.store.frozen import frozen, running_server
from tests.workers.api.conftest import ADMIN_KEY, Given, client_to, reporter_of, service, settings_of
from trinity.errors import BugError, PortTakenError
from trinity.memory.control import HEARTBEAT_NS
from trinity.observe.metrics import REPORTER
from trinity.store import migrate
from trinity.store.watch import Watch
from workers.api.base.context import ReportSettings
from workers.api.listener import bind_tcp, bind_udp
from workers.api.server import (
    _serve,
    _watch_database,
    connections_of,
    open_service,
    run,
)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        return int(holder.getsockname()[1])


async def _until_up(port: int) -> None:
    async with asyncio.timeout(60 * PATIENCE), httpx.AsyncClient() as client:
        while True:
            try:
                await client.get(f"http://127.0.0.1:{port}/account")
                return
            except httpx.TransportError:
                await asyncio.sleep(0.02)


async def _serving(reporter: Given, settings: ReportSettings) -> None:
    await _serve(reporter.context, open_service(*reporter, settings))


async def test_the_process_serves_beats_and_ends_on_sigterm(tmp_path: Path) -> None:
    """Without a database as well; what has no end is told to end."""
    port = _free_port()
    with busy_node() as memory:
        reporter = reporter_of(memory)
        context = reporter.context
        context.block.write(HEARTBEAT_NS, 0)
        serving = asyncio.create_task(_serving(reporter, settings_of(tmp_path, tcp_port=port)))
        await _until_up(port)
        assert context.block.read(HEARTBEAT_NS) > 0
        async with httpx.AsyncClient() as client:
            response = await client.get(f"http://127.0.0.1:{port}/account")
        assert response.status_code == 401
        assert response.json()["request_id"] == response.headers["X-Request-Id"]
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(60 * PATIENCE):
            await serving


async def test_a_task_that_ends_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the task's own error, or with its name: the supervisor then starts another process."""

    async def broken(*_: object) -> None:
        raise RuntimeError("a bug of the averages")

    async def over(*_: object) -> None:
        return

    for life, error in ((broken, "a bug of the averages"), (over, "ended by itself: averages")):
        monkeypatch.setattr("workers.api.history.averages.Averages.run", life)
        with busy_node() as memory:
            async with asyncio.timeout(60 * PATIENCE):
                with pytest.raises((RuntimeError, BugError), match=error):
                    await _serving(reporter_of(memory), settings_of(tmp_path, tcp_port=_free_port()))


@pytest.mark.parametrize(
    ("open_files", "connections"),
    [(resource.RLIM_INFINITY, 7168), (20_000, 7168), (1024, 768), (100, 1)],
)
def test_connections_leave_descriptors_for_all_else(open_files: int, connections: int) -> None:
    """Where the machine permits few files, clients take not all of them: the database and the guard need some."""
    assert connections_of(open_files) == connections


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """The error names the variable to change."""
    with busy_node() as memory, socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"TCP_PORT_LRS={port}"):
            await _serving(reporter_of(memory), settings_of(tmp_path, tcp_port=port))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
async def test_a_bind_that_fails_otherwise_is_no_taken_port(tmp_path: Path, kind: socket.SocketKind) -> None:
    """No descriptor left after weeks, an address that is gone: the process ends and is started again, not the node."""
    with busy_node() as memory:
        settings = settings_of(tmp_path, tcp_port=_free_port())
        limit, fds = resource.getrlimit(resource.RLIMIT_NOFILE), []
        async with open_service(*reporter_of(memory), settings, None):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit[0], 256), limit[1]))
            try:
                with contextlib.suppress(OSError):
                    while True:
                        fds.append(os.open("/dev/null", os.O_RDONLY))
                if kind == socket.SOCK_STREAM:
                    with pytest.raises(OSError, match="Too many open files"):
                        bind_tcp(settings)
                else:
                    with pytest.raises(OSError, match="Too many open files"):
                        bind_udp(settings)
            finally:
                for fd in fds:
                    os.close(fd)
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)


async def test_a_taken_udp_port_is_named(tmp_path: Path) -> None:
    """The one failure of a bind that an operator solves with the variable."""
    with busy_node() as memory, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        settings = settings_of(tmp_path, udp_port=holder.getsockname()[1])
        async with open_service(*reporter_of(memory), settings, None):
            with pytest.raises(PortTakenError, match=f"UDP_PORT_LRS={settings.udp_port}"):
                bind_udp(settings)


async def test_tables_of_a_newer_version_are_told_once(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error with its reason, at once, and not again at every look."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO applied_migrations (name, digest) VALUES ('9999-later', 'x')")
    monkeypatch.setattr("workers.api.server.WATCH_SECONDS", 0.02)
    with busy_node() as memory:
        context = reporter_of(memory).context
        context.log.propagate = True
        watching = asyncio.create_task(_watch_database(context, database_url, Watch(database_url)))
        async with asyncio.timeout(60 * PATIENCE):
            while not caplog.records:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        watching.cancel()
        assert context.block.read_gauge(REPORTER.index("report_database_up")) == 0
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "reports without the database")
    assert "newer than this version" in record.fields["reason"]  # type: ignore[attr-defined]


def _run_one(settings: ReportSettings) -> None:
    with busy_node() as memory:
        run(*reporter_of(memory), settings)
    os._exit(0)  # as the launcher does: granian's threads do not survive the interpreter's own end


def _listens(pid: int | None, port: int) -> bool:
    sockets = psutil.Process(pid).net_connections(kind="tcp")
    return any(found.status == psutil.CONN_LISTEN and found.laddr.port == port for found in sockets)


async def test_two_processes_share_the_port(tmp_path: Path) -> None:
    """SO_REUSEPORT: when one ends, the other still answers."""
    port = _free_port()
    context = multiprocessing.get_context("spawn")
    settings = settings_of(tmp_path, tcp_port=port)
    processes = [context.Process(target=_run_one, args=(settings,)) for _ in range(2)]
    for process in processes:
        process.start()
    try:
        async with asyncio.timeout(60 * PATIENCE):
            while not all(_listens(process.pid, port) for process in processes):
                await asyncio.sleep(0.02)
        await _until_up(port)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(60 * PATIENCE)
    assert [process.exitcode for process in processes] == [0, 0]


async def test_reports_of_a_frozen_database_are_refused_within_seconds(tmp_path: Path) -> None:
    """The first one after SILENCE_SECONDS, the next ones at once; the metric says so, and it all comes back."""
    up = REPORTER.index("report_database_up")
    with running_server(tmp_path / "data") as server:
        migrate.ensure(server.url())
        settings = settings_of(tmp_path, database_url=server.url())
        async with service(settings) as (parts, app), client_to(app) as client:
            client.headers["X-API-Key"] = ADMIN_KEY
            async with asyncio.timeout(60 * PATIENCE):
                while parts.context.block.read_gauge(up) == 0:
                    await asyncio.sleep(0.05)
            assert (await client.get("/reports/usage")).status_code == 200
            with frozen(server.server.pid):
                for _ in range(2):
                    refused = await client.get("/reports/summary?period=1h")
                    assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
                async with asyncio.timeout(60 * PATIENCE):
                    while parts.context.block.read_gauge(up) == 1:
                        await asyncio.sleep(0.05)
            async with asyncio.timeout(60 * PATIENCE):
                while (await client.get("/reports/usage")).status_code != 200:
                    await asyncio.sleep(0.05)
