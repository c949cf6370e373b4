"""The doctor's questions over the network, against real sockets."""

import socket
from email.utils import formatdate

from aiohttp import web
from aiohttp.test_utils import TestServer

from trinity.cli.operating.network import ask_network, offset_of
from trinity.clock import NS_PER_MS, NS_PER_SECOND, SystemClock
from trinity.net.egress import NO_PROXIES


def test_a_date_header_gives_the_distance_of_two_clocks() -> None:
    """The header cuts off the fraction of its second, half a second on average."""
    now_ns = 1_700_000_000 * NS_PER_SECOND
    assert offset_of(formatdate(1_700_000_010, usegmt=True), now_ns) == 10_500 * NS_PER_MS
    assert offset_of("yesterday", now_ns) is None
    assert offset_of(None, now_ns) is None


async def test_exchanges_and_stores_are_asked_over_the_network() -> None:
    """A server that answers, one that refuses connections, one that is a store; the clock is compared."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=200)

    app = web.Application()
    app.router.add_get("/ticker", answer)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        closed = holder.getsockname()[1]
        async with TestServer(app) as server:
            urls = {"good": str(server.make_url("/ticker")), "closed": f"http://127.0.0.1:{closed}/"}
            stores = {
                "OPEN_URL": f"redis://127.0.0.1:{server.port}/0",
                "CACHE_URL": f"redis://127.0.0.1:{closed}/0",
                "OTHER_URL": None,
                "WRONG_URL": "redis://user:secret/x@host",
            }
            answers, reachable = await ask_network(urls, stores, SystemClock(), {}, NO_PROXIES)
    assert answers["good"].status == 200
    assert answers["good"].offset_ns is not None
    assert abs(answers["good"].offset_ns) < 5 * NS_PER_SECOND
    assert answers["closed"].status is None
    assert answers["closed"].error
    assert reachable["OPEN_URL"] == ""
    assert reachable["CACHE_URL"]
    assert "OTHER_URL" not in reachable
    assert reachable["WRONG_URL"]
    assert "secret" not in reachable["WRONG_URL"], "a password is not shown, also when it is mistaken for a port"
