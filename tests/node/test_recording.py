"""A whole node that records: replayed bit for bit after faults and kills; candles that survive every death."""

import os
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from feeds.audit.entries import Entry, Frame
from feeds.audit.explain import explain_moment
from feeds.audit.replay import replay
from feeds.audit.segments import FOLDER, list_segments
from tests.feeds.audit.small_node import frames_of, rewrite
from tests.node.harness import Node
from trinity.memory.candle_table import CANDLES, CandleFile, Minute, minute_of, standing_of, to_decimal

pytestmark = pytest.mark.long


def processes(node: Node) -> dict[str, int]:
    return {name: int(entry["pid"]) for name, entry in node.processes().items()}


def kill_everything(node: Node) -> None:
    """SIGKILL for the supervisor and all its children at once."""
    assert node.process is not None
    family = psutil.Process(node.process.pid)
    for member in [*family.children(recursive=True), family]:
        member.kill()
    node.process.wait(15)


def minutes_of(node: Node, asset: str = "BTC") -> list[Minute]:
    """All minutes of an asset that are in its file, the running one last."""
    file = CandleFile.open(node.data_dir / CANDLES, asset)
    running = file.read_running()
    return [*file.pending(10_000)[0], *([minute_of(running)] if running is not None else [])]


def stands(node: Node) -> bool:
    """Whether a price of BTC stands in its running minute."""
    running = CandleFile.open(node.data_dir / CANDLES, "BTC").read_running()
    return running is not None and standing_of(running) is not None


def samples(node: Node) -> int:
    return sum(minute.samples for minute in minutes_of(node))


def test_a_recording_of_a_node_with_faults_and_kills_replays_bit_for_bit(fresh_node: Node) -> None:
    """Wrong prices, a frozen exchange, a lost connection, kill -9 of a feed and of the consensus: all comes out."""
    fresh_node.environment["RECORD"] = "on"
    fresh_node.start()
    fresh_node.wait_ready()
    fresh_node.wait_all_sources()
    fresh_node.fault(exchange="kraken", asset="BTC", fault="scale_price", value=1.1, seconds=2)
    fresh_node.fault(exchange="okx", fault="freeze", seconds=3)
    fresh_node.fault(exchange="coinbase", fault="disconnect", seconds=1)
    fresh_node.wait("an outlier", lambda: fresh_node.price()[1].get("rejected", 0) > 0)
    for victim in ("feed-gateio", "consensus"):
        pid = processes(fresh_node)[victim]
        os.kill(pid, signal.SIGKILL)
        fresh_node.wait(f"{victim} back", lambda: processes(fresh_node).get(victim) not in (None, 0, pid))  # noqa: B023
    fresh_node.wait_all_sources()
    fresh_node.wait("a price", lambda: fresh_node.price()[0] == 200)
    assert fresh_node.stop() == 0

    outcome = replay(fresh_node.data_dir)
    assert outcome.difference is None
    assert outcome.decisions > 100
    assert outcome.frames > 100
    assert outcome.quotes_unrecorded < outcome.quotes / 4
    assert {info.stream for info in list_segments(fresh_node.data_dir / FOLDER)} == {
        "consensus", "coinbase", "gemini", "kraken", "gateio", "cryptocom", "okx",
    }  # fmt: skip
    assert outcome.to_ns is not None
    assert explain_moment(fresh_node.data_dir, "BTC", outcome.to_ns).price is not None

    change_a_frame(fresh_node.data_dir)
    difference = replay(fresh_node.data_dir).difference
    assert difference is not None
    assert difference.exchange == "kraken"
    assert difference.what in ("the frame says something else", "no frame has this quote")


def change_a_frame(data_dir: Path) -> None:
    """Break one frame of the middle that was read: every bid in it is another."""
    frames = [frame for frame in frames_of(data_dir, "kraken") if b'"bid"' in frame.frame]
    victims = set(map(id_of, frames[len(frames) // 2 : len(frames) // 2 + 20]))

    def change(entry: Entry) -> Entry:
        if isinstance(entry, Frame) and id_of(entry) in victims:
            return msgspec.structs.replace(entry, frame=entry.frame.replace(b'"bid":', b'"bid":1'))
        return entry

    rewrite(data_dir, "kraken", change)


def id_of(frame: Frame) -> tuple[Any, ...]:
    return (frame.at_ns, frame.wall_ns, frame.frame)


def test_candles_go_on_through_every_death(fresh_node: Node) -> None:
    """kill -9 of the consensus, then of the whole node: no price that was noted is lost, and counting goes on."""
    fresh_node.start()
    fresh_node.wait_ready()
    fresh_node.wait("prices in a minute", lambda: samples(fresh_node) > 5)
    pid = processes(fresh_node)["consensus"]
    before = samples(fresh_node)
    os.kill(pid, signal.SIGKILL)
    fresh_node.wait("more prices", lambda: samples(fresh_node) > before + 5)

    before = samples(fresh_node)
    kill_everything(fresh_node)
    assert samples(fresh_node) >= before
    fresh_node.start()
    fresh_node.wait_ready()
    fresh_node.wait("more prices", lambda: samples(fresh_node) > before + 5)
    newest = minutes_of(fresh_node)[-1]
    price = Decimal(str(fresh_node.price()[1]["price"]))
    assert to_decimal(newest.low) <= to_decimal(newest.close) <= to_decimal(newest.high)
    assert abs(to_decimal(newest.close) - price) < price / 10
    assert newest.weighted_ms <= 60_000


def test_no_candle_counts_time_without_a_price(fresh_node: Node) -> None:
    """All exchanges freeze: from then on nothing is weighed, until a price is there again."""
    fresh_node.start()
    fresh_node.wait_ready()
    fresh_node.wait("prices in a minute", lambda: samples(fresh_node) > 5)
    for exchange in ("coinbase", "gemini", "kraken", "gateio", "cryptocom", "okx"):
        fresh_node.fault(exchange=exchange, fault="freeze", seconds=300)
        fresh_node.fault(exchange=exchange, fault="rest_freeze", seconds=300)
    fresh_node.wait("no price", lambda: fresh_node.price()[0] == 503, 60)
    fresh_node.wait("nothing stands", lambda: not stands(fresh_node))
    weighed = sum(minute.weighted_ms for minute in minutes_of(fresh_node))
    asked = fresh_node.health()
    fresh_node.wait("a second look", lambda: fresh_node.health() != asked)
    assert fresh_node.price()[0] == 503
    assert sum(minute.weighted_ms for minute in minutes_of(fresh_node)) == weighed

    fresh_node.clear_faults()
    fresh_node.wait_all_sources()
    fresh_node.wait("time", lambda: sum(minute.weighted_ms for minute in minutes_of(fresh_node)) > weighed)
