"""What streams cost that nobody reads: the reporter's memory and the kernel's, for each of many such connections.

    publisher (here)   writes every asset's answer 16 times a second: all buffers are full after some seconds
    reporter           the reporting service alone over the same memory, in a process of its own
    clients (here)     plain sockets that open /stream/prices of all assets and never read

Rules: the figures are the largest until the kernel gives the connections up (30 s); the process's is its proportional
set size, the kernel's is what all TCP sockets of the network namespace hold, both ends: run nothing else meanwhile.

    python -m benchmarks.parts.service.unread_streams [CONNECTIONS]
"""

import contextlib
import json
import multiprocessing
import os
import re
import socket
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.parts.service.streams import report_alone, wait_for_port
from benchmarks.servers.bare_worker import answer_of, write_all
from benchmarks.servers.processes import free_port, pss_bytes, raise_file_limit
from trinity.clock import SystemClock
from trinity.markets import load_catalog
from trinity.memory.node import Card, NodeMemory, ProcessEntry

CONNECTIONS = 500
SECONDS = 28.0
UPDATES_PER_SECOND = 16
_SETTLE_SECONDS = 3.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def measure_unread(folder: Path, connections: int, seconds: float) -> dict[str, int]:
    """Bytes for each connection, of the process and of the kernel."""
    raise_file_limit()
    memory = NodeMemory.create(
        Card(f"bench-unread-{os.getpid()}", True, (ProcessEntry("reporter-0", "reporter"),), load_catalog())
    )
    clock, port = SystemClock(), free_port()
    reporter = multiprocessing.get_context("fork").Process(target=report_alone, args=(memory, port, folder))
    try:
        write_all(memory, clock, 0)
        reporter.start()
        wait_for_port(port)
        _publish(memory, clock, _SETTLE_SECONDS)
        pss_before, kernel_before = pss_bytes(reporter.pid or 0), kernel_bytes()
        with contextlib.ExitStack() as held:
            for _ in range(connections):
                client = held.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", port))
                client.sendall(b"GET /stream/prices HTTP/1.1\r\nHost: bench\r\n\r\n")
            pss_most = kernel_most = 0
            ends_at = time.monotonic() + seconds
            while time.monotonic() < ends_at:
                _publish(memory, clock, 1.0)
                pss_most = max(pss_most, pss_bytes(reporter.pid or 0))
                kernel_most = max(kernel_most, kernel_bytes())
        return {
            "connections": connections,
            "process_bytes": (pss_most - pss_before) // connections,
            "kernel_bytes": (kernel_most - kernel_before) // connections,
        }
    finally:
        if reporter.pid is not None:
            reporter.terminate()
            reporter.join()
        memory.unlink()


def _publish(memory: NodeMemory, clock: SystemClock, seconds: float) -> None:
    assets = memory.card.catalog.assets
    for turn in range(int(seconds * UPDATES_PER_SECOND)):
        for index, asset in enumerate(assets):
            answer = answer_of(asset.name, index, turn, clock.monotonic_ns(), clock.wall_ns())
            memory.answers.write(memory.answers.row_of(index), answer)
        time.sleep(1 / UPDATES_PER_SECOND)


def kernel_bytes() -> int:
    """Memory of all TCP sockets of this network namespace (proc(5), net/sockstat)."""
    found = re.search(r"^TCP: .* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    assert found is not None
    return int(found.group(1)) * _PAGE_BYTES


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        count = int(sys.argv[1]) if len(sys.argv) > 1 else CONNECTIONS
        print(json.dumps(measure_unread(Path(made), count, SECONDS)))
