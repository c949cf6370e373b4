"""Reports over UDP: real datagrams, the same callers as HTTP, and no more bytes out than in for strangers."""

import asyncio
import ipaddress
import json
import socket
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.api.conftest import ADMIN_KEY, service, settings_of, table_of, tables_of
from trinity.memory.block_table import BlockTable
from trinity.net.ports import bind_socket
from trinity.observe.metrics import REPORTER
from workers.api.base.callers.forwarded import address_of
from workers.api.base.callers.throttle import TRIES_AT_ONCE, LoginThrottle
from workers.api.base.context import Parts
from workers.api.usage.datagram import REPLY_BYTES_MAX, ReportDatagrams, reply_to, within

SENDER = address_of("192.0.2.1")
SUMMARY = {"report": "summary", "period": "93d"}


async def _ask(parts: Parts, throttle: LoginThrottle | None = None, **fields: Any) -> tuple[int, dict[str, Any]]:
    status, reply, _ = await reply_to(parts, throttle or LoginThrottle(), json.dumps(fields).encode(), SENDER)
    assert len(reply) <= REPLY_BYTES_MAX
    return status, json.loads(reply)


async def test_a_summary_is_that_of_http(usage_url: str, tmp_path: Path) -> None:
    """A key sees its own account, the operator all; the id comes back."""
    async with service(settings_of(tmp_path, database_url=usage_url)) as (parts, _):
        status, own = await _ask(parts, **SUMMARY, api_key="key-1", id="x-7")
        assert (status, own["id"], own["report"]) == (200, "x-7", "summary")
        _, whole = await _ask(parts, **SUMMARY, api_key=ADMIN_KEY, id=8)
        assert whole["id"] == 8
        assert set(own) == set(whole) >= {"requests", "errors", "latency_us", "statuses", "protocols", "top_assets"}


@pytest.mark.parametrize(
    ("fields", "status", "code", "field"),
    [
        ({**SUMMARY}, 401, "missing_key", None),
        ({**SUMMARY, "api_key": ""}, 401, "missing_key", None),
        ({**SUMMARY, "api_key": "ü"}, 401, "invalid_key", None),
        ({**SUMMARY, "api_key": "nobody"}, 503, "database_unavailable", None),
        ({**SUMMARY, "api_key": ADMIN_KEY, "period": "x"}, 400, "bad_parameter", "period"),
        ({"report": "everything"}, 400, "bad_parameter", "report"),
        ({**SUMMARY, "more": 1}, 400, "bad_parameter", "more"),
        ({**SUMMARY, "id": "x" * 65}, 400, "bad_parameter", "id"),
        ({**SUMMARY, "id": [1]}, 400, "bad_parameter", "id"),
    ],
)
async def test_refusals_have_a_code(
    tmp_path: Path, fields: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    """The same codes as over HTTP."""
    async with service(settings_of(tmp_path)) as (parts, _):
        found, reply = await _ask(parts, **fields)
        assert (found, reply["error"]["code"], reply["error"].get("field")) == (status, code, field)


async def test_any_bytes_are_answered_or_dropped(tmp_path: Path) -> None:
    """Nothing that arrives is an error of ours; what looks like a reply is never answered."""
    async with service(settings_of(tmp_path)) as (parts, _):
        for data in (b"{", b"[]", b"\xff" * 50, b"0", b"{}", b"{" * 2000, b'{"report":null}', b'{"id":1e400}', b" "):
            status, reply, _ = await reply_to(parts, LoginThrottle(), data, SENDER)
            assert status == 400
            assert json.loads(reply)["error"]["code"] in ("bad_request", "bad_parameter")
        assert (await reply_to(parts, LoginThrottle(), b'{"error":{"code":"pad_request"}}', SENDER))[1] == b""


@given(st.binary(max_size=1200), st.integers(0, 2048))
def test_a_stranger_gets_no_more_bytes_than_it_sent(reply: bytes, room: int) -> None:
    """The reply, or a request to pad with the length that is needed, or nothing."""
    sent = within(reply, room)
    assert len(sent) <= room
    if len(reply) <= room:
        assert sent == reply
    elif len(sent) > len('{"error":{"code":"pad_request"}}'):
        assert json.loads(sent)["error"]["bytes"] == len(reply)


async def test_only_loopback_and_trusted_networks_get_longer_replies(tmp_path: Path) -> None:
    """The same networks as for lookups."""
    async with service(settings_of(tmp_path, udp_trusted_networks=("10.0.0.0/8", "fd00::/8"))) as (parts, _):
        datagrams = ReportDatagrams(parts, bind_socket("127.0.0.1", 0, socket.SOCK_DGRAM))
        trusted = {text: datagrams.is_trusted(address_of(text)) for text in (
            "127.0.0.1", "::1", "10.2.3.4", "fd00::7", "::ffff:10.2.3.4", "192.0.2.1", "2001:db8::1")}  # fmt: skip
        datagrams.close()
        assert list(trusted.values()) == [True, True, True, True, True, False, False]


async def test_over_a_real_socket_a_stranger_gets_no_more_than_it_sent(
    usage_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it asks; the row in the log says what was sent."""
    monkeypatch.setattr(ReportDatagrams, "is_trusted", lambda *_: False)
    async with service(settings_of(tmp_path, database_url=usage_url)) as (parts, _):
        loop = asyncio.get_running_loop()
        bound = bind_socket("127.0.0.2", 0, socket.SOCK_DGRAM)
        datagrams = ReportDatagrams(parts, bound)
        request = json.dumps({**SUMMARY, "api_key": "key-1", "id": 1}).encode()
        padded = [request + b" " * count for count in (0, 200, 1200)]
        asked = [b"{}", b"{" * 30, b"?" * 60, json.dumps(SUMMARY).encode(), *padded]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(bound.getsockname())
            for number, data in enumerate(asked, start=1):
                await loop.sock_sendall(client, data)
                async with asyncio.timeout(60):
                    while len(parts.calls._rows) < number:
                        await asyncio.sleep(0.005)
                row = parts.calls._rows[-1]
                reply = await loop.sock_recv(client, 4096) if row.bytes else b""
                assert row.bytes == len(reply) <= len(data)
                assert (row.status == 200) == (b'"error"' not in reply and bool(reply))
        statuses = [row.status for row in parts.calls._rows]
        assert (set(statuses[:5]), statuses[-1]) == ({400}, 200)
        datagrams.close()


async def test_tables_that_are_being_made_are_a_503(empty_database_url: str, tmp_path: Path) -> None:
    """As over HTTP; what nobody foresaw is a 500 with a reply, and a line in the log."""
    async with service(settings_of(tmp_path, database_url=empty_database_url)) as (parts, _):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "workers.api.usage.datagram.summarize", _fail_with(psycopg.errors.UndefinedTable("usage_log"))
            )
            status, reply = await _ask(parts, **SUMMARY, api_key=ADMIN_KEY)
            assert (status, reply["error"]["code"]) == (503, "database_unavailable")
            patch.setattr("workers.api.usage.datagram.summarize", _fail_with(ZeroDivisionError()))
            status, reply = await _ask(parts, **SUMMARY, api_key=ADMIN_KEY)
            assert (status, reply["error"]["code"]) == (500, "internal_error")


def _fail_with(error: Exception) -> Any:
    async def fail(*_: Any) -> bytes:
        raise error

    return fail


async def test_guessing_over_udp_is_slowed_down_and_locks_nobody_out_of_http(tmp_path: Path) -> None:
    """A sender can be forged: its tries over UDP are not those over HTTP. A blocked one is told so."""
    blocks = BlockTable.private()
    async with service(settings_of(tmp_path), tables_of(table_of("a"), blocks)) as (parts, _):
        throttle = LoginThrottle()
        for _ in range(TRIES_AT_ONCE):
            assert (await _ask(parts, throttle, **SUMMARY, api_key="guess"))[0] == 401
        for key in ("guess", ADMIN_KEY):
            assert (await _ask(parts, throttle, **SUMMARY, api_key=key))[0] == 429
        assert parts.login_throttle.wait_seconds(SENDER, parts.context.clock.monotonic_ns() / 1e9) == 0
        blocks.write([ipaddress.ip_network("192.0.2.0/24")])
        status, reply = await _ask(parts, **SUMMARY, api_key=ADMIN_KEY)
        assert (status, reply["error"]["code"]) == (403, "address_blocked")


async def test_datagrams_go_over_a_real_socket(usage_url: str, tmp_path: Path) -> None:
    """Answered, padded or not, and counted; too long ones are dropped."""
    async with service(settings_of(tmp_path, database_url=usage_url)) as (parts, _):
        loop = asyncio.get_running_loop()
        bound = bind_socket("127.0.0.1", 0, socket.SOCK_DGRAM)
        datagrams = ReportDatagrams(parts, bound)
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.setblocking(False)
        client.connect(bound.getsockname())
        request = json.dumps({**SUMMARY, "api_key": "key-1", "id": 1}).encode()
        async with asyncio.timeout(60):
            for data in (b"x" * 2049, request + b" \n\0"):
                await loop.sock_sendall(client, data)
            assert json.loads(await loop.sock_recv(client, 4096))["id"] == 1
        datagrams.close()
        client.close()
        counts = [
            parts.context.block.read_counter(REPORTER.index("report_udp_datagrams_total", result))
            for result in ("answered", "error", "dropped")
        ]
        assert counts == [1, 0, 1]
        assert [(row.path, row.status, row.key_id) for row in parts.calls._rows] == [("udp:summary", 200, 1)]


@pytest.mark.parametrize(
    ("bound_to", "asked"),
    [
        ("0.0.0.0", "127.0.0.2"),
        ("0.0.0.0", "127.0.0.3"),
        ("::", "127.0.0.2"),
        ("::", "::1"),
        ("127.0.0.2", "127.0.0.2"),
    ],
)
async def test_a_reply_leaves_from_the_address_that_was_asked(tmp_path: Path, bound_to: str, asked: str) -> None:
    """A connected socket takes no other address's word; an IPv4 caller is one through both kinds of socket."""
    async with service(settings_of(tmp_path)) as (parts, _):
        loop = asyncio.get_running_loop()
        bound = bind_socket(bound_to, 0, socket.SOCK_DGRAM, shared=True)
        datagrams = ReportDatagrams(parts, bound)
        with socket.socket(socket.AF_INET6 if ":" in asked else socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect((asked, bound.getsockname()[1]))
            await loop.sock_sendall(client, json.dumps(SUMMARY).encode().ljust(400))
            async with asyncio.timeout(60):
                reply = json.loads(await loop.sock_recv(client, 4096))
        datagrams.close()
        assert reply["error"]["code"] == "missing_key"
        assert parts.calls._rows[-1].address.version == (6 if ":" in asked else 4)
