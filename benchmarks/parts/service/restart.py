"""How long a node is away: after `kill -9` of everything until its next start answers, and while it is replaced.

    killed      every process at once, PostgreSQL's too; the same command on the same data directory; the clock runs
                from the start of that command to the first fresh price over HTTP
    replaced    `trinity reload --workers` while four callers ask over new and kept connections and over UDP, each
                question once: what is not answered has failed

Rules: whose steps a start has, the supervisor's own log says. The second part counts answers and failures, not time.
"""

import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from benchmarks.errors import PeerError
from benchmarks.progress import Progress
from benchmarks.servers.node import Node, start_whole
from benchmarks.servers.processes import family_of
from trinity.clock import NS_PER_SECOND, Clock

_ANSWER_SECONDS = 60.0
_ASKER_SECONDS = 5.0
_POLL_SECONDS = 0.01
_KINDS = ("new", "kept", "udp", "udp")


def measure_restart(folder: Path, turns: int, clock: Clock, progress: Progress) -> dict[str, Any]:
    """Seconds to the first answer of each turn, and what callers saw of as many replacements."""
    node = start_whole(folder, 2)
    try:
        replaced = _replace(node, turns, progress)
        killed = [_kill_and_start(node, clock) for _ in range(turns)]
    finally:
        node.stop()
    progress.step(f"first answers after {', '.join(format(turn['seconds'], '.2f') for turn in killed)} s")
    return {
        "median_seconds": statistics.median(turn["seconds"] for turn in killed),
        "worst_seconds": max(turn["seconds"] for turn in killed),
        "turns": killed,
        "replaced": replaced,
        "wrong": replaced["failures"],
    }


def _kill_and_start(node: Node, clock: Clock) -> dict[str, Any]:
    for pid in family_of(node.server.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    if not node.server.ended_within(_ANSWER_SECONDS):
        raise PeerError(node.server.name, "is not dead")
    log = Path(node.environment["TRINITY_DATA_DIR"]) / "logs" / "supervisor.jsonl"
    written = log.stat().st_size
    started_ns = clock.monotonic_ns()
    node.server.start_again()
    pause = threading.Event()
    while not _answers(node.tcp_port):
        if clock.monotonic_ns() - started_ns > _ANSWER_SECONDS * NS_PER_SECOND:
            raise PeerError(node.server.name, f"no answer within {_ANSWER_SECONDS} s")
        pause.wait(_POLL_SECONDS)
    seconds = (clock.monotonic_ns() - started_ns) / NS_PER_SECOND
    lines = [json.loads(line) for line in log.read_bytes()[written:].splitlines()]
    steps = {line["step"]: line["seconds"] for line in lines if line["event"] == "start"}
    return {"seconds": seconds, "steps": steps}


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ASKER_SECONDS)
    try:
        connection.request("GET", "/price?asset=BTC")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class _Caller(threading.Thread):
    """Asks on and on, each question once."""

    def __init__(self, node: Node, kind: str) -> None:
        super().__init__(daemon=True)
        self._node, self._kind = node, kind
        self.answers = self.failures = 0
        self.ended = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._node.tcp_port, timeout=_ASKER_SECONDS)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(_ASKER_SECONDS)
            asker.connect(("127.0.0.1", self._node.udp_port))
            while not self.ended.is_set():
                try:
                    if self._kind == "udp":
                        asker.send(b"BTC")
                        is_good = b"price" in asker.recv(65536)
                    else:
                        is_good = self._ask(connection)
                except (OSError, http.client.HTTPException):
                    connection.close()
                    is_good = False
                self.answers += is_good
                self.failures += not is_good

    def _ask(self, connection: http.client.HTTPConnection) -> bool:
        connection.request("GET", "/price?asset=BTC", headers={"Connection": "close"} if self._kind == "new" else {})
        response = connection.getresponse()
        response.read()
        return response.status == http.HTTPStatus.OK


def _replace(node: Node, turns: int, progress: Progress) -> dict[str, Any]:
    callers = [_Caller(node, kind) for kind in _KINDS]
    for caller in callers:
        caller.start()
    replaced = 0
    for _ in range(turns):
        done = subprocess.run(
            [sys.executable, "-m", "trinity", "reload", "--workers", "--json"],
            env={**os.environ, **node.environment}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise PeerError("trinity reload", done.stderr.strip()[-400:])
        replaced += len(json.loads(done.stdout)["replaced"])
    for caller in callers:
        caller.ended.set()
    for caller in callers:
        caller.join()
    answers, failures = (sum(getattr(caller, word) for caller in callers) for word in ("answers", "failures"))
    progress.step(f"{replaced} processes replaced: {answers:,} answers, {failures} failures")
    return {"processes": replaced, "answers": answers, "failures": failures}
