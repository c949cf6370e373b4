"""One request worker without feeds: the answer path alone, over real shared memory with hand-written answers.

    python -m benchmarks.servers.bare_worker NAME TCP_PORT UDP_PORT [TARGET_QUEUE_DELAY_MS]

Rules: the worker is the node's own, unchanged, in this process; a forked child stands in for the consensus process and
rewrites every answer four times a second, so that the worker reads memory which another core writes. It also gives
usage records back to the ring unread, as if a flusher on another machine had them. Prices differ by
asset and move by less than 1 %. It serves until SIGTERM, or until the writer finds that its parent has gone.
"""

import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from benchmarks.servers.processes import data_dir
from trinity.clock import NS_PER_MS, NS_PER_SECOND, SystemClock
from trinity.compiled import prepare_cache
from trinity.config import AccessSection, PortsSection, RequestSection
from trinity.markets import load_catalog

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trinity.memory.node import NodeMemory
    from trinity.memory.usage_ring import UsageRing

WRITES_PER_SECOND = 4
VALID_NS = 10 * NS_PER_SECOND
WORKER, WRITER = range(2)
_RING_RECORDS = 1 << 18  # more than a worker answers between two turns of the writer
_SOURCES = ("coinbase", "gemini", "kraken", "gateio", "cryptocom")


def answer_of(asset: str, number: int, turn: int, now_ns: int, wall_ns: int) -> "NDArray[np.void]":
    """One ANSWER_DTYPE record of a good consensus price; `number` sets its size, `turn` moves it."""
    from trinity.memory.answer_table import ANSWER_DTYPE, AnswerState

    mantissa = (number + 1) * 1_000_250 + turn % 100
    timestamp_ms = wall_ns // NS_PER_MS
    price = f"{mantissa // 100}.{mantissa % 100:02}".rstrip("0").rstrip(".")
    exchanges = ",".join(f'"{name}"' for name in _SOURCES)
    body = (
        f'{{"asset":"{asset}","price":{price},"currency":"USD","confidence":17.5,"sources":5,"rejected":1,'
        f'"source":"consensus","timestamp":{timestamp_ms},"newest_timestamp":{timestamp_ms},"status":"fresh",'
        f'"disagreement_bps":1.69,'
        f'"exchanges":[{exchanges}]}}'
    ).encode()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
        f"Access-Control-Allow-Origin: *\r\nContent-Length: {len(body)}\r\n"
    ).encode()
    answer = np.zeros(1, dtype=ANSWER_DTYPE)
    numbers = {
        "state": AnswerState.GOOD,
        "valid_until_ns": now_ns + VALID_NS,
        "received_at_ns": now_ns,
        "timestamp_ms": timestamp_ms,
        "price": mantissa,
        "confidence": 1750,
        "confidence_milli_bps": 2_500,
        "disagreement_milli_bps": 1_690,
        "scale": 2,
        "sources": 5,
        "rejected": 1,
        "sources_required": 3,
        "has_last_good": 1,
    }
    for name, value in numbers.items():
        answer[name] = value
    for name, text in (("price_text", price.encode()), ("head", head), ("body", body)):
        answer[name][0, : len(text)] = np.frombuffer(text, dtype=np.uint8)
        answer[f"{name}_length"] = len(text)
    return answer


def write_all(memory: "NodeMemory", clock: SystemClock, turn: int) -> None:
    """Publish a fresh consensus answer of every asset."""
    for i, asset in enumerate(memory.card.catalog.assets):
        answer = answer_of(asset.name, i, turn, clock.monotonic_ns(), clock.wall_ns())
        memory.answers.write(memory.answers.row_of(i), answer)


def _write_forever(memory: "NodeMemory", ring: "UsageRing", clock: SystemClock, parent: int) -> None:
    turn = 0
    while os.getppid() == parent:
        turn += 1
        write_all(memory, clock, turn)
        ring.release(ring.written)
        signal.sigtimedwait([], 1 / WRITES_PER_SECOND)


def main(arguments: list[str]) -> None:
    """Serve on the given ports until SIGTERM."""
    name, tcp_port, udp_port, *target_ms = arguments
    signal.signal(signal.SIGTERM, _end)  # until the loop takes the signal over: leave no memory behind
    prepare_cache(data_dir())
    from trinity.memory.access import AccessMemory
    from trinity.memory.node import Card, NodeMemory, ProcessEntry
    from trinity.memory.usage_ring import UsageRing
    from trinity.process import AskerMemory, ProcessContext, WorkerMemory
    from workers.request import loop

    processes = (ProcessEntry("worker-0", "worker"), ProcessEntry("consensus", "consensus"))
    memory = NodeMemory.create(Card(name, True, processes, load_catalog()))
    clock = SystemClock()
    ring_file = data_dir() / f"{name}-ring"
    try:
        write_all(memory, clock, 0)
        loop.warm_up()
        ring = UsageRing.open(ring_file, WORKER, _RING_RECORDS, clock.wall_ns() // NS_PER_SECOND)
        parent = os.getpid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, _leave)
            _write_forever(memory, ring, clock, parent)
            os._exit(0)
        context = ProcessContext.of(memory, WORKER, clock, os.eventfd(0, os.EFD_NONBLOCK))
        ports = PortsSection(tcp_port_lpo=int(tcp_port), udp_port_lpo=int(udp_port))
        access = AccessSection(auth="optional")
        own = WorkerMemory(memory.answers, AccessMemory.private(), ring, AskerMemory.private(), memory.admission)
        request = RequestSection(workers=1, pin=False)
        if target_ms:
            request = msgspec.structs.replace(request, target_queue_delay_ms=float(target_ms[0]))
        loop.run(context, own, ports, request, access, "127.0.0.1", 0)
    finally:
        memory.unlink()
        ring_file.unlink(missing_ok=True)


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
