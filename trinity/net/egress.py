"""The node's way out to the exchanges: through which proxy, to which of a name's addresses, and what went wrong.

WebSocket and REST go the same way: one rule says which proxy serves a URL, and both libraries are told, so that neither
reads the environment by itself. A proxy that one of them cannot use is refused by name before anything starts.

Rules: no redirect is followed, for a page of another host is not the exchange. Whatever a WebSocket, HTTP, URL, proxy
or TLS library raises for one try is a `Failure`: a kind out of vocabulary.FAILURE_KINDS and words, which are the
exchange's where it said any, cleaned for a log and bounded. Passwords of proxies are in no words.
"""

import asyncio
import re
import socket
import ssl
import urllib.request
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohappyeyeballs
import aiohttp
from websockets.asyncio.client import ClientConnection, HTTPProxyConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidStatus,
    ProxyError,
)
from websockets.proxy import parse_proxy
from websockets.uri import parse_uri

from trinity.config import FeedsSection
from trinity.errors import ConfigError
from trinity.limits import FOREIGN_WORDS_MAX, NEXT_ADDRESS_SECONDS

_USER_INFO = re.compile(r"//[^/@\s]*@")
# `http:` without `//` and a bare `host:port` are told apart by what follows the colon: a port has digits alone.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
REDIRECTS = range(300, 400)


class Failure(NamedTuple):
    """Why one try brought nothing; `kind` is one of vocabulary.FAILURE_KINDS."""

    kind: str
    words: str


class Proxies(NamedTuple):
    """Addresses of HTTP proxies, None for none: for https:// and wss://, for http:// and ws://."""

    secure: str | None = None
    plain: str | None = None
    bypass: str = ""

    def of(self, url: str) -> str | None:
        """The proxy for a URL: the same for a WebSocket and for REST of one host."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        # typeshed does not declare it
        if self.bypass and urllib.request.proxy_bypass_environment(host, {"no": self.bypass}):  # type: ignore[attr-defined]
            return None
        return self.secure if parts.scheme in ("https", "wss") else self.plain


NO_PROXIES = Proxies()


def read_proxies(section: FeedsSection) -> Proxies:
    """The proxies of the configuration; ConfigError names one that the feeds cannot use."""
    every = ("ALL_PROXY", section.all_proxy)
    if section.simulated:
        return NO_PROXIES  # a simulated exchange is a part of the node
    if section.socks_proxy:
        raise ConfigError("SOCKS_PROXY", f"{_shown(section.socks_proxy)}: {_NO_SOCKS}")
    secure, plain = (
        _proxy_of(name, text) if text else _proxy_of(*every)
        for name, text in (("HTTPS_PROXY", section.https_proxy), ("HTTP_PROXY", section.http_proxy))
    )
    return Proxies(secure, plain, section.no_proxy)


_NO_SOCKS = "SOCKS proxies are not supported: name an HTTP proxy (http://host:port), or unset it"


def _proxy_of(name: str, text: str) -> str | None:
    """`host:port` means http://host:port, as for curl."""
    if not text:
        return None
    scheme = _SCHEME.match(text)
    address = text if scheme else f"http://{text}"
    if scheme and scheme[1].lower().startswith("socks"):
        raise ConfigError(name, f"{_shown(text)}: {_NO_SOCKS}")
    if scheme and scheme[1].lower() != "http":
        reason = "only http:// proxies are supported (they pass TLS through); name it http://host:port"
        raise ConfigError(name, f"{_shown(text)}: {reason}")
    try:
        parse_proxy(address)
    except (InvalidProxy, ValueError) as error:
        detail = error.msg if isinstance(error, InvalidProxy) else "it is not http://host:port"
        raise ConfigError(name, f"{_shown(text)}: {detail}") from None
    return address


def _shown(text: str) -> str:
    """A proxy's address without the password that may stand in it."""
    shown = text.rpartition("@")[2] if "://" not in text else _USER_INFO.sub("//", text)
    return clean(shown)


class _Connect(connect):
    """A connect over a line that is there already, to the exchange or to its proxy. It follows no redirect: the answer
    itself is what is reported."""

    line: socket.socket

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc

    async def open_tcp_connection(self) -> ClientConnection:
        """As the library's own, which wants to dial a proxy itself, with an option that uvloop does not have."""
        loop, connection = asyncio.get_running_loop(), self.factory(self.ws_uri)
        tls = ssl.create_default_context() if self.ws_uri.secure else None
        name = self.ws_uri.host if tls is not None else None
        if self.proxy is None:
            await loop.create_connection(lambda: connection, sock=self.line, ssl=tls, server_hostname=name)
            return connection
        proxy = parse_proxy(str(self.proxy))
        transport, asking = await loop.create_connection(
            lambda: HTTPProxyConnection(self.ws_uri, proxy, self.user_agent_header), sock=self.line
        )
        try:
            await asking.response
            transport.set_protocol(connection)
            if tls is not None:
                through = await loop.start_tls(transport, connection, tls, server_hostname=name)
                assert through is not None
                transport = through
        except BaseException:
            transport.abort()
            raise
        connection.connection_made(transport)
        return connection


async def open_websocket(
    url: str, proxies: Proxies, seconds: float, first_address: int = 0, **options: Any
) -> ClientConnection:
    """Connect and upgrade within so many seconds; raises what `failure_of` explains.

    All addresses of the name, or of the proxy's, are tried, each a moment after the one before. `first_address` says
    with which to begin: one that accepts and then says nothing costs a try, and not the next one too.
    """
    proxy = proxies.of(url)
    dialled = parse_uri(url) if proxy is None else parse_proxy(proxy)
    async with asyncio.timeout(seconds):
        found = await asyncio.get_running_loop().getaddrinfo(dialled.host, dialled.port, type=socket.SOCK_STREAM)
        start = first_address % len(found)
        connecting = _Connect(url, proxy=proxy, open_timeout=None, **options)
        connecting.line = await aiohappyeyeballs.start_connection(
            [*found[start:], *found[:start]], happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1
        )
        return await connecting


# What a library raised, and what it was; the first that fits counts.
_KINDS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((InvalidProxyStatus, ProxyError, InvalidProxy, aiohttp.ClientHttpProxyError, aiohttp.ClientProxyConnectionError),
     "proxy"),
    ((TimeoutError,), "timeout"),
    ((socket.gaierror, aiohttp.ClientConnectorDNSError, UnicodeError), "unresolved"),
    ((ssl.SSLError, aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch), "tls"),
    ((ConnectionClosed, aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, EOFError,
      ConnectionResetError, ConnectionAbortedError, BrokenPipeError), "closed"),
    ((InvalidHandshake, aiohttp.ClientResponseError), "not_http"),
    ((OSError,), "unreachable"),
)  # fmt: skip


def failure_of(error: Exception) -> Failure:
    """What a library raised for one try, whatever it was."""
    if isinstance(error, InvalidStatus):
        response = error.response
        return answer_failure(response.status_code, response.headers.get("Location", ""), bytes(response.body or b""))
    words = _sentence(error)
    if isinstance(error, InvalidProxyStatus):
        words = f"the proxy answered HTTP {error.response.status_code}"
    cause = error.__cause__
    if cause is not None and str(cause) not in words:
        words = f"{words} ({_sentence(cause)})"
    kind = next((kind for classes, kind in _KINDS if isinstance(error, classes)), "other")
    return Failure(kind, clean(words))


def answer_failure(status: int, location: str, body: bytes) -> Failure:
    """An HTTP answer that is not the one that was asked for: its status, where it points, and how its page begins."""
    words = f"HTTP {status}"
    if location:
        words += f", Location: {location}"
    text = clean(str(body[: 4 * FOREIGN_WORDS_MAX], "utf-8", "replace"))
    return Failure("redirect" if status in REDIRECTS else "status", clean(f"{words}: {text}" if text else words))


def clean(text: str) -> str:
    """Foreign words for a log or a terminal: one line, nothing that is not printed, no passwords of URLs, bounded."""
    bounded = _USER_INFO.sub("//", text[: 4 * FOREIGN_WORDS_MAX])
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in bounded).split())
    return line if len(line) <= FOREIGN_WORDS_MAX else f"{line[: FOREIGN_WORDS_MAX - 3]}..."


def _sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
