"""An exchange that answers with pages instead of its service: each costs one try, and never the feed's process."""

import asyncio
import logging
import multiprocessing
import socketserver
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from feeds.audit.recorder import FrameRecorder, RecordSettings
from feeds.ingest import process as runner
from tests.support.contexts import OpenContext
from trinity.config import FeedsSection
from trinity.memory.control import HEARTBEAT_NS
from trinity.observe.metrics import FEED
from trinity.vocabulary import EXCHANGE_WAYS, FAILURE_KINDS

Until = Callable[..., Awaitable[None]]

_BODY = b"<html><body>Service is not available in your region.</body></html>"


def _page(status: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, "Content-Type: text/html", f"Content-Length: {len(_BODY)}"]
    return "\r\n".join([*lines, "Connection: close"]).encode() + b"\r\n\r\n" + _BODY


# What the server says to everything, and the kinds that it counts as over the WebSocket and over REST.
PAGES = {
    "region": (_page("302 Found", "Location: https://www.example.com/restricted"), "redirect", "redirect"),
    "elsewhere": (_page("307 Temporary Redirect", "Location: ::no address::"), "redirect", "redirect"),
    "forbidden": (_page("403 Forbidden"), "status", "status"),
    "legal": (_page("451 Unavailable For Legal Reasons"), "status", "status"),
    "maintenance": (_page("503 Service Unavailable", "Retry-After: 0"), "status", "status"),
    "page": (_page("200 OK"), "status", ""),
    "bad length": (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "not_http", "not_http"),
    "bad encoding": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nzzzz", "", "closed"),
    "garbage": (bytes(range(256)) * 8, "not_http", "not_http"),
    "mail": (b"220 mail.example.com ESMTP\r\n", "not_http", "not_http"),
    "nothing": (b"", "not_http", "closed"),
}


class _Pages(socketserver.ThreadingTCPServer):
    """Answers every connection with one page, in a thread of its own so that a forked feed can ask it."""

    daemon_threads = True
    allow_reuse_address = True
    page = b""


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.settimeout(5)
        self.request.recv(4096)
        self.request.sendall(self.server.page)  # type: ignore[attr-defined]


@contextmanager
def serving(page: bytes) -> Iterator[int]:
    with _Pages(("127.0.0.1", 0), _Handler) as server:
        server.page = page
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def _failures(context: OpenContext, way: str, kind: str = "") -> int:
    kinds = [kind] if kind else FAILURE_KINDS
    return sum(context.block.read_counter(FEED.index("exchange_failures_total", way, one)) for one in kinds)


@pytest.mark.parametrize("name", PAGES)
async def test_a_page_is_counted_by_kind_and_the_feed_goes_on(
    name: str, venue: Any, start_feed: Any, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """Several tries over both ways come to nothing; the log has the exchange's words once they are printable."""
    caplog.set_level(logging.INFO)
    page, ws_kind, rest_kind = PAGES[name]
    with serving(page) as port:
        venue.ws_base, venue.rest_base = f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}"
        run = start_feed()
        await until(lambda: _failures(run.context, "ws", ws_kind) >= 2)
        if rest_kind:
            await until(lambda: _failures(run.context, "rest", rest_kind) >= 1)
        else:  # a page with status 200 is what the decoder refuses
            await until(lambda: run.counter("rest_requests_total", "refused") >= 1)
        assert not run.task.done()
        lost = [record for record in caplog.records if record.getMessage() == "connection given up"]
        details = [str(record.__dict__["fields"]["detail"]) for record in lost]
        assert all(detail.isprintable() and len(detail) < 400 for detail in details)
        if name == "region":
            assert "https://www.example.com/restricted" in details[0]
            assert "not available in your region" in details[0]
        run.feed.stop()
        await run.task


async def test_a_feed_recovers_from_a_page(venue: Any, start_feed: Any, until: Until) -> None:
    """The page goes, the service is back at the same address: the rows are live again."""
    venue.is_refusing, venue.rest_status = True, 302
    venue.rest_headers = {"Location": "https://www.example.com/restricted"}
    run = start_feed()
    await until(lambda: _failures(run.context, "ws", "status") >= 2 and _failures(run.context, "rest", "redirect") >= 2)
    venue.is_refusing, venue.rest_status = False, 200
    await until(lambda: run.counter("quotes_total", "ws") > 0, 30)


@pytest.mark.parametrize("exchange", ["kraken", "okx", "gemini"])
def test_a_feed_process_lives_through_a_region_block(
    exchange: str, make_context: Callable[..., OpenContext], tmp_path: Path
) -> None:
    """Its own process, the exchange's real decoder: it beats on after several redirects, and SIGTERM ends it with 0."""
    context = make_context()
    with serving(PAGES["region"][0]) as port:
        config = FeedsSection(
            simulated=True,
            ws_base_urls={exchange: f"ws://127.0.0.1:{port}"},
            rest_base_urls={exchange: f"http://127.0.0.1:{port}"},
        )
        arguments = (
            context,
            context.of_feed,
            config,
            exchange,
            FrameRecorder(context, RecordSettings(tmp_path, 1 << 26), exchange),
        )
        process = multiprocessing.get_context("fork").Process(target=runner.run, args=arguments)
        process.start()
        try:
            for _ in range(300):
                process.join(0.1)
                if not process.is_alive() or all(_failures(context, way, "redirect") >= 2 for way in EXCHANGE_WAYS):
                    break
            assert process.is_alive()
            assert all(_failures(context, way, "redirect") >= 2 for way in EXCHANGE_WAYS)
            beat = context.block.read(HEARTBEAT_NS)
            for _ in range(100):
                process.join(0.1)
                if context.block.read(HEARTBEAT_NS) > beat:
                    break
            assert context.block.read(HEARTBEAT_NS) > beat
        finally:
            process.terminate()
            process.join(10)
    assert process.exitcode == 0


async def test_a_stop_ends_a_try_that_hangs(venue: Any, start_feed: Any, until: Until) -> None:
    """A server that accepts and says nothing holds neither the loop nor the end."""

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        await reader.read()  # until the client goes
        writer.close()

    server = await asyncio.start_server(on_client, "127.0.0.1", 0)
    async with server:
        venue.ws_base = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        run = start_feed()
        await until(lambda: run.context.block.read(HEARTBEAT_NS) > 0)
        run.feed.stop()
        await asyncio.wait_for(run.task, 5)
