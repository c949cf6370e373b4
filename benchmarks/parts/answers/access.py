"""What access costs: keys, limits, blocked addresses, in processor time without a socket; and loading a million keys.

    blocked         an address compared with 5,000 networks, in none of them
    recognised      a key that this worker knows, without limits: hash, memory of proved keys, state
    limited         the same with a rate and a quota
    new             a key that it must prove: SHA-256 and search; a worker that remembers none of the last ones
    anonymous       the limit of an address
    limited_many    limited, 50,000 keys in random order out of the table of all: what a processor's caches do not hold
    told            what is left of rate and month, written into a good answer (RateLimit); left out where it is told so
    record          the usage record of an answer, into its ring

Each time is the median of many short batches. The whole gate is called each time, so each includes the check of an
empty list of blocked addresses; all of the batches' answers are "go on".
"""

import hashlib
import ipaddress
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.generators import system
from benchmarks.generators.checks import Bytes, Ints
from benchmarks.progress import Progress
from trinity.access.charge import charge
from trinity.access.gate import COUNTED_WORDS, Gate, admit, make_gate, turn_month
from trinity.access.limit_headers import LIMIT_HEADERS_BYTES_MAX, append_limits_left
from trinity.clock import NS_PER_SECOND
from trinity.compiled import compiled
from trinity.config import AccessSection
from trinity.memory.access import AccessMemory, bytes_needed
from trinity.memory.atomics import Words
from trinity.memory.block_table import is_blocked
from trinity.memory.usage_ring import UsageRing, append_record
from trinity.vocabulary import CODE_OK, KeyState

FEW, MANY = 256, 50_000
BLOCKED_NETWORKS = 5_000
REQUESTS = 2_000
BATCHES_PER_TURN = 20
_KEY_BYTES = 40
_UNLIMITED, _LIMITED = (0, 0, 0), (1_000_000, 1 << 30, 1 << 40)  # rate, burst, quota: never reached


def measure_access(folder: Path, turns: int, keys: int, progress: Progress) -> dict[str, Any]:
    """Nanoseconds of each check, seconds and bytes of the table."""
    progress.step(f"loading {keys:,} keys")
    access = AccessMemory.private(keys)
    texts = [b"tr_%037d" % key_id for key_id in range(1, min(MANY, keys) + 1)]
    load_seconds = _load(access, keys, texts)
    progress.step("asking without a socket")
    sections = {
        "recognised": (AccessSection(), 1 << 16, _UNLIMITED, texts[:FEW]),
        "limited": (AccessSection(), 1 << 16, _LIMITED, texts[:FEW]),
        "new": (AccessSection(), 4, _UNLIMITED, texts[:FEW]),
        "limited_many": (AccessSection(), 1 << 16, _LIMITED, texts),
        "anonymous": (AccessSection(auth="optional", anonymous_rate=1_000_000), 4, _UNLIMITED, [b""]),
    }
    found: dict[str, Any] = {"keys": keys, "load_seconds": round(load_seconds, 3), "bytes": bytes_needed(keys)[0]}
    for name, (section, remembered, terms, asked) in sections.items():
        gate = _gate(access, section, remembered)
        _set_terms(access, asked, terms)
        found[f"{name}_ns"] = _median_ns(gate, asked, turns)
    for name, tells in (("told", True), ("told_off", False)):
        found[f"{name}_ns"] = _told_ns(access, AccessSection(rate_limit_headers=tells), texts[0], turns)
    access.blocks.write(ipaddress.ip_network((n << 16, 24)) for n in range(1, BLOCKED_NETWORKS + 1))
    found["blocked_ns"] = _blocked_ns(access, turns)
    found["record_ns"] = _record_ns(folder / "access-ring", turns)
    found["added_us"] = round((found["limited_ns"] + found["record_ns"]) / 1_000, 3)
    return found


def _load(access: AccessMemory, keys: int, texts: list[bytes]) -> float:
    """Write all keys, in seconds of processor time; only the first ones are keys that anybody has."""
    digests = np.random.default_rng(1).integers(0, 256, (keys, 32), dtype=np.uint8)
    for row, text in enumerate(texts):
        digests[row] = np.frombuffer(hashlib.sha256(text).digest(), dtype=np.uint8)
    ids, ones = np.arange(1, keys + 1, dtype=np.int64), np.ones(keys, dtype=np.int64)
    AccessMemory.private(1).keys.write(1, bytes(32), KeyState.ACTIVE, 0, 0, 0, False)  # compiles
    timespec = system.make_timespec()
    start_ns = system.thread_cpu_ns(timespec)
    access.keys.write_many(ids, digests, ones, ones, ones, ones, ones * 0, ones * 0)
    access.keys.mark_loaded()
    return (system.thread_cpu_ns(timespec) - start_ns) / NS_PER_SECOND


def _gate(access: AccessMemory, section: AccessSection, remembered: int) -> Gate:
    counters = np.zeros(COUNTED_WORDS, dtype=np.uint64)
    gate = make_gate(access.keys, access.limits, access.addresses, access.blocks, counters, section, remembered)
    turn_month(gate, 1_800_000_000 * NS_PER_SECOND, 0)
    return gate


def _set_terms(access: AccessMemory, texts: list[bytes], terms: tuple[int, int, int]) -> None:
    rate, burst, quota = terms
    for key_id, text in enumerate(texts, 1):
        if text:
            access.keys.write(key_id, hashlib.sha256(text).digest(), KeyState.ACTIVE, rate, burst, quota, False)


def _median_ns(gate: Gate, texts: list[bytes], turns: int) -> float:
    """Nanoseconds a request; the keys in random order, each known before where the worker remembers so many."""
    octets = np.frombuffer(b"".join(texts) + b"\0", dtype=np.uint8).copy()
    ends = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    address = np.frombuffer(ipaddress.ip_address("::ffff:192.0.2.1").packed, dtype=np.uint64).copy()
    timespec = system.make_timespec()
    _ask(gate, octets, ends, np.arange(len(texts)), address, timespec)
    random = np.random.default_rng(2)
    times = [
        _ask(gate, octets, ends, random.integers(0, len(texts), REQUESTS), address, timespec)
        for _ in range(turns * BATCHES_PER_TURN)
    ]
    assert min(times) > 0, "refused"
    return round(statistics.median(times) / REQUESTS, 1)


@compiled
def _ask(gate: Gate, keys: Bytes, ends: Ints, order: Ints, address: Words, timespec: Ints) -> int:
    """Processor nanoseconds for one request of each key in `order`; 0 when one of them was refused."""
    now_ns = system.monotonic_ns(timespec)
    start_ns = system.thread_cpu_ns(timespec)
    for i in range(order.size):
        which = order[i]
        if (
            admit(gate, keys, ends[which], ends[which + 1], address, False, False, now_ns) != CODE_OK
            or charge(gate, 1, now_ns) != CODE_OK
        ):
            return 0
    return system.thread_cpu_ns(timespec) - start_ns


def _told_ns(access: AccessMemory, section: AccessSection, text: bytes, turns: int) -> float:
    """Nanoseconds of the header of a caller with both limits, who was just let in."""
    gate, timespec = _gate(access, section, 4), system.make_timespec()
    _set_terms(access, [text], _LIMITED)
    address, key = np.zeros(2, dtype=np.uint64), np.frombuffer(text, dtype=np.uint8).copy()
    assert admit(gate, key, 0, key.size, address, False, False, system.monotonic_ns(timespec)) == CODE_OK, "refused"
    out = np.zeros(LIMIT_HEADERS_BYTES_MAX, dtype=np.uint8)
    times = [_tell(gate, out, timespec) for _ in range(turns * BATCHES_PER_TURN)]
    return round(statistics.median(times) / REQUESTS, 1)


@compiled
def _tell(gate: Gate, out: Bytes, timespec: Ints) -> int:
    """Processor nanoseconds for the header of all requests."""
    start_ns = system.thread_cpu_ns(timespec)
    for i in range(REQUESTS):
        append_limits_left(gate, i, out, 0)
    return system.thread_cpu_ns(timespec) - start_ns


def _blocked_ns(access: AccessMemory, turns: int) -> float:
    addresses = np.zeros((REQUESTS, 2), dtype=np.uint64)
    for row, number in enumerate(np.random.default_rng(3).integers(1, BLOCKED_NETWORKS + 1, REQUESTS)):
        text = f"::ffff:{ipaddress.IPv4Address((int(number) << 16) + (1 << 15))}"
        addresses[row] = np.frombuffer(ipaddress.ip_address(text).packed, dtype=np.uint64)
    timespec = system.make_timespec()
    times = [_look(access.blocks.words, addresses, timespec) for _ in range(turns * BATCHES_PER_TURN)]
    assert min(times) > 0, "blocked"
    return round(statistics.median(times) / REQUESTS, 1)


@compiled
def _look(blocks: Words, addresses: NDArray[np.uint64], timespec: Ints) -> int:
    """Processor nanoseconds for all addresses; 0 when one of them is blocked."""
    start_ns = system.thread_cpu_ns(timespec)
    for i in range(addresses.shape[0]):
        if is_blocked(blocks, addresses[i]):
            return 0
    return system.thread_cpu_ns(timespec) - start_ns


def _record_ns(path: Path, turns: int) -> float:
    ring = UsageRing.open(path, 0, 1 << (REQUESTS - 1).bit_length(), 1)
    address, asset = np.zeros(2, dtype=np.uint64), np.zeros(2, dtype=np.uint64)
    timespec = system.make_timespec()
    times = []
    for _ in range(turns * BATCHES_PER_TURN):
        times.append(_append(ring.words, address, asset, timespec))
        ring.release(ring.written)
    assert min(times) > 0, "the ring is full"
    return round(statistics.median(times) / REQUESTS, 1)


@compiled
def _append(ring: Words, address: Words, asset: Words, timespec: Ints) -> int:
    """Processor nanoseconds for REQUESTS records; 0 when one of them was refused."""
    start_ns = system.thread_cpu_ns(timespec)
    for i in range(REQUESTS):
        if not append_record(ring, i, address, asset, 1_000, 7, 200, 1, 0, 1, 0):
            return 0
    return system.thread_cpu_ns(timespec) - start_ns
