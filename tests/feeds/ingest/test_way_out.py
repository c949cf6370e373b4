"""The feeds' way out on the event loop that they run on: TLS that is verified, and an HTTP proxy before it."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from websockets.asyncio.server import ServerConnection, serve

from feeds.ingest.frames import FrameSocket
from tests.support.messages import taking
from trinity.net.egress import Proxies, failure_of, open_websocket

MESSAGES = [b"%d" % number * 50 for number in range(200)]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of its own for localhost, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert, both = folder / "key.pem", folder / "cert.pem", folder / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    return both


@contextlib.asynccontextmanager
async def exchange(certificate: Path) -> AsyncIterator[int]:
    """Sends its messages to whoever comes, over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def talk(connection: ServerConnection) -> None:
        for message in MESSAGES:
            await connection.send(message, text=True)
        await connection.wait_closed()

    async with serve(talk, "localhost", 0, ssl=context) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@contextlib.asynccontextmanager
async def proxy(seen: list[bytes]) -> AsyncIterator[str]:
    """Passes on what comes behind CONNECT."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while octets := await reader.read(65_536):
                writer.write(octets)
                await writer.drain()
        writer.close()

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        host, _, port = head.split()[1].decode().partition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    async with await asyncio.start_server(on_client, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def taken_from(url: str, proxies: Proxies) -> list[bytes]:
    """What a feed's socket hands out until it has all messages."""
    got: list[bytes] = []
    socket = await open_websocket(url, proxies, 20.0, create_connection=FrameSocket, compression=None)
    assert isinstance(socket, FrameSocket)
    async with socket:
        socket.deliver = taking(got)
        async with asyncio.timeout(60):
            while len(got) < len(MESSAGES):
                # What came before it could be handed out is the library's.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        got.append(await socket.next_message())
    return got


def on_uvloop(act: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await act()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


@pytest.mark.parametrize("is_proxied", [False, True])
def test_tls_is_spoken_with_and_without_a_proxy(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, is_proxied: bool
) -> None:
    """All messages arrive in order, and a proxy saw one CONNECT and nothing of them."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    seen: list[bytes] = []

    async def act() -> None:
        async with exchange(certificate) as port, proxy(seen) as address:
            proxies = Proxies(secure=address if is_proxied else None)
            assert await taken_from(f"wss://localhost:{port}/", proxies) == MESSAGES
            assert [head.split()[:2] for head in seen] == [[b"CONNECT", b"localhost:%d" % port]] * is_proxied

    on_uvloop(act)


@pytest.mark.parametrize("is_proxied", [False, True])
def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path, is_proxied: bool) -> None:
    """The same exchange without the operator's trust: no message, and the kind of the failure is `tls`."""
    seen: list[bytes] = []

    async def act() -> None:
        async with exchange(certificate) as port, proxy(seen) as address:
            proxies = Proxies(secure=address if is_proxied else None)
            with pytest.raises(ssl.SSLError) as refused:
                await taken_from(f"wss://localhost:{port}/", proxies)
            assert failure_of(refused.value).kind == "tls"

    on_uvloop(act)
