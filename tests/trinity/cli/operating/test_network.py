"""The doctor's questions over the network, against real sockets."""

import socket
from email.utils import formatdate

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.valkey_server import ValkeyServer
from trinity.cache.address import CacheSettings
from trinity.cli.operating.network import CacheAnswer, ask_network, offset_of
from trinity.clock import NS_PER_MS, NS_PER_SECOND, SystemClock
from trinity.net.egress import NO_PROXIES


def test_a_date_header_gives_the_distance_of_two_clocks() -> None:
    """The header cuts off the fraction of its second, half a second on average."""
    now_ns = 1_700_000_000 * NS_PER_SECOND
    assert offset_of(formatdate(1_700_000_010, usegmt=True), now_ns) == 10_500 * NS_PER_MS
    assert offset_of("yesterday", now_ns) is None
    assert offset_of(None, now_ns) is None


async def test_exchanges_are_asked_over_the_network() -> None:
    """A server that answers, one that refuses connections; the clock is compared."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=200)

    app = web.Application()
    app.router.add_get("/ticker", answer)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        closed = holder.getsockname()[1]
        async with TestServer(app) as server:
            urls = {"good": str(server.make_url("/ticker")), "closed": f"http://127.0.0.1:{closed}/"}
            answers, cache = await ask_network(urls, None, SystemClock(), {}, NO_PROXIES)
    assert answers["good"].status == 200
    assert answers["good"].offset_ns is not None
    assert abs(answers["good"].offset_ns) < 5 * NS_PER_SECOND
    assert answers["closed"].status is None
    assert answers["closed"].error
    assert cache is None


async def test_the_cache_is_asked_as_a_node_asks_it(valkey_tls: ValkeyServer) -> None:
    """What it is; why it cannot be reached; why it takes nothing."""
    settings = valkey_tls.settings

    async def ask(changed: CacheSettings) -> CacheAnswer:
        _, answer = await ask_network({}, changed, SystemClock(), {}, NO_PROXIES)
        assert answer is not None
        return answer

    answer = await ask(settings)
    assert answer.found.split(" ")[0] in {"Valkey", "Redis"}
    assert (answer.error, answer.refusal) == ("", "")
    wrong = await ask(settings._replace(address=settings.address._replace(password="wrong")))
    assert "username-password" in wrong.error
    assert "wrong" not in wrong.error
    valkey_tls.fill()
    assert (await ask(settings)).refusal.startswith("OOM")
    valkey_tls.kill()
    assert (await ask(settings)).error
