"""The way out to the exchanges: proxies of the configuration, addresses of a name, and what a failure says."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve

from trinity.config import FeedsSection, load_config
from trinity.errors import ConfigError
from trinity.limits import FOREIGN_WORDS_MAX
from trinity.net.egress import NO_PROXIES, Failure, Proxies, clean, failure_of, open_websocket, read_proxies
from trinity.vocabulary import FAILURE_KINDS

Serve = Callable[[bytes | None], Any]
REGION = b"<html><title>Not available in your region</title></html>"


def page(status: str, *headers: str, body: bytes = REGION) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


# What a server says to an upgrade or a GET, whether to a client that speaks TLS, and what is made of it.
ANSWERS = [
    (
        page("302 Found", "Location: https://www.example.com/restricted"),
        "ws",
        "redirect",
        "https://www.example.com/rest",
    ),
    (page("302 Found", "Location: mailto:nobody"), "ws", "redirect", "302"),
    (page("302 Found", "Location: http://[bad"), "ws", "redirect", "302"),
    (page("301 Moved", "Location: /here"), "ws", "redirect", "/here"),
    (page("403 Forbidden"), "ws", "status", "Not available in your region"),
    (page("451 Unavailable For Legal Reasons"), "ws", "status", "451"),
    (page("503 Unavailable", body=b"\x00\x1b[31m\r\nback at <10:00>"), "ws", "status", "back at <10:00>"),
    (page("200 OK"), "ws", "status", "200"),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "ws", "not_http", ""),
    (b"220 mail.example.com ESMTP\r\n", "ws", "not_http", ""),
    (b"\xff" * 5000, "ws", "not_http", ""),
    (b"", "ws", "not_http", ""),
    (b"HTTP/1.1 200 OK\r\n\r\n", "wss", "tls", ""),
    (b"\x16\x03\x03\x00\x10half of a hello", "wss", "closed", ""),
    (b"", "wss", "", ""),  # closed in the middle: the kind is the platform's to say
    (None, "ws", "timeout", ""),
    (None, "wss", "timeout", ""),
]


@pytest.fixture
async def serving() -> AsyncIterator[Serve]:
    """Starts servers that read a request and answer with given bytes, or with silence for None; gives the port."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(answer: bytes | None, host: str = "127.0.0.1", port: int = 0) -> int:
            async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.read(4096)
                if answer is None:
                    await reader.read()  # until the client goes
                else:
                    writer.write(answer)
                    with contextlib.suppress(ConnectionError):
                        await writer.drain()
                writer.close()

            server = await asyncio.start_server(on_client, host, port)
            stack.callback(server.close)
            return int(server.sockets[0].getsockname()[1])

        yield start


async def failure_at(url: str, seconds: float = 10.0, proxies: Proxies = NO_PROXIES) -> Failure:
    try:
        opened = await open_websocket(url, proxies, seconds)
    except Exception as error:  # noqa: BLE001 - that is what it is for
        return failure_of(error)
    await opened.close()
    raise AssertionError("it connected")


@pytest.mark.parametrize(("answer", "scheme", "kind", "words"), ANSWERS)
async def test_whatever_a_server_says_is_a_failure_with_a_kind_and_its_words(
    serving: Serve, answer: bytes | None, scheme: str, kind: str, words: str
) -> None:
    """Redirects are not followed; status, place and page are told on one printable line."""
    port = await serving(answer)
    failure = await failure_at(f"{scheme}://127.0.0.1:{port}/ws", 10.0 if answer is not None else 0.3)
    assert failure.kind == kind or (not kind and failure.kind in FAILURE_KINDS)
    assert words in failure.words
    assert failure.words.isprintable()
    assert 0 < len(failure.words) <= FOREIGN_WORDS_MAX


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("ws://127.0.0.1:1/", "unreachable"),
        ("ws://no-such-host.invalid/", "unresolved"),
        (f"ws://{'a' * 70}.example/", "unresolved"),
        ("https://127.0.0.1/", "other"),
        ("ws://127.0.0.1:99999/", "other"),
    ],
)
async def test_an_address_that_leads_nowhere_is_a_failure_too(url: str, kind: str) -> None:
    """Nobody listens, no such name, a name that cannot be one, no WebSocket URL at all."""
    assert (await failure_at(url)).kind == kind


class _ForeignError(Exception):
    """What no library documents."""


@given(
    st.sampled_from([OSError, ValueError, RuntimeError, ssl.SSLError, _ForeignError, aiohttp.ClientError]), st.text()
)
def test_every_exception_has_a_kind_and_clean_words(kind: type[Exception], text: str) -> None:
    """Whatever its text is: printable, bounded, of a declared kind."""
    failure = failure_of(kind(text))
    assert failure.kind in FAILURE_KINDS
    assert failure.words.isprintable()
    assert 0 < len(failure.words) <= FOREIGN_WORDS_MAX


def test_words_hold_no_password() -> None:
    """A library may name the proxy with all that stands in its URL."""
    assert clean("cannot reach http://user:secret@proxy:3128/ now") == "cannot reach http://proxy:3128/ now"


# --- several addresses ----------------------------------------------------------------------------------------


@pytest.fixture
def black_hole() -> Iterator[tuple[str, int]]:
    """An address at which nobody ever answers: a listener whose queue is full, so that Linux drops what comes."""
    with contextlib.ExitStack() as stack:
        hole = stack.enter_context(socket.socket())
        hole.bind(("127.0.0.2", 0))
        hole.listen(0)
        address = hole.getsockname()
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield address


async def _resolve_to(monkeypatch: pytest.MonkeyPatch, addresses: list[tuple[str, int]]) -> None:
    async def getaddrinfo(*_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def test_all_addresses_of_a_name_are_tried_in_time(
    black_hole: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that never answer stand before a good one: it is reached in well under the limit of the handshake."""
    async with serve(_echo, "127.0.0.1", 0) as server:
        good = server.sockets[0].getsockname()
        await _resolve_to(monkeypatch, [black_hole, black_hole, good])
        opened = await open_websocket(f"ws://exchange.example:{good[1]}/", NO_PROXIES, 5.0)
        await opened.close()


async def test_an_address_that_accepts_and_says_nothing_costs_one_try(
    serving: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next try begins with the next address."""
    silent = ("127.0.0.1", await serving(None))
    async with serve(_echo, "127.0.0.1", 0) as server:
        good = server.sockets[0].getsockname()
        await _resolve_to(monkeypatch, [silent, good])
        assert (await failure_at("ws://exchange.example/", 0.3)).kind == "timeout"
        opened = await open_websocket("ws://exchange.example/", NO_PROXIES, 5.0, first_address=1)
        await opened.close()


# --- proxies --------------------------------------------------------------------------------------------------


def test_both_ways_take_the_same_proxy() -> None:
    """wss:// goes where https:// goes; ALL_PROXY is for what has none; a bare host:port is an HTTP proxy."""
    section = FeedsSection(https_proxy="127.0.0.1:3128", all_proxy="http://other:1", no_proxy="okx.com,10.0.0.1")
    proxies = read_proxies(section)
    assert proxies.of("wss://ws.kraken.com/v2") == proxies.of("https://api.kraken.com/x") == "http://127.0.0.1:3128"
    assert proxies.of("ws://localhost/") == proxies.of("http://localhost/") == "http://other:1"
    assert proxies.of("wss://ws.okx.com:8443/ws") is proxies.of("https://www.okx.com/") is None
    assert proxies.of("http://10.0.0.1:8090/okx") is None


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("HTTPS_PROXY", "socks5://127.0.0.1:1080", "SOCKS"),
        ("HTTPS_PROXY", "SOCKS5H://user:secret@127.0.0.1:1080", "SOCKS"),
        ("https_proxy", "https://127.0.0.1:3128", "http://"),
        ("HTTP_PROXY", "ftp://127.0.0.1", "http://"),
        ("HTTP_PROXY", "http://", "hostname"),
        ("HTTP_PROXY", "127.0.0.1:port", "host:port"),
        ("HTTP_PROXY", "user@127.0.0.1:3128", "password"),
        ("HTTPS_PROXY", "http://127.0.0.1:3128/path", "path"),
        ("ALL_PROXY", "socks4://127.0.0.1:1080", "SOCKS"),
        ("SOCKS_PROXY", "127.0.0.1:1080", "SOCKS"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_by_name(name: str, text: str, word: str) -> None:
    """The variable, what is wrong and what to do; never the password."""
    section = load_config({name: text}).feeds
    with pytest.raises(ConfigError) as caught:
        read_proxies(section)
    assert caught.value.key == name.upper()
    assert word in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_simulated_exchange_is_reached_without_a_proxy() -> None:
    """The demo needs no network, whatever the environment says of one."""
    assert read_proxies(FeedsSection(simulated=True, https_proxy="socks5://x:1")) == NO_PROXIES


def test_the_small_form_of_a_shared_name_wins() -> None:
    """As in curl; and an empty one is none."""
    assert load_config({"https_proxy": "a:1", "HTTPS_PROXY": "b:2"}).feeds.https_proxy == "a:1"
    assert load_config({"https_proxy": "", "HTTPS_PROXY": "b:2"}).feeds.https_proxy == "b:2"


@pytest.mark.parametrize("text", ["127.0.0.1:{port}", "http://user:secret@127.0.0.1:{port}/"])
async def test_websocket_and_rest_go_through_the_proxy(text: str) -> None:
    """A proxy on loopback sees both, with the user's name and password where there are some."""
    seen: list[bytes] = []

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(page("407 Proxy Authentication Required", body=b""))
        writer.close()

    async with await asyncio.start_server(on_client, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        proxies = read_proxies(FeedsSection(https_proxy=text.format(port=port)))
        refused = await failure_at("wss://exchange.example/ws", proxies=proxies)
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientHttpProxyError) as caught:
                await session.get("https://exchange.example/x", proxy=proxies.of("https://exchange.example/x"))
    assert (refused.kind, failure_of(caught.value).kind) == ("proxy", "proxy")
    assert "407" in refused.words
    assert [head.split()[:2] for head in seen] == [[b"CONNECT", b"exchange.example:443"]] * 2
    assert all(
        (b"proxy-authorization: basic dXNlcjpzZWNyZXQ=".lower() in head.lower()) == ("@" in text) for head in seen
    )
