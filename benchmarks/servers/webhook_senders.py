"""Senders of webhooks to compare: ours, aiohttp in a bare loop, one task a message over httpx2.

    python -m benchmarks.servers.webhook_senders ours --port 8443 --folder DIR --seconds 3

Rules: all send the same bodies, signed for each attempt by the same function, to the same receivers over TLS that is
verified, on uvloop, with as many messages in flight, and read each answer. Each waits for its connections to stand
before it counts. It prints JSON: deliveries, processor time of the counted part, connections that were made in it.
"""

import argparse
import asyncio
import json
import os
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import uvloop

from benchmarks.servers.webhook_receiver import CA_FILE, DOMAIN
from trinity.clock import SystemClock
from trinity.push.addresses import AllowList
from trinity.push.resolve import Resolver
from trinity.push.signature import webhook_headers
from trinity.push.targets import parse_target

RECEIVERS = 64
# A message of 25 assets.
ASSETS = 25
SECRET = b"a secret of benchmarks, 32 bytes"
TIMEOUT_SECONDS = 5.0
Post = Callable[[int, bytes], Awaitable[None]]


def make_body(number: int) -> bytes:
    """As a price update of 25 assets is."""
    prices = [
        {"asset": f"A{index}", "price": f"{71000 + index}.5", "price_timestamp": "2026-01-01T00:00:00.000Z",
         "confidence": "3.1", "sources": 6}
        for index in range(ASSETS)
    ]  # fmt: skip
    data = {"subscription": number, "sequence": 4294967297, "reason": "interval", "prices": prices}
    return json.dumps({"type": "price.update", "timestamp": "2026-01-01T00:00:00.000Z", "data": data}).encode()


async def _loops(post: Post, seconds: float, counted: list[int]) -> None:
    """A loop for each receiver, one message after the other."""
    end = time.monotonic() + seconds

    async def send(number: int) -> None:
        body = make_body(number)
        while time.monotonic() < end:
            await post(number, body)
            counted[0] += 1

    await asyncio.gather(*(send(number) for number in range(RECEIVERS)))


async def _tasks(post: Post, seconds: float, counted: list[int]) -> None:
    """A task for each message; as many at once as there are receivers."""
    end = time.monotonic() + seconds
    room = asyncio.Semaphore(RECEIVERS)
    bodies = [make_body(number) for number in range(RECEIVERS)]

    async def send(number: int) -> None:
        try:
            await post(number, bodies[number])
            counted[0] += 1
        finally:
            room.release()

    async with asyncio.TaskGroup() as group:
        number = 0
        while time.monotonic() < end:
            await room.acquire()
            group.create_task(send(number % RECEIVERS))
            number += 1


async def _ours(wanted: argparse.Namespace, tls: ssl.SSLContext) -> dict[str, float]:
    from workers.push.https.pool import ConnectionPool, PoolBounds

    resolver = Resolver([f"127.0.0.1:{wanted.port}"])
    pool = ConnectionPool(resolver, AllowList.parse(["127.0.0.0/8"]), tls, PoolBounds(), SystemClock(), Random(1))
    targets = [parse_target(_url(wanted.port, number)) for number in range(RECEIVERS)]

    async def post(number: int, body: bytes) -> None:
        headers = webhook_headers([SECRET], f"msg_{number}_7", int(time.time()), body)
        reply = await pool.post(targets[number], headers, body, TIMEOUT_SECONDS)
        assert reply.status == 200

    found = await _measure(_loops, post, wanted.seconds, lambda: pool.counters().new_total)
    await pool.close()
    await resolver.close()
    return found


async def _aiohttp(wanted: argparse.Namespace, tls: ssl.SSLContext) -> dict[str, float]:
    import aiohttp

    made = [0]

    async def count(*_: object) -> None:
        made[0] += 1

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(count)
    names = aiohttp.AsyncResolver(nameservers=[f"127.0.0.1:{wanted.port}"])
    connector = aiohttp.TCPConnector(ssl=tls, resolver=names, limit=0)
    async with aiohttp.ClientSession(connector=connector, trace_configs=[trace]) as session:
        urls = [_url(wanted.port, number) for number in range(RECEIVERS)]
        bound = aiohttp.ClientTimeout(TIMEOUT_SECONDS)

        async def post(number: int, body: bytes) -> None:
            headers = _headers(number, body)
            async with session.post(urls[number], data=body, headers=headers, timeout=bound) as reply:
                await reply.read()
                assert reply.status == 200

        return await _measure(_loops, post, wanted.seconds, lambda: made[0])


async def _httpx2(wanted: argparse.Namespace, tls: ssl.SSLContext) -> dict[str, float]:
    import httpx2

    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=90)
    async with httpx2.AsyncClient(verify=tls, limits=limits, timeout=TIMEOUT_SECONDS, trust_env=False) as client:
        # It has no way to name a DNS server: the receivers' names are sent by SNI and Host.
        from benchmarks.servers.webhook_receiver import address_of

        urls = [f"https://{address_of(number)}:{wanted.port}/ok" for number in range(RECEIVERS)]
        names = [{"sni_hostname": f"r{number}.{DOMAIN}"} for number in range(RECEIVERS)]

        async def post(number: int, body: bytes) -> None:
            headers = _headers(number, body) | {"host": f"r{number}.{DOMAIN}:{wanted.port}"}
            reply = await client.post(urls[number], content=body, headers=headers, extensions=names[number])
            assert reply.status_code == 200

        return await _measure(_tasks, post, wanted.seconds, lambda: 0)


def _headers(number: int, body: bytes) -> dict[str, str]:
    signed = webhook_headers([SECRET], f"msg_{number}_7", int(time.time()), body)
    return {name.decode(): value.decode() for name, value in signed} | {"content-type": "application/json"}


def _url(port: int, number: int) -> str:
    return f"https://r{number}.{DOMAIN}:{port}/ok"


Run = Callable[[Post, float, list[int]], Awaitable[None]]


async def _measure(run: Run, post: Post, seconds: float, made: Callable[[], int]) -> dict[str, float]:
    await run(post, max(0.5, seconds / 4), [0])
    before, began, cpu = made(), time.monotonic(), time.process_time()
    counted = [0]
    await run(post, seconds, counted)
    spent, took = time.process_time() - cpu, time.monotonic() - began
    return {
        "deliveries": counted[0],
        "cpu_us": spent / counted[0] * 1e6,
        "per_second": counted[0] / took,
        "new_connections": made() - before,
    }


SENDERS = {"ours": _ours, "aiohttp": _aiohttp, "httpx2": _httpx2}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sender", choices=tuple(SENDERS))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--core", type=int, required=True)
    wanted = parser.parse_args()
    os.sched_setaffinity(0, {wanted.core})
    tls = ssl.create_default_context(cafile=str(wanted.folder / CA_FILE))
    print(json.dumps(uvloop.run(SENDERS[wanted.sender](wanted, tls))))


if __name__ == "__main__":
    main()
