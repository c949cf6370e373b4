"""Usage entries as the bytes of Valkey's commands (RESP), in bulk: a hash each with its end, and the sorted sets.

    HSET usage_log:<uuid> time ... weight ...     the whole entry, in words
    EXPIREAT usage_log:<uuid> <when>              when the ledger gives it up
    ZADD usage_logs:... <time> <uuid> ...         a thousand members a command; the score is microseconds since 1970

Rules: pure; numpy makes what is of one width in all rows (names, times, ids), and what is not is looked up: there are
few different ones. The UUID is made of the request's id and its node's, in this order, so that members of one time
stand in the order of a report: version 8 of RFC 9562, our own.
"""

import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trinity.cache.keys import USAGE_LOG, USAGE_LOGS, USAGE_LOGS_OF_ASSET, USAGE_LOGS_OF_KEY, USAGE_SECONDS
from trinity.sync.runs import Requests
from trinity.vocabulary import CODES, PROTOCOLS, SOURCES

# Members of one ZADD: it holds the server for a millisecond.
MEMBERS_A_COMMAND = 1_000
# Of an entry, in the order in which they are written.
FIELDS = (
    "time", "request_id", "latency_ns", "address", "node_id", "key_id", "asset", "assets", "protocol", "status", "code",
    "source", "weight",
)  # fmt: skip
# Microseconds since 1970 until 2286.
_SCORE_DIGITS, _LATENCY_DIGITS_MAX = 16, 10
_UUID_BYTES = 36
_NAME_PLACE = USAGE_LOG.name("\0" * _UUID_BYTES).encode()
# Different addresses that are remembered; more of them in one run are made anew.
_MEMORY_MAX = 1 << 18

Bytes2D = NDArray[np.uint8]
_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype=np.uint8).reshape(256, 2)
_THOUSAND = np.frombuffer("".join(f"{number:03}" for number in range(1000)).encode(), dtype=np.uint8).reshape(1000, 3)


@dataclass
class Vocabulary:
    """What the numbers of the ledger mean, and what was made of them already."""

    assets: Mapping[int, str]
    keys: Mapping[int, str]  # digests in hex
    addresses: dict[bytes, bytes] = field(default_factory=dict)
    shared: dict[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Commands:
    """Commands of one place: the names that they are about, or the one name, and their bytes."""

    name: bytes  # of a sorted set; empty: of entries
    data: bytes
    replies: int


def usage_uuid(node_id: int, request_id: int) -> str:
    """The name of one entry."""
    high = request_id >> 16 << 16 | 0x8000 | request_id >> 4 & 0xFFF
    return str(uuid.UUID(int=high << 64 | 1 << 63 | (request_id & 0xF) << 58 | node_id << 42))


def shown_address(packed: bytes) -> str:
    """An address as reports show it: as PostgreSQL writes it, IPv4 without its prefix."""
    text = socket.inet_ntop(socket.AF_INET6, packed)
    if packed[:14] == bytes(14) and packed[14:] != bytes(2) and packed != b"\0" * 15 + b"\1":
        text = f"::0.0.{packed[14]}.{packed[15]}"  # PostgreSQL takes it for IPv4's old form, the C library does not
    return text.replace("::ffff:", "")


def bulk(text: str | bytes) -> bytes:
    """A value as RESP has it."""
    data = text if isinstance(text, bytes) else text.encode()
    return b"$%d\r\n%s\r\n" % (len(data), data)


def command(*words: str | bytes | int) -> bytes:
    """One command."""
    parts = [bulk(str(word) if isinstance(word, int) else word) for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(parts)


def uuid_texts(requests: Requests) -> Bytes2D:
    """The text of each request's UUID, a row each."""
    ids, nodes = requests.request_id.astype(np.uint64), requests.node_id.astype(np.uint64)
    halves = np.empty((len(ids), 2), dtype=">u8")
    halves[:, 0] = ids >> np.uint64(16) << np.uint64(16) | np.uint64(0x8000) | ids >> np.uint64(4) & np.uint64(0xFFF)
    halves[:, 1] = np.uint64(1 << 63) | (ids & np.uint64(0xF)) << np.uint64(58) | nodes << np.uint64(42)
    digits = _HEX[halves.view(np.uint8)].reshape(-1, 32)
    texts = np.full((len(ids), _UUID_BYTES), ord("-"), dtype=np.uint8)
    at = 0
    for width, place in ((8, 0), (4, 9), (4, 14), (4, 19), (12, 24)):
        texts[:, place : place + width] = digits[:, at : at + width]
        at += width
    return texts


def entry_commands(requests: Requests, texts: Bytes2D, known: Vocabulary, life_seconds: int) -> list[bytes]:
    """For each request the bytes of its two commands."""
    heads = _heads(requests, texts)
    parts: list[bytes] = [b""] * (4 * requests.total)
    parts[0::4], parts[1::4] = heads, _addresses(requests, known)
    parts[2::4], parts[3::4] = _shared(requests, known), _ends(requests, texts, life_seconds)
    return [b"".join(parts[at : at + 4]) for at in range(0, len(parts), 4)]


def set_commands(requests: Requests, texts: Bytes2D, known: Vocabulary) -> list[Commands]:
    """The members of the sorted sets of these requests."""
    members = _members(requests, texts)
    made = _adding(USAGE_LOGS.name(), members)
    for numbers, names, pattern in (
        (requests.key_id, known.keys, USAGE_LOGS_OF_KEY),
        (requests.asset_id, known.assets, USAGE_LOGS_OF_ASSET),
    ):
        order = np.argsort(numbers, kind="stable")
        found, starts = np.unique(numbers[order], return_index=True)
        ends = [*starts[1:].tolist(), len(order)]
        for number, start, end in zip(found.tolist(), starts.tolist(), ends, strict=True):
            if number in names:
                made += _adding(pattern.name(names[number]), members[order[start:end]])
    return made


def _adding(name: str, members: Bytes2D) -> list[Commands]:
    """ZADD of these members, and the set's end: it is as long-lived as what was added last."""
    made = []
    for at in range(0, len(members), MEMBERS_A_COMMAND):
        part = members[at : at + MEMBERS_A_COMMAND]
        head = b"*%d\r\n" % (2 + 2 * len(part)) + bulk("ZADD") + bulk(name)
        made.append(Commands(name.encode(), head + part.tobytes(), 1))
    if made:
        made.append(Commands(name.encode(), command("EXPIRE", name, USAGE_SECONDS), 1))
    return made


def _digits(numbers: NDArray[np.int64], width: int) -> Bytes2D:
    """Decimal digits, filled up with zeros."""
    groups = -(-width // 3)
    made = np.empty((len(numbers), 3 * groups), dtype=np.uint8)
    left = numbers
    for group in range(groups - 1, -1, -1):
        left, part = np.divmod(left, 1000)
        made[:, 3 * group : 3 * group + 3] = _THOUSAND[part]
    return made[:, 3 * groups - width :]


def _members(requests: Requests, texts: Bytes2D) -> Bytes2D:
    template = bulk("0" * _SCORE_DIGITS) + bulk("0" * _UUID_BYTES)
    made = np.tile(np.frombuffer(template, dtype=np.uint8), (requests.total, 1))
    place = len(bulk("0" * _SCORE_DIGITS)) - 2 - _SCORE_DIGITS
    made[:, place : place + _SCORE_DIGITS] = _digits(requests.time_us, _SCORE_DIGITS)
    place = len(template) - 2 - _UUID_BYTES
    made[:, place : place + _UUID_BYTES] = texts
    return made


def _heads(requests: Requests, texts: Bytes2D) -> list[bytes]:
    """HSET with its name, and the first three fields."""
    times = _times(requests.time_us)
    ids = _HEX[requests.request_id.astype(">u8").reshape(-1, 1).view(np.uint8)].reshape(-1, 16)
    widths = np.searchsorted(10 ** np.arange(1, _LATENCY_DIGITS_MAX), requests.latency_ns, side="right") + 1
    made = np.empty(requests.total, dtype=object)
    for width in np.unique(widths).tolist():
        rows = np.flatnonzero(widths == width)
        template = b"*%d\r\n" % (2 + 2 * len(FIELDS)) + bulk("HSET")
        columns = []
        for fixed, column in (
            (bulk(_NAME_PLACE), texts),
            (bulk("time") + bulk("\0" * times.shape[1]), times),
            (bulk("request_id") + bulk("\0" * 16), ids),
            (bulk("latency_ns") + bulk("\0" * width), _digits(requests.latency_ns, width)),
        ):
            columns.append((len(template) + len(fixed) - 2 - column.shape[1], column))
            template += fixed
        table = np.tile(np.frombuffer(template, dtype=np.uint8), (len(rows), 1))
        for place, column in columns:
            table[:, place : place + column.shape[1]] = column[rows]
        made[rows] = _lines(table)
    return made.tolist()


def _ends(requests: Requests, texts: Bytes2D, life_seconds: int) -> list[bytes]:
    template = b"*3\r\n" + bulk("EXPIREAT") + bulk(_NAME_PLACE) + bulk("\0" * 10)
    table = np.tile(np.frombuffer(template, dtype=np.uint8), (requests.total, 1))
    table[:, -12:-2] = _digits(requests.time_us // 1_000_000 + life_seconds, 10)
    place = len(template) - len(bulk("\0" * 10)) - 2 - _UUID_BYTES
    table[:, place : place + _UUID_BYTES] = texts
    return _lines(table)


def _lines(table: Bytes2D) -> list[bytes]:
    """Rows that end with a line feed as bytes each."""
    lines: list[bytes] = np.ascontiguousarray(table).view(f"S{table.shape[1]}").ravel().tolist()
    return lines


def _times(time_us: NDArray[np.int64]) -> Bytes2D:
    """ISO 8601 in UTC, to the microsecond."""
    seconds, micros = np.divmod(time_us, 1_000_000)
    found, inverse = np.unique(seconds, return_inverse=True)
    texts = np.datetime_as_string(found.astype("datetime64[s]")).astype("S19")
    made = np.empty((len(time_us), 27), dtype=np.uint8)
    made[:, :19] = texts.view(np.uint8).reshape(-1, 19)[inverse]
    made[:, 19], made[:, 26] = ord("."), ord("Z")
    made[:, 20:26] = _digits(micros, 6)
    return made


def _addresses(requests: Requests, known: Vocabulary) -> list[bytes]:
    packed = np.ascontiguousarray(requests.address.astype(">u8")).view("S16").ravel().tolist()
    memory = known.addresses
    if len(memory) > _MEMORY_MAX:
        memory.clear()
    for address in set(packed) - memory.keys():  # bytes of numpy have lost their last zeros
        memory[address] = bulk("address") + bulk(shown_address(address.ljust(16, b"\0")))
    return [memory[address] for address in packed]


def _shared(requests: Requests, known: Vocabulary) -> list[bytes]:
    """The fields of which there are few different combinations."""
    names = ("node_id", "key_id", "asset_id", "assets", "protocol", "status", "code", "source", "weight")
    table = np.empty(requests.total, dtype=[(name, "<i4") for name in names])
    for name in names:
        table[name] = getattr(requests, name)
    packed = table.view(f"S{table.itemsize}").tolist()
    memory = known.shared
    if len(memory) > _MEMORY_MAX:
        memory.clear()
    for few in set(packed) - memory.keys():
        numbers = np.frombuffer(few.ljust(table.itemsize, b"\0"), dtype=table.dtype)[0].tolist()
        memory[few] = _in_words(dict(zip(names, numbers, strict=True)), known)
    return [memory[few] for few in packed]


def _in_words(row: dict[str, int], known: Vocabulary) -> bytes:
    words = {
        "node_id": str(row["node_id"]),
        "key_id": str(row["key_id"]),
        "asset": known.assets.get(row["asset_id"], ""),
        "assets": str(row["assets"]),
        "protocol": _word(PROTOCOLS, row["protocol"]),
        "status": str(row["status"]),
        "code": _word(CODES, row["code"]),
        "source": _word(SOURCES, row["source"]),
        "weight": str(row["weight"]),
    }
    return b"".join(bulk(name) + bulk(text) for name, text in words.items())


def _word(words: tuple[str, ...], number: int) -> str:
    """Empty for a number of a newer version."""
    return words[number] if number < len(words) else ""
