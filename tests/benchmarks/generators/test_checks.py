"""The answer checks: right answers pass, and each kind of lie is caught."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.generators import checks

ASSETS = ["BTC", "ETH"]
BODY = (
    b'{"asset":"BTC","price":71002.5,"currency":"USD","confidence":17.5,"sources":5,"rejected":1,'
    b'"source":"consensus","timestamp":1760000000123,"status":"fresh","exchanges":["kraken","okx"]}'
)


def _bytes(text: bytes) -> checks.Bytes:
    return np.frombuffer(text, dtype=np.uint8).copy()


def _check(body: bytes, asset: int = 0, memory: checks.Memory | None = None) -> int:
    known = memory or checks.Memory(ASSETS)
    arrays = (known.names, known.name_lengths, known.bodies, known.lengths, known.times)
    return checks.check_price(_bytes(body), 0, len(body), asset, *arrays)


def _frame(answer: bytes, framing: int = checks.FRAMING_HTTP, frame: Any = None) -> tuple[int, Any]:
    frame = np.zeros(checks.FRAME_WORDS, dtype=np.int64) if frame is None else frame
    return checks.frame_answer(framing, _bytes(answer), 0, len(answer), frame), frame


def _http(body: bytes, status: bytes = b"200 OK", name: bytes = b"Content-Length") -> bytes:
    return b"HTTP/1.1 %s\r\nServer: x\r\n%s: %d\r\nX-Request-Id: 7\r\n\r\n%s" % (status, name, len(body), body)


@pytest.mark.uncompiled
def test_a_right_body_gives_its_timestamp_and_passes_again_from_memory() -> None:
    """The timestamp comes back both from the full check and from the comparison with the known body."""
    memory = checks.Memory(ASSETS)
    assert _check(BODY, memory=memory) == 1760000000123
    assert memory.lengths[0] == len(BODY)
    assert _check(BODY, memory=memory) == 1760000000123
    newest = BODY.replace(b'"status"', b'"newest_timestamp":1760000000456,"status"')
    assert _check(newest, memory=memory) == 1760000000456, "a price's own time may go back with its median"


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (BODY.replace(b"BTC", b"ETH"), checks.WRONG_ASSET),
        (BODY.replace(b"BTC", b"BTCX"), checks.WRONG_ASSET),
        (b'{"error":{"code":"stale_price","message":"old"}}', checks.REFUSED),
        (BODY[:-1], checks.BAD_JSON),
        (BODY + b"}", checks.BAD_JSON),
        (BODY.replace(b"17.5", b"17.5.5"), checks.BAD_JSON),
        (BODY.replace(b'"price":71002.5,', b""), checks.NO_PRICE),
        (BODY.replace(b"71002.5", b"null"), checks.NO_PRICE),
        (BODY.replace(b"1760000000123", b'"now"'), checks.NO_PRICE),
        (b"", checks.WRONG_ASSET),
    ],
)
def test_each_lie_in_a_body_is_named(body: bytes, fault: int) -> None:
    """A wrong asset, an error, broken JSON and missing numbers each have their own fault."""
    memory = checks.Memory(ASSETS)
    assert _check(BODY, memory=memory) > 0
    assert _check(body, memory=memory) == -1 - fault


@pytest.mark.uncompiled
@settings(max_examples=150, deadline=None)
@given(
    text=st.text(st.characters(max_codepoint=126), max_size=20), number=st.floats(allow_nan=False, allow_infinity=False)
)
def test_any_compact_json_object_passes(text: str, number: float) -> None:
    """What the foreign encoder writes is accepted: strings with escapes, numbers in any form, nesting."""
    value = {text: [number, {}, [], {"a": None}, True, False, -0.0, 12], "z": {"y": [[text]]}}
    encoded = json.dumps(value, separators=(",", ":")).encode()
    accepted = "\x7f" not in text and checks.is_json_object(_bytes(encoded), 0, len(encoded))
    assert accepted == ("\x7f" not in text)


@pytest.mark.uncompiled
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_mutated_body_that_passes_is_json_to_the_foreign_decoder_too(data: st.DataObject) -> None:
    """The structure check never accepts bytes that the standard library refuses."""
    body = bytearray(BODY)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        if data.draw(st.booleans()):
            body[at] = data.draw(st.sampled_from(b'{}[]",:0123456789.-+eEtfn\\u \n\x00\xff'))
        else:
            del body[at]
    if checks.is_json_object(_bytes(bytes(body)), 0, len(body)):
        assert isinstance(json.loads(bytes(body)), dict)


@pytest.mark.uncompiled
def test_an_http_answer_is_framed_at_every_split() -> None:
    """Every proper prefix is incomplete and the whole is complete, also when the last head's layout is known."""
    answer = _http(BODY)
    _, layout = _frame(answer)
    for known in (None, layout):
        for cut in range(len(answer)):
            assert _frame(answer[:cut], frame=None if known is None else known.copy())[0] == checks.INCOMPLETE
        verdict, frame = _frame(answer + b"HTTP/1.1 ", frame=known)
        assert verdict == checks.COMPLETE
        assert frame[checks.HEAD_BYTES] + frame[checks.BODY_BYTES] == len(answer)


@pytest.mark.uncompiled
def test_a_head_that_changes_is_framed_anew() -> None:
    """Another length, another header or lower-case names after a known layout give the right body length."""
    _, layout = _frame(_http(BODY))
    for answer, body in (
        (_http(b"{}"), b"{}"),
        (_http(BODY, name=b"content-length"), BODY),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
    ):
        verdict, frame = _frame(answer, frame=layout)
        assert verdict == checks.COMPLETE
        assert answer[frame[checks.HEAD_BYTES] :] == body
        assert frame[checks.BODY_BYTES] == len(body)


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (_http(BODY, status=b"503 Service Unavailable"), checks.BAD_STATUS),
        (_http(BODY, status=b"404 Not Found"), checks.BAD_STATUS),
        (b"SSH-2.0-x\r\n\r\n", checks.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n{}", checks.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}", checks.MALFORMED),
    ],
)
def test_another_status_and_what_is_no_answer_are_told_apart(answer: bytes, verdict: int) -> None:
    """Only status 200 with a length is complete; a known layout does not hide another status."""
    _, layout = _frame(_http(BODY))
    assert _frame(answer)[0] == verdict
    assert _frame(answer, frame=layout)[0] == verdict


@pytest.mark.uncompiled
def test_a_resp_value_is_framed_and_a_miss_is_malformed() -> None:
    """`$5 CRLF hello CRLF` has 4, 5 and 2 bytes; `$-1` and errors are no values."""
    verdict, frame = _frame(b"$5\r\nhello\r\n", checks.FRAMING_RESP)
    assert verdict == checks.COMPLETE
    assert [frame[i] for i in (checks.HEAD_BYTES, checks.BODY_BYTES, checks.TAIL_BYTES)] == [4, 5, 2]
    assert _frame(b"$5\r\nhello\r", checks.FRAMING_RESP)[0] == checks.INCOMPLETE
    for miss in (b"$-1\r\n", b"-ERR unknown\r\n"):
        assert _frame(miss, checks.FRAMING_RESP)[0] == checks.MALFORMED


@pytest.mark.uncompiled
@settings(max_examples=200, deadline=None)
@given(noise=st.binary(max_size=120), framing=st.sampled_from([checks.FRAMING_HTTP, checks.FRAMING_RESP]))
def test_noise_never_raises(noise: bytes, framing: int) -> None:
    """Whatever a server sends, the checks answer with a verdict."""
    assert _frame(noise, framing)[0] in range(4)
    assert _check(noise) < 0
