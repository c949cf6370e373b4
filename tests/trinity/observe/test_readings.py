"""One reading of a node's memory, as plain values."""

import dataclasses
from decimal import Decimal

import msgspec
import pytest

from tests.support.node_fixture import (
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
from trinity.observe.readings import (
    AssetView,
    read_assets,
    read_exchanges,
    read_indexes,
    read_ledger,
    read_processes,
    read_sources,
)
from trinity.vocabulary import REJECT_REASONS


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
            asset="BTC",
            fresh=True,
            status="fresh",
            reason=None,
            price=Decimal("71002.5"),
            last_price=None,
            timestamp_ms=WALL_NS // MS - 30,
            age_ns=30 * MS,
            sources=5,
            rejected=1,
            voters=5,
            sources_required=3,
            majority=0,
            disagreement_ratio=1690 / 1e7,
            confidence_ratio=2500 / 1e7,
        )
        assert read_indexes(memory) == {"USDT": 0.9995, "USDC": 1.0001}


def test_a_good_price_whose_time_is_over_is_stale() -> None:
    """Whatever the writer said: a dead consensus process leaves no fresh asset and no used source behind."""
    with busy_node() as memory:
        view = read_assets(memory, NOW_NS + 10 * SECOND)[0]
        assert (view.fresh, view.status, view.price) == (False, "stale_price", None)
        assert (view.last_price, view.sources, view.voters, view.confidence_ratio) == (Decimal("71002.5"), 0, 0, None)
        assert {source.verdict for source in read_sources(memory, NOW_NS + 10 * SECOND)} == {"unused"}
        assert {source.verdict for source in read_sources(memory, NOW_NS + 10 * SECOND - 1)} == {"used"}


@pytest.mark.parametrize(
    ("state", "status", "verdict", "reason"),
    [
        (AnswerState.STALE, "stale_price", "unused", "no quote is younger than 10000 ms"),
        (AnswerState.TOO_FEW_SOURCES, "too_few_sources", "unused", "5 exchanges have a good quote: 3 are needed"),
        (
            AnswerState.SOURCES_DISAGREE, "sources_disagree", "disputed",
            "5 exchanges lie 1.7 bps apart: 3 of them within 100 bps are needed",
        ),
    ],
)  # fmt: skip
def test_a_refused_price_is_none_and_the_last_good_one_has_its_own_name(
    state: AnswerState, status: str, verdict: str, reason: str
) -> None:
    """The code is that of the error answer; no source is part of it, and what was missing is said with its numbers."""
    with busy_node() as memory:
        set_answer(memory, "BTC", state)
        memory.answers.write_verdict(0, 0, 2)
        view = read_assets(memory, NOW_NS)[0]
        assert (view.fresh, view.status, view.price, view.sources) == (False, status, None, 0)
        assert (view.last_price, view.age_ns, view.confidence_ratio) == (Decimal("71002.5"), 30 * MS, None)
        assert view.reason is not None
        assert view.reason.startswith(reason)
        verdicts = [source.verdict for source in read_sources(memory, NOW_NS) if source.asset == "BTC"]
        assert verdicts == [REJECT_REASONS[0], *[verdict] * (len(verdicts) - 1)]
        assert {source.verdict for source in read_sources(memory, NOW_NS) if source.asset == "ETH"} == {"used"}


def test_a_jump_that_waits_is_not_called_a_lack_of_majority() -> None:
    """There are enough that agree: the sentence says what the price waits for."""
    with busy_node() as memory:
        set_answer(memory, "BTC", AnswerState.SOURCES_DISAGREE, majority=0)
        reason = read_assets(memory, NOW_NS)[0].reason
        assert reason == "not all exchanges show a move of more than 10 %: it waits, for at most 60 s"


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
