"""What an answer costs outside of the kernel: parsing, checks and the copy of the rendered bytes.

Two views, both shown:
    pure      the worker's own functions over requests of all assets in turn, in this process, without a socket:
              exactly parse, checks, copy and usage record, with warm caches; median of many short batches, in
              processor time. `unrecorded` leaves the record out; `key` brings an API key that has a rate and a quota,
              where 5,000 networks are blocked
    sampled   a worker under load, watched by `perf record -e cpu-clock`: the share of its samples outside of the
              kernel times its processor time a request; all of the loop, with the caches as the kernel leaves them;
              absent where perf is not installed

Rules: the kernel's own user/system account (/proc/<pid>/stat) is not used: it counts whole clock ticks by what runs
when the timer fires, and on virtual machines it was seen to give six times what perf samples.
"""

import contextlib
import hashlib
import ipaddress
import os
import shutil
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.generators import system
from benchmarks.generators.checks import Bytes, Ints
from benchmarks.generators.frames import request_frame
from benchmarks.generators.http import HttpGenerator, price_requests
from benchmarks.generators.load import Load
from benchmarks.progress import Progress
from benchmarks.servers.bare_worker import write_all
from benchmarks.servers.one_worker import CONNECTIONS, WARM_SECONDS, run_with_cpu, start_one_worker
from trinity.clock import SystemClock
from trinity.compiled import compiled, refer_to
from trinity.config import AccessSection
from trinity.limits import COUNTER_WORDS
from trinity.markets import Catalog, load_catalog
from trinity.memory.access import AccessMemory
from trinity.memory.node import Card, NodeMemory, ProcessEntry
from trinity.memory.record_ring import RELEASED, WRITTEN
from trinity.vocabulary import CODE_OK, KeyState
from workers.request import ledger
from workers.request.http import parse, routes
from workers.request.http.context import RequestContext, make_private_context
from workers.request.udp.context import ANSWERED, DatagramContext, make_datagram_context
from workers.request.udp.text import answer_datagram

# A batch takes some 2 ms: mostly it fits between two other processes' turns on a busy machine.
REQUESTS = 2_000
BATCHES_PER_TURN = 20
SAMPLES_PER_SECOND = 4_999
_BINARY_ASSETS = 64
_OUT_BYTES = 128 * 1024
_KEY = "trk_0123456789abcdefghijklmnopqrstuv"
_BLOCKS = 5_000


def measure_user_mode(folder: Path, turns: int, seconds: float, progress: Progress) -> dict[str, Any]:
    """Microseconds outside of the kernel, a request and for a binary frame also a lookup."""
    progress.step("parsing and answering without a socket")
    found: dict[str, Any] = {"pure": _measure_pure(turns)}
    if shutil.which("perf") is None:
        progress.step("perf is not installed: not sampled")
    else:
        found["sampled"] = _measure_sampled(folder, seconds, progress)
    return found


def _measure_pure(turns: int) -> dict[str, float]:
    catalog, clock = load_catalog(), SystemClock()
    names = [asset.name for asset in catalog.assets]
    memory = NodeMemory.create(Card(f"bench-pure-{os.getpid()}", True, (ProcessEntry("worker-0", "worker"),), catalog))
    try:
        write_all(memory, clock, 0)
        out, timespec = np.zeros(_OUT_BYTES, dtype=np.uint8), system.make_timespec()
        http = _make_request_context(memory, catalog)
        udp = make_datagram_context(http)
        frame = request_frame([names[i % len(names)] for i in range(_BINARY_ASSETS)])
        plain, texts = price_requests(names), [name.encode() for name in names]
        head = f"X-API-Key: {_KEY}\r\n\r\n".encode()
        batches: dict[str, tuple[Callable[..., int], Any, list[bytes]]] = {
            "http_unrecorded": (_answer_http, http, plain),
            "http": (_record_http, http, plain),
            "http_key": (_record_http, http, [request[:-2] + head for request in plain]),
            "udp_text_unrecorded": (_answer_udp, udp, texts),
            "udp_text": (_record_udp, udp, texts),
            "udp_text_key": (_record_udp, udp, [name + f" key={_KEY}".encode() for name in texts]),
            "udp_binary": (_record_udp, udp, [frame]),
        }
        found = {}
        for name, (loop, memory_of_it, requests) in batches.items():
            context, (octets, ends) = refer_to(memory_of_it), _joined(requests)
            loop(context, octets, ends, 1, out, timespec)  # compiled now, for longer than a price is good
            write_all(memory, clock, 0)
            times = [loop(context, octets, ends, REQUESTS, out, timespec) for _ in range(turns * BATCHES_PER_TURN)]
            assert min(times) > 0, f"{name}: not understood"
            found[f"{name}_us"] = round(statistics.median(times) / REQUESTS / 1_000, 4)
        found["udp_binary_lookup_us"] = round(found["udp_binary_us"] / _BINARY_ASSETS, 4)
    finally:
        memory.unlink()
    return found


def _make_request_context(memory: NodeMemory, catalog: Catalog) -> RequestContext:
    """Anonymous callers are let in; one key has a rate, a burst and a monthly quota that this never reaches."""
    access = AccessMemory.private(1000)
    digest = hashlib.sha256(_KEY.encode()).digest()
    access.keys.write(7, digest, KeyState.ACTIVE, 1_000_000_000, 1_000_000_000, 2**40, False)
    access.keys.mark_loaded()
    access.blocks.write([ipaddress.ip_network((i << 16, 24)) for i in range(_BLOCKS)])
    counters = np.zeros(COUNTER_WORDS, dtype=np.uint64)
    return make_private_context(memory.answers.words, catalog, counters, AccessSection(auth="optional"), access)


def _joined(requests: list[bytes]) -> tuple[Bytes, Ints]:
    ends = np.concatenate([[0], np.cumsum([len(request) for request in requests])]).astype(np.int64)
    return np.frombuffer(b"".join(requests), dtype=np.uint8).copy(), ends


@compiled
def _answer_http(context: RequestContext, requests: Bytes, ends: Ints, count: int, out: Bytes, timespec: Ints) -> int:
    """Processor nanoseconds for `count` requests; 0 when one of them was not understood."""
    now_ns = system.monotonic_ns(timespec)
    start_ns = system.thread_cpu_ns(timespec)
    for number in range(count):
        which = number % (ends.size - 1)
        if parse.parse_head(requests, ends[which], ends[which + 1], context.head) != parse.REQUEST:
            return 0
        routes.answer_request(context, requests, False, now_ns, out, 0)
    return system.thread_cpu_ns(timespec) - start_ns


@compiled
def _answer_udp(context: DatagramContext, requests: Bytes, ends: Ints, count: int, out: Bytes, timespec: Ints) -> int:
    """Processor nanoseconds for `count` datagrams; 0 when one of them was not answered."""
    now_ns = system.monotonic_ns(timespec)
    start_ns = system.thread_cpu_ns(timespec)
    for number in range(count):
        which = number % (ends.size - 1)
        found = answer_datagram(context, requests, ends[which], ends[which + 1], out, 0, True, now_ns)
        if found[1] != ANSWERED:
            return 0
    return system.thread_cpu_ns(timespec) - start_ns


@compiled
def _record_http(context: RequestContext, requests: Bytes, ends: Ints, count: int, out: Bytes, timespec: Ints) -> int:
    """As `_answer_http`, each answer with its usage record."""
    now_ns = system.monotonic_ns(timespec)
    context.ledger.ring[RELEASED] = context.ledger.ring[WRITTEN]
    start_ns = system.thread_cpu_ns(timespec)
    for number in range(count):
        which = number % (ends.size - 1)
        if parse.parse_head(requests, ends[which], ends[which + 1], context.head) != parse.REQUEST:
            return 0
        routes.answer_request(context, requests, False, now_ns, out, 0)
        if context.ledger.tally[ledger.TALLY_CODE] != CODE_OK:
            return 0
        if not ledger.record(context.ledger, context.caller, now_ns, system.monotonic_ns(timespec)):
            return 0
    return system.thread_cpu_ns(timespec) - start_ns


@compiled
def _record_udp(context: DatagramContext, requests: Bytes, ends: Ints, count: int, out: Bytes, timespec: Ints) -> int:
    """As `_answer_udp`, each answer with its usage record."""
    now_ns = system.monotonic_ns(timespec)
    context.ledger.ring[RELEASED] = context.ledger.ring[WRITTEN]
    start_ns = system.thread_cpu_ns(timespec)
    for number in range(count):
        which = number % (ends.size - 1)
        found = answer_datagram(context, requests, ends[which], ends[which + 1], out, 0, True, now_ns)
        if found[1] != ANSWERED:
            return 0
        if not ledger.record(context.ledger, context.caller, now_ns, system.monotonic_ns(timespec)):
            return 0
    return system.thread_cpu_ns(timespec) - start_ns


def _measure_sampled(folder: Path, seconds: float, progress: Progress) -> dict[str, float]:
    with contextlib.ExitStack() as stopping:
        node = start_one_worker(folder, stopping, progress)
        generator = HttpGenerator(node.http_target(), CONNECTIONS)
        stopping.callback(generator.close)
        generator.run(Load(WARM_SECONDS))
        progress.step("sampling it under load")
        _, cpu_us = run_with_cpu(generator, node.worker_pids, Load(seconds))
        record = folder / "perf.data"
        command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_SECOND), "-o", str(record)]
        with subprocess.Popen(
            [*command, "-p", str(node.worker_pids[0]), "--", "sleep", f"{seconds:.1f}"], stderr=subprocess.DEVNULL
        ):
            generator.run(Load(seconds + WARM_SECONDS))
    share = 1.0 - kernel_share_of(_perf_report(record))
    return {"cpu_us": round(cpu_us, 3), "user_share": round(share, 4), "http_us": round(share * cpu_us, 3)}


def _perf_report(record: Path) -> str:
    command = ["perf", "report", "-i", str(record), "--no-children", "--sort", "dso", "--stdio"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def kernel_share_of(report: str) -> float:
    """The kernel's share of the samples, out of perf's report by shared object; 1.0 for one without any."""
    shares = {"kernel": 0.0, "user": 0.0}
    for line in report.splitlines():
        percent, _, rest = line.strip().partition("%")
        if rest and not percent.startswith("#"):
            shares["kernel" if "[kernel" in rest else "user"] += float(percent)
    total = sum(shares.values())
    return shares["kernel"] / total if total else 1.0
