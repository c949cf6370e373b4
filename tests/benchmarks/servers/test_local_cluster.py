"""benchmarks/servers/local_cluster.py; that it starts one is tests/benchmarks/test_main_slow_parts.py."""

import http.server
import threading
from pathlib import Path

import pytest

from benchmarks.errors import PeerError
from benchmarks.servers import local_cluster
from benchmarks.servers.local_cluster import MeasuredCluster


def test_a_cluster_that_does_not_start_is_an_error_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is waited for that will not come."""
    monkeypatch.setattr(local_cluster, "data_dir", lambda: tmp_path)
    cluster = MeasuredCluster(tmp_path, {"TRINITY_NO_SUCH_SETTING": "1"})
    with pytest.raises(PeerError, match="there is no such setting"):
        cluster.wait_ready()
    assert cluster.has_ended()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"no JSON" if self.path == "/text" else b'{"ready":true}')

    def log_message(self, *_: object) -> None:
        pass


def test_whoever_does_not_answer_with_json_has_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 0."""
    monkeypatch.setattr(local_cluster, "data_dir", lambda: tmp_path)
    cluster = MeasuredCluster(tmp_path, {"TRINITY_NO_SUCH_SETTING": "1"})
    with http.server.HTTPServer(("127.0.0.1", 0), _Handler) as served:
        port = served.server_address[1]
        threading.Thread(target=served.serve_forever, daemon=True).start()
        assert cluster.get("127.0.0.1", port, "/") == (200, {"ready": True})
        assert cluster.get("127.0.0.1", port, "/text") == (0, None)
        served.shutdown()
    assert cluster.get("127.0.0.1", port, "/") == (0, None)
    assert cluster._server.ended_within(60)
