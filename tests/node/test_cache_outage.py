"""A whole node while its Valkey is paused, killed, emptied, full and back: it says so, and lookups feel nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from tests.node.harness import Node, new_node
from tests.support.valkey_server import ValkeyServer
from trinity.cache.keys import CLUSTER_STATS, PATTERNS
from trinity.cache.stats import COUNTER_NAMES

pytestmark = pytest.mark.long

LOOKUPS = 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    made = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    yield made
    made.kill()


@pytest.fixture(scope="module")
def node(server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with new_node(tmp_path_factory.mktemp("node"), CACHE_URL=server.url) as started:
        started.start()
        started.wait_ready()
        started.wait_reports_ready()
        started.wait_all_sources()
        yield started
        assert started.stop() == 0


def wait_state(node: Node, state: str) -> None:
    """Until /health says so; the reason is there exactly while it is not `up`."""
    node.wait(f"a cache that is {state}", lambda: node.health()["cache"]["state"] == state, 30)
    codes = {reason["code"] for reason in node.health()["reasons"]}
    wanted = {"up": set(), "down": {"cache_unreachable"}, "full": {"cache_full"}}[state]
    assert codes & {"cache_unreachable", "cache_full"} == wanted


def all_answered(node: Node) -> bool:
    """Lookups over HTTP and UDP."""
    by_http = [node.price()[0] for _ in range(LOOKUPS)]
    by_udp = [node.ask(b"BTC") for _ in range(5)]
    return set(by_http) == {200} and all("price" in answer for answer in by_udp)


def restarts(node: Node) -> dict[str, int]:
    return {name: process["restarts"] for name, process in node.health()["processes"].items()}


def test_outages_of_every_kind_are_told_and_heal_and_no_lookup_notices(node: Node, server: ValkeyServer) -> None:
    """Paused as a machine that stands still, full, killed, started anew and empty: nothing is restarted for it."""
    before = restarts(node)
    wait_state(node, "up")
    for break_it, state, mend_it in (
        (server.pause, "down", server.resume),
        (server.fill, "full", server.unfill),
        (server.kill, "down", server.start),
    ):
        break_it()
        wait_state(node, state)
        assert all_answered(node)
        assert node.health()["status"] == "degraded"
        mend_it()
        wait_state(node, "up")
    server.flush()
    with server.admin() as admin:
        node.wait("its telemetry once more", lambda: admin.exists(CLUSTER_STATS.name(node.health()["node"])))
    assert all_answered(node)
    assert restarts(node) == before
    errors = node.metrics("trinity_cache_errors_total", process="cluster")
    assert errors
    assert errors[0] > 0


def test_no_process_that_answers_lookups_has_a_connection_to_valkey(node: Node, server: ValkeyServer) -> None:
    """What does not ask cannot wait."""
    wait_state(node, "up")
    assert node.process is not None
    asking = set()
    for process in psutil.Process(node.process.pid).children(recursive=True):
        connections = process.net_connections(kind="tcp")
        if any(one.raddr and one.raddr.port == server.port for one in connections):
            asking.add(process.pid)
    names = {name: found["pid"] for name, found in node.processes().items()}
    assert names["cluster"] in asking
    silent = {pid for name, pid in names.items() if name.startswith(("worker", "consensus", "feed", "health"))}
    assert silent
    assert not silent & asking


def test_what_stands_in_valkey_has_the_names_and_types_of_the_table(node: Node, server: ValkeyServer) -> None:
    """And a life where the table gives one."""
    wait_state(node, "up")
    with server.admin() as admin:
        name = CLUSTER_STATS.name(node.health()["node"])
        node.wait("telemetry", lambda: set(COUNTER_NAMES) <= {field.decode() for field in admin.hkeys(name)})
        for key in admin.keys("*"):
            text, kind = key.decode(), admin.type(key).decode()
            rows = [row for row in PATTERNS if _fits(row.pattern, text)]
            assert rows, f"{text} is in no row"
            assert kind in {row.kind for row in rows} | {"none"}, text
            if kind != "none" and rows[0].life_seconds is not None:
                assert admin.ttl(key) <= rows[0].life_seconds, text


def test_the_command_shows_the_node_that_runs(node: Node, server: ValkeyServer) -> None:
    """With its 24 counters; it has led since it is alone with its database."""
    node.wait("who leads", lambda: [one["leads"] for one in _shown(server)] == [True], 60)
    (shown,) = _shown(server)
    assert shown["node"] == node.health()["node"]
    assert set(shown["counters"]) == set(COUNTER_NAMES)
    assert shown["counters"]["feeds_up"] == 6


def _shown(server: ValkeyServer) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "trinity", "cluster", "--json"],
        capture_output=True, text=True, check=True, env={**os.environ, "CACHE_URL": server.url},
    )  # fmt: skip
    nodes: list[dict[str, object]] = json.loads(done.stdout)["nodes"]
    return nodes


def _fits(pattern: str, text: str) -> bool:
    """Whether a name is made by a pattern: its fixed parts, in their order, from end to end."""
    fixed = [piece for i, piece in enumerate(pattern.replace(">", "<").split("<")) if i % 2 == 0]
    if not text.startswith(fixed[0]) or (len(fixed) == 1 and text != fixed[0]):
        return False
    rest = text[len(fixed[0]) :]
    for piece in fixed[1:]:
        at = rest.find(piece, 1) if piece else len(rest)
        if at < 1:
            return False
        rest = rest[at + len(piece) :]
    return not rest
