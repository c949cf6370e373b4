"""The questions of `trinity doctor` that go over the network: exchanges by both of their ways, and the cache.

Rules: everything is asked side by side and bounded in time, nothing is raised. What an exchange said instead of its
service is kept in its own words (trinity/net/egress.py).
"""

import asyncio
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

from trinity.cache.address import CacheSettings
from trinity.cache.client import CacheClient
from trinity.cache.keys import REPORT
from trinity.clock import NS_PER_MS, NS_PER_SECOND, Clock
from trinity.errors import CacheReplyError, CacheUnavailableError
from trinity.limits import CLOSE_SECONDS
from trinity.net.egress import Proxies, answer_failure, failure_of, open_websocket

ASK_SECONDS = 6.0
_FIRST_WRONG_STATUS, _TOO_MANY = 300, 429
_PAGE_BYTES = 2048


class ExchangeAnswer(NamedTuple):
    """What an exchange's REST service said: a status and its clock's distance from ours, or why there was no answer.

    `error` is, in the exchange's own words where it said any, why REST brought nothing; `ws_error` the same for the
    WebSocket. `host` is the one that was asked.
    """

    status: int | None
    offset_ns: int | None
    error: str = ""
    ws_error: str = ""
    host: str = ""


class CacheAnswer(NamedTuple):
    """What Valkey said: what it is, or why there was no answer, and why it does not take what a node writes."""

    found: str
    error: str = ""
    refusal: str = ""


async def ask_network(
    exchange_urls: Mapping[str, str],
    cache: CacheSettings | None,
    clock: Clock,
    ws_urls: Mapping[str, str],
    proxies: Proxies,
) -> tuple[dict[str, ExchangeAnswer], CacheAnswer | None]:
    """Answers of the exchanges, and that of the cache where one is set."""
    timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        answers, ws_errors, said_cache = await asyncio.gather(
            asyncio.gather(*[_ask_exchange(session, url, clock, proxies) for url in exchange_urls.values()]),
            asyncio.gather(*[_ask_websocket(url, proxies) for url in ws_urls.values()]),
            _ask_cache(cache, clock),
        )
    said = dict(zip(exchange_urls, answers, strict=True))
    for exchange, error in zip(ws_urls, ws_errors, strict=True):
        said[exchange] = said[exchange]._replace(ws_error=error)
    said = {
        exchange: answer._replace(host=urlsplit(exchange_urls[exchange]).hostname or "")
        for exchange, answer in said.items()
    }
    return said, said_cache


async def _ask_exchange(session: aiohttp.ClientSession, url: str, clock: Clock, proxies: Proxies) -> ExchangeAnswer:
    asked_at_ns = clock.wall_ns()
    try:
        async with session.get(url, proxy=proxies.of(url), allow_redirects=False) as response:
            offset_ns = offset_of(response.headers.get("Date"), (asked_at_ns + clock.wall_ns()) // 2)
            if response.status < _FIRST_WRONG_STATUS or response.status == _TOO_MANY:
                return ExchangeAnswer(response.status, offset_ns)
            location = response.headers.get("Location", "")
            said = answer_failure(response.status, location, await response.content.read(_PAGE_BYTES))
            # Whoever redirects or refuses is not the exchange, so its clock is not compared.
            return ExchangeAnswer(response.status, None, said.words)
    except TimeoutError:
        return ExchangeAnswer(None, None, f"no answer within {ASK_SECONDS:g} s")
    except Exception as error:  # noqa: BLE001 - whatever a library raises is the finding
        return ExchangeAnswer(None, None, failure_of(error).words)


async def _ask_websocket(url: str, proxies: Proxies) -> str:
    """Why no WebSocket can be opened, empty when it can."""
    try:
        socket = await open_websocket(url, proxies, ASK_SECONDS, close_timeout=CLOSE_SECONDS)
        await socket.close()
    except TimeoutError:
        return f"no answer within {ASK_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001 - whatever a library raises is the finding
        return failure_of(error).words
    return ""


def offset_of(date: str | None, now_ns: int) -> int | None:
    """How far a Date header (RFC 9110, 6.6.1) is ahead of `now_ns`, None without a readable one."""
    if date is None:
        return None
    try:
        second = int(parsedate_to_datetime(date).timestamp())
    except ValueError:
        return None
    # The header leaves out the fraction of its second: half a second on average.
    return second * NS_PER_SECOND + 500 * NS_PER_MS - now_ns


async def _ask_cache(settings: CacheSettings | None, clock: Clock) -> CacheAnswer | None:
    """As a node asks it: with TLS, the user and the route of the settings, and a name that it would write."""
    if settings is None:
        return None
    client = CacheClient.open(settings, clock)
    probe = ("SET", REPORT.name("doctor"), "", "EX", 1)
    try:
        info, written = await client.run([("INFO",), probe], ASK_SECONDS)
    except CacheUnavailableError as error:
        return CacheAnswer("", error.reason)
    finally:
        await client.close()
    refusal = f"{written.code} {written.text}" if isinstance(written, CacheReplyError) else ""
    return CacheAnswer(_name_of(info), refusal=refusal)


def _name_of(info: bytes | CacheReplyError) -> str:
    """Program and version, and what it does when it is full; a user may be forbidden to ask for them."""
    if isinstance(info, CacheReplyError):
        return "reachable"
    fields = dict(line.split(":", 1) for line in info.decode(errors="replace").splitlines() if ":" in line)
    program = "Valkey" if "valkey_version" in fields else "Redis"
    version = fields.get("valkey_version", fields.get("redis_version", ""))
    room = "no bound of memory" if fields.get("maxmemory", "0") == "0" else fields.get("maxmemory_policy", "")
    return f"{program} {version}, {room}"
