"""The demo's receiver: HTTPS and UDP on one port of this machine, with the newest of what came in as JSON on its page.

    POST /prices, /events   what the node pushes; 401 for what it has not signed
    GET /                   what came in: by subscription the last sequence, gaps and prices; the last events
    UDP                     the datagrams of the push server

Rules: for the demo alone; a customer's receiver is in docs/push.md. It keeps nothing on the disk.
"""

import asyncio
import contextlib
import datetime
import signal
import socket
import ssl
from pathlib import Path
from typing import NamedTuple

import msgspec
from aiohttp import web

from trinity.clock import NS_PER_SECOND
from trinity.net.ports import bind_socket, local_host
from trinity.process import ProcessContext
from workers.receiver.certificate import CERTIFICATE, KEY
from workers.receiver.inbox import Inbox
from workers.receiver.wishes import Wishes

BEAT_SECONDS = 0.2
DRAIN_SECONDS = 0.5
BODY_BYTES_MAX = 64 * 1024


class ReceiverSettings(NamedTuple):
    """Where it listens, its certificate's folder, and where its subscriptions are made."""

    bind_host: str
    port: int
    folder: Path
    database_url: str


def run(context: ProcessContext, settings: ReceiverSettings) -> None:
    """Receive until SIGTERM or SIGINT."""
    asyncio.run(_serve(context, settings))


async def _serve(context: ProcessContext, settings: ReceiverSettings) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    inbox = Inbox()
    names = [asset.name for asset in context.catalog.assets]
    wishes = Wishes(
        settings.database_url, context.clock, local_host(settings.bind_host), settings.port, names,
        lambda found: setattr(inbox, "secrets", found), context.log,
    )  # fmt: skip
    async with contextlib.AsyncExitStack() as ending:
        runner = web.AppRunner(_app_of(context, inbox), access_log=None, shutdown_timeout=DRAIN_SECONDS)
        await runner.setup()
        ending.push_async_callback(runner.cleanup)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(settings.folder / CERTIFICATE, settings.folder / KEY)
        listening = bind_socket(settings.bind_host, settings.port, socket.SOCK_STREAM)
        await web.SockSite(runner, listening, ssl_context=tls).start()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(context, inbox), sock=bind_socket(settings.bind_host, settings.port, socket.SOCK_DGRAM)
        )
        ending.callback(transport.close)
        wishes.start()
        ending.callback(wishes.finish, DRAIN_SECONDS)
        while not stop.is_set():
            context.block.beat(context.clock.monotonic_ns())
            wishes.raise_failure()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), BEAT_SECONDS)


def _app_of(context: ProcessContext, inbox: Inbox) -> web.Application:
    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        status, word = inbox.take_webhook(request.headers, body, context.clock.wall_ns() // NS_PER_SECOND)
        fields = {"over": "https", "id": request.headers.get("webhook-id"), "became": word}
        context.log.info("received", extra={"fields": fields})
        return web.Response(status=status)

    async def show(_request: web.Request) -> web.Response:
        text = msgspec.json.format(msgspec.json.encode(inbox.report()), indent=2)
        return web.Response(body=text, content_type="application/json")

    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.add_routes([web.post("/prices", take), web.post("/events", take), web.get("/", show)])
    return app


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, context: ProcessContext, inbox: Inbox) -> None:
        self._context, self._inbox = context, inbox

    def datagram_received(self, data: bytes, _address: object) -> None:
        now = datetime.datetime.fromtimestamp(self._context.clock.wall_ns() / NS_PER_SECOND, datetime.UTC)
        word = self._inbox.take_datagram(data, now.isoformat(timespec="milliseconds"))
        self._context.log.info("received", extra={"fields": {"over": "udp", "became": word}})
