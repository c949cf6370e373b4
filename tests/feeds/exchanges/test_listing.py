"""feeds/exchanges/listing.py, and `on_listing` of each exchange."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.exchanges.contract import Listed, Refusal
from feeds.exchanges.registry import EXCHANGE_MODULES
from trinity.markets import Market, load_catalog
from trinity.vocabulary import EXCHANGES, REFUSAL_REASONS

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "recorded"

INSTRUMENT = {"inst_type": "CCY_PAIR", "base_ccy": "ABC", "quote_ccy": "USD", "tradable": True}
# Of each exchange: a list with two markets that count, and others that do not.
LISTS = {
    "coinbase": [
        {"id": "ABC-USD", "base_currency": "ABC", "quote_currency": "USD", "status": "online"},
        {"id": "DEF-USDT", "base_currency": "DEF", "quote_currency": "USDT", "status": "online"},
        {"id": "GHI-USD", "base_currency": "GHI", "quote_currency": "USD", "status": "delisted"},
        {
            "id": "JKL-USD",
            "base_currency": "JKL",
            "quote_currency": "USD",
            "status": "online",
            "trading_disabled": True,
        },
        {"id": "ABC-EUR", "base_currency": "ABC", "quote_currency": "EUR", "status": "online"},
    ],
    "gemini": ["abcusd", "abcgusd", "abcrlusd", "defusdt", "abceur", "abcgusdperp"],
    "kraken": {
        "error": [],
        "result": {
            "ABCUSD": {"wsname": "ABC/USD", "status": "online"},
            "DEFUSDT": {"wsname": "DEF/USDT"},
            "GHIUSD": {"wsname": "GHI/USD", "status": "cancel_only"},
            "XXBTZEUR": {"wsname": "XBT/EUR", "status": "online"},
            "ODD": {"wsname": "ODD", "status": "online"},
        },
    },
    "gateio": [
        {"id": "ABC_USD", "base": "ABC", "quote": "USD", "trade_status": "tradable"},
        {"id": "DEF_USDT", "base": "DEF", "quote": "USDT", "trade_status": "tradable"},
        {"id": "GHI_USDT", "base": "GHI", "quote": "USDT", "trade_status": "untradable"},
        {"id": "odd_USDT", "base": "odd", "quote": "USDT", "trade_status": "tradable"},
    ],
    "cryptocom": {
        "code": 0,
        "result": {
            "data": [
                INSTRUMENT | {"symbol": "ABC_USD"},
                INSTRUMENT | {"symbol": "DEF_USDT", "base_ccy": "DEF", "quote_ccy": "USDT"},
                INSTRUMENT | {"symbol": "GHI_USD", "base_ccy": "GHI", "tradable": False},
                INSTRUMENT | {"symbol": "ABCUSD-PERP", "inst_type": "PERPETUAL_SWAP"},
            ]
        },
    },
    "okx": {
        "code": "0",
        "data": [
            {"instId": "ABC-USD", "baseCcy": "ABC", "quoteCcy": "USD", "state": "live"},
            {"instId": "DEF-USDT", "baseCcy": "DEF", "quoteCcy": "USDT", "state": "live"},
            {"instId": "GHI-USDT", "baseCcy": "GHI", "quoteCcy": "USDT", "state": "suspend"},
        ],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", EXCHANGES)
def test_a_list_gives_the_markets_that_can_be_traded_in_a_currency_of_ours(name: str) -> None:
    """A list gives the markets that can be traded in a currency of ours."""
    listed = EXCHANGE_MODULES[name].on_listing(200, json.dumps(LISTS[name]).encode())
    assert listed == Listed(frozenset({("ABC", "USD"), ("DEF", "USDT")}))


@pytest.mark.parametrize("name", EXCHANGES)
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b"<html>down for maintenance</html>", b'[{"id":7}]'])
def test_what_is_no_list_is_refused_so_that_nobody_takes_it_for_an_empty_one(name: str, body: bytes) -> None:
    """What is no list is refused so that nobody takes it for an empty one."""
    refused = EXCHANGE_MODULES[name].on_listing(200, body)
    assert isinstance(refused, Refusal)
    assert refused.reason in REFUSAL_REASONS


@pytest.mark.parametrize("name", EXCHANGES)
def test_an_error_of_the_service_is_refused_whatever_stands_in_it(name: str) -> None:
    """An error of the service is refused whatever stands in it."""
    assert isinstance(EXCHANGE_MODULES[name].on_listing(503, json.dumps(LISTS[name]).encode()), Refusal)


@given(body=st.binary(max_size=300))
def test_no_bytes_make_a_list_raise(body: bytes) -> None:
    """No bytes make a list raise."""
    for module in EXCHANGE_MODULES.values():
        assert isinstance(module.on_listing(200, body), Listed | Refusal)


def test_kraken_lists_bitcoin_under_its_old_name() -> None:
    """Kraken lists bitcoin under its old name."""
    body = b'{"error":[],"result":{"XXBTZUSD":{"wsname":"XBT/USD","status":"online"}}}'
    assert EXCHANGE_MODULES["kraken"].on_listing(200, body) == Listed(frozenset({("BTC", "USD")}))


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded sessions are not on this machine")
class TestRecorded:
    """Lists that others recorded from the real exchanges."""

    def test_gemini_s_list_says_the_same_as_its_details_of_each_symbol(self) -> None:
        """Gemini's list says the same as its details of each symbol."""
        path = RECORDED / "gemini/rest_symbols_and_details_2026-08-09.jsonl"
        bodies = [json.loads(line)["data"] for line in path.read_text().splitlines()]
        details = [json.loads(body) for body in bodies[1:]]
        true = {
            (one["base_currency"], one["quote_currency"])
            for one in details
            if one["product_type"] == "spot" and one["quote_currency"] in ("USD", "USDT", "USDC")
        }
        assert EXCHANGE_MODULES["gemini"].on_listing(200, bodies[0].encode()) == Listed(frozenset(true))

    @pytest.mark.parametrize(
        ("name", "path", "least"),
        [
            ("kraken", "kraken/rest_AssetPairs_2021-04-17.json", 73),
            ("gateio", "gateio/rest_currency_pairs_2021-04-22.json", 300),
            ("okx", "okx/rest_instruments_spot_2022-05-13.json", 250),
        ],
    )
    def test_a_recorded_list_has_its_markets(self, name: str, path: str, least: int) -> None:
        """A recorded list has its markets."""
        listed = EXCHANGE_MODULES[name].on_listing(200, (RECORDED / path).read_bytes())
        assert isinstance(listed, Listed)
        assert len(listed.markets) >= least


def test_the_request_of_a_list_is_for_no_symbol_in_particular() -> None:
    """The request of a list is for no symbol in particular."""
    catalog = load_catalog()
    for name in catalog.exchanges:
        request = EXCHANGE_MODULES[name].listing_request()
        assert request.path.startswith("/")
        assert request.symbols == ()
        assert EXCHANGE_MODULES[name].symbol_of(Market(name, "ABC", "USD"))
