"""A real Valkey for the tests: one server a test module, on a free port, with nothing on disk."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey

_START_SECONDS = 60


@pytest.fixture(scope="module")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that speaks Valkey's protocol."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        pytest.skip("neither valkey-server nor redis-server is installed")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    folder: Path = tmp_path_factory.mktemp("valkey")
    server = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    url = f"valkey://127.0.0.1:{port}"
    client = valkey.Valkey.from_url(url)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            client.ping()
            break
        except valkey.exceptions.ConnectionError:
            assert server.poll() is None
            assert time.monotonic() < deadline, "the cache does not answer"
            time.sleep(0.01)
    client.close()
    yield url
    server.terminate()
    server.wait(10)
