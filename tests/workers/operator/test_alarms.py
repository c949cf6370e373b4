"""workers/operator/alarms.py: what is lost is told once, and once more when it is there again; on PostgreSQL."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.contexts import OpenContext, open_context
from trinity.clock import NS_PER_SECOND
from trinity.markets import load_catalog
from trinity.memory.control import PID, STARTED_NS
from trinity.observe.metrics import CLUSTER
from trinity.push.events import read_feed
from trinity.store.connect import AnyConnection, connect
from workers.operator.alarms import LOST_NS, RECOVERED_NS, NodeAlarms, Steady

LOG = logging.getLogger("tests.alarms")


@pytest.fixture
def connection(database_url: str) -> Iterator[AnyConnection]:
    with connect(database_url, "tests", autocommit=True) as opened:
        yield opened


@pytest.fixture
def context() -> Iterator[OpenContext]:
    """A node whose feeds never came up."""
    with open_context("operator", "operator", load_catalog()) as made:
        yield made


def test_what_is_lost_is_told_once_also_over_restarts_of_the_process(
    connection: AnyConnection, context: OpenContext
) -> None:
    """Each feed and the prices, not before they are lost for good; who looks again tells nothing more."""
    first = NodeAlarms(context.memory, LOG)
    for now_ns in (0, LOST_NS - 1):
        first.look(connection, now_ns)
    assert read_feed(connection, None) == []
    for now_ns in (LOST_NS, 2 * LOST_NS):
        first.look(connection, now_ns)
    told = read_feed(connection, None)
    exchanges = {event.data["exchange"] for event in told if event.type == "node.feed_lost"}
    assert exchanges == set(load_catalog().exchanges)
    assert [event.data for event in told if event.type == "node.prices_lost"] == [{"node": context.node}]
    second = NodeAlarms(context.memory, LOG)
    for now_ns in (0, 2 * LOST_NS):
        second.look(connection, now_ns)
    assert len(read_feed(connection, None)) == len(told)


def test_limits_that_a_node_has_alone_for_long_are_told_of(connection: AnyConnection) -> None:
    """Also while its Valkey answers, and where the process that speaks with the others is gone."""
    with open_context("cluster", "cluster", load_catalog()) as context:
        alarms, bounded, now_ns = NodeAlarms(context.memory, LOG), CLUSTER.index("cluster_limits_bounded"), 10**12
        context.block.write(STARTED_NS, now_ns)
        context.block.write(PID, 1)
        context.block.set_gauge(CLUSTER.index("cache_up"), 1.0)

        def look_for(duration_ns: int) -> list[str]:
            nonlocal now_ns
            for end_ns in (now_ns, now_ns + duration_ns):
                now_ns = end_ns
                context.block.beat(now_ns)
                alarms.look(connection, now_ns)
            return [
                event.type for event in read_feed(connection, None) if "limits" in event.type or "cache" in event.type
            ]

        assert look_for(LOST_NS) == []
        context.block.set_gauge(bounded, 1.0)
        assert look_for(LOST_NS - 1) == []
        assert look_for(LOST_NS) == ["node.limits_lost"]
        context.block.set_gauge(bounded, 0.0)
        assert look_for(RECOVERED_NS) == ["node.limits_recovered", "node.limits_lost"]
        context.block.write(PID, 0)
        assert "node.limits_lost" in look_for(LOST_NS)[0:2]


def test_a_cache_that_is_away_is_told_of_and_one_that_the_node_has_not_is_not(connection: AnyConnection) -> None:
    """Once; and once more when it is back, also by a process that was started meanwhile."""
    with open_context("cluster", "cluster", load_catalog()) as context:
        NodeAlarms(context.memory, LOG).look(connection, 0)
        first = NodeAlarms(context.memory, LOG)
        for now_ns in (0, LOST_NS, 2 * LOST_NS):
            first.look(connection, now_ns)
        now_ns = context.clock.monotonic_ns()
        context.block.write(STARTED_NS, now_ns)
        context.block.write(PID, 1)
        context.block.beat(now_ns)
        context.block.set_gauge(CLUSTER.index("cache_up"), 1.0)
        second = NodeAlarms(context.memory, LOG)
        for later_ns in (now_ns, now_ns + RECOVERED_NS // 2):
            second.look(connection, later_ns)
            context.block.beat(later_ns + RECOVERED_NS // 2)
        second.look(connection, now_ns + RECOVERED_NS)
    told = [event for event in read_feed(connection, None) if "cache" in event.type]
    assert sorted(event.type for event in told) == ["node.cache_lost", "node.cache_recovered"]
    assert all(event.data == {"node": context.node} for event in told)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=60))
def test_news_alternate_and_only_what_lasts_is_news(looks: list[tuple[bool, int]]) -> None:
    """A loss of 30 s, a recovery of 10 s; what flickers is none."""
    steady, now_ns, told, since_ns, last = Steady({}), 0, [], 0, False
    for is_lost, seconds in looks:
        now_ns += seconds * NS_PER_SECOND
        if is_lost != last:
            last, since_ns = is_lost, now_ns
        if steady.is_news("kraken", is_lost, now_ns):
            assert now_ns - since_ns >= (LOST_NS if is_lost else RECOVERED_NS)
            told.append(is_lost)
            steady.tell("kraken", is_lost)
    assert told == [place % 2 == 0 for place in range(len(told))]


def test_what_was_told_last_is_where_it_goes_on() -> None:
    """A feed that was lost before the process began is told when it is there again."""
    steady = Steady({"kraken": True})
    assert not steady.is_news("kraken", True, 0)
    assert not steady.is_news("kraken", False, 0)
    assert steady.is_news("kraken", False, RECOVERED_NS)
    assert not steady.is_news("okx", False, RECOVERED_NS)
