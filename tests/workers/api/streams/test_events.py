"""Server-sent events over real sockets."""

import asyncio
import gc
import hashlib
import ipaddress
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.node_fixture import CATALOG
from tests.workers.api.conftest import table_of
from tests.workers.api.live import Events, Live, live, tiny_receive_buffer
from trinity.memory.answer_table import AnswerState
from trinity.memory.block_table import BlockTable
from trinity.vocabulary import KeyState
from workers.api.dropins.coins import feed_id_of
from workers.api.streams import events as streams
from workers.api.streams import fanout


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path) as running:
        yield running


async def _until_free(service: Live) -> None:
    async with asyncio.timeout(60):
        while service.features.streams.events.total:
            gc.collect()
            await asyncio.sleep(0.02)


async def test_a_stream_begins_with_the_newest_of_each_asset_and_goes_on_with_changes(service: Live) -> None:
    """Each event is the object of a lookup."""
    async with (
        httpx.AsyncClient() as client,
        client.stream("GET", f"{service.url}/stream/prices?assets=eth,BTC,eth") as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        events = Events(response)
        first = await events.take(2)
        assert first["BTC"]["price"] == 71002.5
        assert set(first["ETH"]) >= {"price", "confidence", "sources", "rejected", "timestamp", "status"}
        service.publish("SOL", "1")
        service.publish("BTC", "71003.5")
        name, event = await events.next()
        assert (name, event["asset"], event["price"]) == ("price", "BTC", 71003.5)
    await _until_free(service)


async def test_all_assets_are_streamed_when_none_is_named(service: Live) -> None:
    """And interval_ms may stand there."""
    async with (
        httpx.AsyncClient() as client,
        client.stream("GET", f"{service.url}/stream/prices?interval_ms=100") as response,
    ):
        assert set(await Events(response).take(len(CATALOG.assets))) == {asset.name for asset in CATALOG.assets}


async def test_a_refusal_is_streamed_as_well(service: Live) -> None:
    """So nobody takes the last number for a new one."""
    async with (
        httpx.AsyncClient() as client,
        client.stream("GET", f"{service.url}/stream/prices?assets=BTC") as response,
    ):
        events = Events(response)
        await events.next()
        service.publish("BTC", state=AnswerState.SOURCES_DISAGREE)
        _, event = await events.next()
        assert event["status"] == event["error"]["code"] == "sources_disagree"
        assert "price" not in event
        assert event["last_price"] == 71002.5


async def test_last_event_id_continues_with_what_changed_since(service: Live) -> None:
    """Newest values at once; a foreign id gets everything."""
    url = f"{service.url}/stream/prices?assets=BTC,ETH"
    async with httpx.AsyncClient() as client:
        async with client.stream("GET", url) as response:
            events = Events(response)
            await events.take(2)
        for price in ("71004.5", "71005.5"):
            service.publish("ETH", price)
        async with client.stream("GET", url, headers={"Last-Event-ID": events.last_id}) as response:
            resumed = Events(response)
            _, event = await resumed.next()
            assert (event["asset"], event["price"]) == ("ETH", 71005.5)
            assert resumed.last_id > events.last_id
        for foreign in (b"\xff\xfe\xfd", b"1-2-3", b"x" * 5000):
            async with client.stream("GET", url, headers=[(b"Last-Event-ID", foreign)]) as response:
                assert set(await Events(response).take(2)) == {"BTC", "ETH"}


async def test_heartbeats_fill_the_silence(service: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that a page can hear, also while a long interval lasts; for foreign clients a comment."""
    monkeypatch.setattr(fanout, "HEARTBEAT_NS", 1)
    feed = feed_id_of("BTC")
    for path, expected in (
        ("/stream/prices?assets=BTC", "event: heartbeat"),
        ("/stream/prices?assets=BTC&interval_ms=60000", "event: heartbeat"),
        (f"/v2/updates/price/stream?ids[]={feed}", ": heartbeat"),
    ):
        async with (
            asyncio.timeout(60),
            httpx.AsyncClient() as client,
            client.stream("GET", service.url + path) as response,
        ):
            lines = response.aiter_lines()
            async for line in lines:
                if line == expected:
                    break
            if expected.startswith("event"):
                assert await anext(lines) == "data: {}"


async def test_browsers_come_back_at_different_times(service: Live) -> None:
    """Thousands that lost one process do not fall upon the next at the same moment."""
    waits = set()
    async with httpx.AsyncClient() as client:
        for _ in range(5):
            async with client.stream("GET", f"{service.url}/stream/prices?assets=BTC") as response:
                async for line in response.aiter_lines():
                    waits.add(int(line.removeprefix("retry: ")))
                    break
    assert len(waits) > 1
    assert all(streams.RETRY_MS_MIN <= wait < streams.RETRY_MS_MAX for wait in waits)


async def test_a_revoked_key_loses_its_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within seconds, by the node's own table, with the database away; a blocked address as well."""
    monkeypatch.setattr(streams, "CHECK_NS", 1)
    keys, blocks = table_of("a", "b"), BlockTable.private()
    async with live(tmp_path, keys=keys, blocks=blocks, trusted_proxies=("127.0.0.1",)) as service:
        for key_id, key in ((1, "a"), (2, "b")):
            headers = {"X-API-Key": key, "X-Forwarded-For": "192.0.2.7"}
            async with (
                httpx.AsyncClient(headers=headers) as client,
                client.stream("GET", f"{service.url}/stream/prices?assets=BTC") as response,
            ):
                events = Events(response)
                await events.next()
                if key_id == 1:
                    digest = hashlib.sha256(key.encode()).digest()
                    keys.write(key_id, digest, KeyState.REVOKED, 0, 0, 0, False)
                else:
                    blocks.write([ipaddress.ip_network("192.0.2.0/24")])
                with pytest.raises(EOFError):
                    await events.next()
                assert (await client.get(f"{service.url}/stream/prices")).status_code == 403


async def test_an_unknown_asset_spoils_no_stream(service: Live) -> None:
    """It is told at the beginning, in the words of a lookup, and the others come."""
    async with (
        httpx.AsyncClient() as client,
        client.stream("GET", f"{service.url}/stream/prices?assets=ETH,nope%22,BTC") as response,
    ):
        events = await Events(response).take(3)
    assert events["nope?"]["status"] == events["nope?"]["error"]["code"] == "unknown_asset"
    assert events["BTC"]["status"] == events["ETH"]["status"] == "fresh"


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("assets=NOPE", 404, "unknown_asset", "assets"),
        ("assets=", 400, "bad_parameter", "assets"),
        ("assets=BTC,,ETH", 400, "bad_parameter", "assets"),
        ("assets=BTC&assets=ETH", 400, "repeated_parameter", "assets"),
        ("asset=BTC", 400, "unknown_parameter", "asset"),
        ("interval_ms=fast", 400, "bad_parameter", "interval_ms"),
        ("interval_ms=-1", 400, "bad_parameter", "interval_ms"),
        ("interval_ms=99999999999999999999", 400, "bad_parameter", "interval_ms"),
        ("assets=%FF%FE", 404, "unknown_asset", "assets"),
        ("assets=" + ",".join(["BTC"] * 10_000), 400, "bad_parameter", "assets"),
    ],
)
async def test_wrong_requests_are_refused_by_name(
    optional_client: httpx.AsyncClient, query: str, status: int, code: str, field: str
) -> None:
    """Before the stream begins."""
    response = await optional_client.get(f"/stream/prices?{query}")
    assert (response.status_code, response.json()["code"], response.json()["field"]) == (status, code, field)


async def test_a_key_is_required_where_it_is(tmp_path: Path) -> None:
    """A stream is a call like any other."""
    async with live(tmp_path, auth="required") as service, httpx.AsyncClient() as client:
        assert (await client.get(f"{service.url}/stream/prices")).json()["code"] == "missing_key"


async def test_a_reader_that_takes_nothing_costs_no_memory_and_loses_only_old_values(service: Live) -> None:
    """Hundreds of changes wait for nobody: what lies in the sockets is bounded, and the newest value is the last."""
    with tiny_receive_buffer() as slow:
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, ("127.0.0.1", service.port))
        await loop.sock_sendall(slow, b"GET /stream/prices HTTP/1.1\r\nHost: x\r\n\r\n")
        before = psutil.Process(os.getpid()).memory_info().rss
        for turn in range(1, 501):
            for asset in CATALOG.assets:
                service.publish(asset.name, f"{turn}.5")
            assert service.features.streams.board.poll()
            service.features.streams.board._wake()
            await asyncio.sleep(0)
        assert psutil.Process(os.getpid()).memory_info().rss - before < 30_000_000
        service.publish("BTC", "12345.5")
        received, newest = 0, b""
        async with asyncio.timeout(60):
            while b'"price":12345.5' not in newest:
                chunk = await loop.sock_recv(slow, 1 << 20)
                assert chunk
                received += len(chunk)
                newest = newest[-400:] + chunk
        assert received < 2_500_000  # of more than 5 MB that changed
    await _until_free(service)


async def test_streams_end_when_the_process_drains(service: Live) -> None:
    """A client sees the end and comes back elsewhere."""
    async with (
        httpx.AsyncClient() as client,
        client.stream("GET", f"{service.url}/stream/prices?assets=BTC") as response,
    ):
        events = Events(response)
        await events.next()
        service.draining.set()
        with pytest.raises(EOFError):
            await events.next()
    await _until_free(service)


async def _curl(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec("curl", "-s", "-N", *arguments, stdout=asyncio.subprocess.PIPE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    ("flag", "status"),
    [("--http1.1", b"HTTP/1.1 200 OK"), ("--http1.0", b"HTTP/1.0 200 OK"), ("--http2-prior-knowledge", b"HTTP/2 200")],
)
async def test_a_stream_is_the_same_over_every_version_of_http(service: Live, flag: str, status: bytes) -> None:
    """Written by us or, over HTTP/2, by the server: head, first values, changes, and a clean end."""
    client = await _curl("-i", flag, f"{service.url}/stream/prices?assets=BTC")
    assert client.stdout is not None
    async with asyncio.timeout(60):
        assert (await client.stdout.readline()).startswith(status)
        head = (await client.stdout.readuntil(b"\r\n\r\n")).lower()
        assert b"content-type: text/event-stream" in head
        assert b"x-request-id: " in head
        assert b"cache-control: no-store" in head
        assert (await client.stdout.readuntil(b"\n\n")).startswith(b"retry: ")
        assert b'"price":71002.5' in await client.stdout.readuntil(b"\n\n")
        service.publish("BTC", "71003.5")
        assert b'"price":71003.5' in await client.stdout.readuntil(b"\n\n")
        service.draining.set()
        assert await client.stdout.read() == b""
        assert await client.wait() == 0
    await _until_free(service)


async def test_many_streams_of_one_client_each_get_their_own(service: Live) -> None:
    """Opened at once over connections of one address; those who leave free their place and their descriptors."""
    before = len(os.listdir("/proc/self/fd"))
    names = [asset.name for asset in CATALOG.assets]
    made = []
    for number in range(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        name = names[number % len(names)]
        writer.write(f"GET /stream/prices?assets={name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        made.append((name, reader, writer))
    async with asyncio.timeout(60):
        for name, reader, _ in made:
            assert f'"asset":"{name}"'.encode() in await reader.readuntil(b"}\n\n")
        for name in names:
            service.publish(name, "3.5")
        for name, reader, writer in made:
            event = await reader.readuntil(b"}\n\n")
            assert f'"asset":"{name}","price":3.5'.encode() in event
            writer.close()
    await _until_free(service)
    async with asyncio.timeout(60):
        while len(os.listdir("/proc/self/fd")) > before:
            await asyncio.sleep(0.02)


async def test_what_a_stream_sent_is_in_its_row(service: Live) -> None:
    """Bytes of the body, however they were written."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"GET /stream/prices?assets=BTC HTTP/1.0\r\n\r\n")
    async with asyncio.timeout(60):
        await reader.readuntil(b"\r\n\r\n")
        body = await reader.readuntil(b"}\n\n")
        writer.close()
        await _until_free(service)
        while not (rows := [row for row in service.parts.calls._rows if row.path == "/stream/prices"]):
            await asyncio.sleep(0.02)
    assert (rows[0].status, rows[0].bytes) == (200, len(body))


async def test_head_of_a_stream_ends_with_its_head(service: Live) -> None:
    """And the connection goes on."""
    async with httpx.AsyncClient() as client:
        for _ in range(2):
            response = await client.head(f"{service.url}/stream/prices?assets=BTC")
            assert (response.status_code, response.content) == (200, b"")
