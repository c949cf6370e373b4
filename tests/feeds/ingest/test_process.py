"""The feed's loop over real sockets: a venue of our own on loopback, real shared memory."""

import asyncio
import logging
import multiprocessing
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from feeds.audit.recorder import FrameRecorder, RecordSettings
from feeds.consensus.process import Aggregator
from feeds.exchanges.registry import EXCHANGE_MODULES
from feeds.ingest import freshness
from feeds.ingest import process as runner
from feeds.simulator.server import Simulator
from tests.support.contexts import OpenContext
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import FeedsSection, SimulatorSection
from trinity.memory.answer_table import AnswerState
from trinity.memory.control import HEARTBEAT_NS
from trinity.memory.price_table import RowState, Via
from trinity.observe.metrics import FEED
from trinity.vocabulary import REFUSAL_REASONS

Until = Callable[..., Awaitable[None]]
BTC, ETH, SOL = range(3)


async def judged_twice(run: Any, until: Until) -> None:
    """Two checks later the loop has seen everything that stands in the table now."""
    for _ in range(2):
        beat = run.context.block.read(HEARTBEAT_NS)
        await until(lambda beat=beat: run.context.block.read(HEARTBEAT_NS) > beat)


def warnings_of(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    return [record.__dict__["fields"] for record in caplog.records if record.getMessage() == event]


async def test_quotes_reach_the_table_and_wake_the_consensus(venue: Any, start_feed: Any, until: Until) -> None:
    """A frame's prices, times and way stand in the cell, the row is live and the eventfd counts."""
    venue.time_offset_ns = -1_000_000
    run = start_feed()
    await until(lambda: all(run.via(asset) is Via.WS for asset in range(3)))
    quote = run.quote(BTC)
    assert (str(quote.bid.price), str(quote.ask.price)) == ("69999.50", "70000.50")
    assert quote.bid.received_wall_ns > quote.bid.exchange_time_ns
    assert quote.bid.received_at_ns <= run.context.clock.monotonic_ns()
    assert run.state(BTC) is RowState.LIVE
    assert os.eventfd_read(run.context.wake_fd) > 0
    await until(lambda: run.gauge("ws_connected") == 1)


async def test_missing_exchange_time_stays_missing(venue: Any, start_feed: Any, until: Until) -> None:
    """A quote without a time is written without one, not with the time of its receipt."""
    venue.has_time = False
    run = start_feed()
    await until(lambda: run.quote(BTC) is not None)
    assert run.quote(BTC).newest.exchange_time_ns is None


async def test_the_loop_beats(venue: Any, start_feed: Any, until: Until) -> None:
    """The heartbeat word grows while nothing at all arrives."""
    venue.is_refusing = True
    venue.rest_status = 500
    run = start_feed()
    await until(lambda: run.context.block.read(HEARTBEAT_NS) > 0)
    first = run.context.block.read(HEARTBEAT_NS)
    await until(lambda: run.context.block.read(HEARTBEAT_NS) > first)


async def test_a_closed_connection_is_opened_again(venue: Any, start_feed: Any, until: Until) -> None:
    """The server closes; a second connection delivers and the loss is counted as closed."""
    run = start_feed()
    await until(lambda: run.via(BTC) is Via.WS)
    await venue.sockets[0].close()
    await until(lambda: venue.opened == 2 and len(venue.sockets) == 1)
    seen = run.quote(BTC).newest.received_at_ns
    await until(lambda: run.quote(BTC).newest.received_at_ns > seen)
    assert run.counter("ws_reconnects_total", "closed") == 1


async def test_rest_takes_over_and_hands_back(venue: Any, start_feed: Any, until: Until) -> None:
    """Refused by the WebSocket, the rows go on by REST; when it delivers again, they are its own again."""
    run = start_feed()
    await until(lambda: run.via(BTC) is Via.WS)
    venue.is_refusing = True
    for socket in list(venue.sockets):
        await socket.close()
    await until(lambda: all(run.via(asset) is Via.REST for asset in range(3)))
    assert run.gauge("rest_active") == 1
    assert run.state(BTC) is RowState.LIVE
    assert run.counter("rest_requests_total", "ok") > 0
    venue.is_refusing = False
    await until(lambda: all(run.via(asset) is Via.WS for asset in range(3)), 30)
    await until(lambda: run.gauge("rest_active") == 0)
    asked = len(venue.rest_paths)
    seen = run.counter("quotes_total", "ws")
    await until(lambda: run.counter("quotes_total", "ws") > seen + 60)
    assert len(venue.rest_paths) <= asked + 1


async def test_a_connection_that_only_pings_is_replaced(venue: Any, start_feed: Any, until: Until) -> None:
    """Heartbeats are not freshness: REST shows that prices move, and the frozen connection is given up as stale."""
    run = start_feed()
    await until(lambda: run.via(BTC) is Via.WS)
    venue.is_sending = False
    await until(lambda: run.via(BTC) is Via.REST)
    venue.prices["BTC-USD"] = 70100.0
    await until(lambda: run.counter("ws_reconnects_total", "stale") == 1)
    assert run.state(BTC) is RowState.LIVE
    venue.is_sending = True
    await until(lambda: run.via(BTC) is Via.WS)


async def test_a_quiet_market_is_not_reconnected(
    venue: Any, start_feed: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing moves, REST says the same prices again: the rows live on by REST and the connection is kept."""
    monkeypatch.setattr(freshness, "ARBITRATION_NS", 3 * NS_PER_SECOND)
    run = start_feed()
    await until(lambda: all(run.via(asset) is Via.WS for asset in range(3)))
    venue.is_sending = False
    await until(lambda: run.via(BTC) is Via.REST)
    reads = run.counter("rest_requests_total", "ok")
    await until(lambda: run.counter("rest_requests_total", "ok") > reads + 4, 30)
    assert venue.opened == 1
    assert run.state(BTC) is RowState.LIVE


async def test_one_quiet_asset_goes_to_rest_alone(venue: Any, start_feed: Any, until: Until) -> None:
    """Only the silent symbol is asked for; its neighbours stay with the WebSocket."""
    venue.silent_symbols.add("SOL-USD")
    run = start_feed()
    await until(lambda: run.via(SOL) is Via.REST)
    assert run.via(BTC) is Via.WS
    await until(lambda: venue.rest_paths[-1:] == ["/ticker?symbols=SOL-USD"])
    assert run.gauge("rest_active") == 0
    venue.silent_symbols.clear()
    await until(lambda: run.via(SOL) is Via.WS)


async def test_a_frozen_price_is_dropped_and_its_connection_replaced(
    venue: Any, start_feed: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others move, this price repeats itself and REST is down: it is frozen, and the socket goes."""
    monkeypatch.setattr(freshness, "ARBITRATION_NS", 3 * NS_PER_SECOND)
    venue.has_time = False
    venue.rest_status = 500
    run = start_feed()
    run.write_others(BTC, 70000.0)
    await until(lambda: run.via(BTC) is Via.WS)
    await judged_twice(run, until)

    def has_frozen() -> bool:
        run.write_others(BTC, 70200.0)
        return run.state(BTC) is RowState.FROZEN

    await until(has_frozen)
    assert run.state(ETH) is RowState.LIVE
    await until(lambda: run.gauge("frozen_sources") == 1)

    def has_replaced() -> bool:
        run.write_others(BTC, 70200.0)
        return run.counter("ws_reconnects_total", "frozen") == 1

    await until(has_replaced, 30)
    venue.prices["BTC-USD"] = 70200.0
    await until(lambda: run.state(BTC) is RowState.LIVE)


async def test_rest_that_never_changes_is_frozen_too(venue: Any, start_feed: Any, until: Until) -> None:
    """No WebSocket, and REST repeats an old price while the others move: the row is left out."""
    venue.is_refusing = True
    venue.has_time = False
    run = start_feed()
    run.write_others(BTC, 70000.0)
    await until(lambda: run.via(BTC) is Via.REST)
    await judged_twice(run, until)

    def has_frozen() -> bool:
        run.write_others(BTC, 70200.0)
        return run.state(BTC) is RowState.FROZEN

    await until(has_frozen)


async def test_an_unknown_symbol_is_named_and_left_out(
    venue: Any, start_feed: Any, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """The whole frame was refused for one symbol: it is logged by name, the others are asked for again and live."""
    caplog.set_level(logging.INFO)
    venue.unknown = {"ETH-USD": True}
    run = start_feed()
    await until(lambda: run.via(BTC) is Via.WS and run.via(SOL) is Via.WS)
    assert run.state(ETH) is RowState.UNKNOWN
    assert run.gauge("unknown_symbols") == 1
    told = warnings_of(caplog, "symbol unknown to the exchange, left out")
    assert [(fields["symbol"], fields["ws"]) for fields in told] == [("ETH-USD", "unknown_symbol")]
    assert ["subscribe", "BTC-USD", "SOL-USD"] in venue.received


async def test_an_exchange_that_knows_nothing_is_asked_again(venue: Any, start_feed: Any, until: Until) -> None:
    """All symbols refused is an outage, not a delisting: a new connection asks for all of them."""
    venue.unknown = dict.fromkeys(("BTC-USD", "ETH-USD", "SOL-USD"), False)
    run = start_feed()
    await until(lambda: run.counter("ws_reconnects_total", "error") >= 1)
    venue.unknown = {}
    await until(lambda: all(run.via(asset) is Via.WS for asset in range(3)), 30)


async def test_a_planned_replacement_overlaps(venue: Any, start_feed: Any, until: Until) -> None:
    """The old connection is closed only after the new one delivered: two are open for a while, no price is missed."""
    run = start_feed()
    await until(lambda: run.via(BTC) is Via.WS)
    old = venue.sockets[0]
    await old.send('["reconnect", "planned"]')
    await until(lambda: venue.opened == 2)
    assert old in venue.sockets
    await until(lambda: len(venue.sockets) == 1 and old not in venue.sockets)
    assert run.counter("ws_reconnects_total", "planned") == 1
    assert run.counter("rest_requests_total", "ok") <= 1


async def test_a_reply_goes_back_on_the_same_connection(venue: Any, start_feed: Any, until: Until) -> None:
    """What the decoder wants sent is sent, and pings go out at the exchange's interval."""
    run = start_feed()
    await until(lambda: run.via(BTC) is Via.WS)
    await venue.sockets[0].send('["reply", "[\\"pong\\", \\"7\\"]"]')
    await until(lambda: ["pong", "7"] in venue.received and ["ping"] in venue.received)


async def test_a_changed_payload_raises_the_alarm_once(
    venue: Any, start_feed: Any, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused frames are counted by reason, the gauge goes to 1 and the log says it in one line."""
    run = start_feed()
    await until(lambda: run.via(BTC) is Via.WS)
    for _ in range(50):
        await venue.sockets[0].send("<html>")
    await until(lambda: run.gauge("payload_shape_alarm") == 1)
    await until(lambda: run.counter("parse_errors_total", "not_json") == 50)
    assert len(warnings_of(caplog, "payload shape alarm")) == 1


async def test_an_oversized_frame_costs_the_connection_only(venue: Any, start_feed: Any, until: Until) -> None:
    """A frame beyond the limit is refused as too large and a new connection follows."""
    run = start_feed()
    await until(lambda: run.via(BTC) is Via.WS)
    await venue.sockets[0].send("x" * 300_000)
    await until(lambda: run.counter("parse_errors_total", "too_large") == 1)
    await until(lambda: venue.opened == 2)
    assert run.counter("ws_reconnects_total", "error") == 1


async def test_a_price_with_too_many_digits_is_refused(venue: Any, start_feed: Any, until: Until) -> None:
    """The table could not hold it: counted as bad_number, and the row keeps its last good price."""
    run = start_feed()
    await until(lambda: run.via(BTC) is Via.WS)
    await venue.sockets[0].send('["quote", "BTC-USD", "123456789.1234567890123", null]')
    await until(lambda: run.counter("parse_errors_total", "bad_number") == 1)
    assert run.quote(BTC).ask.price < 100_000


async def test_stop_closes_the_sockets(venue: Any, start_feed: Any, until: Until) -> None:
    """After `stop` the feed returns, its connection is closed and no task of it is left."""
    before = asyncio.all_tasks()
    run = start_feed()
    await until(lambda: run.via(BTC) is Via.WS)
    run.feed.stop()
    await run.task
    await until(lambda: not venue.sockets)
    ours = {task for task in asyncio.all_tasks() - before if "feeds" in repr(task.get_coro())}
    assert not ours


def test_a_process_beats_and_ends_on_sigterm(make_context: Callable[..., OpenContext], tmp_path: Path) -> None:
    """`run` in a process of its own, its exchange unreachable: it beats, and SIGTERM ends it with code 0."""
    context = make_context()
    nowhere = {"kraken": "ws://127.0.0.1:1"}, {"kraken": "http://127.0.0.1:1"}
    config = FeedsSection(simulated=True, ws_base_urls=nowhere[0], rest_base_urls=nowhere[1])
    recorder = FrameRecorder(context, RecordSettings(tmp_path, 1 << 26), "kraken")
    process = multiprocessing.get_context("fork").Process(
        target=runner.run, args=(context, context.of_feed, config, "kraken", recorder)
    )
    process.start()
    for _ in range(300):
        process.join(0.1)
        if not process.is_alive() or context.block.read(HEARTBEAT_NS):
            break
    process.terminate()
    process.join(10)
    assert process.exitcode == 0


@pytest.mark.parametrize("name", ["kraken", "okx", "gemini"])
async def test_a_real_decoder_feeds_from_its_simulated_exchange(
    name: str, make_context: Callable[..., OpenContext], until: Until
) -> None:
    """The exchange's own file and its simulator, over sockets: every row is live by WebSocket, nothing is refused."""
    context = make_context()
    index = context.catalog.exchange_index(name)
    section = SimulatorSection(quotes_per_second=100)
    async with Simulator(context.catalog, section, "127.0.0.1", SystemClock(), context.log) as simulator:
        base = f"127.0.0.1:{simulator.port}/{name}"
        config = FeedsSection(
            simulated=True, ws_base_urls={name: f"ws://{base}"}, rest_base_urls={name: f"http://{base}"}
        )
        feed = runner.Feed(context, context.of_feed, config, name, EXCHANGE_MODULES[name], Random(1))
        serving = asyncio.create_task(feed.serve())

        def is_live(asset: int) -> bool:
            quote = context.prices.read(index, asset)
            return quote is not None and quote.via is Via.WS

        await until(lambda: all(is_live(asset) for asset in range(3)))
        refused = [FEED.index("parse_errors_total", reason) for reason in REFUSAL_REASONS]
        assert not any(context.block.read_counter(word) for word in refused)
        feed.stop()
        await serving


async def test_geminis_old_trade_is_no_price_of_now(make_context: Callable[..., OpenContext], until: Until) -> None:
    """Over a socket: a trade of an hour ago, then a book ticker with an empty bid; then a whole book beside it."""
    context = make_context()
    consensus = Aggregator(context, context.of_consensus)
    consensus.turn()  # compiled before anything is waited for
    now_ns = context.clock.wall_ns()
    old_trade = f'{{"E":{now_ns - 3600 * 10**9},"s":"btcusd","t":9,"p":"60000","q":"0.01","m":true}}'
    book = f'{{"u":7,"E":{now_ns},"s":"btcusd","b":"%s","B":"1","a":"70000.2","A":"1"}}'
    whole = asyncio.Event()

    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(old_trade)
        await socket.send(book % "")
        await whole.wait()
        await socket.send(book % "70000.1")
        await socket.wait_closed()

    gemini = context.catalog.exchange_index("gemini")
    async with serve(talk, "127.0.0.1", 0) as server:
        base = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        config = FeedsSection(
            simulated=True, ws_base_urls={"gemini": f"ws://{base}"}, rest_base_urls={"gemini": f"http://{base}"}
        )
        feed = runner.Feed(context, context.of_feed, config, "gemini", EXCHANGE_MODULES["gemini"], Random(1))
        serving = asyncio.create_task(feed.serve())

        def sides() -> list[bool]:
            consensus.turn()
            quote = consensus.market.quote(0, gemini)
            return [side is not None for side in quote[:3]] if quote is not None else []

        await until(lambda: sides() == [False, True, True])
        assert consensus.market.outcome(0).rejected[gemini] == "stale_exchange_time"
        answer = context.answers.read(context.answers.row_of(0, gemini))
        assert answer is not None
        assert (int(answer["state"][0]), int(answer["body_length"][0])) == (AnswerState.STALE, 0)
        whole.set()
        await until(lambda: sides() == [True, True, True])
        answer = context.answers.read(context.answers.row_of(0, gemini))
        assert answer is not None
        body = bytes(answer["body"][0][: int(answer["body_length"][0])])
        assert b'"price":70000.15,' in body
        assert b'"bid":70000.1,"ask":70000.2,"source"' in body, "the trade is not shown as a part of the price"
        feed.stop()
        await serving
