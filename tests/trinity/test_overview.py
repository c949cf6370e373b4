"""One reading of a node's memory, as plain values."""

import dataclasses
from decimal import Decimal

import msgspec
import pytest

from tests.trinity.node_fixture import (
    CATALOG,
    ENTRIES,
    MS,
    NOW_NS,
    SECOND,
    WALL_NS,
    busy_node,
    empty_node,
    set_answer,
    set_process,
    set_source,
)
from trinity.limits import HEARTBEAT_AGE_MAX_NS
from trinity.memory.answer_table import AnswerState
from trinity.memory.control import COMMAND, HEARTBEAT_NS, STARTED_NS, Command
from trinity.memory.price_table import RowState, Via
from trinity.metrics import REJECT_REASONS
from trinity.overview import (
    AssetView,
    has_fresh_asset,
    read_assets,
    read_exchanges,
    read_indexes,
    read_ledger,
    read_processes,
    read_sources,
)


def test_a_new_node_has_nothing_and_says_so() -> None:
    """No ages, no prices, nobody alive; nothing is taken for zero."""
    with empty_node() as memory:
        assert not any(view.alive or view.heartbeat_age_ns is not None for view in read_processes(memory, NOW_NS))
        sources = read_sources(memory, NOW_NS)
        assert {(view.state, view.via, view.age_ns, view.verdict) for view in sources} == {
            (RowState.UNKNOWN, Via.NONE, None, None)
        }
        assert {view.status for view in read_exchanges(memory, sources)} == {"down"}
        assert {(view.status, view.price, view.age_ns) for view in read_assets(memory, NOW_NS)} == {
            ("stale_price", None, None)
        }
        assert read_indexes(memory) == {"USDT": None, "USDC": None}
        assert not has_fresh_asset(memory, NOW_NS)


def test_a_busy_node_is_read_with_all_its_ages() -> None:
    """Every number that was written comes back."""
    with busy_node() as memory:
        processes = read_processes(memory, NOW_NS)
        assert [(view.name, view.kind) for view in processes] == [(entry.name, entry.kind) for entry in ENTRIES]
        assert all(view.alive and view.heartbeat_age_ns == 100 * MS for view in processes)
        sources = read_sources(memory, NOW_NS)
        assert len(sources) == len(CATALOG.markets)
        assert sources[0]._replace(exchange="", asset="") == sources[-1]._replace(exchange="", asset="")
        assert (sources[0].age_ns, sources[0].received_wall_ns, sources[0].verdict) == (50 * MS, WALL_NS, "used")
        view = read_exchanges(memory, sources)[0]
        assert (view.status, view.connected, view.newest_age_ns) == ("ws", True, 50 * MS)
        assert view.rows_by_state == {"live": view.rows}
        assert view.rows_by_via == {"ws": view.rows}
        assert read_assets(memory, NOW_NS)[0] == AssetView(
            "BTC", True, "fresh", Decimal("71002.5"), 30 * MS, 5, 1, 3, 1690 / 1e7, 2500 / 1e7
        )
        assert read_indexes(memory) == {"USDT": 0.9995, "USDC": 1.0001}
        assert has_fresh_asset(memory, NOW_NS)


def test_a_good_price_whose_time_is_over_is_stale() -> None:
    """Whatever the writer said: a dead consensus process leaves no fresh asset behind."""
    with busy_node() as memory:
        view = read_assets(memory, NOW_NS + 10 * SECOND)[0]
        assert (view.fresh, view.status, view.price) == (False, "stale_price", Decimal("71002.5"))


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (AnswerState.STALE, "stale_price"),
        (AnswerState.TOO_FEW_SOURCES, "too_few_sources"),
        (AnswerState.SOURCES_DISAGREE, "sources_disagree"),
    ],
)
def test_a_refused_price_keeps_its_code_and_its_last_good_number(state: AnswerState, status: str) -> None:
    """The code is that of the error answer."""
    with busy_node() as memory:
        set_answer(memory, "BTC", state)
        view = read_assets(memory, NOW_NS)[0]
        assert (view.fresh, view.status, view.price) == (False, status, Decimal("71002.5"))


def test_an_exchange_is_as_good_as_its_best_way() -> None:
    """WebSocket before REST; without a live row it is down; frozen and unknown rows are named."""
    with busy_node() as memory:
        assets = [market.asset for market in CATALOG.markets_of("okx")]
        for asset in assets:
            set_source(memory, "okx", asset, via=Via.REST)
        set_source(memory, "okx", assets[0], RowState.FROZEN)
        set_source(memory, "okx", assets[1], RowState.UNKNOWN)
        for market in CATALOG.markets_of("kraken"):
            set_source(memory, "kraken", market.asset, RowState.STALE)
        views = {view.exchange: view for view in read_exchanges(memory, read_sources(memory, NOW_NS))}
        assert (views["okx"].status, views["kraken"].status, views["gemini"].status) == ("rest", "down", "ws")
        assert (views["okx"].frozen, views["okx"].unknown) == ((assets[0],), (assets[1],))
        assert views["okx"].rows_by_via == {"rest": len(assets) - 2}


def test_alive_means_progress_in_the_present_life() -> None:
    """A silent process and one that still shows its predecessor's heartbeat are not alive."""
    with busy_node() as memory:
        set_process(memory, 0, beat_age_ns=HEARTBEAT_AGE_MAX_NS + 1, restarts=2)
        memory.control.block(1).write(STARTED_NS, NOW_NS)
        memory.control.block(1).write(HEARTBEAT_NS, NOW_NS - 1)
        memory.control.block(2).write(COMMAND, Command.DRAIN)
        silent, reborn, draining, *_ = read_processes(memory, NOW_NS)
        assert (silent.alive, silent.restarts, silent.heartbeat_age_ns) == (False, 2, HEARTBEAT_AGE_MAX_NS + 1)
        assert (reborn.alive, reborn.heartbeat_age_ns) == (False, None)
        assert (draining.alive, draining.draining) == (True, True)


def test_a_verdict_has_its_reason() -> None:
    """Every reason that the consensus can write is read by its name."""
    with busy_node() as memory:
        for index, reason in enumerate(REJECT_REASONS):
            memory.answers.write_verdict(0, 0, 2 + index)
            assert read_sources(memory, NOW_NS)[0].verdict == reason


def test_a_node_without_a_flusher_has_no_ledger() -> None:
    """One that was never alive has one all the same: its rings can be read."""
    with empty_node() as memory:
        ledger = read_ledger(memory, NOW_NS)
        assert ledger is not None
        assert (ledger.flusher_alive, ledger.alarm, ledger.lag_records) == (False, False, 0)
        card = msgspec.structs.replace(memory.card, processes=memory.card.processes[:-1])
        assert read_ledger(dataclasses.replace(memory, card=card), NOW_NS) is None
