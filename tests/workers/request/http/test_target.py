"""The target of a request: its path and its parameters."""

from typing import Any

import numpy as np
import pytest

from trinity.native.octets import NOT_FOUND, octets_of
from workers.request.http import target

pytestmark = pytest.mark.uncompiled


def read(text: bytes) -> tuple[int, int, Any, Any]:
    """Path, outcome of the query, and the query's words with its buffer."""
    buffer = octets_of(b"<" + text + b">")
    query = np.zeros(target.QUERY_WORDS, dtype=np.int64)
    path = int(target.find_path(query, buffer, 1, 1 + len(text)))
    outcome = -1
    if path in (target.PATH_PRICE, target.PATH_PRICES):
        outcome = int(target.parse_query(query, buffer, 1 + len(text), path))
    return path, outcome, query, buffer


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (b"/price", target.PATH_PRICE),
        (b"/prices?", target.PATH_PRICES),
        (b"/assets?x=1", target.PATH_ASSETS),
        (b"/%68ealth", target.PATH_HEALTH),
        (b"/v1/price?asset=BTC", target.PATH_PRICE),
        (b"/v1/prices", target.PATH_PRICES),
        (b"http://h/v1/assets", target.PATH_ASSETS),
        (b"/v1/health", target.PATH_HEALTH),
        (b"/v1", target.PATH_UNKNOWN),
        (b"/v1/v1/price", target.PATH_UNKNOWN),
        (b"/v2/price", target.PATH_UNKNOWN),
        (b"http://any.host:80/price?asset=BTC", target.PATH_PRICE),
        (b"HTTPS://h/health", target.PATH_HEALTH),
        (b"/", target.PATH_UNKNOWN),
        (b"/PRICE", target.PATH_UNKNOWN),
        (b"/price/", target.PATH_UNKNOWN),
        (b"//price", target.PATH_UNKNOWN),
        (b"/price%00", target.PATH_UNKNOWN),
        (b"/price%3Fasset=BTC", target.PATH_UNKNOWN),
        (b"/pri%cg", target.PATH_MALFORMED),
        (b"/price%", target.PATH_MALFORMED),
        (b"*", target.PATH_MALFORMED),
        (b"price", target.PATH_MALFORMED),
        (b"http:///price", target.PATH_MALFORMED),
        (b"http://?asset=BTC", target.PATH_MALFORMED),
        (b"http://host", target.PATH_UNKNOWN),
        (b"http://h?/price", target.PATH_UNKNOWN),
        (b"ftp://h/price", target.PATH_MALFORMED),
    ],
)
def test_a_target_names_one_path_or_none(text: bytes, path: int) -> None:
    """Origin form and absolute form are read, encoded or not; all else is unknown or malformed."""
    assert read(text)[0] == path


def test_parameters_are_found_decoded_with_their_limits() -> None:
    """Values are taken out of their encoding, and limits become integers."""
    _, outcome, query, buffer = read(
        b"/price?asset=%42tc&&max_age_ms=1500&exch%61nge=kraken&min_sources=3&max_conf_bps=2.5"
    )
    assert outcome == target.FINE
    values = [bytes(buffer[query[2 * p] : query[2 * p + 1]]) for p in (target.ASSET, target.EXCHANGE)]
    assert values == [b"Btc", b"kraken"]
    assert list(query[target.LIMITS : target.LIMITS + 3]) == [1500, 3, 2500]
    assert query[2 * target.ASSET_LIST] == NOT_FOUND


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"/price?asset=BTC&max_age=5", b"max_age"),
        (b"/price?asset=BTC&asset=ETH", b"asset"),
        (b"/price?Asset=BTC", b"Asset"),
        (b"/price?assets=BTC", b"assets"),
        (b"/prices?asset=BTC", b"asset"),
        (b"/price?asset=BTC&max_age_ms=", b"max_age_ms"),
        (b"/price?asset=BTC&max_age_ms=0", b"max_age_ms"),
        (b"/price?asset=BTC&max_age_ms=-5", b"max_age_ms"),
        (b"/price?asset=BTC&max_age_ms=1.5", b"max_age_ms"),
        (b"/price?asset=BTC&min_sources=many", b"min_sources"),
        (b"/price?asset=BTC&max_conf_bps=0.0001", b"max_conf_bps"),
        (b"/price?asset=BTC&max_conf_bps=0", b"max_conf_bps"),
        (b"/price?=BTC", b""),
        (b"/price?min_sourc%65z=1", b"min_sourcez"),
        (b"/price?colour=1&max_age_ms=0", b"colour"),
        (b"/price?api_key=a&api_key=b", b"api_key"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(text: bytes, name: bytes) -> None:
    """A misspelt, repeated or malformed parameter is an error that says which, never silence."""
    _, outcome, query, buffer = read(text)
    assert outcome == target.BAD_PARAMETER
    assert bytes(buffer[query[target.BAD_NAME] : query[target.BAD_NAME + 1]]) == name


@pytest.mark.parametrize("text", [b"/price?asset=%4", b"/price?%zz=1", b"/prices?assets=BTC%2"])
def test_broken_encoding_in_the_query_is_refused(text: bytes) -> None:
    """A % without two hex digits is no value."""
    assert read(text)[1] == target.BAD_ENCODING


@pytest.mark.parametrize(
    ("text", "key", "keys"),
    [
        (b"/price?asset=BTC&api_key=abc", b"abc", 1),
        (b"/price?api_key=a%2Bb%20c&asset=BTC", b"a+b c", 1),
        (b"/price?%61pi_key=abc", b"abc", 1),
        (b"/price?api_key=%ff%00", b"\xff\0", 1),
        (b"/price?colour=1&asset=%4&api_key=abc", b"abc", 1),
        (b"/price?api_key=", b"", 1),
        (b"/price?api_key", b"", 1),
        (b"/price?asset=BTC", None, 0),
        (b"/price?API_KEY=abc", None, 0),
        (b"/price?api_key=a&api_key=a", b"a", 2),
        (b"/price?api_key=%4", None, 1),
        (b"/assets?api_key=abc", b"abc", 1),
        (b"/nothing?api_key=abc", b"abc", 1),
        (b"http://h?api_key=abc", b"abc", 1),
        (b"*", None, 0),
    ],
)
def test_the_key_is_found_whatever_else_is_wrong(text: bytes, key: bytes | None, keys: int) -> None:
    """On every path, in every spelling of its name, decoded; several are counted."""
    buffer = octets_of(b"<" + text + b">")
    query = np.zeros(target.QUERY_WORDS, dtype=np.int64)
    path = target.find_path(query, buffer, 1, 1 + len(text))
    target.parse_query(query, buffer, 1 + len(text), path)
    start, end = query[2 * target.API_KEY], query[2 * target.API_KEY + 1]
    assert (None if start == NOT_FOUND else bytes(buffer[start:end])) == key
    assert query[target.KEYS] == keys
