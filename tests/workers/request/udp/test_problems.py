"""Who may not ask over UDP, what the reply says, and what its usage record says."""

import ipaddress
import json
import struct

import pytest

from tests.workers.request.udp.datagram_place import NOW_NS, PLACE, ask, code_of, frame, key_frame
from trinity.access.keys import new_key
from trinity.limits import KEYS_RETRY_MS
from trinity.vocabulary import CODES, PROTOCOLS, SOURCES
from workers.request.ledger import TALLY_CODE, TALLY_LOOKUPS, record
from workers.request.udp.frame import FRAME_MISSING_KEY


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    ("key", "code"),
    [
        (b"", "missing_key"),
        (b"wrong", "invalid_key"),
        (b"\xd0\xba\xff", "invalid_key"),
        (b"K", "invalid_key"),
        (b"k" * 129, "invalid_key"),
        (b"k" * 255, "invalid_key"),
        (b"gone", "key_revoked"),
        (b"held", "key_suspended"),
        (b"k", ""),
    ],
)
def test_a_key_opens_all_three_protocols_and_no_other_does(key: bytes, code: str) -> None:
    """Text, JSON and binary refuse with the same code, and the same status in their records."""
    text = b"BTC" + (b" key=" + key if key else b"")
    json_text = b'{"id":1,"asset":"BTC"' + (b',"api_key":"' + key + b'"' if key else b"") + b"}"
    binary = key_frame(key) if key else frame([b"BTC"])
    for request_ in (text, json_text):
        reply, result, lookups = ask(request_, auth="required")
        assert (result, lookups) == (("error", 0) if code else ("answered", 1))
        assert json.loads(reply).get("error", {}).get("code", "") == code
        assert key not in reply or len(key) < 4, "the key is echoed"
    reply, result, _ = ask(binary, auth="required")
    assert result == ("error" if code else "answered")
    assert reply[5] == (4 + CODES.index(code) - CODES.index("missing_key") if code else 0)
    assert len(reply) == (24 if code else 46)


@pytest.mark.uncompiled
def test_who_may_not_ask_is_told_so_before_what_is_wrong_with_the_question() -> None:
    """Only what is so broken that it has no key keeps its own code."""
    for request_ in (b"BTC,,ETH", b"BTC@nyse", b" ", b"{}", b'{"asset":"BTC","colour":1}'):
        assert code_of(ask(request_, auth="required")[0]) == "missing_key"
    assert code_of(ask(b"{", auth="required")[0]) == "bad_request"
    assert code_of(ask(b"BTC kex=k", auth="required")[0]) == "bad_request"
    assert ask(b'{"error":1}', auth="required")[:2] == (b"", "dropped")


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    "broken",
    [key_frame(b"")[:-1], key_frame(b"k")[:-1], key_frame(b"x" * 129)[:-1], key_frame(b"k")[:-2]],
)
def test_a_frame_whose_key_is_cut_is_bad(broken: bytes) -> None:
    """It is answered with a header that says bad_request."""
    reply, result, _ = ask(broken)
    assert (reply[5], len(reply), result) == (1, 24, "error")


@pytest.mark.uncompiled
def test_an_empty_key_alone_is_no_key() -> None:
    """In every form of a datagram, as over HTTP."""
    for request_ in (b"BTC key=", b'{"asset":"BTC","api_key":""}', key_frame(b"")):
        assert ask(request_, auth="optional")[1] == "answered"
    for request_ in (b"BTC key=", b'{"asset":"BTC","api_key":""}'):
        assert code_of(ask(request_, auth="required")[0]) == "missing_key"
    assert ask(key_frame(b""), auth="required")[0][5] == FRAME_MISSING_KEY


@pytest.mark.uncompiled
def test_over_the_limit_the_reply_says_when_to_come_again() -> None:
    """In JSON in milliseconds beside the message, in a frame in the place of the time."""
    assert ask(b"BTC key=slow", auth="required")[1] == "answered"
    error = json.loads(ask(b"BTC key=slow", auth="required")[0])["error"]
    assert (error["code"], error["retry_after_ms"]) == ("rate_limited", 1000)
    reply = ask(key_frame(b"slow"), auth="required")[0]
    assert (reply[5], struct.unpack_from("<Q", reply, 16)[0]) == (9, 1000)


@pytest.mark.uncompiled
@pytest.mark.parametrize("value", [b"7", b"null", b'["k"]', rb'"\u006b"', b'"' + b"k" * 129 + b'"'])
def test_what_is_no_key_in_json_is_a_wrong_one(value: bytes) -> None:
    """A number, a list, escapes and what is too long are told from a missing key and from bad JSON, as on HTTP."""
    for auth in ("required", "optional"):
        reply = ask(b'{"asset":"BTC","api_key":' + value + b"}", auth=auth)[0]
        assert code_of(reply) == "invalid_key"


@pytest.mark.uncompiled
def test_two_keys_are_refused_before_one_of_them_pays() -> None:
    """Whose request it is does not depend on their order, and nobody's limit is touched."""
    before = PLACE.access.limits.words.copy()
    for keys in ((b"slow", b"k"), (b"k", b"slow"), (b"slow", b"slow")):
        error = json.loads(ask(b'{"asset":"BTC","api_key":"%b","api_key":"%b"}' % keys, auth="required")[0])["error"]
        assert (error["code"], error["field"]) == ("bad_parameter", "api_key")
    assert (PLACE.access.limits.words == before).all()


@pytest.mark.uncompiled
def test_of_a_key_that_went_astray_nothing_comes_back() -> None:
    """As a member's name, as an asset, in text or JSON: at most its beginning, which all keys have."""
    key = new_key().encode()
    for request_ in (b'{"asset":"BTC","%b":1}' % key, b'{"asset":"%b"}' % key, key, b"BTC," + key, b"x" + key):
        reply = ask(request_)[0]
        assert b"trk_?" in reply
        assert key[4:7] not in reply


@pytest.mark.uncompiled
def test_without_loaded_keys_the_reply_says_when_to_come_again() -> None:
    """The node has just started: no key is called wrong, in JSON as in a frame."""
    words = PLACE.access.keys.words
    loaded, words[1] = words[1], 0
    try:
        error = json.loads(ask(b"BTC key=k", auth="required")[0])["error"]
        assert (error["code"], error["retry_after_ms"]) == ("keys_unavailable", KEYS_RETRY_MS)
        reply = ask(key_frame(b"k"), auth="required")[0]
        assert (reply[5], struct.unpack_from("<Q", reply, 16)[0]) == (11, KEYS_RETRY_MS)
    finally:
        words[1] = loaded


@pytest.mark.uncompiled
def test_a_refused_stranger_gets_no_more_bytes_than_it_sent() -> None:
    """The message goes first, then the whole reply: a refusal never becomes a request for padding."""
    assert ask(b"BTC", trusted=False, auth="required")[:2] == (b"", "dropped")
    assert ask(b"BTC".ljust(33), trusted=False, auth="required")[0] == b'{"error":{"code":"missing_key"}}'
    assert b"message" in ask(b"BTC".ljust(120), trusted=False, auth="required")[0]
    assert len(ask(frame([b"BTC"]), trusted=False, auth="required")[0]) == 24


@pytest.mark.uncompiled
def test_a_stranger_with_a_good_key_need_not_pad() -> None:
    """Who holds a key has said who it is; a wrong key earns nothing."""
    for request_ in (b"BTC key=k", b'{"asset":"BTC","api_key":"k"}', key_frame(b"k", (b"BTC",) * 64)):
        assert ask(request_, trusted=False) == ask(request_)
        assert len(ask(request_)[0]) > len(request_)
    for key in (b"wrong", b"gone"):
        assert ask(b"BTC key=" + key, trusted=False)[1] == "dropped"


@pytest.mark.uncompiled
def test_a_blocked_sender_is_told_so_whatever_it_sends() -> None:
    """Good requests, broken ones and keys all lead to the same code."""
    PLACE.access.blocks.write([ipaddress.ip_network("::/128")])
    try:
        for request_ in (b"BTC", b"BTC key=k", b"BTC kex=1", b"{", b"{}"):
            assert code_of(ask(request_)[0]) == "address_blocked"
        for request_ in (frame([b"BTC"]), frame([])):
            assert ask(request_)[0][5] == 8
    finally:
        PLACE.access.blocks.write([])


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    ("request_", "asset", "assets", "key_id", "status", "protocol", "source", "code"),
    [
        (b"BTC", b"BTC", 1, 0, 200, "udp_text", "consensus", "ok"),
        (b"btc@kraken key=k", b"BTC", 1, 1, 200, "udp_text", "kraken", "ok"),
        (b"BTC,ETH", b"", 2, 0, 200, "udp_text", "consensus", "ok"),
        (b"OLD", b"OLD", 1, 0, 503, "udp_text", "consensus", "stale_price"),
        (b"NOPE", b"", 1, 0, 404, "udp_text", "consensus", "unknown_asset"),
        (b"BTC key=gone", b"", 0, 3, 403, "udp_text", "none", "key_revoked"),
        (b"BTC,,ETH", b"", 0, 0, 400, "udp_text", "none", "bad_request"),
        (b'{"asset":"ETH","api_key":"k-1"}', b"ETH", 1, 2, 200, "udp_json", "consensus", "ok"),
        (b'{"assets":["ETH"]}', b"ETH", 1, 0, 200, "udp_json", "consensus", "ok"),
        (b'{"asset":"ETH","colour":1}', b"", 0, 0, 400, "udp_json", "none", "bad_parameter"),
        (frame([b"BTC"]), b"BTC", 1, 0, 200, "udp_binary", "consensus", "ok"),
        (key_frame(b"k", (b"BTC", b"ETH")), b"", 2, 1, 200, "udp_binary", "consensus", "ok"),
        (key_frame(b"wrong"), b"", 0, 0, 401, "udp_binary", "none", "invalid_key"),
        (b"\xd7TRQ\x09" + bytes(40), b"", 0, 0, 400, "udp_binary", "none", "bad_version"),
    ],
)  # fmt: skip
def test_every_reply_leaves_one_usage_record_that_says_what_it_was(
    request_: bytes, asset: bytes, assets: int, key_id: int, status: int, protocol: str, source: str, code: str
) -> None:
    """Asset or number of assets, key, status, protocol, source and code."""
    ask(request_)
    context, ring = PLACE.contexts["optional"], PLACE.rings["optional"]
    assert record(context.ledger, context.caller, NOW_NS, NOW_NS + 7)
    found = ring.read(ring.written - 1, 1)[0]
    assert (found["asset"], found["assets"], found["key_id"]) == (asset, assets, key_id)
    assert (found["status"], PROTOCOLS[found["protocol"]]) == (status, protocol)
    assert (SOURCES[found["source"]], CODES[found["code"]], found["latency_ns"]) == (source, code, 7)


@pytest.mark.uncompiled
def test_the_record_of_a_shortened_reply_is_of_what_was_sent() -> None:
    """A request for padding carries no price, so none is billed."""
    ask(b"BTC".ljust(120), trusted=False)
    tally = PLACE.contexts["optional"].ledger.tally
    assert (CODES[tally[TALLY_CODE]], tally[TALLY_LOOKUPS]) == ("pad_request", 0)
