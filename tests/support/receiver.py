"""A receiver of webhooks with real TLS, in a thread: keeps what it gets, and answers as the test says."""

import asyncio
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trustme

HTTP_OK = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(frozen=True)
class Received:
    """One request; `path` tells the subscriptions of a test apart."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = msgspec.json.decode(self.body)["data"]
        return data

    @property
    def sequence(self) -> int:
        return int(self.data["sequence"])


@dataclass
class Receiver:
    """`answer` gets each request and gives the bytes to send; None hangs."""

    ca_file: Path
    answer: Callable[[Received], bytes | None] = lambda _: HTTP_OK
    received: list[Received] = field(default_factory=list)
    port: int = 0
    connections: int = 0
    _talks: set["asyncio.Task[None]"] = field(default_factory=set)

    def url(self, path: str = "/") -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    def of(self, path: str) -> list[Received]:
        return [one for one in list(self.received) if one.path == path]

    def start(self) -> None:
        """Listen from here on, for as long as the test process lives or until `stop`."""
        is_ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(is_ready)), daemon=True)
        self._thread.start()
        assert is_ready.wait(30)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(30)

    async def _serve(self, is_ready: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        server = await asyncio.start_server(self._talk, "127.0.0.1", self.port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        is_ready.set()
        await self._stopping.wait()
        server.close()
        for task in self._talks:
            task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers["content-length"]))
                one = Received(head[0].split(" ")[1], headers, body)
                self.received.append(one)
                answer = self.answer(one)
                if answer is None:
                    await self._stopping.wait()
                    return
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return
        finally:
            self._talks.discard(task)
            writer.transport.abort()
