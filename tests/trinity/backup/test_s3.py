"""trinity/backup/s3.py, against the S3 of moto's server."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backups import wait_for
from trinity.backup.crypt import ByteSink
from trinity.backup.target import BackupTarget, Stored, open_target, read_bytes, recognise, write_bytes
from trinity.errors import BackupTargetError

obstore = pytest.importorskip("obstore", reason="the extra s3 is not installed")
ROOT = Path(__file__).resolve().parents[3]
SERVERS = [ROOT / ".venv/infra/bin/moto_server", ROOT.parent / "main/.venv/infra/bin/moto_server"]
SERVER = next((path for path in SERVERS if path.exists()), None)
pytestmark = pytest.mark.skipif(SERVER is None, reason="moto's server is not installed: make infra-tools")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with an empty bucket; credentials as the environment has them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path_factory.mktemp("moto") / "log").open("wb")
    process = subprocess.Popen([str(SERVER), "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    patch = pytest.MonkeyPatch()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "test")
    patch.setenv("AWS_REGION", "us-east-1")
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        store = obstore.store.HTTPStore(address, client_options={"allow_http": True})
        obstore.put(store, "bucket", b"", use_multipart=False)
        yield address
    finally:
        patch.undo()
        process.terminate()
        process.wait(30)
        log.close()


@pytest.fixture
def target(endpoint: str, request: pytest.FixtureRequest) -> BackupTarget:
    """A prefix of one test's own."""
    return open_target(f"s3://bucket/{request.node.name}", endpoint)


def test_an_object_goes_there_and_comes_back(target: BackupTarget) -> None:
    """Of several parts; it is listed by its prefix and can be deleted twice."""
    content = os.urandom(1024) * 80 * 1024
    assert write_bytes(target, "7/a/long", content) == len(content)
    write_bytes(target, "7/b", b"")
    assert read_bytes(target, "7/a/long", len(content)) == content
    assert sorted(target.stored("7/")) == [Stored("7/a/long", len(content)), Stored("7/b", 0)]
    assert list(target.stored("8/")) == []
    for _ in range(2):
        target.delete("7/a/long")
    assert list(target.stored("")) == [Stored("7/b", 0)]


def test_an_object_that_breaks_off_is_not_there(target: BackupTarget) -> None:
    """Whoever filled it hears its own error; no part of it stays."""

    def broken(sink: ByteSink) -> None:
        for _ in range(40):
            sink.write(bytes(1024 * 1024))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        target.write("7/a", broken)
    assert list(target.stored("")) == []


def test_a_target_is_known_by_its_mark(target: BackupTarget) -> None:
    """As a folder is."""
    known = recognise(target, None)
    assert recognise(target, known) == known


def test_a_store_that_is_away_or_refuses_is_the_targets_error(endpoint: str) -> None:
    """What is not there, a bucket that is none, and a port that nobody listens on."""
    with pytest.raises(BackupTargetError):
        read_bytes(open_target("s3://bucket/x", endpoint), "7/none", 10)
    with pytest.raises(BackupTargetError):
        write_bytes(open_target("s3://other-bucket/x", endpoint), "7/a", b"x")


def test_the_command_line_says_what_is_missing() -> None:
    """Without the extra the error names it."""
    code = (
        "import sys; sys.modules['obstore'] = None\n"
        "from trinity.backup.target import open_target\n"
        "try: open_target('s3://b/c')\n"
        "except Exception as error: print(type(error).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() in ("MissingExtraError", "ModuleNotFoundError")
