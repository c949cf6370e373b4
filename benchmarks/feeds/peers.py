"""The feeds of others on the same frames: ccxt (pro) and cryptofeed, one exchange in a process of its own.

    python -m benchmarks.feeds.peers ccxt|cryptofeed EXCHANGE PORT CONTROL_FILE

Rules: it runs in whichever Python has the peer (cryptofeed 3 wants 3.13). A peer speaks to what sender.py serves
by its public interface; only its addresses are replaced, and its list of markets is given instead of fetched. It counts
the tickers that it made of frames into word TAKEN. Where a peer speaks another dialect than the one that an exchange
has today, or has no tickers of it, `WHY_NOT` says so.
"""

import asyncio
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.feeds.control import TAKEN, Control, open_control
from feeds.exchanges.registry import EXCHANGE_MODULES
from trinity.markets import Market, load_catalog

PEERS = ("ccxt", "cryptofeed")
# What a peer cannot be asked, and why; found in ccxt 4.5.90 and cryptofeed 3.0.1.
WHY_NOT: Mapping[tuple[str, str], str] = {
    ("ccxt", "gemini"): "ccxt has no tickers of Gemini's WebSocket",
    ("cryptofeed", "gemini"): "cryptofeed has no tickers of Gemini, and speaks its former protocol",
}
_CCXT_NAMES = {"gateio": "gate"}
_CRYPTOFEED_NAMES = {
    "coinbase": "Coinbase",
    "kraken": "Kraken",
    "gateio": "Gate",
    "cryptocom": "CryptoDotCom",
    "okx": "OKX",
}
_HOST = re.compile(r"wss?://[^/]+")
_PUBLISH_SECONDS = 0.05
_ASK_SECONDS = 0.15  # Coinbase takes 8 messages a second


class _Taken:
    """A count in our own memory, published some times a second: the control file would cost each ticker 1 us."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self.tickers = 0

    async def publish(self) -> None:
        while True:
            self._control[TAKEN] = self.tickers
            await asyncio.sleep(_PUBLISH_SECONDS)


def _to_loopback(urls: Any, base: str) -> Any:
    """Every WebSocket address in a tree with another host."""
    if isinstance(urls, dict):
        return {name: _to_loopback(url, base) for name, url in urls.items()}
    return _HOST.sub(base, urls) if isinstance(urls, str) else urls


async def _run_ccxt(exchange: str, base: str, markets: tuple[Market, ...], control: Control) -> None:
    import ccxt.pro

    client = getattr(ccxt.pro, _CCXT_NAMES.get(exchange, exchange))({"newUpdates": True})
    client.urls["api"] = _to_loopback(client.urls["api"], base)
    symbol_of = EXCHANGE_MODULES[exchange].symbol_of
    client.set_markets([_ccxt_market(client, exchange, market, symbol_of(market)) for market in markets])
    symbols = [f"{market.asset}/{market.quote}" for market in markets]
    taken = _Taken(control)
    parse = client.handle_message

    def handle(*message: Any) -> None:
        taken.tickers += 1
        parse(*message)

    client.handle_message = handle
    publishing = asyncio.create_task(taken.publish())
    if exchange == "coinbase":  # its `watch_tickers` is a slower channel
        watching = (_forever(client.watch_ticker, symbol, i * _ASK_SECONDS) for i, symbol in enumerate(symbols))
        await asyncio.gather(publishing, *watching)
    await asyncio.gather(publishing, _forever(client.watch_tickers, symbols))


async def _forever(watch: Any, symbols: Any, after_seconds: float = 0) -> None:
    await asyncio.sleep(after_seconds)
    while True:
        await watch(symbols)


def _ccxt_market(client: Any, exchange: str, market: Market, symbol: str) -> dict[str, Any]:
    names = {"id": symbol, "symbol": f"{market.asset}/{market.quote}", "base": market.asset, "quote": market.quote}
    own = {"wsId": symbol} if exchange == "kraken" else {}
    kind = {"baseId": market.asset, "quoteId": market.quote, "type": "spot", "spot": True, "active": True}
    return dict(client.safe_market_structure(names | own | kind | {"info": own}))


async def _run_cryptofeed(exchange: str, url: str, markets: tuple[Market, ...], control: Control) -> None:
    import cryptofeed.connection
    import cryptofeed.exchanges
    from cryptofeed import FeedHandler
    from cryptofeed.connection import WebsocketEndpoint
    from cryptofeed.defines import TICKER
    from cryptofeed.symbols import Symbols

    kind = getattr(cryptofeed.exchanges, _CRYPTOFEED_NAMES[exchange])
    symbol_of = EXCHANGE_MODULES[exchange].symbol_of
    names = {f"{market.asset}-{market.quote}": symbol_of(market) for market in markets}
    Symbols.set(kind.id, names, {"instrument_type": dict.fromkeys(names, "spot")})
    # It takes wss:// alone: TLS is left out where it connects, for it is left out for everybody here.
    connect = cryptofeed.connection.connect
    cryptofeed.connection.connect = lambda _, **options: connect(url, **options)
    kind.websocket_endpoints = [WebsocketEndpoint(url.replace("ws://", "wss://"), options={"compression": None})]
    taken = _Taken(control)

    async def take(_ticker: object, _receipt: float) -> None:
        taken.tickers += 1

    handler = FeedHandler({"log": {"filename": ""}})  # otherwise it leaves a log in the folder that it is started from
    handler.add_feed(kind(symbols=list(names), channels=[TICKER], callbacks={TICKER: take}))
    await asyncio.gather(taken.publish(), handler.run_async(install_signal_handlers=False))


def main(arguments: list[str]) -> None:
    """Take tickers until killed."""
    peer, exchange, port, control_file = arguments
    control = open_control(Path(control_file), "r+")
    base, markets = f"ws://127.0.0.1:{port}/{exchange}", tuple(load_catalog().markets_of(exchange))
    if peer == "ccxt":
        asyncio.run(_run_ccxt(exchange, base, markets, control))
    else:
        import uvloop

        url = base + EXCHANGE_MODULES[exchange].PROFILE.ws_path
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as its own `run` does
            runner.run(_run_cryptofeed(exchange, url, markets, control))


if __name__ == "__main__":
    main(sys.argv[1:])
