"""Usage entries as the bytes of Valkey's commands (RESP), in bulk: a hash each with its end, and the sorted sets.

    HSET usage_log:<uuid> time ... weight ...     the whole entry, in words
    EXPIREAT usage_log:<uuid> <when>              when the ledger gives it up
    ZADD usage_logs:... <time> <uuid> ...         a thousand members a command; the score is microseconds since 1970

Rules: pure; numpy alone, no Python a request. Rows are as wide as the widest, then what is behind each value's end is
left out of all at once. The UUID is made of the request's id and its node's, in this order, so that members of one time
stand in the order of a report: version 8 of RFC 9562, our own.
"""

import socket
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.cache.keys import USAGE_LOG, USAGE_LOGS, USAGE_LOGS_OF_ASSET, USAGE_LOGS_OF_KEY, USAGE_SECONDS
from trinity.sync.runs import Requests
from trinity.vocabulary import CODES, PROTOCOLS, SOURCES

# Members of one ZADD: it holds the server for a millisecond.
MEMBERS_A_COMMAND = 1_000
ENTRIES_A_BLOCK = 1_024
# Of an entry, in the order in which they are written.
_FEW = ("node_id", "assets", "protocol", "status", "code", "source", "weight")
FIELDS = ("time", "request_id", "latency_ns", "address", "key_id", "asset", *_FEW)
# Microseconds since 1970 until 2286.
_SCORE_DIGITS, _LATENCY_DIGITS_MAX = 16, 10
_UUID_BYTES = 36
_END_DIGITS = 10
_NAME_PREFIX = USAGE_LOG.name("").encode()
_NAME_BYTES = len(_NAME_PREFIX) + _UUID_BYTES

Bytes2D = NDArray[np.uint8]
Sizes = NDArray[np.int64]
_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype=np.uint8).reshape(256, 2)
_THOUSAND = np.frombuffer("".join(f"{number:03}" for number in range(1000)).encode(), dtype=np.uint8).reshape(1000, 3)


@dataclass
class Vocabulary:
    """What the numbers of the ledger mean."""

    assets: Mapping[int, str]
    keys: Mapping[int, str]  # digests in hex


@dataclass(frozen=True)
class Commands:
    """Commands of one place: the names that they are about, or the one name, and their bytes."""

    name: bytes  # of a sorted set; of entries, any one of them
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


def entry_names(texts: Bytes2D) -> Bytes2D:
    """The name of each entry, a row each."""
    prefix = np.broadcast_to(np.frombuffer(_NAME_PREFIX, dtype=np.uint8), (len(texts), len(_NAME_PREFIX)))
    return np.concatenate([prefix, texts], axis=1)


def entry_blocks(
    requests: Requests, texts: Bytes2D, known: Vocabulary, life_seconds: int
) -> Iterator[tuple[bytes, Sizes]]:
    """The bytes of the two commands of each request, one after the other, and where each one's end; in blocks."""
    columns = _columns(requests, texts, known, life_seconds)
    width = sum(column.table.shape[1] for column in columns)
    # Small enough to stay in a processor's own cache.
    rows = np.empty((ENTRIES_A_BLOCK, width), dtype=np.uint8)
    counted = np.ones((ENTRIES_A_BLOCK, width), dtype=np.bool_)
    for first in range(0, requests.total, ENTRIES_A_BLOCK):
        block = slice(first, min(first + ENTRIES_A_BLOCK, requests.total))
        count = block.stop - first
        lengths = np.zeros(count, dtype=np.int64)
        at = 0
        for column in columns:
            size = column.table.shape[1]
            place = block if column.number is None else column.number[block]
            rows[:count, at : at + size] = column.table[place]
            if column.lengths is None:
                lengths += size
            else:
                own = column.lengths[place]
                counted[:count, at : at + size] = np.arange(size) < own[:, None]
                lengths += own
            at += size
        yield rows[:count][counted[:count]].tobytes(), np.cumsum(lengths)


def set_commands(requests: Requests, texts: Bytes2D, known: Vocabulary) -> Iterator[Commands]:
    """The members of the sorted sets of these requests."""
    members = _members(requests, texts)
    yield from _adding(USAGE_LOGS.name(), members)
    for numbers, names, pattern in (
        (requests.key_id, known.keys, USAGE_LOGS_OF_KEY),
        (requests.asset_id, known.assets, USAGE_LOGS_OF_ASSET),
    ):
        order = np.argsort(numbers, kind="stable")
        found, starts = np.unique(numbers[order], return_index=True)
        ordered, ends = members[order], np.append(starts[1:], len(order))
        for number, start, end in zip(found.tolist(), starts.tolist(), ends.tolist(), strict=False):
            if number in names:
                yield from _adding(pattern.name(names[number]), ordered[start:end])


def expiring(names: Iterable[bytes]) -> Iterator[Commands]:
    """The ends of sorted sets: each is as long-lived as what was added last."""
    return (Commands(name, command("EXPIRE", name, USAGE_SECONDS), 1) for name in names)


def _adding(name: str, members: Bytes2D) -> Iterator[Commands]:
    place = name.encode()
    named = b"$4\r\nZADD\r\n" + bulk(place)
    for at in range(0, len(members), MEMBERS_A_COMMAND):
        part = members[at : at + MEMBERS_A_COMMAND]
        yield Commands(place, b"*%d\r\n%s%s" % (2 + 2 * len(part), named, part.tobytes()), 1)


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


class _Column(NamedTuple):
    """A part of all rows: a row of the table each, or the one that `number` says; as long as `lengths` say."""

    table: Bytes2D
    lengths: Sizes | None = None
    number: Sizes | None = None


def _columns(requests: Requests, texts: Bytes2D, known: Vocabulary, life_seconds: int) -> list[_Column]:
    times = _times(requests.time_us)
    ids = _HEX[requests.request_id.astype(">u8").reshape(-1, 1).view(np.uint8)].reshape(-1, 16)
    ends = _digits(requests.time_us // 1_000_000 + life_seconds, _END_DIGITS)
    head, name = b"*%d\r\n" % (2 + 2 * len(FIELDS)) + bulk("HSET"), _before(_NAME_BYTES) + _NAME_PREFIX
    few = np.stack([getattr(requests, name) for name in _FEW], axis=1)
    return [
        _fixed(
            (head + name, texts), (b"\r\n" + bulk("time") + _before(times.shape[1]), times),
            (b"\r\n" + bulk("request_id") + _before(16), ids), (b"\r\n" + bulk("latency_ns"), None),
        ),
        _numbers(requests.latency_ns),
        _looked_up(requests.address, lambda halves: bulk("address") + bulk(_address_of(halves))),
        _looked_up(requests.key_id, lambda key: bulk("key_id") + bulk(str(key))),
        _looked_up(requests.asset_id, lambda asset: bulk("asset") + bulk(known.assets.get(asset, ""))),
        _looked_up(few, _in_words),
        _fixed(
            (b"*3\r\n" + bulk("EXPIREAT") + name, texts), (b"\r\n" + _before(_END_DIGITS), ends), (b"\r\n", None)
        ),
    ]  # fmt: skip


def _before(size: int) -> bytes:
    """What stands before a value of so many bytes."""
    return b"$%d\r\n" % size


def _fixed(*parts: tuple[bytes, Bytes2D | None]) -> _Column:
    """What is of one width in all rows: bytes that are the same in all, each before a value of its own."""
    count = next(len(column) for _, column in parts if column is not None)
    pieces = []
    for text, column in parts:
        pieces.append(np.broadcast_to(np.frombuffer(text, dtype=np.uint8), (count, len(text))))
        pieces += [] if column is None else [column]
    return _Column(np.concatenate(pieces, axis=1))


def _numbers(numbers: Sizes) -> _Column:
    """Numbers of different widths as values; shifted to the left, where their digits begin."""
    widths = np.searchsorted(10 ** np.arange(1, _LATENCY_DIGITS_MAX), numbers, side="right") + 1
    digits = _digits(numbers, _LATENCY_DIGITS_MAX)
    heads = [_before(width) for width in range(_LATENCY_DIGITS_MAX + 1)]
    table = np.zeros((len(numbers), len(heads[-1]) + _LATENCY_DIGITS_MAX + 2), dtype=np.uint8)
    for width in np.unique(widths).tolist():
        rows = np.flatnonzero(widths == width)
        parts = (heads[width], digits[rows, _LATENCY_DIGITS_MAX - width :]), (b"\r\n", None)
        made = _fixed(*parts).table
        table[rows, : made.shape[1]] = made
    lengths = np.array([len(head) for head in heads])[widths] + widths + 2
    return _Column(table, lengths)


def _looked_up(values: NDArray[Any], make: Callable[[Any], bytes]) -> _Column:
    """What is made of few different values, each once."""
    if values.ndim == 1:
        found, number = np.unique(values, return_inverse=True)
    else:
        number, firsts = _numbered(values)
        found = values[firsts]
    pieces = [make(value) for value in found.tolist()]
    table = np.array(pieces, dtype=np.bytes_).reshape(-1, 1)
    lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
    return _Column(table.view(np.uint8), lengths, number.ravel())


def _numbered(values: NDArray[Any]) -> tuple[Sizes, Sizes]:
    """A number for each row that is the same for the same rows, and the first row of each; few are different."""
    first = values[:, 0]
    number = np.zeros(len(values), dtype=np.int64)
    for place in range(values.shape[1]):
        column = values[:, place]
        if (column == first[0]).all() and place == 0:
            continue
        found, inverse = np.unique(column, return_inverse=True)
        if len(found) > 1:
            _, number = np.unique(number * len(found) + inverse.ravel(), return_inverse=True)
    _, firsts = np.unique(number, return_index=True)
    return number, firsts


def _times(time_us: Sizes) -> Bytes2D:
    """ISO 8601 in UTC, to the microsecond."""
    seconds, micros = np.divmod(time_us, 1_000_000)
    found, inverse = np.unique(seconds, return_inverse=True)
    texts = np.datetime_as_string(found.astype("datetime64[s]")).astype("S19")
    made = np.empty((len(time_us), 27), dtype=np.uint8)
    made[:, :19] = texts.view(np.uint8).reshape(-1, 19)[inverse]
    made[:, 19], made[:, 26] = ord("."), ord("Z")
    made[:, 20:26] = _digits(micros, 6)
    return made


def _address_of(halves: Sequence[int]) -> str:
    return shown_address(b"".join(half.to_bytes(8) for half in halves))


def _in_words(numbers: Sequence[int]) -> bytes:
    row = dict(zip(_FEW, numbers, strict=True))
    words = {name: str(number) for name, number in row.items()}
    for name, vocabulary in (("protocol", PROTOCOLS), ("code", CODES), ("source", SOURCES)):
        words[name] = vocabulary[row[name]] if row[name] < len(vocabulary) else ""  # of a newer version
    return b"".join(bulk(name) + bulk(text) for name, text in words.items())
