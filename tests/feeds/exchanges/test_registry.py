"""feeds/exchanges/registry.py"""

import pytest

from feeds.exchanges.contract import Exchange
from feeds.exchanges.registry import EXCHANGE_MODULES, base_urls_of
from trinity.config import FeedsSection
from trinity.markets import load_catalog
from trinity.vocabulary import EXCHANGES


def test_the_exchanges_stand_in_the_order_of_the_metrics() -> None:
    """Names and order are the same everywhere."""
    assert tuple(EXCHANGE_MODULES) == EXCHANGES
    assert [module.PROFILE.name for module in EXCHANGE_MODULES.values()] == list(EXCHANGES)


@pytest.mark.parametrize("exchange", EXCHANGE_MODULES.values(), ids=EXCHANGE_MODULES)
def test_an_exchange_names_every_market_of_the_default_catalog(exchange: Exchange) -> None:
    """Symbols are distinct, and each is subscribed to and asked for over REST."""
    symbols = [exchange.symbol_of(market) for market in load_catalog().markets_of(exchange.PROFILE.name)]
    assert len(set(symbols)) == len(symbols)
    frames = "".join(exchange.new_decoder().subscribe(symbols, 0))
    assert all(symbol in frames for symbol in symbols)
    requests = exchange.rest_requests(symbols)
    assert [symbol for request in requests for symbol in request.symbols] == symbols


@pytest.mark.parametrize("exchange", EXCHANGE_MODULES.values(), ids=EXCHANGE_MODULES)
def test_a_profile_fits_together(exchange: Exchange) -> None:
    """Addresses join without a doubled slash, and a ping comes before its silence is a fault."""
    profile = exchange.PROFILE
    assert profile.ws_url.startswith("wss://")
    assert profile.rest_url.startswith("https://")
    assert not profile.ws_url.endswith("/")
    assert not profile.rest_url.endswith("/")
    assert profile.ws_path == "" or profile.ws_path.startswith("/")
    assert all(request.path.startswith("/") for request in exchange.rest_requests(["A"]))
    assert (profile.ping_seconds is None) == (exchange.new_decoder().ping(0) == [])
    if profile.name != "kraken":  # its heartbeat of one second is the sign of life, its ping only keeps it open
        assert (profile.ping_seconds or 0) < profile.silence_seconds


def test_okx_is_asked_in_its_region() -> None:
    """Both hosts follow the region; an address of one's own goes before it, and no other exchange has regions."""
    assert base_urls_of("okx", FeedsSection()) == ("wss://ws.okx.com:8443", "https://www.okx.com")
    assert base_urls_of("okx", FeedsSection(okx_region="eea")) == ("wss://wseea.okx.com:8443", "https://eea.okx.com")
    own = FeedsSection(okx_region="us", rest_base_urls={"okx": "http://proxy"})
    assert base_urls_of("okx", own) == ("wss://wsus.okx.com:8443", "http://proxy")
    assert base_urls_of("kraken", own) == ("wss://ws.kraken.com", "https://api.kraken.com")
