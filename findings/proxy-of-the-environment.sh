#!/usr/bin/env bash
# Two clients, one environment: an https:// proxy is used by websockets and passed over by aiohttp.
#
# Expected: with `trust_env=True` aiohttp goes the way that HTTP_PROXY and HTTPS_PROXY name, or raises when it cannot.
# Seen:     for a proxy that is itself spoken to by TLS (`https://host:port`) it logs one warning, on the logger
#           `aiohttp.client`, and connects to the target directly. websockets, with the same environment, begins TLS with
#           the proxy. One process that uses both then goes two ways; where only the proxy may go out, half of it
#           cannot, and where both may, half of the traffic is not where the operator believes it to be.
# Versions: aiohttp 3.14.5, websockets 17.4, Python 3.11.
# Trinity:  reads the variables itself, refuses what one of the two cannot use, by name, before anything starts, and
#           tells both libraries which proxy to use (trinity/net/egress.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5 websockets==17.4

cat >"$folder/two_ways.py" <<'EOF'
import asyncio
import logging
import os

import aiohttp
from aiohttp import web
from websockets.asyncio.client import connect

warnings: list[str] = []


class Kept(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        warnings.append(record.getMessage().partition(" ")[0])


async def main() -> int:
    first_bytes: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes note of how it is spoken to, and refuses."""
        first_bytes.append(await reader.readexactly(4))
        if first_bytes[-1].isalpha():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="direct")

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    proxy_port = server.sockets[0].getsockname()[1]
    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]

    async def by_aiohttp() -> str:
        async with aiohttp.ClientSession(trust_env=True) as session:
            try:
                async with session.get(f"http://127.0.0.1:{port}/") as response:
                    return await response.text() or "proxy"
            except aiohttp.ClientError:
                return "proxy" if first_bytes else "neither"

    async def by_websockets() -> str:
        try:
            async with asyncio.timeout(5), connect(f"ws://127.0.0.1:{port}/"):
                return "direct"
        except Exception:  # the proxy refused, or the target is no WebSocket
            return "proxy" if first_bytes else "direct"

    ways = {}
    logging.getLogger("aiohttp.client").addHandler(Kept())
    logging.getLogger("aiohttp.client").propagate = False
    for scheme in ("http", "https"):
        for name in ("http_proxy", "https_proxy"):
            os.environ[name] = f"{scheme}://127.0.0.1:{proxy_port}"
        for client in (by_aiohttp, by_websockets):
            first_bytes.clear()
            warnings.clear()
            ways[scheme, client.__name__] = await client()
            is_tls = bool(first_bytes) and first_bytes[0][:1] == b"\x16"
            print(f"{scheme + '://':8} proxy, {client.__name__:13}: {ways[scheme, client.__name__]}"
                  f"{' (by TLS)' if is_tls else ''}{' with a warning in a log' if warnings else ''}")
    await runner.cleanup()
    server.close()
    expected = {
        ("http", "by_aiohttp"): "proxy", ("http", "by_websockets"): "proxy",
        ("https", "by_aiohttp"): "direct", ("https", "by_websockets"): "proxy",
    }
    return 0 if ways == expected else 1


raise SystemExit(asyncio.run(main()))
EOF
env -u no_proxy -u NO_PROXY -u all_proxy -u ALL_PROXY -u HTTP_PROXY -u HTTPS_PROXY "$folder/venv/bin/python" "$folder/two_ways.py" ||
  { echo "the behaviour has changed"; exit 1; }

# Seen on 2026-11-29:
#   http://  proxy, by_aiohttp   : proxy
#   http://  proxy, by_websockets: proxy
#   https:// proxy, by_aiohttp   : direct with a warning in a log
#   https:// proxy, by_websockets: proxy (by TLS)
