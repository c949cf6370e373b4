"""workers/api/streams/rows.py"""

import asyncio
import json
import random
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.clocks import ManualClock
from tests.support.node_fixture import CATALOG, empty_node
from tests.workers.api.live import Events, Live, live, publish
from tests.workers.request.conftest import answer_of
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.memory.answer_table import AnswerState
from trinity.memory.node import NodeMemory
from workers.api.base.prices import Prices
from workers.api.streams.board import NOTHING_SEEN, PriceBoard
from workers.api.streams.rows import FIELDS, PACKED, PLAIN, ROWS_SECONDS, RowBoard

LATER_NS = 10**18
NAMES = [asset.name for asset in CATALOG.assets]
ALL = tuple(range(len(NAMES)))
BTC, ETH = CATALOG.asset_index("BTC"), CATALOG.asset_index("ETH")
# What an open page may cost a phone.
BYTES_A_SECOND_MAX = 5_000


class Stage:
    """Rows over a clock and prices that the test moves."""

    def __init__(self, memory: NodeMemory) -> None:
        self.memory = memory
        for name in NAMES:
            self.publish(name, "1")
        self.clock = ManualClock(1_000_000_000, 0)
        self.rows = RowBoard(PriceBoard(Prices(CATALOG, memory.answers), self.clock, 77), self.clock, 77)

    def publish(self, asset: str, price: str = "1", **fields: int) -> None:
        publish(self.memory, asset, price, **{"valid_until_ns": LATER_NS, **fields})

    def next_second(self) -> None:
        self.clock.advance(1)
        self.rows.update()

    def take(self, seen: int, assets: tuple[int, ...] = ALL) -> tuple[dict[str, dict[str, Any]], int]:
        """The rows of a message by asset, and what is seen after it."""
        message, seen = self.rows.take(PLAIN, assets, seen)
        data = json.loads(message.split(b"data: ")[1])
        return {row.pop("asset"): row for row in data["rows"]}, seen


@pytest.fixture
def stage() -> Iterator[Stage]:
    with empty_node() as memory:
        yield Stage(memory)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path) as running:
        yield running


def test_first_comes_every_field_then_only_what_changed(stage: Stage) -> None:
    """A field is there once and again when it is another; an asset that stood still is not named."""
    first, seen = stage.take(NOTHING_SEEN)
    assert set(first) == set(NAMES)
    assert set(first["BTC"]) == set(FIELDS)
    assert (first["BTC"]["status"], first["BTC"]["price"], first["BTC"]["last_price"]) == ("fresh", 1, None)
    stage.publish("BTC", "71002.50", timestamp_ms=77)
    stage.next_second()
    second, seen = stage.take(seen)
    assert second == {"BTC": {"price": 71002.5, "confidence_bps": 0.25, "timestamp": second["BTC"]["timestamp"]}}
    stage.next_second()
    assert stage.take(seen)[0] == {}, "and yet a message, so that silence means a lost connection"


def test_a_refused_row_has_no_price_left(stage: Stage) -> None:
    """Its price, confidence and spread are null, its status is the reason, and the last good price has its own name."""
    _, seen = stage.take(NOTHING_SEEN)
    stage.publish("ETH", "2484.5", state=AnswerState.SOURCES_DISAGREE)
    stage.next_second()
    row = stage.take(seen)[0]["ETH"]
    assert (row["status"], row["price"], row["confidence_bps"]) == ("sources_disagree", None, None)
    assert (row["sources"], row["last_price"]) == (None, 2484.5)


def test_a_price_that_ends_by_time_alone_is_told(stage: Stage) -> None:
    """A consensus that died leaves no row fresh."""
    stage.publish("BTC", "2", valid_until_ns=stage.clock.monotonic_ns() + NS_PER_SECOND // 2)
    stage.next_second()
    assert stage.take(NOTHING_SEEN, (BTC,))[0]["BTC"]["status"] == "stale_price"


def test_readers_of_the_same_rows_share_one_message(stage: Stage) -> None:
    """Made once a second, however many they are; whoever is further behind gets all that he has missed."""
    _, seen = stage.take(NOTHING_SEEN, (BTC, ETH))
    stage.publish("BTC", "2")
    stage.next_second()
    first, _ = stage.rows.take(PACKED, (BTC, ETH), seen)
    assert stage.rows.take(PACKED, (BTC, ETH), seen)[0] is first
    stage.publish("ETH", "3")
    stage.next_second()
    late, _ = stage.take(seen, (BTC, ETH))
    assert (late["BTC"]["price"], late["ETH"]["price"]) == (2, 3)
    assert stage.rows.take(PLAIN, (BTC, ETH), stage.rows.tick) == (b"", stage.rows.tick)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ABCD"), st.sampled_from(NAMES[:3]), st.integers(1, 9)), max_size=40))
def test_whoever_puts_the_changes_together_has_every_row(steps: list[tuple[str, str, int]]) -> None:
    """Prices move, prices are refused, seconds pass, the reader comes or not: at the end it has what a new one gets."""
    with empty_node() as memory:
        stage = Stage(memory)
        kept: dict[str, dict[str, Any]] = {}
        seen = NOTHING_SEEN
        for step, asset, number in (*steps, ("C", NAMES[0], 1), ("D", NAMES[0], 1)):
            if step == "A":
                stage.publish(asset, str(number))
            elif step == "B":
                stage.publish(asset, str(number), state=AnswerState.TOO_FEW_SOURCES)
            elif step == "C":
                stage.next_second()
            elif seen != stage.rows.tick:
                changes, seen = stage.take(seen)
                for name, fields in changes.items():
                    kept.setdefault(name, {}).update(fields)
        assert kept == stage.take(NOTHING_SEEN)[0]


async def test_a_stream_goes_on_where_it_ended(service: Live) -> None:
    """With its last id it gets the changes alone; a foreign id gets all fields."""
    url = f"{service.url}/stream/rows?assets=BTC,ETH"
    async with httpx.AsyncClient() as client:
        async with client.stream("GET", url) as response:
            assert response.headers["content-encoding"] == "gzip"
            assert response.headers["vary"] == "Accept-Encoding"
            events = Events(response)
            name, data = await events.next()
            assert (name, [row["asset"] for row in data["rows"]]) == ("rows", ["BTC", "ETH"])
            assert abs(data["time"] - SystemClock().wall_ns() / 1e6) < 10_000
        service.publish("ETH", "71005.5")
        service.features.rows.update()
        async with client.stream("GET", url, headers={"Last-Event-ID": events.last_id}) as response:
            _, data = await Events(response).next()
            assert [(row["asset"], row["price"]) for row in data["rows"]] == [("ETH", 71005.5)]
            assert set(data["rows"][0]) < {"asset", *FIELDS}
        for foreign in ("1-2-3", "x" * 5000):
            async with client.stream("GET", url, headers={"Last-Event-ID": foreign}) as response:
                assert len((await Events(response).next())[1]["rows"]) == 2


async def test_who_does_not_unpack_gets_it_plain(service: Live) -> None:
    """The same words, and over HTTP/1.0 as well."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"GET /stream/rows?assets=BTC HTTP/1.0\r\nAccept-Encoding: gzip;q=0\r\n\r\n")
    async with asyncio.timeout(60):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert b"content-encoding" not in head
        assert (await reader.readuntil(b"\n\n")).startswith(b"retry: ")
        assert b'"price":71002.5' in await reader.readuntil(b"\n\n")
        writer.close()


async def test_a_message_comes_each_second_also_when_nothing_moves(service: Live) -> None:
    """So that a page knows within seconds that it has lost the node, and never without a reason."""
    async with httpx.AsyncClient() as client, client.stream("GET", f"{service.url}/stream/rows?assets=BTC") as response:
        events = Events(response)
        times = [(await events.next(3 * ROWS_SECONDS))[1]["time"] for _ in range(4)]
    assert times == sorted(set(times))


async def test_an_unknown_asset_is_told_and_spoils_nothing(service: Live) -> None:
    """Before the rows of the others, in the words of a lookup."""
    url = f"{service.url}/stream/rows?assets=NOPE,BTC"
    async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
        events = Events(response)
        name, refused = await events.next()
        assert (name, refused["asset"], refused["error"]["code"]) == ("unknown", "NOPE", "unknown_asset")
        name, data = await events.next()
        assert (name, [row["asset"] for row in data["rows"]]) == ("rows", ["BTC"])


@pytest.mark.parametrize(
    ("query", "status", "field"), [("assets=NOPE", 404, "assets"), ("assets=", 400, "assets"), ("view=1", 400, "view")]
)
async def test_wrong_requests_are_refused_by_name(
    optional_client: httpx.AsyncClient, query: str, status: int, field: str
) -> None:
    """Before the stream begins."""
    response = await optional_client.get(f"/stream/rows?{query}")
    assert (response.status_code, response.json()["field"]) == (status, field)


def _move(memory: NodeMemory, asset: str, dice: random.Random) -> None:
    """A change as the demo's: price, confidence, spread and times are others, now and then the sources."""
    price = f"{dice.uniform(1, 90_000):.6g}"
    now_ms = SystemClock().wall_ns() // 1_000_000
    sources = dice.choice((6, 6, 6, 6, 6, 5))
    body = (
        f'{{"asset":"{asset}","price":{price},"currency":"USD","confidence":{dice.uniform(0, 9):.4f},'
        f'"sources":{sources},"rejected":{6 - sources},"source":"consensus","timestamp":{now_ms - dice.randrange(900)},'
        f'"newest_timestamp":{now_ms},"status":"fresh","disagreement_bps":{dice.uniform(0.5, 9):.3f}}}'
    ).encode()
    answer = answer_of(asset, price, valid_until_ns=LATER_NS, confidence=dice.randrange(1, 900))
    answer["body"][0, : len(body)] = np.frombuffer(body, dtype=np.uint8)
    answer["body_length"] = len(body)
    memory.answers.write(memory.answers.row_of(CATALOG.asset_index(asset)), answer)


async def test_an_overview_that_moves_costs_less_than_five_kilobytes_a_second(service: Live) -> None:
    """All rows of the demo move several times a second, each field of them; counted at the socket, frames and all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(b"GET /stream/rows HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip, deflate, br\r\n\r\n")
    unpacker, dice, loop = zlib.decompressobj(wbits=31), random.Random(11), asyncio.get_running_loop()
    wire = messages = rows = 0
    async with asyncio.timeout(30):
        assert b"content-encoding: gzip" in (await reader.readuntil(b"\r\n\r\n")).lower()
        started_at = loop.time()
        while messages < 6:
            for name in NAMES:
                _move(service.memory, name, dice)
            try:
                line = await asyncio.wait_for(reader.readuntil(b"\r\n"), 0.2)
            except TimeoutError:
                continue
            piece = await reader.readexactly(int(line, 16) + 2)
            text = unpacker.decompress(piece[:-2])
            if b"event: rows" not in text:
                continue
            messages += 1
            if messages > 1:  # the first has everything
                wire += len(line) + len(piece)
                rows += len(json.loads(text.split(b"data: ")[1])["rows"])
    seconds = loop.time() - started_at
    writer.close()
    assert rows == 5 * len(NAMES)
    assert seconds > 4 * ROWS_SECONDS
    rate = wire / 5 / ROWS_SECONDS
    print(f"{rate:.0f} bytes a second for {len(NAMES)} rows")
    assert rate < BYTES_A_SECOND_MAX / 2
