"""Good lookups over UDP while somebody else floods the same worker's queue with what is no question.

Rules: one bare worker on one processor; the flood and the asker share the other, as a flooder's packets and a caller's
share a network card. The flood is one socket, so all of it goes to one queue. The asker sends BTC at a fixed rate; a
latency counts from when the question was due, and what is not there ANSWER_SECONDS after the last one is lost. Loopback
only, and bounded: `seconds` for each kind of flood.
"""

import os
import select
import signal
import socket
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.generators import system
from benchmarks.generators.checks import Ints
from benchmarks.progress import Progress
from benchmarks.servers.node import start_bare
from benchmarks.servers.processes import cores
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.compiled import compiled
from trinity.native import libc

RATE = 500
ANSWER_SECONDS = 0.5
BATCH = 64
QUESTION = b'{"asset":"BTC","id":%d}'
# Kind -> the datagram: none, what is thrown away unanswered, what is refused as malformed, and what cannot be told
# from a question without looking its name up.
FLOODS = {
    "none": None,
    "empty": b"",
    "too long": b"x" * 2_100,
    "no request frame": bytes([0xD7]) * 64,
    "malformed text": b"\x80" * 64,
    "unknown asset": b"NOBODY".ljust(64),
}


def measure_udp_flood(folder: Path, seconds: float, progress: Progress) -> dict[str, Any]:
    """By kind of flood: how many datagrams a second came, how many lookups were answered, p50 and p99."""
    found: dict[str, Any] = {}
    node = start_bare(folder, cores()[0])
    try:
        for kind, datagram in FLOODS.items():
            progress.step(f"flood: {kind}")
            found[kind] = _measure(node.udp_port, datagram, seconds)
    finally:
        node.stop()
    return found


def _measure(port: int, datagram: bytes | None, seconds: float) -> dict[str, float]:
    if datagram is None:
        return ask(port, seconds)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _flood(port, datagram, seconds + ANSWER_SECONDS, writer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as report:
        report.read(1)  # it has begun
        found = ask(port, seconds)
        count, spent_ns = map(int, report.read().split())
    os.waitpid(child, 0)
    return {"flood_per_second": round(count * NS_PER_SECOND / spent_ns)} | found


def ask(port: int, seconds: float) -> dict[str, float]:
    """Ask at RATE; answered share and latencies in microseconds."""
    clock = SystemClock()
    waits: list[int] = []
    total = round(RATE * seconds)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.connect(("127.0.0.1", port))
        asker.setblocking(False)
        poller = select.poll()
        poller.register(asker, select.POLLIN)
        start_ns, sent = clock.monotonic_ns(), 0
        end_ns = start_ns + round((seconds + ANSWER_SECONDS) * NS_PER_SECOND)
        due_ns = [start_ns + number * NS_PER_SECOND // RATE for number in range(total)]
        while (now_ns := clock.monotonic_ns()) < end_ns and len(waits) < total:
            while sent < total and due_ns[sent] <= now_ns:
                asker.send((QUESTION % sent).ljust(512))
                sent += 1
            next_ns = due_ns[sent] if sent < total else end_ns
            poller.poll(max(0.0, (next_ns - now_ns) / 1e6))
            while True:
                try:
                    reply = asker.recv(4096)
                except BlockingIOError:
                    break
                number = int(reply.partition(b'"id":')[2].partition(b",")[0].rstrip(b"}"))
                waits.append(clock.monotonic_ns() - due_ns[number])
    waits.sort()
    answered = len(waits)
    return {
        "asked": total,
        "answered": answered,
        "p50_us": round(statistics.median(waits) / 1_000) if waits else -1,
        "p99_us": round(waits[int(answered * 0.99)] / 1_000) if waits else -1,
    }


def _flood(port: int, datagram: bytes, seconds: float, report: int) -> None:
    timespec, out = system.make_timespec(), system.Datagrams(BATCH, 1)
    octets = np.frombuffer(datagram or b"x", dtype=np.uint8).copy()
    out.iovecs[:, 0] = octets.ctypes.data
    out.iovecs[:, 1] = len(datagram)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        _send_until(sender.fileno(), out.headers, 0, timespec)  # compiled, or loaded, now
        os.write(report, b".")
        start_ns = system.monotonic_ns(timespec)
        count = _send_until(sender.fileno(), out.headers, start_ns + round(seconds * NS_PER_SECOND), timespec)
        os.write(report, b"%d %d" % (count, system.monotonic_ns(timespec) - start_ns))


@compiled
def _send_until(fd: int, headers: NDArray[np.uint64], end_ns: int, timespec: Ints) -> int:
    sent = 0
    while system.monotonic_ns(timespec) < end_ns:
        sent += max(0, libc.send_many(fd, headers, 0, BATCH))
    return sent
