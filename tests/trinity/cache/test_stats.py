"""trinity/cache/stats.py"""

from typing import Any

import pytest

from trinity.cache.keys import CLUSTER_STATS
from trinity.cache.stats import (
    COUNTER_NAMES,
    COUNTERS,
    MEMBER_COMMANDS,
    NodeStats,
    read_ages,
    read_commands,
    read_stats,
    write_commands,
)
from trinity.errors import CacheReplyError

REFUSED = CacheReplyError("NOPERM", "no")


def stats_of(node: str, **changes: Any) -> NodeStats:
    told: dict[str, Any] = {
        "node": node, "age_ms": 5, "version": "1.2.3", "server_type": "APP_REPORT_SERVER", "leads": True,
        "status": "ok", "started_ms": 7, "members": 3, "requests_per_second": 11,
        "counters": {name: i for i, name in enumerate(COUNTER_NAMES)},
    }  # fmt: skip
    return NodeStats(**{**told, **changes})


def as_reply(stats: NodeStats) -> list[bytes]:
    """What HGETALL gives of what was written."""
    written = write_commands(stats)[0]
    return [str(value).encode() for value in written[2:]]


def test_there_are_24_counters_each_with_its_own_name_and_words() -> None:
    """As the specification has it."""
    assert len(COUNTERS) == len(set(COUNTER_NAMES)) == 24
    assert all(counter.text for counter in COUNTERS)


def test_what_a_node_writes_is_read_as_it_was() -> None:
    """For ten seconds, under its name."""
    stats = stats_of("b")
    hset, expire = write_commands(stats)
    assert hset[:2] == ("HSET", CLUSTER_STATS.name("b"))
    assert expire == ("EXPIRE", CLUSTER_STATS.name("b"), 10)
    assert read_stats({"b": 5}, [as_reply(stats)]) == [stats]
    assert read_commands(["a", "b"]) == [("HGETALL", "cluster:stats:a"), ("HGETALL", "cluster:stats:b")]


def test_nodes_are_in_the_order_of_their_names_and_what_does_not_fit_is_left_out() -> None:
    """A hash that is gone, refused, or of a version with another meaning; a field more is no harm."""
    more = [*as_reply(stats_of("a")), b"later", b"1"]
    wrong = [b"version", b"1", b"leads", b"perhaps"]
    ages = {"b": 5, "a": 5, "gone": 1, "refused": 1, "wrong": 1, "half": 1}
    found = read_stats(ages, [as_reply(stats_of("b")), more, [], REFUSED, wrong, as_reply(stats_of("half"))[:4]])
    assert [stats.node for stats in found] == ["a", "b"]
    assert len(found[0].counters) == 24


@pytest.mark.parametrize("replies", [[REFUSED, []], [[b"1", b"0"], REFUSED]])
def test_a_refused_reply_is_no_node(replies: list[Any]) -> None:
    """And no error."""
    assert read_ages(replies) == {}


def test_a_beat_s_age_is_by_the_clock_of_valkey() -> None:
    """A node ahead of it by a rounding is not younger than now."""
    assert len(MEMBER_COMMANDS) == 2
    assert read_ages([[b"100", b"500000"], [b"a", b"99000", b"b", b"100501"]]) == {"a": 1500, "b": 0}
