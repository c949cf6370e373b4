"""A gate with its tables and one key, for tests of the gate."""

import datetime
import hashlib

import numpy as np

from trinity.access.charge import charge
from trinity.access.gate import (
    COUNTED_WORDS,
    Gate,
    admit,
    make_gate,
    turn_month,
)
from trinity.clock import NS_PER_SECOND
from trinity.config import AccessSection
from trinity.memory.access import AccessMemory
from trinity.native.addresses import address_words
from trinity.vocabulary import ACCESS_REFUSALS, CODES, LIMIT_REFUSALS, KeyState

NOW_NS = 1_000 * NS_PER_SECOND
WALL = datetime.datetime(2026, 2, 28, 23, 0, tzinfo=datetime.UTC)
KEY = b"tr_0123456789abcdefghijklmnopqrstuvwxyz"
CALLER = "192.0.2.1"


class Door:
    """A gate with its tables, and one key to come in with."""

    def __init__(
        self, auth: str = "required", anonymous_rate: int = 0, loaded: bool = True, free_rate: int = 10
    ) -> None:
        self.free_rate = free_rate
        self.access = AccessMemory.private(16)
        self.counters = np.zeros(COUNTED_WORDS, dtype=np.uint64)
        self.gate = self.worker(auth, anonymous_rate)
        self.allow(KEY)
        if loaded:
            self.access.keys.mark_loaded()

    def worker(self, auth: str = "required", anonymous_rate: int = 0, remembered: int = 64) -> Gate:
        """Another worker's gate over the same tables."""
        section = AccessSection(auth=auth, anonymous_rate=anonymous_rate, free_rate=self.free_rate)  # type: ignore[arg-type]
        access = self.access
        gate = make_gate(
            access.keys, access.limits, access.addresses, access.blocks, self.counters, section, remembered
        )
        turn_month(gate, int(WALL.timestamp()) * NS_PER_SECOND, NOW_NS)
        return gate

    def allow(
        self, key: bytes, key_id: int = 7, state: KeyState = KeyState.ACTIVE, rate: int = 0, burst: int = 0,
        quota: int = 0, dry_run: bool = False,
    ) -> None:  # fmt: skip
        self.access.keys.write(key_id, hashlib.sha256(key).digest(), state, rate, burst, quota, dry_run)

    def ask(
        self, key: bytes = b"", address: str = CALLER, now_ns: int = NOW_NS, gate: Gate | None = None,
        over_udp: bool = False, is_free: bool = False,
    ) -> str:  # fmt: skip
        buffer = np.frombuffer(b"key=" + key + b"&more", dtype=np.uint8).copy()
        words = address_words(address)
        return CODES[admit(gate or self.gate, buffer, 4, 4 + len(key), words, over_udp, is_free, now_ns)]

    def buy(self, lookups: int = 1, key: bytes = KEY, now_ns: int = NOW_NS, gate: Gate | None = None) -> str:
        """Ask, and be charged for the answer: so many prices, or a MISTAKE."""
        code = self.ask(key, now_ns=now_ns, gate=gate)
        return code if code != "ok" else CODES[charge(gate or self.gate, lookups, now_ns)]

    def told(self, word: int) -> int:
        return int(self.gate.result[word])

    def refused(self, code: str) -> int:
        return int(self.counters[ACCESS_REFUSALS.index(code)])

    def in_dry_run(self, code: str) -> int:
        return int(self.counters[len(ACCESS_REFUSALS) + LIMIT_REFUSALS.index(code)])
