"""trinity/cli/text.py"""

import datetime

import msgspec

from trinity.access.keys import Key
from trinity.cli.text import key_lines, key_table, limit_text, table, when

MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
KEY = Key(
    7, "trk_abcdefgh", "shop", "acme", "free", "active", 10, 1, 10.0, 20, 0, True, True, None, 9, MOMENT, MOMENT, MOMENT
)  # fmt: skip


def test_columns_are_as_wide_as_needed_and_numbers_stand_to_the_right() -> None:
    """No line ends in spaces."""
    assert table(("id", "name"), [(1, "a"), (100, "bcdef")]) == [" id  name", "  1  a", "100  bcdef"]
    assert table(("id", "name"), []) == ["id  name"]


def test_a_key_is_shown_with_everything_but_itself() -> None:
    """Number and prefix, state, limits, the key that replaced it."""
    text = "\n".join(key_lines(KEY))
    for part in ("7, begins with trk_abcdefgh", "10 a second, burst 20", "unlimited a month", "the key's own"):
        assert part in text
    for part in ("dry run", "key 9", "2026-01-02 03:04:05Z"):
        assert part in text
    assert "until" not in text
    head, line, note = key_table([KEY])
    assert " ".join(head.split()) == "id prefix state plan rate/s quota/month used last used account name until"
    assert " ".join(line.split()) == "7 trk_abcdefgh active free* 10 unlimited - 2026-01-02 03:04:05Z acme shop"
    assert note == "* with limits of its own"


def test_a_rate_below_one_a_second_is_shown_as_it_may_be_written() -> None:
    """One in five seconds is 1/5s, in the table and in the sentence."""
    slow = msgspec.structs.replace(KEY, rate_requests=1, rate_seconds=5, rate_per_second=0.2)
    assert key_table([slow])[1].split()[4] == "1/5s"
    assert "1/5s, burst 20" in "\n".join(key_lines(slow))


def test_limits_and_times_are_readable() -> None:
    """No limit is a word, no time is nothing, other zones are shown in UTC."""
    assert [limit_text(0), limit_text(5)] == ["unlimited", "5"]
    zone = datetime.timezone(datetime.timedelta(hours=2))
    assert [when(None), when(MOMENT.astimezone(zone))] == ["", "2026-01-02 03:04:05Z"]
