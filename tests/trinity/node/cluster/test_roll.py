"""trinity/node/cluster/roll.py, with nodes that are health servers of this process."""

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from trinity.clock import SystemClock
from trinity.errors import RefusedError
from trinity.node.cluster.roll import RolledPlace, roll


class FakeNode:
    """Its /health and /ready."""

    def __init__(self) -> None:
        self.run, self.status = 1, 200
        node = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path == "/health" else node.status)
                self.end_headers()
                self.wfile.write(json.dumps({"started_at_ms": node.run}).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def nodes() -> Iterator[dict[str, FakeNode]]:
    """Two of them."""
    made = {name: FakeNode() for name in ("node-1", "node-2")}
    yield made
    for node in made.values():
        node.stop()


def _places(nodes: dict[str, FakeNode]) -> list[RolledPlace]:
    return [RolledPlace(name, "127.0.0.1", (node.server.server_address[1],)) for name, node in nodes.items()]


def test_the_next_node_waits_until_the_one_before_is_another_run_ready_and_asked(nodes: dict[str, FakeNode]) -> None:
    """Each step is looked for by itself: the old run is ready as well, and a ready one may not be asked yet."""
    events: list[str] = []

    def restart(name: str) -> None:
        events.append(f"restart {name}")
        assert all(node.status == 200 for node in nodes.values()), "never two at once"
        nodes[name].status, nodes[name].run = 503, nodes[name].run + 1

    def is_asked(name: str) -> bool:
        if nodes[name].status == 503:
            nodes[name].status = 200
            return False
        events.append(f"asked {name}")
        return True

    class LazyClock(SystemClock):
        """What a node needs to come back happens while nobody looks."""

        def sleep_ns(self, duration_ns: int) -> None:
            for node in nodes.values():
                node.status = 200

    rolled = roll(_places(nodes), restart, is_asked, LazyClock(), lambda _: None)
    assert [one.node for one in rolled] == ["node-1", "node-2"]
    assert [event for event in events if event.startswith("restart")] == ["restart node-1", "restart node-2"]
    assert events.index("restart node-2") > len(events) - events[::-1].index("asked node-1") - 1


def test_a_roll_does_not_begin_while_a_node_is_missing(nodes: dict[str, FakeNode]) -> None:
    """Who is rolled needs the others: nobody is restarted."""
    restarted: list[str] = []
    nodes["node-2"].status = 503
    with pytest.raises(RefusedError, match="node-2"):
        roll(_places(nodes), restarted.append, lambda _: True, SystemClock(), lambda _: None)
    nodes["node-2"].status = 200
    with pytest.raises(RefusedError, match="node-1"):
        roll(_places(nodes), restarted.append, lambda name: name != "node-1", SystemClock(), lambda _: None)
    assert restarted == []
