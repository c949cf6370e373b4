"""workers/request/udp/text.py"""

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.quota import quota_used
from tests.workers.request.udp.datagram_place import (
    MONTH_KEY_ID,
    MONTHLY_QUOTA,
    PLACE,
    ask,
    body_of,
    code_of,
    frame,
    key_frame,
)
from trinity.limits import MISTAKES_PER_MINUTE, UDP_ASSETS_MAX, UDP_REPLY_BYTES_MAX, UDP_REQUEST_BYTES_MAX
from trinity.memory.answer_table import ANSWER_DTYPE
from trinity.vocabulary import KeyState
from workers.request.ledger import TALLY_KEY


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    "request_", [b"BTC", b"btc", b"BTC\n", b"BTC\r\n", b" BTC \0\0", b"BTC key=k-1", b"BTC key=k\n"]
)
def test_one_name_is_answered_with_its_object(request_: bytes) -> None:
    """In any case, with line ends, padding and a key, which is never echoed."""
    assert ask(request_) == (body_of("BTC", "consensus"), "answered", 1)


@pytest.mark.uncompiled
def test_several_names_are_answered_with_a_list() -> None:
    """Each with its own status: one bad asset never fails the others."""
    reply, result, lookups = ask(b"BTC,nope,OLD,eth\n")
    prices = json.loads(reply)["prices"]
    assert (result, lookups) == ("answered", 4)
    assert [price["asset"] for price in prices] == ["BTC", "nope", "OLD", "ETH"]
    assert [price["status"] for price in prices] == ["fresh", "unknown_asset", "stale_price", "fresh"]
    assert (prices[2]["last_price"], prices[2]["age_ms"]) == (71002.5, 250)
    assert "price" not in prices[2]


@pytest.mark.uncompiled
@pytest.mark.parametrize("request_", [b"BTC@kraken", b"btc@KRAKEN key=k", b'{"asset":"BTC","exchange":"kraken"}'])
def test_one_exchange_s_own_price_can_be_asked_for(request_: bytes) -> None:
    """In text behind an at sign, in JSON as a member."""
    assert ask(request_)[0] == body_of("BTC", "kraken")


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b" ", "missing_asset"),
        (b"\0\0", "missing_asset"),
        (b"BTC,", "bad_request"),
        (b",BTC", "bad_request"),
        (b"BTC,,ETH", "bad_request"),
        (b"BTC ETH", "bad_request"),
        (b"BTC kex=1", "bad_request"),
        (b"BTC key=a b", "bad_request"),
        (b"BTC key=" + b"k" * 129, "invalid_key"),
        (b'{"asset":"BTC","api_key":"k","api_key":"k"}', "bad_parameter"),
        (b"BT\xc3\x9f", "bad_request"),
        (b",".join([b"BTC"] * 65), "bad_request"),
        (b"@kraken", "bad_request"),
        (b"BTC@nyse", "unknown_exchange"),
        (b"NOPE", "unknown_asset"),
        (b"OLD", "stale_price"),
        (b"ETH@kraken", "stale_price"),
        (b"{}", "missing_asset"),
        (b'{"asset":"BTC"', "bad_request"),
        (b'{"asset":"BTC","colour":1}', "bad_parameter"),
        (b'{"asset":"BTC","exchange":"nyse"}', "unknown_exchange"),
        (b'{"asset":"BTC","max_age_ms":249}', "price_too_old"),
        (b'{"asset":"BTC","min_sources":6}', "too_few_sources"),
        (b'{"asset":"BTC","max_conf_bps":2.464}', "confidence_too_wide"),
    ],
)
def test_what_cannot_be_answered_gets_a_code(request_: bytes, code: str) -> None:
    """One row a rule; the codes are those of HTTP."""
    assert code_of(ask(request_)[0]) == code


@pytest.mark.uncompiled
@pytest.mark.parametrize("identity", [b"7", b"-1.50e3", b'"a-b c"', b'"' + b"x" * 64 + b'"'])
def test_the_id_is_the_first_member_of_every_json_reply_byte_for_byte(identity: bytes) -> None:
    """One price, a list, an error, and the request for padding."""
    start = b'{"id":' + identity + b","
    for rest in (b'"asset":"BTC"', b'"assets":["BTC","ETH"]', b'"asset":"NOPE"', b'"asset":"BTC","colour":1'):
        reply = ask(b'{"id":' + identity + b"," + rest + b"}")[0]
        assert reply.startswith(start)
        assert json.loads(reply)["id"] == json.loads(identity)
    assert ask(start + b'"asset":"BTC"}')[0] == start + body_of("BTC", "consensus")[1:]
    padded = ask((start + b'"asset":"BTC"}').ljust(180), trusted=False)[0]
    assert padded.startswith(start)
    assert code_of(padded) == "pad_request"


@pytest.mark.uncompiled
def test_the_refused_member_is_named() -> None:
    """So that a misspelt limit is found at once."""
    error = json.loads(ask(b'{"asset":"BTC","max_age":5}')[0])["error"]
    assert (error["code"], error["field"]) == ("bad_parameter", "max_age")


@pytest.mark.uncompiled
def test_stated_quality_that_is_met_changes_nothing() -> None:
    """Each limit at its very value."""
    request = b'{"asset":"BTC","max_age_ms":250,"min_sources":5,"max_conf_bps":2.465}'
    assert ask(request)[0] == body_of("BTC", "consensus")


@pytest.mark.uncompiled
@pytest.mark.parametrize("size", [0, UDP_REQUEST_BYTES_MAX + 1])
def test_empty_and_oversized_datagrams_are_dropped(size: int) -> None:
    """Counted, not answered; the largest allowed one is answered."""
    assert ask(b"BTC".ljust(size)[:size]) == (b"", "dropped", 0)
    assert ask(b"BTC".ljust(UDP_REQUEST_BYTES_MAX))[1] == "answered"


@pytest.mark.uncompiled
def test_an_untrusted_sender_pads_and_is_answered() -> None:
    """The coded reply says how long the request must be; below that there is a shorter one, and then nothing."""
    full = body_of("BTC", "consensus")
    reply, result, _ = ask(b"BTC".ljust(120), trusted=False)
    assert (code_of(reply), result) == ("pad_request", "error")
    assert json.loads(reply)["error"]["bytes"] == len(full)
    assert ask(b"BTC".ljust(len(full)), trusted=False) == (full, "answered", 1)
    assert ask(b"BTC".ljust(32), trusted=False)[0] == b'{"error":{"code":"pad_request"}}'
    assert ask(b"BTC".ljust(31), trusted=False)[:2] == (b"", "dropped")


@pytest.mark.uncompiled
def test_a_frame_is_answered_with_a_frame_and_padded_like_all() -> None:
    """22 bytes a record come for 16 bytes a name: untrusted, the difference must be sent as padding."""
    names = [b"BTC"] * UDP_ASSETS_MAX
    assert [len(ask(frame(names))[0]), *ask(frame(names))[1:]] == [24 + 22 * 64, "answered", 64]
    reply, result, _ = ask(frame(names), trusted=False)
    assert (len(reply), reply[5], result) == (24, 3, "error")
    assert ask(frame(names, padding=6 * 64), trusted=False)[0] == ask(frame(names))[0]
    assert ask(b"\xd7TRX" + bytes(40)) == (b"", "dropped", 0)


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    "request_", [b"BTC", b"BTC,ETH", b"NOPE", b"BTC ETH", b"{", b'{"id":1,"asset":"BTC"}', b'{"id":2}']
)
def test_two_nodes_never_answer_each_other_for_ever(request_: bytes) -> None:
    """A reply that arrives as a request leads to one error at most, and that to nothing."""
    reply = ask(request_)[0]
    assert ask(ask(reply)[0])[:2] == (b"", "dropped")


def noisy() -> st.SearchStrategy[bytes]:
    """Random bytes, and good requests with a piece replaced."""
    good = st.sampled_from(
        [
            b"BTC,ETH@kraken key=k-1",
            b'{"id":"x","assets":["BTC","NOPE"],"max_age_ms":5}',
            frame([b"BTC", b"ETH"], 30),
            key_frame(b"k"),
        ]
    )
    mutated = st.builds(
        lambda text, at, noise, skip: text[:at] + noise + text[at + skip :],
        good, st.integers(0, 60), st.binary(max_size=6), st.integers(0, 6),
    )  # fmt: skip
    return st.one_of(st.binary(max_size=80), mutated, mutated.map(lambda text: text.ljust(400)))


@pytest.mark.uncompiled
@settings(max_examples=400)
@given(request_=noisy())
def test_no_datagram_raises_and_no_reply_to_a_stranger_is_longer_than_its_request(request_: bytes) -> None:
    """Every reply is one JSON object or one frame; a stranger without a key gets the same, a shorter one or none."""
    reply, result, _ = ask(request_)
    assert (reply == b"") == (result == "dropped")
    if reply and reply[0] != 0xD7:
        parsed: Any = json.loads(reply)
        assert isinstance(parsed, dict)
    strangers, _, _ = ask(request_, trusted=False)
    has_key = PLACE.contexts["optional"].ledger.tally[TALLY_KEY] > 0
    assert len(strangers) <= len(request_) or has_key
    assert strangers == reply or len(reply) > len(request_)


@pytest.mark.uncompiled
def test_the_longest_reply_fits_its_buffer() -> None:
    """64 of the longest bodies, with the longest id, do not reach the end of the memory that the loop gives."""
    names = b",".join([b'"BTC"'] * UDP_ASSETS_MAX)
    reply, _, lookups = ask(b'{"id":"' + b"x" * 64 + b'","assets":[' + names + b"]}")
    assert lookups == UDP_ASSETS_MAX
    longest_body = ANSWER_DTYPE["body"].itemsize
    assert len(reply) + UDP_ASSETS_MAX * (longest_body - len(body_of("BTC", "consensus"))) <= UDP_REPLY_BYTES_MAX


@pytest.mark.parametrize(
    ("request_", "asked", "lookups"),
    [
        (key_frame(b"month", (b"BTC", b"ETH", b"NONE")), 3, 2),
        (b"BTC,ETH key=month", 2, 2),
        (b"BTC key=month", 1, 1),
        (b'{"assets":["BTC","ETH","NONE","BTC"],"api_key":"month"}', 4, 3),
        (b'{"asset":"BTC","api_key":"month"}', 1, 1),
    ],
)
def test_each_price_of_a_datagram_is_a_lookup_of_the_month(request_: bytes, asked: int, lookups: int) -> None:
    """In all three forms; what the month has no room for is refused whole, and takes nothing."""
    limits = PLACE.access.limits
    before = quota_used(limits, MONTH_KEY_ID)[1]
    assert ask(request_)[1:] == ("answered", asked)
    assert quota_used(limits, MONTH_KEY_ID)[1] == before + lookups
    key = hashlib.sha256(b"month").digest()
    PLACE.access.keys.write(MONTH_KEY_ID, key, KeyState.ACTIVE, 0, 0, before + 2 * lookups - 1, dry_run=False)
    try:
        reply, result, found = ask(request_)
    finally:
        PLACE.access.keys.write(MONTH_KEY_ID, key, KeyState.ACTIVE, 0, 0, MONTHLY_QUOTA, dry_run=False)
    assert (result, found) == ("error", 0)
    assert b"quota_exceeded" in reply or reply[5] == 10
    assert quota_used(limits, MONTH_KEY_ID)[1] == before + lookups


@pytest.mark.parametrize(
    "request_",
    [
        b"NOPE key=typing",
        b"BTC@nope key=typing",
        b'{"asset":"NOPE","api_key":"typing"}',
        b'{"asset":"BTC","x":1,"api_key":"typing"}',
    ],
)
def test_mistakes_of_a_sender_are_counted_and_behind_the_bound_they_cost(request_: bytes) -> None:
    """As over HTTP, in text and JSON."""
    limits, key = PLACE.access.limits, hashlib.sha256(b"typing").digest()
    PLACE.access.keys.write(MONTH_KEY_ID + 1, key, KeyState.ACTIVE, 0, 0, MONTHLY_QUOTA, dry_run=False)
    limits.forget(np.array([MONTH_KEY_ID + 1]))
    for used in (*[0] * MISTAKES_PER_MINUTE, 1, 2):
        assert b"quota_exceeded" not in ask(request_)[0]
        assert quota_used(limits, MONTH_KEY_ID + 1)[1] == used
