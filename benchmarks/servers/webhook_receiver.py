"""Receivers of webhooks for the benchmarks: one process, one port on all of 127/8, good and bad ones by the path.

    python -m benchmarks.servers.webhook_receiver --port 8443 --folder DIR [--notes FILE]

Rules: it costs the sender as little as a receiver can: uvloop, one protocol object a connection, a fixed answer to a
whole request. A receiver is a name `r<number>.receivers.test`, and its address 127.<three bytes of the number + 256>
(the DNS server beside it says so), so ten thousand of them have a connection each over one listener. The first part of
a path is what it does: /ok, /hang, /500, /drip, /endless, /reset. With --notes each whole request is written down: the
wall time of its arrival and its body's first bytes.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import ssl
import struct
from pathlib import Path
from typing import cast

import trustme
import uvloop

from trinity.clock import SystemClock

DOMAIN = "receivers.test"
CA_FILE, READY_FILE = "ca.pem", "ready"
_OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok"
_FAILED = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
_LONG = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n"
_LENGTH = b"content-length: "
_DRIP_SECONDS = 0.25
_FLOOD_BYTES = 256 * 1024
_BACKLOG = 4096


def address_of(number: int) -> str:
    """The address of receiver `number`: from 127.0.1.0 on."""
    return "127." + ".".join(str(part) for part in (number + 256).to_bytes(3))


class _Receiver(asyncio.Protocol):
    def __init__(self, notes: list[tuple[int, bytes]] | None, clock: SystemClock) -> None:
        self._notes = notes
        self._clock = clock
        self._got = b""
        self._needed = 0
        self._is_full = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._got = self._got + data if self._got else data
        while self._got:
            if not self._needed:
                end = self._got.find(b"\r\n\r\n")
                if end < 0:
                    return
                at = self._got.lower().find(_LENGTH, 0, end) + len(_LENGTH)
                self._needed = end + 4 + int(self._got[at : self._got.find(b"\r\n", at)])
            if len(self._got) < self._needed:
                return
            request, self._got = self._got[: self._needed], self._got[self._needed :]
            self._needed = 0
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        if self._notes is not None:
            body = request.find(b"\r\n\r\n") + 4
            self._notes.append((self._clock.wall_ns(), request[body : body + 256]))
        match request[6 : request.find(b" ", 6)].partition(b"/")[0]:
            case b"hang":
                pass
            case b"500":
                self._transport.write(_FAILED)
            case b"reset":
                self._transport.abort()
            case b"drip":
                self._transport.write(_LONG)
                self._drip()
            case b"endless":
                self._transport.write(_LONG)
                self._flood()
            case _:
                self._transport.write(_OK)

    def _drip(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"x")
            asyncio.get_running_loop().call_later(_DRIP_SECONDS, self._drip)

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        asyncio.get_running_loop().call_soon(self._flood)

    def _flood(self) -> None:
        """An endless body: more, whenever there is room."""
        if not self._transport.is_closing() and not self._is_full:
            self._transport.write(b"x" * _FLOOD_BYTES)
            asyncio.get_running_loop().call_soon(self._flood)


def _answer_names(port: int, parent: int) -> None:
    """A DNS server that knows the receivers: `r<number>.receivers.test` has one A record and no AAAA."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", port))
        server.settimeout(1.0)
        while os.getppid() == parent:
            with contextlib.suppress(TimeoutError):
                question, asker = server.recvfrom(512)
                server.sendto(_answer_name(question), asker)


def _answer_name(question: bytes) -> bytes:
    label = question[13 : 13 + question[12]]
    end = question.index(b"\0", 12) + 5
    is_a = question[end - 4 : end - 2] == b"\0\1"
    head = question[:2] + b"\x81\x80" + struct.pack(">HHHH", 1, int(is_a), 0, 0)
    record = b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 3600, 4)
    address = bytes(map(int, address_of(int(label[1:])).split(".")))
    return head + question[12:end] + (record + address if is_a else b"")


async def _serve(port: int, folder: Path, notes_file: Path | None) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / CA_FILE))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(f"*.{DOMAIN}").configure_cert(tls)
    loop, clock = asyncio.get_running_loop(), SystemClock()
    notes: list[tuple[int, bytes]] | None = [] if notes_file is not None else None
    await loop.create_server(lambda: _Receiver(notes, clock), "0.0.0.0", port, ssl=tls, backlog=_BACKLOG)
    (folder / READY_FILE).touch()
    while True:
        await asyncio.sleep(1)
        if notes_file is not None and notes:
            written, notes[:] = list(notes), []
            with notes_file.open("ab") as file:
                file.writelines(b"%d %b\n" % note for note in written)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--notes", type=Path)
    wanted = parser.parse_args()
    parent = os.getpid()
    if os.fork() == 0:  # of its own, so that no question waits for a handshake
        _answer_names(wanted.port, parent)
        os._exit(0)
    uvloop.run(_serve(wanted.port, wanted.folder, wanted.notes))
