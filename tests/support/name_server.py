"""A real DNS server on loopback, by dnspython, whose answers a test may change while it runs."""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Sequence
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

# What a name may answer with beside addresses.
NO_NAME, FAILS, CUT = "NXDOMAIN", "SERVFAIL", "cut"


class NameServer(asyncio.DatagramProtocol):
    """Answers of each name, one list a question of the same kind; the last stays. `asked` has the questions."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Sequence[str]]] = {}
        self.asked: list[str] = []
        self.port = 0
        self._given: dict[tuple[str, str], int] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = dns.message.from_wire(data)
        asked = question.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append(f"{name} {kind}")
        lists = self.answers.get(name.lower(), [[NO_NAME]])
        at = self._given.get((name.lower(), kind), 0)
        self._given[name.lower(), kind] = at + 1
        found = lists[min(at, len(lists) - 1)]
        reply = dns.message.make_response(question)
        if NO_NAME in found:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif FAILS in found:
            reply.set_rcode(dns.rcode.SERVFAIL)
        else:
            texts = [text for text in found if _kind_of(text) == kind]
            if texts:
                reply.answer.append(dns.rrset.from_text(asked.name, 0, "IN", kind, *texts))
        wire = reply.to_wire()
        self._transport.sendto(wire[: len(wire) // 2] if CUT in found else wire, addr)


def _kind_of(text: str) -> str:
    try:
        return "A" if ipaddress.ip_address(text).version == 4 else "AAAA"
    except ValueError:
        return ""


@contextlib.asynccontextmanager
async def name_server(**answers: Sequence[Sequence[str]]) -> AsyncIterator[NameServer]:
    """A server that knows `hooks_example` as hooks.example."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(NameServer, ("127.0.0.1", 0))
    server.answers = {name.replace("_", "."): list(lists) for name, lists in answers.items()}
    try:
        yield server
    finally:
        transport.close()
