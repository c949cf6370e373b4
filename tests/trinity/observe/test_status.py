"""What the health server says, from readings of a memory that the test wrote."""

import contextlib
import dataclasses
import uuid
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.support.node_fixture import (
    CATALOG,
    ENTRIES,
    NOW_NS,
    SECOND,
    busy_node,
    empty_node,
    fill_spare_rows,
    set_answer,
    set_process,
    set_source,
)
from trinity.limits import SPARE_ASSETS
from trinity.memory.answer_table import AnswerState
from trinity.memory.control import COMMAND, FAILING, Command
from trinity.memory.node import Card, NodeMemory, ProcessEntry
from trinity.memory.price_table import Absence, LeftOut, RowState, Via
from trinity.memory.record_ring import REFUSED, WRITTEN
from trinity.memory.usage_ring import UsageRing, private_ring
from trinity.observe.metrics import CLUSTER, FLUSHER, PUSHER, REPORTER, REQUEST, RESOLVER
from trinity.observe.status import Json, read_node, report_health, report_ready, report_reports_ready

WORKER_0, WORKER_1 = len(CATALOG.exchanges) + 1, len(CATALOG.exchanges) + 2


def ring_with(records: int, refused: int = 0) -> UsageRing:
    """A ring of 1,024 places in which so many records wait, and that turned so many away."""
    words = private_ring(0, 1024)
    words[WRITTEN] += np.uint64(records)
    words[REFUSED] = refused
    return UsageRing(Path(), words)


def _codes(report: Json) -> list[str]:
    return [reason["code"] for reason in report["reasons"]]


def test_a_node_without_prices_is_not_ready_and_says_why() -> None:
    """Each reason has a code and a sentence."""
    with empty_node() as memory:
        ready, body = report_ready(read_node(memory, NOW_NS, ()))
        assert not ready
        assert _codes(body) == ["no_fresh_asset", "no_request_worker"]
        assert (body["ready"], body["fresh_assets"], body["assets"]) == (False, 0, len(CATALOG.assets))
        up, health = report_health(read_node(memory, NOW_NS, ()))
        assert (up, health["status"]) == (False, "down")


def test_a_push_server_is_ready_with_prices_and_a_pusher() -> None:
    """It has no worker and no reporter, and nobody misses them; without its database it is degraded."""
    entries = tuple(ProcessEntry(kind, kind) for kind in ("consensus", "pusher", "health"))
    with contextlib.closing(contextlib.ExitStack()) as ending:
        memory = NodeMemory.create(Card(f"t-{uuid.uuid4().hex[:12]}", False, entries, CATALOG))
        ending.callback(memory.unlink)
        set_answer(memory, "BTC")
        _, body = report_ready(read_node(memory, NOW_NS, ()))
        assert _codes(body) == ["no_pusher"]
        for index in range(len(entries)):
            set_process(memory, index, beat_age_ns=0)
        ready, body = report_ready(read_node(memory, NOW_NS, ()))
        assert (ready, body["reasons"]) == (True, [])
        _, health = report_health(read_node(memory, NOW_NS, ()))
        assert "push_database_down" in _codes(health)
        assert "no_reporter" not in _codes(health)
        memory.control.block(1).set_gauge(PUSHER.index("push_database_up"), 1.0)
        _, health = report_health(read_node(memory, NOW_NS, ()))
        assert "push_database_down" not in _codes(health)


@pytest.mark.parametrize(
    ("up", "full", "beat_age_ns", "state", "code"),
    [
        (1.0, 0.0, 0, "up", None),
        (1.0, 1.0, 0, "full", "cache_full"),
        (0.0, 0.0, 0, "down", "cache_unreachable"),
        (1.0, 0.0, 60 * SECOND, "down", "cache_unreachable"),  # nobody asks it
    ],
)
def test_the_cache_s_state_is_told_and_an_absent_one_degrades_the_node(
    up: float, full: float, beat_age_ns: int, state: str, code: str | None
) -> None:
    """It is what the process says that asks it every second; the node is ready all the same."""
    entries = tuple(ProcessEntry(kind, kind) for kind in ("consensus", "worker", "cluster"))
    with contextlib.closing(contextlib.ExitStack()) as ending:
        memory = NodeMemory.create(Card(f"t-{uuid.uuid4().hex[:12]}", False, entries, CATALOG))
        ending.callback(memory.unlink)
        set_answer(memory, "BTC")
        for index, age_ns in enumerate((0, 0, beat_age_ns)):
            set_process(memory, index, beat_age_ns=age_ns)
        for gauge, value in (("cache_up", up), ("cache_full", full), ("cluster_nodes", 3.0)):
            memory.control.block(2).set_gauge(CLUSTER.index(gauge), value)
        reading = read_node(memory, NOW_NS, ())
        _, health = report_health(reading)
        assert health["cache"] == {"state": state, "nodes": 3}
        assert [one for one in _codes(health) if one.startswith("cache_")] == ([code] if code else [])
        assert report_ready(reading)[0]


@pytest.mark.parametrize("is_bounded", [True, False])
def test_a_node_that_hears_nothing_of_the_others_says_what_limits_hold(is_bounded: bool) -> None:
    """Whether it is Valkey that is away or a right that is missing; the node is ready all the same."""
    entries = tuple(ProcessEntry(kind, kind) for kind in ("consensus", "worker", "cluster"))
    with contextlib.closing(contextlib.ExitStack()) as ending:
        memory = NodeMemory.create(Card(f"t-{uuid.uuid4().hex[:12]}", False, entries, CATALOG))
        ending.callback(memory.unlink)
        set_answer(memory, "BTC")
        for index in range(3):
            set_process(memory, index, beat_age_ns=0)
        memory.control.block(2).set_gauge(CLUSTER.index("cluster_limits_bounded"), float(is_bounded))
        reading = read_node(memory, NOW_NS, ())
        assert ("limits_bounded" in _codes(report_health(reading)[1])) == is_bounded
        assert report_ready(reading)[0]


def test_a_node_without_a_cache_says_so() -> None:
    """And is none the worse for it."""
    with busy_node() as memory:
        _, health = report_health(read_node(memory, NOW_NS, ()))
        assert health["cache"] == {"state": "off", "nodes": None}
        assert not [code for code in _codes(health) if code.startswith("cache_")]


@pytest.mark.parametrize(("beat_age_ns", "state"), [(0, "up"), (10 * 10**9, "down")])
def test_health_says_whether_names_beyond_the_catalog_are_resolved(beat_age_ns: int, state: str) -> None:
    """And how many have a row; a node without a resolver is ready all the same."""
    entries = tuple(ProcessEntry(kind, kind) for kind in ("consensus", "worker", "resolver"))
    with contextlib.closing(contextlib.ExitStack()) as ending:
        memory = NodeMemory.create(Card(f"t-{uuid.uuid4().hex[:12]}", False, entries, CATALOG))
        ending.callback(memory.unlink)
        set_answer(memory, "BTC")
        for index, age_ns in enumerate((0, 0, beat_age_ns)):
            set_process(memory, index, beat_age_ns=age_ns)
        for gauge, value in (("asset_rows", 40.0), ("asset_rows_hot", 3.0)):
            memory.control.block(2).set_gauge(RESOLVER.index(gauge), value)
        reading = read_node(memory, NOW_NS, ())
        assert report_health(reading)[1]["beyond_catalog"] == {"state": state, "rows": 40, "hot": 3}
        assert report_ready(reading)[0]
    with busy_node() as memory:
        found = report_health(read_node(memory, NOW_NS, ()))[1]["beyond_catalog"]
        assert found == {"state": "off", "rows": 0, "hot": 0}


def test_a_report_server_is_down_without_a_reporter_and_misses_no_worker_and_no_pusher() -> None:
    """It answers reports alone: of whoever is not there by its type, nobody speaks."""
    entries = tuple(ProcessEntry(kind, kind) for kind in ("consensus", "reporter", "health"))
    with contextlib.closing(contextlib.ExitStack()) as ending:
        memory = NodeMemory.create(Card(f"t-{uuid.uuid4().hex[:12]}", False, entries, CATALOG))
        ending.callback(memory.unlink)
        set_answer(memory, "BTC")
        up, health = report_health(read_node(memory, NOW_NS, ()))
        assert (up, _codes(health)[0]) == (False, "no_reporter")
        for index in range(len(entries)):
            set_process(memory, index, beat_age_ns=0)
        up, health = report_health(read_node(memory, NOW_NS, ()))
        assert up
        assert not {"no_reporter", "no_request_worker", "no_pusher"} & set(_codes(health))


def test_spare_rows_are_in_no_reading_and_no_report() -> None:
    """/health, /ready, `trinity top` and /metrics read the same, whatever stands in the rows that are not in use."""
    with busy_node() as memory:
        before = read_node(memory, NOW_NS, ())
        assert memory.card.capacity == len(CATALOG.assets) + SPARE_ASSETS
        fill_spare_rows(memory)
        after = read_node(memory, NOW_NS, ())
        assert after == before
        assert report_health(after) == report_health(before)
        assert report_ready(after) == report_ready(before)
        assert len(after.assets) == len(CATALOG.assets)


def test_one_fresh_asset_and_one_worker_are_enough_to_be_ready() -> None:
    """Ready means that a question can be answered, not that all is well: that is /health, which is degraded."""
    with empty_node() as memory:
        set_answer(memory, "ETH")
        set_process(memory, WORKER_1, beat_age_ns=0)
        reading = read_node(memory, NOW_NS, ())
        assert report_ready(reading)[0]
        up, health = report_health(reading)
        assert (up, health["status"]) == (True, "degraded")
        assert set(_codes(health)) == {"process_silent", "feed_down", "assets_unavailable", "ledger_silent"}


def test_a_healthy_node_is_ok_without_reasons() -> None:
    """Everything is there: feeds, processes, consensus, indexes, and it can be sent as JSON."""
    with busy_node(simulated=True) as memory:
        up, health = report_health(read_node(memory, NOW_NS, ()))
        assert (up, health["status"], health["reasons"], health["simulated"]) == (True, "ok", [], True)
        assert set(health["feeds"]) == set(CATALOG.exchanges)
        assert health["feeds"]["kraken"]["status"] == "ws"
        assert health["feeds"]["kraken"]["newest_age_ms"] == 50
        assert health["processes"]["worker-0"] == {
            "kind": "worker", "alive": True, "failing": False, "pid": 1000 + WORKER_0, "restarts": 0,
            "heartbeat_age_ms": 100, "resting": False,
        }  # fmt: skip
        assert health["consensus"]["fresh_assets"] == len(CATALOG.assets)
        assert health["consensus"]["usd_indexes"] == {"USDT": 0.9995, "USDC": 1.0001}
        assert msgspec.json.decode(msgspec.json.encode(health))["node"] == memory.card.node


def test_health_says_which_node_it_is_and_what_for() -> None:
    """CLUSTER_NODE, NODE_ENV and whether the prices are simulated, as the card has them."""
    with busy_node(simulated=True) as memory:
        told = report_health(read_node(memory, NOW_NS, ()))[1]
        assert (told["node"], told["environment"], told["simulated"]) == (memory.card.node, "production", True)
        staged = dataclasses.replace(memory, card=msgspec.structs.replace(memory.card, environment="staging"))
        assert report_health(read_node(staged, NOW_NS, ()))[1]["environment"] == "staging"


def test_what_is_wrong_is_named() -> None:
    """A feed on REST, a frozen asset, a silent process and a refused asset are each a reason of their own."""
    with busy_node() as memory:
        for market in CATALOG.markets_of("gemini"):
            set_source(memory, "gemini", market.asset, via=Via.REST)
        set_source(memory, "okx", "BTC", RowState.FROZEN)
        set_process(memory, 0, beat_age_ns=60 * SECOND)
        set_answer(memory, "BTC", AnswerState.SOURCES_DISAGREE)
        up, health = report_health(read_node(memory, NOW_NS, ()))
        assert (up, health["status"]) == (True, "degraded")
        messages = {reason["code"]: reason["message"] for reason in health["reasons"]}
        assert messages == {
            "process_silent": "no progress: feed-coinbase",
            "feed_rest": "gemini delivers by REST alone",
            "feed_frozen": "okx stands still: BTC",
            "assets_unavailable": "not fresh: BTC",
        }
        assert health["consensus"]["unavailable"] == {"BTC": "sources_disagree"}


def test_each_row_that_is_left_out_has_its_reason() -> None:
    """Which way, why, and a sentence; among the reasons too, and the node is degraded."""
    with busy_node() as memory:
        row = CATALOG.exchange_index("coinbase"), CATALOG.asset_index("BTC")
        memory.prices.write_state(*row, RowState.LIVE, LeftOut(rest=Absence.UNKNOWN_SYMBOL))
        row = CATALOG.exchange_index("coinbase"), CATALOG.asset_index("ETH")
        memory.prices.write_state(*row, RowState.STARTING, LeftOut(ws=Absence.NOT_ACKNOWLEDGED))
        _, health = report_health(read_node(memory, NOW_NS, ()))
        left_out = health["feeds"]["coinbase"]["left_out"]
        assert {asset: (said["ws"], said["rest"]) for asset, said in left_out.items()} == {
            "BTC": (None, "unknown_symbol"),
            "ETH": ("not_acknowledged", None),
        }
        assert left_out["BTC"]["message"] == "REST: the exchange says that it does not know the symbol"
        assert health["feeds"]["kraken"]["left_out"] == {}
        assert health["status"] == "degraded"
        (reason,) = health["reasons"]
        assert reason["code"] == "feed_left_out"
        assert "BTC (REST" in reason["message"]
        assert "ETH (WebSocket" in reason["message"]


def test_nothing_is_remembered() -> None:
    """The same memory read later is another report: prices age by themselves."""
    with busy_node() as memory:
        assert report_health(read_node(memory, NOW_NS, ()))[1]["status"] == "ok"
        assert report_health(read_node(memory, NOW_NS + 60 * SECOND, ()))[1]["status"] == "down"


def test_a_draining_node_is_not_ready() -> None:
    """A load balancer must send nothing more, although prices are still answered."""
    with busy_node() as memory:
        memory.control.block(WORKER_0).write(COMMAND, Command.DRAIN)
        ready, body = report_ready(read_node(memory, NOW_NS, ()))
        assert (ready, _codes(body)) == (False, ["draining"])


def test_the_reporting_service_is_ready_while_a_reporter_lives() -> None:
    """Reports need no fresh price and no request worker; lookups need no reporter."""
    with busy_node() as memory:
        reporter = [entry.kind for entry in memory.card.processes].index("reporter")
        set_process(memory, reporter, beat_age_ns=60 * SECOND)
        reading = read_node(memory, NOW_NS, ())
        assert report_ready(reading)[0]
        ready, body = report_reports_ready(reading)
        assert (ready, _codes(body)) == (False, ["no_reporter"])
    with empty_node() as memory:
        set_process(memory, reporter, beat_age_ns=0)
        assert report_reports_ready(read_node(memory, NOW_NS, ()))[0]
        memory.control.block(reporter).write(COMMAND, Command.DRAIN)
        assert not report_reports_ready(read_node(memory, NOW_NS, ()))[0]


def test_a_process_that_dies_again_and_again_is_named_also_while_it_lives() -> None:
    """The node answers, and says who needs help."""
    with busy_node() as memory:
        memory.control.block(WORKER_0).write(FAILING, 1)
        up, health = report_health(read_node(memory, NOW_NS, ()))
        assert (up, health["status"], _codes(health)) == (True, "degraded", ["process_failing"])
        name = memory.card.processes[WORKER_0].name
        assert health["reasons"][0]["message"].endswith(f": {name}")
        assert (health["processes"][name]["failing"], health["processes"][name]["alive"]) == (True, True)


def test_a_ledger_that_piles_up_or_loses_is_a_reason() -> None:
    """Each trouble has its code."""
    with busy_node() as memory:
        block = memory.control.block(len(memory.card.processes) - 1)
        for gauge, value in (
            ("usage_database_up", 0.0),
            ("usage_spool_writable", 0.0),
            ("usage_spool_synced", 0.0),
            ("usage_alarm", 1.0),
        ):
            block.set_gauge(FLUSHER.index(gauge), value)
        block.set_gauge(FLUSHER.index("usage_ring_share"), 0.5)
        block.count(FLUSHER.index("usage_lost_total", "detail"), 3)
        _, health = report_health(read_node(memory, NOW_NS, ()))
        assert _codes(health) == [
            "ledger_database_down", "ledger_disk_refuses", "ledger_not_synced", "ledger_alarm", "ledger_lost",
        ]  # fmt: skip
        assert "ring 50%" in health["reasons"][3]["message"]
        assert (health["ledger"]["lost_detail"], health["ledger"]["ring_share"]) == (3, 0.5)


def test_rings_that_fill_while_the_flusher_is_dead_raise_the_alarm() -> None:
    """What it said last of database and disk is the past; how full the rings are, and what they lost, is read now."""
    with busy_node() as memory:
        flusher = len(memory.card.processes) - 1
        set_process(memory, flusher, beat_age_ns=60 * SECOND)
        block, rings = memory.control.block(flusher), (ring_with(0), ring_with(400))
        block.set_gauge(FLUSHER.index("usage_database_up"), 0.0)
        block.count(FLUSHER.index("usage_lost_total", "detail"), 3)
        _, health = report_health(read_node(memory, NOW_NS, rings))
        assert _codes(health) == ["process_silent", "ledger_silent", "ledger_lost"]
        rings = (ring_with(0), ring_with(420, refused=7))
        _, health = report_health(read_node(memory, NOW_NS, rings))
        assert _codes(health) == ["process_silent", "ledger_silent", "ledger_alarm", "ledger_lost"]
        messages = {reason["code"]: reason["message"] for reason in health["reasons"]}
        assert "ring 41%" in messages["ledger_alarm"]
        assert "7 were lost altogether" in messages["ledger_lost"]
        assert health["ledger"] is None, "what waits on the disk nobody knows"
        set_process(memory, flusher, beat_age_ns=0)
        _, health = report_health(read_node(memory, NOW_NS, rings))
        assert _codes(health) == ["ledger_database_down", "ledger_lost"], "one that lives speaks for itself"


def test_who_turns_connections_away_is_not_ready_and_not_down() -> None:
    """A worker without room, a reporter that accepts nobody: each the readiness of its own service, while it lives."""
    reporter = [entry.kind for entry in ENTRIES].index("reporter")
    with busy_node() as memory:
        refused = REQUEST.index("http_connections_refused_last_second")
        memory.control.block(WORKER_1).set_gauge(refused, 3.0)
        ready, body = report_ready(read_node(memory, NOW_NS, ()))
        assert (ready, _codes(body)) == (False, ["worker_full"])
        assert "worker-1" in body["reasons"][0]["message"]
        assert report_reports_ready(read_node(memory, NOW_NS, ()))[0]
        waited = REPORTER.index("report_accept_wait_seconds")
        memory.control.block(reporter).set_gauge(waited, 0.5)
        assert report_reports_ready(read_node(memory, NOW_NS, ()))[0]
        memory.control.block(reporter).set_gauge(waited, 1.5)
        ready, body = report_reports_ready(read_node(memory, NOW_NS, ()))
        assert (ready, _codes(body)) == (False, ["reporter_full"])
        up, health = report_health(read_node(memory, NOW_NS, ()))
        assert (up, health["status"]) == (True, "degraded")
        assert {"worker_full", "reporter_full"} <= set(_codes(health))
        set_process(memory, WORKER_1, beat_age_ns=60 * SECOND)
        assert report_ready(read_node(memory, NOW_NS, ()))[0], "what a dead worker last said is the past"
