"""workers/cluster/limits/*.lua, on a real server"""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulation.share_law import KeyState, answer
from tests.support.valkey_server import ValkeyServer
from trinity.cache.client import SyncCacheClient
from trinity.cache.keys import RATE_LIMIT, USAGE_COUNTER, USAGE_COUNTER_NODES
from workers.cluster.limits.exchange import RATE_LIMIT_SCRIPT
from workers.cluster.limits.months import USAGE_SCRIPT

NAME = RATE_LIMIT.name("ab" * 32)
INTERVALS_NS = st.sampled_from([1_000, 3_334, 1_000_000, 333_333_334, 1_000_000_000, 3_600_000_000_000])
ASK = st.tuples(
    st.sampled_from(["n1", "n2", "n3"]),
    st.integers(0, 50),  # counted since the last ask
    st.integers(0, 60),  # held
    st.integers(0, 2_000),  # demand
    st.integers(1, 3),
    INTERVALS_NS,
    st.integers(1, 2_000),  # burst
    st.integers(1, 60),  # credit
)


def state_of(text: bytes) -> KeyState:
    words = text.decode().split()
    rows = [words[i : i + 5] for i in range(2, len(words), 5)]
    nodes = {row[0]: (int(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in rows}
    return KeyState(float(words[0]), int(words[1]), nodes)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asks=st.lists(ASK, min_size=1, max_size=12))
def test_the_script_is_the_law_that_is_simulated(valkey_server: ValkeyServer, asks: list[Any]) -> None:
    """Answer and state, ask by ask; and the name ends when nothing of it is in force any more."""
    client = SyncCacheClient.open(valkey_server.settings)
    client.run([("DEL", NAME)])
    found: KeyState | None = None
    counted = dict.fromkeys(("n1", "n2", "n3"), 0)
    tat_us = 0
    for node, more, held, demand, nodes, interval_ns, burst, credit in asks:
        acknowledged, counted[node] = counted[node], counted[node] + more
        arguments = [node, counted[node], acknowledged, held, demand, nodes, interval_ns, burst, credit, tat_us]
        (reply,) = client.script(RATE_LIMIT_SCRIPT, [(NAME, arguments)])
        text, left_ms = client.run([("GET", NAME), ("PTTL", NAME)])
        found, expected = answer(found, arguments, reply[3])
        assert reply == expected
        assert state_of(text) == found
        assert abs(left_ms - (found.ends_at_us(reply[3]) - reply[3]) / 1_000) < 1_000
        tat_us = reply[2]
    client.close()


def test_a_month_is_the_sum_of_what_each_node_says_however_often(valkey_server: ValkeyServer) -> None:
    """Repeated and late words change nothing; a new month begins at nothing; an old one is not answered."""
    client = SyncCacheClient.open(valkey_server.settings)
    names = USAGE_COUNTER.name("cd" * 32), USAGE_COUNTER_NODES.name("cd" * 32)

    def tell(node: str, month: int, count: int, known: int = 0) -> Any:
        (reply,) = client.script(USAGE_SCRIPT, [(names, [node, month, count, known, 60_000])])
        return reply

    assert tell("n1", 24_311, 5) == [5, 5, 0]
    assert tell("n2", 24_311, 7) == [7, 12, 0]
    assert tell("n1", 24_311, 5) == [5, 12, 0]
    assert tell("n1", 24_311, 3) == [5, 12, 0]
    assert client.run([("GET", names[0]), ("TYPE", names[0]), ("HGETALL", names[1])]) == [
        b"12", b"string", [b".month", b"24311", b"n1", b"5", b".known", b"0", b"n2", b"7"],
    ]  # fmt: skip
    assert tell("n1", 24_311, 5, 20) == [5, 12, 20], "what is known of all, by whatever way, is not forgotten"
    assert client.get(names[0]) == b"20"
    assert tell("n1", 24_311, 14, 19) == [14, 21, 20]
    assert client.get(names[0]) == b"21", "the greater of both"
    assert tell("n2", 24_312, 1) == [1, 1, 0]
    assert tell("n1", 24_311, 6) == []
    assert client.get(names[0]) == b"1"
    client.close()
