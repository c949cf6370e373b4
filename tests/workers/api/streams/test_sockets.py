"""Prices over a WebSocket, with a foreign client."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect

from tests.support.node_fixture import CATALOG, empty_node
from tests.workers.api.conftest import table_of
from tests.workers.api.live import Live, live, publish
from trinity.clock import SystemClock
from trinity.memory.answer_table import AnswerState
from trinity.vocabulary import KeyState
from workers.api.base.prices import Prices
from workers.api.streams import events as streams
from workers.api.streams.board import PriceBoard
from workers.api.streams.sockets import MESSAGE_BYTES_MAX, SOCKETS, SocketSubscription


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def board() -> Iterator[PriceBoard]:
    with empty_node() as memory:
        publish(memory, "BTC")
        yield PriceBoard(Prices(CATALOG, memory.answers), SystemClock(), 1)


async def _ask(socket: ClientConnection, **message: Any) -> dict[str, Any]:
    await socket.send(json.dumps(message))
    return await _next(socket)


async def _next(socket: ClientConnection) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await socket.recv())
    return answer


async def test_a_subscription_gets_the_newest_and_then_changes(service: Live) -> None:
    """Refusals as well; after unsubscribing nothing more."""
    async with connect(f"ws://127.0.0.1:{service.port}/ws") as socket:
        assert await _ask(socket, type="subscribe", assets=["eth", "BTC"], interval_ms=50) == {
            "type": "subscribed",
            "assets": ["BTC", "ETH"],
        }
        first = await _next(socket)
        assert [price["asset"] for price in first["prices"]] == ["BTC", "ETH"]
        service.publish("ETH", state=AnswerState.STALE)
        changed = await _next(socket)
        assert [(price["asset"], price["status"]) for price in changed["prices"]] == [("ETH", "stale_price")]
        assert changed["id"] > first["id"]
        assert (await _ask(socket, type="unsubscribe", assets=["BTC"]))["assets"] == ["ETH"]
        service.publish("BTC", "5")
        service.publish("ETH", "6")
        assert [price["asset"] for price in (await _next(socket))["prices"]] == ["ETH"]
        assert await _ask(socket, type="ping", id="x") == {"type": "pong", "id": "x"}


WRONG_MESSAGES: list[tuple[str | bytes, str, str | None]] = [
    ('{"type":"subscribe","assets":["NOPE"]}', "unknown_asset", "assets"),
    ('{"type":"subscribe","assets":[]}', "bad_parameter", "assets"),
    ('{"type":"subscribe","assets":[1]}', "bad_message", "assets[0]"),
    ('{"type":"subscribe","assets":"BTC"}', "bad_message", "assets"),
    ('{"type":"subscribe","assets":["BTC"],"interval_ms":-1}', "bad_parameter", "interval_ms"),
    ('{"type":"subscribe","asset":["BTC"]}', "bad_message", "asset"),
    ('{"type":"buy"}', "bad_message", "type"),
    ("{", "bad_message", None),
    (b"\xff\x00", "bad_message", None),
]


async def test_a_wrong_message_is_answered_by_what_is_wrong(service: Live) -> None:
    """The error names the field, and the connection goes on."""
    async with connect(f"ws://127.0.0.1:{service.port}/ws") as socket:
        for message, code, field in WRONG_MESSAGES:
            await socket.send(message)
            answer = await _next(socket)
            assert (answer["type"], answer["error"]["code"], answer["error"].get("field")) == ("error", code, field)
        assert (await _ask(socket, type="ping"))["type"] == "pong"


async def test_an_unknown_asset_spoils_no_subscription(service: Live) -> None:
    """It stands in the reply, in the words of a lookup; what the others cost does not count it."""
    async with connect(f"ws://127.0.0.1:{service.port}/ws") as socket:
        reply = await _ask(socket, type="subscribe", assets=["BTC", "NOPE"])
        assert (reply["type"], reply["assets"]) == ("subscribed", ["BTC"])
        assert [(told["asset"], told["status"]) for told in reply["unknown"]] == [("NOPE", "unknown_asset")]
        assert [price["asset"] for price in (await _next(socket))["prices"]] == ["BTC"]


async def test_a_binary_frame_is_read_as_a_text_frame_is(service: Live) -> None:
    """JSON in either; what is no UTF-8 is a wrong message, and the connection goes on."""
    async with connect(f"ws://127.0.0.1:{service.port}/ws") as socket:
        await socket.send(b'{"type":"subscribe","assets":["BTC"]}')
        assert await _next(socket) == {"type": "subscribed", "assets": ["BTC"]}
        assert (await _next(socket))["type"] == "prices"
        for wrong in (b'{"type":"ping","id":"\xff"}', b"\xff", b""):
            await socket.send(wrong)
            assert (await _next(socket))["error"]["code"] == "bad_message"
        await socket.send(b'{"type":"ping","id":1}')
        assert await _next(socket) == {"type": "pong", "id": 1}
        await socket.send(b" " * (MESSAGE_BYTES_MAX + 1))
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
            await _next(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_a_wrong_type_is_told_what_there_is(service: Live) -> None:
    """As an enum of a query is."""
    async with connect(f"ws://127.0.0.1:{service.port}/ws") as socket:
        assert "subscribe, unsubscribe, ping" in (await _ask(socket, type="buy"))["error"]["message"]


async def test_a_key_is_required_where_it_is(tmp_path: Path) -> None:
    """Without one there is a problem, no connection; it may stand in the query, because browsers send no headers."""
    async with live(tmp_path, auth="required") as service:
        for query, status, code in (("", 401, "missing_key"), ("?assets=BTC", 400, "unknown_parameter")):
            with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
                await connect(f"ws://127.0.0.1:{service.port}/ws{query}")
            response = refused.value.response
            body = json.loads(response.body)
            assert (response.status_code, body["code"]) == (status, code)
            assert body["request_id"] == response.headers["X-Request-Id"]
            assert response.headers["Content-Type"] == "application/problem+json"
        admin_key = service.parts.settings.admin_key
        async with connect(f"ws://127.0.0.1:{service.port}/ws?api_key={admin_key}") as socket:
            assert (await _ask(socket, type="ping"))["type"] == "pong"


async def test_heartbeats_fill_the_silence(service: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before the first subscription, and while an interval lasts."""
    monkeypatch.setattr(streams, "HEARTBEAT_NS", 1)
    async with connect(f"ws://127.0.0.1:{service.port}/ws") as socket:
        assert await _next(socket) == {"type": "heartbeat"}
        await socket.send('{"type":"subscribe","assets":["BTC"],"interval_ms":60000}')
        service.publish("BTC", "5")
        while '"price":5' not in str(await socket.recv()):
            pass
        service.publish("BTC", "6")
        for _ in range(3):
            assert await _next(socket) == {"type": "heartbeat"}


async def test_a_message_that_is_too_big_closes_the_connection(service: Live) -> None:
    """With the code for it; by its bytes, not its letters."""
    for text in ("x" * 20_000, "ü" * 9_000):
        async with connect(f"ws://127.0.0.1:{service.port}/ws") as socket:
            await socket.send(json.dumps({"type": "ping", "id": text}, ensure_ascii=False))
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                await _next(socket)
            assert socket.close_code == 1009


async def test_one_caller_has_a_few_connections(service: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is a 429."""
    monkeypatch.setattr(service.features.streams.sockets, "_bounds", SOCKETS._replace(max_per_client=1))
    async with connect(f"ws://127.0.0.1:{service.port}/ws"):
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{service.port}/ws")
    assert (refused.value.response.status_code, json.loads(refused.value.response.body)["code"]) == (
        429, "too_many_sockets",
    )  # fmt: skip


async def test_a_revoked_key_loses_its_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed with the status that it would get now, and its code."""
    monkeypatch.setattr(streams, "CHECK_NS", 1)
    keys = table_of("a")
    async with (
        live(tmp_path, keys=keys, auth="required") as service,
        connect(f"ws://127.0.0.1:{service.port}/ws?api_key=a") as socket,
    ):
        assert (await _ask(socket, type="ping"))["type"] == "pong"
        keys.write(1, hashlib.sha256(b"a").digest(), KeyState.REVOKED, 0, 0, 0, False)
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            await _next(socket)
        assert (socket.close_code, (socket.close_reason or "").partition(":")[0]) == (4403, "key_revoked")


async def test_a_drain_closes_connections(service: Live) -> None:
    """With the code for going away."""
    async with connect(f"ws://127.0.0.1:{service.port}/ws") as socket:
        service.draining.set()
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            await _next(socket)
        assert socket.close_code == 1001


async def test_places_are_free_again(service: Live) -> None:
    """Whoever leaves, leaves nothing behind."""
    for _ in range(3):
        async with connect(f"ws://127.0.0.1:{service.port}/ws") as socket:
            await _ask(socket, type="subscribe", assets=["BTC"])
    async with connect(f"ws://127.0.0.1:{service.port}/ws") as socket:
        while service.features.streams.sockets.total > 1:
            await _ask(socket, type="ping")


@settings(max_examples=50)
@given(
    st.text()
    | st.recursive(
        st.none() | st.integers() | st.text() | st.sampled_from(["subscribe", "unsubscribe", "ping", "BTC"]),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["type", "assets", "id", "interval_ms"]), inner)
        ),
    ).map(json.dumps)
)
def test_no_message_breaks_a_subscription(board: PriceBoard, text: str) -> None:
    """Every text has an answer with a type, and the subscription stays one of known assets."""
    subscription = SocketSubscription(board, lambda _: None)
    assert subscription.answer(text)["type"] in ("subscribed", "pong", "error")
    subscription.next_chunk()
    assert set(subscription.assets) <= set(range(len(CATALOG.assets)))


@pytest.mark.parametrize("form", ["%s", '{"type":"ping","id":%s}', '{"type":"subscribe","other":%s}'])
def test_a_nested_message_is_answered_as_a_wrong_one(board: PriceBoard, form: str) -> None:
    """As deep as a message may be long: an error, and the connection goes on."""
    answer = SocketSubscription(board, lambda _: None).answer(form % ("[" * 8_000 + "]" * 8_000))
    assert (answer["type"], answer["error"]["code"]) == ("error", "bad_message")
