"""feeds/exchanges/fields.py"""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.exchanges import fields
from feeds.exchanges.contract import BadFieldError, Quote, Refusal, parse_price
from trinity.limits import FRAME_BYTES_MAX, REST_BODY_BYTES_MAX

OBJECTS = msgspec.json.Decoder(dict[str, int])
NS = 1_000_000_000


def raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "not_json"),
        (b"\xff\x00", "not_json"),
        (b'{"a":1', "not_json"),
        (b'{"\xff":1}', "not_json"),
        (b"[1]", "unknown_shape"),
        (b'{"a":"b"}', "unknown_shape"),
        (b" " * (FRAME_BYTES_MAX + 1), "too_large"),
    ],
)
def test_a_frame_that_cannot_be_decoded_is_refused(frame: bytes, reason: str) -> None:
    """Not one error of the JSON library escapes."""
    with pytest.raises(BadFieldError) as error:
        fields.decode_frame(OBJECTS, frame)
    assert error.value.reason == reason


def test_deep_nesting_is_refused() -> None:
    """The library's own bound on recursion does not escape either."""
    body = b"[" * 100_000 + b"]" * 100_000
    with pytest.raises(BadFieldError) as error:
        fields.decode_body(msgspec.json.Decoder(msgspec.Raw), body)
    assert error.value.reason == "not_json"


def test_a_rest_body_may_be_larger_than_a_frame_but_is_bounded() -> None:
    """A list of all products is longer than any frame."""
    padding = b" " * FRAME_BYTES_MAX
    assert fields.decode_body(OBJECTS, padding + b'{"a":1}') == {"a": 1}
    with pytest.raises(BadFieldError) as error:
        fields.decode_body(OBJECTS, b" " * (REST_BODY_BYTES_MAX + 1))
    assert error.value.reason == "too_large"


def test_a_field_that_is_not_there_is_missing() -> None:
    """Its name is in the detail."""
    with pytest.raises(BadFieldError) as error:
        fields.decode_field(OBJECTS, fields.ABSENT, "events")
    assert (error.value.reason, error.value.detail) == ("missing_field", "events")


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ('"70000.10"', "70000.10"),
        ("70000.10", "70000.10"),
        ("1e-5", "0.00001"),
        ("1.50E+2", "150"),
        ("9.12e-06", "0.00000912"),
        ('"1.5e-7"', "0.00000015"),
        ('"8.59e4"', "85900"),
        ('"1E-18"', "0.000000000000000001"),
        ("null", None),
        ('""', None),
    ],
)
def test_a_price_may_be_a_string_or_a_number(text: str, price: str | None) -> None:
    """The digits are those of the text; null and the empty string are no price."""
    assert fields.price_of(raw(text), "bid") == (None if price is None else parse_price(price.encode()))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "missing_field"),
        ("0", "nonpositive_price"),
        ("0e5", "nonpositive_price"),
        ("-1", "nonpositive_price"),
        ('"-1"', "nonpositive_price"),
        ("-1e-5", "nonpositive_price"),
        ('"1e-19"', "bad_number"),
        ('"1e99"', "bad_number"),
        ('"1e999999999"', "bad_number"),
        ('"1e"', "bad_number"),
        ('"e5"', "bad_number"),
        ('"1e5e5"', "bad_number"),
        ('" 1e5"', "bad_number"),
        ("1e99", "bad_number"),
        ("1e-99", "bad_number"),
        ("1e999999999", "bad_number"),
        ("true", "bad_number"),
        ("[1]", "bad_number"),
        ("{}", "bad_number"),
        ('"\\u0031"', "bad_number"),
    ],
)
def test_what_is_no_price_is_refused_with_its_reason(text: str, reason: str) -> None:
    """An exponent is bounded, in numbers and in texts."""
    with pytest.raises(BadFieldError) as error:
        fields.price_of(raw(text), "bid")
    assert error.value.reason == reason
    assert error.value.detail.startswith("bid")


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ('"2026-01-02T03:04:05Z"', 1_767_323_045 * NS),
        ('"2026-01-02T03:04:05.5Z"', 1_767_323_045 * NS + 500_000_000),
        ('"2026-01-02T03:04:05.123456Z"', 1_767_323_045 * NS + 123_456_000),
        ('"2026-01-02T03:04:05.123456789+00:00"', 1_767_323_045 * NS + 123_456_789),
        ("null", None),
        ('""', None),
        ("", None),
    ],
)
def test_a_time_of_rfc_3339_keeps_its_nanoseconds(text: str, time_ns: int | None) -> None:
    """A missing time is no time, never age zero."""
    assert fields.time_of_rfc3339(raw(text)) == time_ns


@pytest.mark.parametrize(
    "text",
    [
        "1767323045",
        '"2026-01-02"',
        '"2026-01-02T03:04:05"',
        '"2026-01-02T03:04:05+02:00"',
        '"2026-02-30T03:04:05Z"',
        '"1970-01-01T00:00:00.000000Z"',
        '"0000-01-01T00:00:00Z"',
        '"1969-12-31T23:59:59Z"',
        '"2300-01-01T00:00:00Z"',
        '"2026-01-02T03:04:05.1234567890Z"',
    ],
)
def test_what_is_no_time_of_rfc_3339_is_refused(text: str) -> None:
    """Neither another offset nor a day that does not exist is guessed at."""
    with pytest.raises(BadFieldError) as error:
        fields.time_of_rfc3339(raw(text))
    assert error.value.reason == "bad_time"


@settings(deadline=None)
@given(st.datetimes(datetime(1970, 1, 2), datetime(2261, 1, 1), timezones=st.just(UTC)), st.integers(0, 999))  # noqa: DTZ001 - hypothesis wants naive bounds
def test_every_time_of_the_calendar_is_read_exactly(moment: datetime, nanoseconds: int) -> None:
    """The standard library's own arithmetic agrees, to the nanosecond."""
    text = f'"{moment:%Y-%m-%dT%H:%M:%S.%f}{nanoseconds:03}Z"'
    past = moment - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = past.days * 86_400 + past.seconds
    assert fields.time_of_rfc3339(raw(text)) == seconds * NS + past.microseconds * 1_000 + nanoseconds


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1767323045", 1_767_323_045 * NS),
        ("1767323045123", 1_767_323_045_123_000_000),
        ('"1767323045123"', 1_767_323_045_123_000_000),
        ("1767323045123456", 1_767_323_045_123_456_000),
        ("1767323045123456789", 1_767_323_045_123_456_789),
        ("null", None),
        ('""', None),
    ],
)
def test_the_unit_of_an_integer_time_is_told_by_its_size(text: str, time_ns: int | None) -> None:
    """Seconds to nanoseconds, also in a string, and above 2**53."""
    assert fields.time_of_integer(raw(text)) == time_ns


@given(st.integers(150_000_000 * NS, 2**63 - 1), st.sampled_from([NS, 1_000_000, 1_000, 1]))
def test_a_moment_is_the_same_in_every_unit(time_ns: int, unit_ns: int) -> None:
    """From 1974 to 2262 no unit is taken for another."""
    assert fields.time_of_integer(raw(str(time_ns // unit_ns))) == time_ns // unit_ns * unit_ns


@pytest.mark.parametrize(
    "text", ["0", '"0"', "-1", "1.5", "1e9", "true", '"now"', "[]", "9223372036854775808", "9" * 40]
)
def test_what_is_no_integer_time_is_refused(text: str) -> None:
    """Nor is 1970, which says "never", nor a time that nanoseconds in 63 bits do not hold."""
    with pytest.raises(BadFieldError) as error:
        fields.time_of_integer(raw(text))
    assert error.value.reason == "bad_time"


@pytest.mark.parametrize(
    ("last", "is_refused"), [("98.0", False), ("97.9", True), ("103.02", False), ("103.1", True), ("100.5", False)]
)
def test_a_last_price_far_outside_its_book_is_refused_alone(last: str, is_refused: bool) -> None:
    """More than 2 % beyond the nearer side; the book stays."""
    bid, ask = parse_price(b"100"), parse_price(b"101.00")
    quote, *refused = fields.make_quote("A", bid, ask, parse_price(last.encode()), 5)
    assert isinstance(quote, Quote)
    assert (quote.bid, quote.ask, quote.last) == (bid, ask, None if is_refused else parse_price(last.encode()))
    assert [event.reason for event in refused if isinstance(event, Refusal)] == ["last_off_book"] * is_refused


def test_without_a_whole_book_nothing_is_outside_of_it() -> None:
    """One side alone bounds nothing; what the exchange does not have is not there."""
    one, two = parse_price(b"1"), parse_price(b"2")
    assert fields.make_quote("A", one, None, two, 5) == [Quote("A", one, None, two, 5)]
    assert fields.make_quote("A", None, None, None, 5) == [Quote("A", None, None, None, 5)]


def test_a_ticker_without_a_name_is_refused() -> None:
    """A price of an unknown market is worth nothing."""
    one = raw("1")
    assert fields.read_ticker("", one, one, one) == [Refusal("missing_field", "symbol")]
