"""`trinity health`: the judgement by its table, the question against real sockets."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trinity.__main__ import main
from trinity.cli.operating.health import judge
from trinity.clock import NS_PER_MS
from trinity.limits import READY_HINT_NS

Run = Callable[..., tuple[int, str]]

STARTED_MS = 1_800_000_000_000
HINT_MS = READY_HINT_NS // NS_PER_MS


def page(status: str, *codes: str) -> dict[str, Any]:
    reasons = [{"code": code, "message": f"because of {code}"} for code in codes]
    return {"status": status, "reasons": reasons, "started_at_ms": STARTED_MS}


@pytest.mark.parametrize(
    ("status", "codes", "age_ms", "state", "healthy"),
    [
        ("ok", [], 100, "ok", True),
        ("degraded", ["feed_down"], HINT_MS + 1, "degraded", True),
        ("down", ["no_fresh_asset"], 100, "starting", False),
        ("down", ["no_fresh_asset", "no_request_worker"], HINT_MS - 1, "starting", False),
        ("down", ["no_fresh_asset"], HINT_MS, "no prices", True),
        ("down", ["no_request_worker"], HINT_MS, "sick", False),
        ("down", ["no_fresh_asset", "no_reporter"], HINT_MS, "sick", False),
        ("down", ["no_pusher"], HINT_MS, "sick", False),
        ("down", ["draining", "no_request_worker"], HINT_MS, "draining", True),
        ("down", ["no_fresh_asset"], -3_600_000, "no prices", True),  # the clock was set back
    ],
)
def test_a_start_is_told_from_a_sick_node_and_exchanges_from_both(
    status: str, codes: list[str], age_ms: int, state: str, healthy: bool
) -> None:
    """Row by row as the module's table has it."""
    verdict = judge(page(status, *codes), STARTED_MS + age_ms)
    assert (verdict.state, verdict.healthy) == (state, healthy)
    assert all(code in verdict.message for code in codes)


class PageServer(http.server.HTTPServer):
    """A health listener that says what it is told to."""

    body = b""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, PageServer)
        assert self.path == "/health"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
        pass


@pytest.fixture
def listener() -> Iterator[PageServer]:
    with PageServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Ask at this port: the exit code and what was printed; there is no data directory."""
    monkeypatch.setenv("TRINITY_DATA_DIR", str(tmp_path / "absent"))

    def ask(port: int, *arguments: str) -> tuple[int, str]:
        monkeypatch.setenv("HEALTH_PORT_LPO", str(port))
        return main(["health", *arguments]), capsys.readouterr().out

    return ask


def test_the_exit_code_is_what_a_container_engine_reads(listener: PageServer, run: Run) -> None:
    """0 is well and 1 is not; the line says why."""
    listener.body = json.dumps(page("degraded", "feed_rest")).encode()
    assert run(listener.server_port) == (0, "degraded: because of feed_rest\n")
    listener.body = json.dumps(page("down", "no_request_worker")).encode()
    code, out = run(listener.server_port, "--json")
    assert (code, json.loads(out)["state"]) == (1, "sick")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"\xff\xfe", b'{"status": "ok"}'])
def test_who_is_no_node_of_ours_is_silent(listener: PageServer, run: Run, body: bytes) -> None:
    """Nothing, a page, JSON of others: no answer of a node, and no traceback."""
    listener.body = body
    code, out = run(listener.server_port)
    assert code == 1
    assert out.startswith("silent: ")


def test_a_node_that_is_not_there_is_silent_and_nothing_is_written(run: Run, tmp_path: Path) -> None:
    """The check of a read-only container makes no folder."""
    code, out = run(1)
    assert code == 1
    assert out.startswith("silent: nothing answers at port 1")
    assert not (tmp_path / "absent").exists()
