"""The reporter without a node: it serves without a database as well, and leaves no memory behind."""

import http.client
import sys
from pathlib import Path

from benchmarks.servers.processes import free_port, start, wait_for_port
from benchmarks.servers.report_service import ADMIN_KEY


def test_it_serves_and_leaves_nothing(tmp_path: Path) -> None:
    """The operator's key is known."""
    port = free_port()
    name, url = f"t-{port}", "postgresql:///none?host=/nonexistent"
    service = start(
        "reports", [sys.executable, "-m", "benchmarks.servers.report_service", name, str(port), url], tmp_path
    )
    try:
        wait_for_port(service, port)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/account", headers={"X-API-Key": ADMIN_KEY})
        assert connection.getresponse().read() == b'{"kind":"admin"}'
        connection.close()
    finally:
        service.stop()
    assert not list(Path("/dev/shm").glob(f"trinity-{name}-*"))
