"""Our own node under the generators: every answer right, over each protocol."""

import sys
from pathlib import Path

import pytest

from benchmarks.errors import PeerError
from benchmarks.generators.http import HttpGenerator
from benchmarks.generators.load import Load
from benchmarks.generators.udp import UdpGenerator
from benchmarks.servers.node import _wait_until_fresh, pids_by_name, start_bare, start_whole
from benchmarks.servers.processes import START_SECONDS_MAX, cpu_ns, free_port, start, wait_for_port
from trinity.clock import SystemClock
from trinity.errors import NodeAbsentError


def test_the_bare_worker_answers_every_protocol_rightly(tmp_path: Path) -> None:
    """HTTP, pipelined HTTP, UDP text and UDP binary: no fault, and the work is seen in the worker's time."""
    node = start_bare(tmp_path, None)
    try:
        head, body = node.answer("ETH")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body.startswith(b'{"asset":"ETH","price":')
        generators = (
            HttpGenerator(node.http_target(), 8),
            HttpGenerator(node.http_target(), 2, pipelining=16),
            UdpGenerator(node.udp_target(), 32),
            UdpGenerator(node.udp_target(binary=True), 8),
        )
        for generator in generators:
            before_ns = cpu_ns(node.worker_pids)
            outcome = generator.run(Load(0.2))
            generator.close()
            assert outcome.answered == outcome.sent > 0
            assert outcome.faults == {}
            assert cpu_ns(node.worker_pids) > before_ns
    finally:
        node.stop()
    with pytest.raises(NodeAbsentError):
        pids_by_name(node.name)


def test_the_whole_node_comes_up_with_fresh_prices_and_named_processes(tmp_path: Path) -> None:
    """`start_whole` returns when every asset is answered; the request workers are known by pid."""
    node = start_whole(tmp_path, workers=2)
    try:
        assert len(node.worker_pids) == 2
        assert {"consensus", "worker-0", "worker-1"} <= pids_by_name(node.name).keys()
        generator = HttpGenerator(node.http_target(), 4)
        outcome = generator.run(Load(0.3, rate=300))
        generator.close()
        assert outcome.answered == outcome.sent > 0
        assert outcome.faults == {}
    finally:
        node.stop()


_REFUSES = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(int(sys.argv[2]))
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_node_that_refuses_for_good_is_not_waited_for(tmp_path: Path, status: int) -> None:
    """The message says what it answered, long before the patience with a start is over."""
    port = free_port()
    server = start("node", [sys.executable, "-c", _REFUSES, str(port), str(status)], tmp_path)
    wait_for_port(server, port)
    started_ns = SystemClock().monotonic_ns()
    with pytest.raises(PeerError, match=rf"BTC \({status}\)"):
        _wait_until_fresh(server, port, ["BTC"])
    assert SystemClock().monotonic_ns() - started_ns < START_SECONDS_MAX * 1e9 / 4
    assert server.ended_within(0)
