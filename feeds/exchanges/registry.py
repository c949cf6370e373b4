"""The exchanges by name, in the order of vocabulary.EXCHANGES. A new one is a file like the six, and a line here."""

from collections.abc import Mapping

from feeds.exchanges import coinbase, cryptocom, gateio, gemini, kraken, okx
from feeds.exchanges.contract import Exchange
from trinity.config import FeedsSection

EXCHANGE_MODULES: Mapping[str, Exchange] = {
    "coinbase": coinbase,
    "gemini": gemini,
    "kraken": kraken,
    "gateio": gateio,
    "cryptocom": cryptocom,
    "okx": okx,
}


def base_urls_of(exchange: str, config: FeedsSection) -> tuple[str, str]:
    """Where the exchange's WebSocket and REST are: as configured, else the hosts of the region, else its own."""
    profile = EXCHANGE_MODULES[exchange].PROFILE
    ws_url, rest_url = profile.ws_url, profile.rest_url
    if exchange == okx.PROFILE.name:
        ws_url, rest_url = okx.REGIONS[config.okx_region]
    return config.ws_base_urls.get(exchange) or ws_url, config.rest_base_urls.get(exchange) or rest_url


def ws_url_of(exchange: str, config: FeedsSection) -> str:
    """The whole address of the exchange's WebSocket."""
    return base_urls_of(exchange, config)[0] + EXCHANGE_MODULES[exchange].PROFILE.ws_path
