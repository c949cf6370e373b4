"""workers/request/udp/json.py"""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.request.answer import make_names
from workers.request.udp import json as udp_json

NAMES = ("BTC", "ETH", "SOL")
VENUES = ("kraken", "okx")
ASSETS, EXCHANGES = make_names(NAMES), make_names(VENUES)


def parse(text: bytes) -> tuple[int, dict[str, Any]]:
    """The outcome, and the query as Python values; the request lies in the middle of a larger buffer."""
    buffer = np.frombuffer(b'"x"' + text + b'"]}', dtype=np.uint8).copy()
    query, wanted = np.full(udp_json.QUERY_WORDS, 99, np.int64), np.zeros((4, 3), np.int64)
    outcome = udp_json.parse_query(ASSETS, EXCHANGES, buffer, 3, 3 + len(text), query, wanted)

    def cut(start: int, end: int) -> str:
        return bytes(buffer[start:end]).decode()

    names = [cut(start, end) for _, start, end in wanted[: query[udp_json.COUNT]].tolist()]
    found = {
        "assets": names,
        "indexes": wanted[: query[udp_json.COUNT], 0].tolist(),
        "is_list": bool(query[udp_json.IS_LIST]),
        "id": cut(query[udp_json.ID_START], query[udp_json.ID_END]),
        "key": cut(query[udp_json.KEY_START], query[udp_json.KEY_END]),
        "exchange": int(query[udp_json.EXCHANGE]),
        "limits": query[[udp_json.MAX_AGE_MS, udp_json.MIN_SOURCES, udp_json.MAX_CONF_MILLI_BPS]].tolist(),
        "bad": cut(query[udp_json.BAD_START], query[udp_json.BAD_END]),
    }
    return int(outcome), found


@pytest.mark.uncompiled
def test_every_member_is_understood_wherever_white_space_stands() -> None:
    """All members at once, with RFC 8259's four kinds of white space."""
    outcome, found = parse(
        b'\t{ "assets" : [ "btc" ,"NO" ], "api_key":"k-1", "id" :"a b","exchange":"OKX",\r\n'
        b'"max_age_ms":500,"min_sources":3,"max_conf_bps":12.5 } '
    )
    assert outcome == udp_json.QUERY_OK
    assert found["assets"] == ["btc", "NO"]
    assert found["indexes"] == [0, -1]
    assert found["is_list"]
    assert found["id"] == '"a b"'
    assert found["exchange"] == 1
    assert found["limits"] == [500, 3, 12500]


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    ("text", "outcome", "bad"),
    [
        (b'{"asset":"BTC"}', udp_json.QUERY_OK, ""),
        (b'{"asset":"BTC","max_conf_bps":0.001}', udp_json.QUERY_OK, ""),
        (b"{}", udp_json.QUERY_NO_ASSET, ""),
        (b'{"id":1}', udp_json.QUERY_NO_ASSET, ""),
        (b'{"asset":"BTC","exchange":"nyse"}', udp_json.QUERY_BAD_EXCHANGE, "exchange"),
        (b'{"asset":"BTC","price":1}', udp_json.QUERY_BAD_MEMBER, "price"),
        (b'{"asset":"BTC","price":null}', udp_json.QUERY_BAD_MEMBER, "price"),
        (b'{"asset":"BTC","Asset":"BTC"}', udp_json.QUERY_BAD_MEMBER, "Asset"),
        (b'{"asset":"BTC","asset":"ETH"}', udp_json.QUERY_BAD_MEMBER, "asset"),
        (b'{"asset":"BTC","assets":["ETH"]}', udp_json.QUERY_BAD_MEMBER, "assets"),
        (b'{"assets":["ETH"],"asset":"BTC"}', udp_json.QUERY_BAD_MEMBER, "asset"),
        (b'{"asset":["BTC"]}', udp_json.QUERY_BAD_MEMBER, "asset"),
        (b'{"assets":"BTC"}', udp_json.QUERY_BAD_MEMBER, "assets"),
        (b'{"assets":[]}', udp_json.QUERY_BAD_MEMBER, "assets"),
        (b'{"assets":["A","B","C","D","E"]}', udp_json.QUERY_BAD_MEMBER, "assets"),
        (b'{"asset":"BTC","id":true}', udp_json.QUERY_BAD_MEMBER, "id"),
        (b'{"asset":"BTC","id":["a"]}', udp_json.QUERY_BAD_MEMBER, "id"),
        (b'{"asset":"BTC","id":"' + b"x" * 65 + b'"}', udp_json.QUERY_BAD_MEMBER, "id"),
        (b'{"asset":"BTC","api_key":"a","api_key":"a"}', udp_json.QUERY_TWO_KEYS, "api_key"),
        (b'{"asset":"BTC","colour":1,"api_key":7,"api_key":"a"}', udp_json.QUERY_TWO_KEYS, "api_key"),
        (b'{"asset":"BTC","api_key":"a\\"}', udp_json.QUERY_MALFORMED, ""),
        (b'{"asset":"BTC","api_key":"a\n"}', udp_json.QUERY_MALFORMED, ""),
        (b'{"asset":"BTC","exchange":1}', udp_json.QUERY_BAD_MEMBER, "exchange"),
        (b'{"asset":"BTC","max_age_ms":0}', udp_json.QUERY_BAD_MEMBER, "max_age_ms"),
        (b'{"asset":"BTC","max_age_ms":-1}', udp_json.QUERY_BAD_MEMBER, "max_age_ms"),
        (b'{"asset":"BTC","max_age_ms":1.5}', udp_json.QUERY_BAD_MEMBER, "max_age_ms"),
        (b'{"asset":"BTC","max_age_ms":"500"}', udp_json.QUERY_BAD_MEMBER, "max_age_ms"),
        (b'{"asset":"BTC","min_sources":1e1}', udp_json.QUERY_BAD_MEMBER, "min_sources"),
        (b'{"asset":"BTC","max_conf_bps":0.0001}', udp_json.QUERY_BAD_MEMBER, "max_conf_bps"),
        (b'{"asset":"BTC","error":{"code":"x"}}', udp_json.QUERY_IS_REPLY, ""),
        (b'{"asset":"BTC"', udp_json.QUERY_MALFORMED, ""),
        (b'{"asset":"BTC"}}', udp_json.QUERY_MALFORMED, ""),
        (b'{"asset":"BTC",}', udp_json.QUERY_MALFORMED, ""),
        (b'{,"asset":"BTC"}', udp_json.QUERY_MALFORMED, ""),
        (b'{"asset" "BTC"}', udp_json.QUERY_MALFORMED, ""),
        (b'{"asset":"B\\u0054C"}', udp_json.QUERY_MALFORMED, ""),
        (b'{"asset":"BTC","id":01}', udp_json.QUERY_MALFORMED, ""),
        (b'{"asset":"BTC","id":1.}', udp_json.QUERY_MALFORMED, ""),
        (b'{"asset":"BTC","id":nul}', udp_json.QUERY_MALFORMED, ""),
        (b'{"asset":"BTC","x":{}}', udp_json.QUERY_MALFORMED, ""),
        (b'{"assets":["BTC",]}', udp_json.QUERY_MALFORMED, ""),
        (b'["BTC"]', udp_json.QUERY_MALFORMED, ""),
        (b"{", udp_json.QUERY_MALFORMED, ""),
        (b"", udp_json.QUERY_MALFORMED, ""),
    ],
)
def test_what_is_refused_is_refused_by_name(text: bytes, outcome: int, bad: str) -> None:
    """One row a rule."""
    found_outcome, found = parse(text)
    assert found_outcome == outcome
    if outcome in (udp_json.QUERY_BAD_MEMBER, udp_json.QUERY_BAD_EXCHANGE, udp_json.QUERY_TWO_KEYS):
        assert found["bad"] == bad


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b'"k-1"', "k-1"), (b'""', ""), (b'"' + b"x" * 129 + b'"', "x" * 129), (b"7", "7"), (b"null", "null"),
        (b'["a"]', '["a"]'), (rb'"a\\"', r"a\\"), (rb'"a\"b"', r"a\"b"), (rb'"trk\u005fa"', r"trk\u005fa"),
    ],
)  # fmt: skip
def test_whatever_stands_in_the_key_s_place_is_the_key(value: bytes, key: str) -> None:
    """As it was sent: the gate then says that it is wrong, and nobody is told that there was none."""
    outcome, found = parse(b'{"api_key":' + value + b',"asset":"BTC"}')
    assert (outcome, found["key"], found["assets"]) == (udp_json.QUERY_OK, key, ["BTC"])


@pytest.mark.uncompiled
def test_the_id_is_found_behind_the_member_that_is_refused() -> None:
    """A client can match its error wherever it wrote the id."""
    outcome, found = parse(b'{"asset":"BTC","colour":"red","id":7}')
    assert outcome == udp_json.QUERY_BAD_MEMBER
    assert (found["bad"], found["id"]) == ("colour", "7")


@pytest.mark.uncompiled
def test_a_limit_larger_than_any_price_can_need_is_kept_as_the_largest() -> None:
    """So that no later product overflows."""
    outcome, found = parse(b'{"asset":"BTC","max_age_ms":999999999999999999}')
    assert outcome == udp_json.QUERY_OK
    assert found["limits"][0] == 2**32 - 1


PLAIN = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"\\'), max_size=10)
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "asset": PLAIN | st.sampled_from(NAMES),
        "assets": st.lists(PLAIN, max_size=5),
        "id": st.integers() | st.floats(allow_nan=False, allow_infinity=False) | PLAIN | st.none(),
        "api_key": PLAIN | st.integers(),
        "exchange": PLAIN | st.sampled_from(VENUES),
        "max_age_ms": st.integers(-5, 10**20) | st.floats(0, 10),
        "min_sources": st.integers(-5, 9),
        "max_conf_bps": st.decimals(0, 99, places=3).map(float) | st.integers(0, 99),
        "colour": PLAIN | st.booleans() | st.lists(PLAIN, max_size=2),
    },
)


@pytest.mark.uncompiled
@settings(max_examples=300)
@given(members=MEMBERS, order=st.randoms(use_true_random=False), indent=st.sampled_from([None, 1]))
def test_what_is_accepted_means_what_it_means_to_the_standard_library(
    members: dict[str, Any], order: Any, indent: int | None
) -> None:
    """json.loads is the oracle, and an object whose members are all good is accepted."""
    items = list(members.items())
    order.shuffle(items)
    text = json.dumps(dict(items), indent=indent).encode()
    outcome, found = parse(text)
    limits = (members.get("max_age_ms"), members.get("min_sources"), members.get("max_conf_bps"))
    if outcome == udp_json.QUERY_OK:
        wanted = members["assets"] if "assets" in members else [members["asset"]]
        assert found["assets"] == wanted
        assert found["is_list"] == ("assets" in members)
        assert json.loads(found["id"]) == members["id"] if "id" in members else found["id"] == ""
        numbers = [limit and json.loads(json.dumps(limit)) for limit in limits]
        assert found["limits"][:2] == [min(limit or 0, 2**32 - 1) for limit in numbers[:2]]
        assert found["limits"][2] == round((numbers[2] or 0) * 1000)
        assert "colour" not in members
    else:
        assert outcome in (udp_json.QUERY_BAD_MEMBER, udp_json.QUERY_NO_ASSET, udp_json.QUERY_BAD_EXCHANGE)


TOKENS = [*'{}[]:,"\\ 01e.-+', '"asset"', '"id"', '"BTC"', '"x"', "true", "null", '{"asset":"BTC",', '{"id":']


@pytest.mark.uncompiled
@settings(max_examples=300)
@given(tokens=st.lists(st.sampled_from(TOKENS), max_size=12))
def test_nothing_is_accepted_that_is_not_json(tokens: list[str]) -> None:
    """Whatever the grammar takes, the standard library takes too."""
    text = "".join(tokens)
    outcome, _ = parse(text.encode())
    if outcome not in (udp_json.QUERY_MALFORMED, udp_json.QUERY_IS_REPLY):
        assert isinstance(json.loads(text), dict)


@pytest.mark.uncompiled
@settings(max_examples=300)
@given(noise=st.binary(max_size=60), cut=st.integers(0, 40))
def test_random_bytes_only_give_declared_outcomes(noise: bytes, cut: int) -> None:
    """Also behind the beginning of a good request."""
    for text in (noise, b'{"assets":["BTC","ETH"],"id":12.5e3,"x":[]}'[:cut] + noise):
        assert parse(text)[0] in range(udp_json.QUERY_TWO_KEYS + 1)
