"""A context for datagrams with answers and keys written by hand, open to all or to keys only."""

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trinity.clock import NS_PER_MS
from trinity.compiled import refer_to
from trinity.config import AccessSection
from trinity.limits import COUNTER_WORDS, UDP_REPLY_BYTES_MAX
from trinity.markets import Asset, AssetRules, Catalog, Market
from trinity.memory.access import AccessMemory
from trinity.memory.answer_table import ANSWER_DTYPE, ROW_WORDS, SLOT_WORDS, AnswerState
from trinity.memory.cell import publish
from trinity.memory.usage_ring import UsageRing
from trinity.vocabulary import UDP_RESULTS, KeyState
from workers.request.http.context import make_private_context
from workers.request.udp.context import make_datagram_context
from workers.request.udp.text import answer_datagram

ASSETS, EXCHANGES = ("BTC", "ETH", "OLD"), ("kraken", "okx")
NOW_NS = 10**15
COLUMNS = 1 + len(EXCHANGES)


def body_of(asset: str, source: str) -> bytes:
    """A rendered body of the usual length."""
    return (
        f'{{"asset":"{asset}","price":71002.5,"currency":"USD","confidence":17.5,"sources":5,"rejected":1,'
        f'"source":"{source}","timestamp":1767225600000,"status":"fresh","disagreement_bps":1.69,'
        '"exchanges":["coinbase","gemini","kraken","gateio","okx"]}'
    ).encode()


def answer(asset: str, source: str, state: AnswerState) -> NDArray[np.void]:
    record = np.zeros(1, dtype=ANSWER_DTYPE)
    body = body_of(asset, source)
    fields = {
        "state": state, "valid_until_ns": NOW_NS + 1, "received_at_ns": NOW_NS - 250 * NS_PER_MS,
        "timestamp_ms": 1767225600000, "price": 7_100_250, "confidence": 1750, "confidence_milli_bps": 2465,
        "scale": 2, "sources": 5, "rejected": 1, "has_last_good": 1, "price_text_length": 7, "body_length": len(body),
    }  # fmt: skip
    for field, value in fields.items():
        record[field] = value
    record["price_text"][0, :7] = np.frombuffer(b"71002.5", dtype=np.uint8)
    record["body"][0, : len(body)] = np.frombuffer(body, dtype=np.uint8)
    return record


def shared_words() -> NDArray[np.uint64]:
    """The consensus of each asset and BTC on Kraken; OLD is stale."""
    words = np.zeros(len(ASSETS) * COLUMNS * ROW_WORDS, dtype=np.uint64)
    for i, asset in enumerate(ASSETS):
        state = AnswerState.STALE if asset == "OLD" else AnswerState.GOOD
        publish(words, i * COLUMNS * ROW_WORDS, SLOT_WORDS, answer(asset, "consensus", state).view(np.uint64))
    publish(words, ROW_WORDS, SLOT_WORDS, answer("BTC", "kraken", AnswerState.GOOD).view(np.uint64))
    return words


RULES = AssetRules(max_age_ms=5000, min_sources=1, majority_window_bps=100, outlier_floor_bps=20, max_spread_bps=100)
CATALOG = Catalog(
    EXCHANGES,
    tuple(Asset(name, RULES) for name in ASSETS),
    tuple(Market(exchange, name, "USD") for exchange in EXCHANGES for name in ASSETS),
)


KEYS = {
    b"k": KeyState.ACTIVE,
    b"k-1": KeyState.ACTIVE,
    b"gone": KeyState.REVOKED,
    b"held": KeyState.SUSPENDED,
    b"slow": KeyState.ACTIVE,
    b"month": KeyState.ACTIVE,
}
MONTH_KEY_ID, MONTHLY_QUOTA = 6, 1_000_000


class Place:
    """A context for datagrams, made once; `section` says who may ask."""

    def __init__(self) -> None:
        self.access = AccessMemory.private(100)
        for i, (key, state) in enumerate(KEYS.items(), start=1):
            limits = {"rate": 1, "burst": 1} if key == b"slow" else {"rate": 0, "burst": 0}
            quota = MONTHLY_QUOTA if i == MONTH_KEY_ID else 0
            self.access.keys.write(i, hashlib.sha256(key).digest(), state, monthly_quota=quota, dry_run=False, **limits)
        self.access.keys.mark_loaded()
        self.counters = np.zeros(COUNTER_WORDS, dtype=np.uint64)
        sections = {auth: AccessSection(auth=auth) for auth in ("optional", "required")}
        contexts = {
            auth: make_private_context(shared_words(), CATALOG, self.counters, section, self.access)
            for auth, section in sections.items()
        }
        self.contexts = {auth: make_datagram_context(context) for auth, context in contexts.items()}
        self.referred = {auth: refer_to(context) for auth, context in self.contexts.items()}
        self.rings = {auth: UsageRing(Path(), context.ledger.ring) for auth, context in contexts.items()}


PLACE = Place()


def ask(request: bytes, trusted: bool = True, auth: str = "optional") -> tuple[bytes, str, int]:
    """(reply, result, lookups); both lie in the middle of larger buffers."""
    buffer = np.frombuffer(b"{" + request + b"}", dtype=np.uint8).copy()
    reply = np.full(UDP_REPLY_BYTES_MAX + 3, 0xEE, dtype=np.uint8)
    length, result, lookups = answer_datagram(
        PLACE.referred[auth], buffer, 1, 1 + len(request), reply, 3, trusted, NOW_NS
    )
    return bytes(reply[3 : 3 + length]), UDP_RESULTS[result], lookups


def code_of(reply: bytes) -> str:
    code: str = json.loads(reply)["error"]["code"]
    return code


def frame(names: list[bytes], padding: int = 0) -> bytes:
    head = struct.pack("<4sBBBBQII", b"\xd7TRQ", 1, 0, len(names), 0, 7, 0, 0)
    return head + b"".join(name.ljust(16, b"\0") for name in names) + bytes(padding)


def key_frame(key: bytes, names: tuple[bytes, ...] = (b"BTC",), padding: int = 0) -> bytes:
    """A frame with the KEY flag, and the key behind the names."""
    whole = bytearray(frame(list(names)))
    whole[5] = 2
    return bytes(whole) + bytes([len(key)]) + key + bytes(padding)
