"""What is small, as commands."""

import uuid
from datetime import UTC, datetime

from trinity.sync.words import call_commands, key_commands, parameter_commands


def test_a_call_stands_in_words_and_ends_in_time() -> None:
    """What is not known is empty."""
    moment, name = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), uuid.UUID(int=5)
    (one,) = call_commands([(moment, name, None, 7, "/x", 200, 5, 6, "1.2.3.4", 1)], 10)
    assert one.name == f"report_usage:{name}".encode()
    assert one.replies == 2
    for word in (b"2026-01-02T03:04:05.000006Z", b"$10\r\naccount_id\r\n$0\r\n\r\n", b"/x", b"EXPIREAT"):
        assert word in one.data
    assert str(int(moment.timestamp()) + 10).encode() in one.data


def test_keys_live_for_a_day_and_parameters_that_are_gone_are_taken_away() -> None:
    """By their own names."""
    (key,) = key_commands({"ab": '{"id":1}'})
    assert key.data.endswith(b"$2\r\nEX\r\n$5\r\n86400\r\n")
    gone, held = parameter_commands([("a", "1")], ["a", "b"])
    assert b"HDEL" in gone.data
    assert b"$1\r\nb\r\n" in gone.data
    assert b"HSET" in held.data
    assert list(parameter_commands([], [])) == []
