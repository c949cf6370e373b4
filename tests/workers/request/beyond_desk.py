"""A worker's answers without sockets, and a resolver that writes by hand: for names that the catalog does not know."""

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.workers.request.conftest import CATALOG, OPEN_TO_ALL, Private, answer_of
from trinity.compiled import refer_to
from trinity.config import AccessSection
from trinity.limits import UDP_REPLY_BYTES_MAX
from trinity.memory.answer_table import ROW_WORDS, SLOT_WORDS, AnswerState
from trinity.memory.asset_table import AssetTable
from trinity.memory.cell import publish
from trinity.memory.miss_queue import Miss, MissQueues
from trinity.native.addresses import address_words
from trinity.native.octets import octets_of
from trinity.process import AskerMemory
from trinity.vocabulary import CODES
from workers.request import beyond
from workers.request.beyond import WAITS, begin_again, end_again, take_place
from workers.request.forwarded import ADDRESS, PEER, forget_forwarded
from workers.request.http import parse, routes
from workers.request.http.context import response_bytes_max
from workers.request.http.price_routes import answer_again, keep_request
from workers.request.udp.context import PARKED, make_datagram_context
from workers.request.udp.text import answer_datagram

COLUMNS = 1 + len(CATALOG.exchanges)
SECOND = 10**9


@dataclass
class Asked:
    """A request that waits: its place and its bytes."""

    place: int
    raw: Any
    is_datagram: bool = False


class Desk:
    """One worker: requests in, answers out; BTC is good."""

    def __init__(self, section: AccessSection = OPEN_TO_ALL, cells: int = 8, with_resolver: bool = True) -> None:
        self.table, self.misses = AssetTable.private(cells), MissQueues.private()
        self.private = Private(section, CATALOG, AskerMemory(self.table, self.misses.queue(0), -1, -1))
        self.context = self.private.context
        self.datagrams = make_datagram_context(self.context)
        self.beyond = self.context.beyond
        self.out = np.zeros(response_bytes_max(self.context), dtype=np.uint8)
        self.reply = np.zeros(UDP_REPLY_BYTES_MAX, dtype=np.uint8)
        self.now_ns = 10**15
        self.with_resolver = with_resolver
        self.write(0, "BTC")
        self.wait(0)

    # --- the resolver ----------------------------------------------------------------------------------------

    def wait(self, duration_ns: int) -> None:
        self.now_ns += duration_ns
        if self.with_resolver:
            self.table.beat(self.now_ns)

    def write(self, asset: int, name: str, exchange: int | None = None, **fields: Any) -> None:
        """An answer in a row, good for a minute."""
        row = asset * COLUMNS + (0 if exchange is None else 1 + exchange)
        times = {"valid_until_ns": self.now_ns + 60 * SECOND, "received_at_ns": self.now_ns}
        record = answer_of(name, **(times | fields))
        publish(self.private.words, row * ROW_WORDS, SLOT_WORDS, record.view(np.uint64))

    def resolve(self, name: str, **fields: Any) -> int:
        """Give the name a cell, its rows and its answer."""
        known = self.table.find(name)
        cell = known.cell if known else self.table.reserve(name, self.now_ns)
        assert cell is not None
        asset = len(CATALOG.assets) + cell
        self.write(asset, name, **fields)
        self.write(asset, name, 0, sources=1)
        self.write(asset, name, 1, state=AnswerState.NOT_LISTED, has_last_good=0)
        self.table.answer(cell, self.now_ns + 60 * SECOND)
        return cell

    def refuse(self, name: str, code: str = "unknown_asset") -> None:
        self.table.refuse(name, CODES.index(code), self.now_ns + 60 * SECOND)

    def asked(self) -> list[Miss]:
        return self.misses.take(0)

    # --- who asks --------------------------------------------------------------------------------------------

    def get(self, target: str, key: str = "", peer: str = "203.0.113.9", version: str = "1.1") -> bytes | Asked:
        """The response to GET, or that it waits; in the middle of the bytes that were read, as a pipelined one is."""
        words = self.context.caller.words
        words[PEER : PEER + 2] = address_words(peer)
        head = f"GET {target} HTTP/{version}\r\nHost: x\r\n" + (f"X-API-Key: {key}\r\n" if key else "") + "\r\n"
        raw = octets_of(b"12345" + head.encode() + b"rest")
        assert parse.parse_head(raw, 5, raw.size, self.context.head) == parse.REQUEST
        end = routes.answer_request(refer_to(self.context), raw, False, self.now_ns, self.out, 0)
        if self.beyond.state[WAITS] == 0:
            return bytes(self.out[:end])
        assert end == 0, "nothing is written for whoever waits"
        place = self._take_place(3)
        keep_request(refer_to(self.context), place, 5)
        return Asked(place, octets_of(b"moved" * 20 + bytes(raw[5:])))

    def send(self, datagram: bytes, peer: str = "203.0.113.9", trusted: bool = True) -> bytes | Asked:
        """The reply to a datagram, or that it waits."""
        raw = octets_of(datagram)
        length, result = self._send(raw, peer, trusted)
        if result != PARKED:
            return bytes(self.reply[:length])
        assert length == 0
        return Asked(self._take_place(beyond.DATAGRAM), raw, is_datagram=True)

    def again(self, asked: Asked) -> bytes | None:
        """What the loop does when something was decided: the answer, None where it goes on waiting."""
        if not begin_again(refer_to(self.beyond), refer_to(self.context.gate), asked.place, self.now_ns):
            return None
        if asked.is_datagram:
            end, result = self._send(asked.raw, "192.0.2.77", True)
            self.beyond.state[WAITS] = result == PARKED
            out = self.reply
        else:
            end, out = self._get_again(asked), self.out
        return bytes(out[:end]) if end_again(refer_to(self.beyond), asked.place) else None

    def _get_again(self, asked: Asked) -> int:
        self.context.caller.words[PEER : PEER + 2] = address_words("192.0.2.77")
        forget_forwarded(self.context.caller)
        return answer_again(
            refer_to(self.context), asked.raw, 100, asked.place, False, self.now_ns, self.out, 0
        )  # fmt: skip

    def _send(self, raw: Any, peer: str, trusted: bool) -> tuple[int, int]:
        self.context.caller.words[PEER : PEER + 2] = address_words(peer)
        forget_forwarded(self.context.caller)
        length, result, _ = answer_datagram(
            refer_to(self.datagrams), raw, 0, raw.size, self.reply, 0, trusted, self.now_ns
        )
        return int(length), int(result)

    def _take_place(self, slot: int) -> int:
        address = self.context.caller.words[ADDRESS : ADDRESS + 2]
        place = take_place(refer_to(self.beyond), refer_to(self.context.gate), address, slot, self.now_ns)
        assert place >= 0
        return int(place)


def parsed(response: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of a response."""
    head, _, body = response.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:]), json.loads(body)


def waits(answer: bytes | Asked) -> Asked:
    assert isinstance(answer, Asked), answer
    return answer


def whole(answer: bytes | Asked | None) -> bytes:
    assert isinstance(answer, bytes), answer
    return answer


def price_of(desk: Desk, target: str, **caller: Any) -> tuple[int, dict[str, str], Any]:
    return parsed(whole(desk.get(target, **caller)))


def frame(*names: str) -> bytes:
    header = b"\xd7TRQ" + bytes((1, 0, len(names), 0)) + struct.pack("<QII", 7, 0, 0)
    return (header + b"".join(name.encode().ljust(16, b"\0") for name in names)).ljust(100, b"\0")


def statuses(reply: bytes) -> list[int]:
    """Of a binary reply, by record."""
    assert reply[5] == 0
    return [reply[24 + 22 * i + 18] for i in range(reply[6])]
