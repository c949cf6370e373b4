"""A node as a service manager sees it: what it says over systemd's socket, and what `trinity health` says of it"""

import socket
import subprocess
import sys
from pathlib import Path

from tests.node.harness import Node, new_node


def _health(node: Node) -> tuple[int, str]:
    command = [sys.executable, "-m", "trinity", "health"]
    run = subprocess.run(command, env=node.environment, capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout


def test_a_service_says_when_it_is_ready_that_it_lives_and_when_it_stops(tmp_path: Path) -> None:
    """As systemd starts it, with Type=notify and WatchdogSec; no child of it says anything, PostgreSQL included."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        manager.setblocking(False)
        heard: list[str] = []
        senders: set[int] = set()

        def hears(text: str) -> bool:
            while True:
                try:
                    said, credentials, _, _ = manager.recvmsg(65_536, socket.CMSG_SPACE(12))
                except BlockingIOError:
                    return text in heard
                heard.append(said.decode().partition("\n")[0])
                senders.add(int.from_bytes(credentials[0][2][:4], sys.byteorder))

        service = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        with new_node(tmp_path / "data", **service) as node:
            code, line = _health(node)
            assert (code, line.partition(":")[0]) == (1, "silent")
            node.start()
            node.wait("READY", lambda: hears("READY=1"), 90)
            assert node.get("/ready", "HEALTH_PORT_LPO")[0] == 200, "whoever waits for the service can ask it"
            node.wait_database()
            code, line = _health(node)
            assert (code, line.split()[0].rstrip(":")) in [(0, "ok"), (0, "degraded")]
            beats = heard.count("WATCHDOG=1")
            node.wait("the watchdog's beats", lambda: hears("READY=1") and heard.count("WATCHDOG=1") > beats + 3)
            assert node.process is not None
            assert senders == {node.process.pid}
            assert node.stop() == 0
            assert hears("STOPPING=1")
            assert heard.count("READY=1") == 1
            assert any(line.startswith("STATUS=ready after ") for line in heard)
