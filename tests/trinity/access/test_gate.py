"""trinity/access/gate.py"""

import datetime
import ipaddress
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.quota import quota_used
from tests.trinity.access.door import CALLER, KEY, NOW_NS, WALL, Door
from trinity.access.gate import (
    BURST,
    IS_FREE,
    KEY_ID,
    LEFT,
    MONTHLY_QUOTA,
    OVERRUN,
    QUOTA_LEFT,
    RATE,
    RATE_SECONDS,
    RESULT_WORDS,
    RETRY_AFTER_MS,
    admit_known,
    turn_month,
)
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.limits import API_KEY_BYTES_MAX, FREE_BURST
from trinity.native.addresses import address_words
from trinity.rates import rate_of
from trinity.vocabulary import ACCESS_REFUSALS, CODES, KeyState

pytestmark = pytest.mark.uncompiled

# --- keys -----------------------------------------------------------------------------------------------------


def test_a_key_is_let_in_the_first_time_and_every_time() -> None:
    """Proved once, recognised from then on: the caller sees no difference."""
    door = Door()
    for _ in range(3):
        assert door.ask(KEY) == "ok"
        assert door.told(KEY_ID) == 7


@given(st.binary(max_size=API_KEY_BYTES_MAX + 9))
def test_any_other_bytes_are_not_a_key(guess: bytes) -> None:
    """Guesses of any length and content, non-ASCII included; only the very bytes of the key are the key."""
    door = Door()
    assert door.ask(KEY) == "ok"
    expected = "ok" if guess == KEY else "invalid_key" if guess else "missing_key"
    assert door.ask(guess) == expected
    assert door.told(KEY_ID) == (7 if guess == KEY else 0)
    assert door.ask(KEY) == "ok"


def test_nearly_the_key_is_not_the_key() -> None:
    """One byte more, less or other, and the key with a zero byte behind it."""
    door = Door()
    assert door.ask(KEY) == "ok"
    near = [KEY[:-1], KEY[1:], KEY + b"\0", KEY + b"0", b" " + KEY, KEY.upper(), KEY[:-1] + bytes([KEY[-1] ^ 0x80])]
    assert {door.ask(guess) for guess in near} == {"invalid_key"}


def test_the_state_of_a_recognised_key_is_read_each_time() -> None:
    """Suspended, back, revoked: from the next request on, in the words of the state, and with the key's id."""
    door = Door()
    for state, code in (
        (KeyState.ACTIVE, "ok"),
        (KeyState.SUSPENDED, "key_suspended"),
        (KeyState.ACTIVE, "ok"),
        (KeyState.REVOKED, "key_revoked"),
    ):
        door.allow(KEY, state=state)
        assert door.ask(KEY) == code
        assert door.told(KEY_ID) == 7


def test_an_id_that_stands_for_another_key_does_not_let_the_old_one_in() -> None:
    """What a worker recognises is the key, not its place in the table."""
    door = Door()
    assert door.ask(KEY) == "ok"
    door.allow(b"another key")
    assert door.ask(KEY) == "invalid_key"
    assert door.ask(b"another key") == "ok"


def test_more_keys_than_a_worker_remembers_are_all_let_in() -> None:
    """With room for four, twelve are proved again each time, and nobody is mistaken for another."""
    door = Door()
    door.gate = door.worker(remembered=4)
    keys = {b"key %d" % number: number for number in range(1, 13)}
    for key, key_id in keys.items():
        door.allow(key, key_id)
    for _ in range(3):
        for key, key_id in keys.items():
            assert door.ask(key) == "ok"
            assert door.told(KEY_ID) == key_id


def test_without_loaded_keys_nobody_is_called_wrong() -> None:
    """503 and when to come again, not 401, until the access process has written the keys once."""
    door = Door(loaded=False)
    for key in (KEY, b"guess", b""):
        assert door.ask(key) == "keys_unavailable"
        assert door.told(RETRY_AFTER_MS) > 0
    door.access.keys.mark_loaded()
    assert door.ask(KEY) == "ok"
    assert Door("optional", loaded=False).ask() == "ok", "who needs no key does not wait for them"


def test_a_caller_without_a_key_is_told_so_where_one_is_required() -> None:
    """missing_key is another mistake than invalid_key."""
    assert Door().ask() == "missing_key"
    assert Door("optional").ask() == "ok"
    assert Door("optional").ask(b"guess") == "invalid_key", "a wrong key is wrong also where none is needed"


# --- limits ---------------------------------------------------------------------------------------------------


def test_a_key_is_held_to_its_rate_and_told_what_is_left() -> None:
    """10 a second, 3 at once."""
    door = Door()
    door.allow(KEY, rate=10, burst=3)
    answers = [(door.ask(KEY), door.told(LEFT)) for _ in range(4)]
    assert answers == [("ok", 2), ("ok", 1), ("ok", 0), ("rate_limited", 0)]
    assert [door.told(word) for word in (KEY_ID, RATE, BURST, RETRY_AFTER_MS)] == [7, 10, 3, 100]
    assert door.ask(KEY, now_ns=NOW_NS + 100 * NS_PER_MS) == "ok"
    assert door.told(RETRY_AFTER_MS) == 0


def test_a_rate_may_be_below_one_a_second() -> None:
    """A key of one in five seconds, and an address of one in two: told as requests and seconds, and held to it."""
    door = Door("optional", anonymous_rate=rate_of(1, 2))
    door.allow(KEY, rate=rate_of(1, 5), burst=1)
    for key, seconds in ((KEY, 5), (b"", 2)):
        times = (0, 0, seconds * NS_PER_SECOND - 1, seconds * NS_PER_SECOND)
        assert [door.ask(key, now_ns=NOW_NS + time)[:2] for time in times] == ["ok", "ra", "ra", "ok"]
        assert (door.told(RATE), door.told(RATE_SECONDS), door.told(BURST)) == (1, seconds, 1)


def test_all_workers_share_one_limit() -> None:
    """Four gates over the same tables admit the burst together."""
    door = Door()
    door.allow(KEY, rate=1, burst=10)
    workers = [door.worker() for _ in range(4)]
    codes = [door.ask(KEY, gate=worker) for _ in range(5) for worker in workers]
    assert codes.count("ok") == 10


def test_a_month_ends_a_quota_and_the_next_brings_it_back() -> None:
    """The refusal says when the month ends; a rate beside it is kept too."""
    door = Door()
    door.allow(KEY, rate=100, burst=100, quota=2)
    assert [(door.buy(), door.told(QUOTA_LEFT)) for _ in range(2)] == [("ok", 1), ("ok", 0)]
    assert door.ask(KEY) == "quota_exceeded"
    assert (door.told(MONTHLY_QUOTA), door.told(QUOTA_LEFT)) == (2, 0)
    assert door.told(RETRY_AFTER_MS) == 3600 * 1000, "an hour before March"
    later_ns = NOW_NS + 3600 * NS_PER_SECOND
    turn_month(door.gate, int(WALL.timestamp() + 3600) * NS_PER_SECOND, later_ns)
    assert door.ask(KEY, now_ns=later_ns) == "ok"


def test_a_spent_month_is_called_so_however_fast_it_is_asked_for_and_costs_no_rate() -> None:
    """Ten refusals at one moment say when the month ends; a larger quota then finds the whole burst."""
    door = Door()
    door.allow(KEY, rate=1, burst=3, quota=1)
    assert door.buy() == "ok"
    assert [door.ask(KEY) for _ in range(10)] == ["quota_exceeded"] * 10
    assert (door.told(RATE), door.told(RETRY_AFTER_MS)) == (1, 3600 * 1000)
    door.allow(KEY, rate=1, burst=3, quota=1000)
    assert [door.ask(KEY) for _ in range(3)] == ["ok", "ok", "rate_limited"]


def test_looking_at_a_month_takes_nothing_of_it() -> None:
    """`admit` says whether there is anything left; what an answer costs is taken when it is there (charge.py)."""
    door = Door()
    door.allow(KEY, quota=1)
    assert [(door.ask(KEY), door.told(QUOTA_LEFT)) for _ in range(5)] == [("ok", 1)] * 5
    assert quota_used(door.access.limits, 7)[1] == 0


def test_what_costs_no_month_has_a_rate_of_its_own_and_is_let_in_when_the_month_is_spent() -> None:
    """FREE_BURST at once and then FREE_RATE; the plan's rate is untouched, and so is the month."""
    door = Door(free_rate=10)
    door.allow(KEY, rate=1, burst=1, quota=1)
    assert door.buy() == "ok"
    assert [door.ask(KEY, is_free=True) for _ in range(FREE_BURST + 1)] == ["ok"] * FREE_BURST + ["rate_limited"]
    told = [door.told(word) for word in (IS_FREE, RATE, RATE_SECONDS, LEFT, MONTHLY_QUOTA, RETRY_AFTER_MS)]
    assert told == [1, 10, 1, 0, 0, 100]
    assert door.ask(KEY, is_free=True, now_ns=NOW_NS + 100 * NS_PER_MS) == "ok"
    assert door.ask(KEY) == "quota_exceeded"
    assert quota_used(door.access.limits, 7)[1] == 1


def test_who_has_no_limit_has_none_for_what_is_free_and_without_a_free_rate_nobody_has() -> None:
    """FREE_RATE=0, and a plan of neither rate nor quota."""
    for door, terms in ((Door(), {}), (Door(free_rate=0), {"rate": 1, "burst": 1, "quota": 1})):
        door.allow(KEY, **terms)
        assert {door.ask(KEY, is_free=True) for _ in range(FREE_BURST + 50)} == {"ok"}
        assert [door.told(word) for word in (IS_FREE, RATE, MONTHLY_QUOTA)] == [1, 0, 0]


def test_addresses_have_a_cell_of_their_own_for_what_is_free() -> None:
    """Beside the one for prices; where addresses have no limit there is none here."""
    door = Door("optional", anonymous_rate=2, free_rate=10)
    assert [door.ask() for _ in range(3)] == ["ok", "ok", "rate_limited"]
    assert [door.ask(is_free=True) for _ in range(FREE_BURST + 1)] == ["ok"] * FREE_BURST + ["rate_limited"]
    assert (door.told(IS_FREE), door.told(RATE)) == (1, 10)
    open_door = Door("optional", free_rate=10)
    assert {open_door.ask(is_free=True) for _ in range(FREE_BURST + 50)} == {"ok"}


def test_a_plan_in_dry_run_counts_and_refuses_nobody() -> None:
    """What would have been refused stands in the metric, by code."""
    door = Door()
    door.allow(KEY, rate=1, burst=2, quota=1, dry_run=True)
    assert [door.buy() for _ in range(4)] == ["ok"] * 4
    assert (door.told(RETRY_AFTER_MS), CODES[door.told(OVERRUN)]) == (0, "quota_exceeded")
    door.allow(KEY, rate=1, burst=1, dry_run=True)
    assert door.ask(KEY) == "ok"
    assert door.in_dry_run("quota_exceeded") == 3
    assert door.in_dry_run("rate_limited") == 1
    assert door.refused("rate_limited") == 0


def test_a_key_without_limits_has_none() -> None:
    """Rate 0 and quota 0 are "no limit", and the answer has no limit to speak of."""
    door = Door()
    assert {door.ask(KEY) for _ in range(100)} == {"ok"}
    assert [door.told(word) for word in range(RESULT_WORDS)] == [7] + [0] * (RESULT_WORDS - 1)


# --- addresses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [("192.0.2.1", "192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::ffff:0:0:1", "2001:db8:0:1::1")],
)
def test_callers_without_a_key_are_limited_by_address(first: str, same: str, other: str) -> None:
    """IPv4 by the address, IPv6 by its network of 64 bits."""
    door = Door("optional", anonymous_rate=2)
    assert [door.ask(address=address) for address in (first, same, first, same)] == ["ok"] * 2 + ["rate_limited"] * 2
    assert (door.told(RATE), door.told(BURST), door.told(RETRY_AFTER_MS)) == (2, 2, 500)
    assert door.ask(address=other) == "ok"
    assert door.ask(KEY, first) == "ok", "a key has its own limit"


def test_forged_datagrams_take_nothing_from_an_address_s_connections() -> None:
    """Anybody can send datagrams in another's name: they are held to the same rate, but in a cell of their own."""
    door = Door("optional", anonymous_rate=2)
    for address in ("192.0.2.1", "2001:db8::1"):
        assert [door.ask(address=address, over_udp=True) for _ in range(3)] == ["ok", "ok", "rate_limited"]
        assert [door.ask(address=address) for _ in range(3)] == ["ok", "ok", "rate_limited"]


def test_who_is_known_already_is_held_to_the_same_limits() -> None:
    """By the id of the key, in whatever state it is, or by the address: the cells are those of `admit`."""
    door = Door("optional", anonymous_rate=2)
    nobody = address_words(CALLER)

    def known(key_id: int) -> str:
        return CODES[admit_known(door.gate, key_id, nobody, False, NOW_NS)]

    door.allow(KEY, rate=1, burst=2)
    assert [door.ask(KEY), known(7), known(7), door.ask(KEY)] == ["ok", "ok", "rate_limited", "rate_limited"]
    assert (door.told(RATE), door.told(RETRY_AFTER_MS)) == (1, 1000)
    assert [door.ask(), known(0), known(0), door.ask()] == ["ok", "ok", "rate_limited", "rate_limited"]
    for key_id in (8, 16, 17, 2**31 - 1):
        assert known(key_id) == "keys_unavailable"
        assert door.told(RETRY_AFTER_MS) > 0
    door.allow(KEY, state=KeyState.REVOKED)
    assert known(7) == "key_revoked"


def test_every_worker_has_a_secret_of_its_own() -> None:
    """Who learns how one worker tells keys apart has learnt nothing about another."""
    door = Door()
    secrets = {door.worker().own["secret"].tobytes() for _ in range(8)}
    assert len(secrets) == 8
    assert bytes(16) not in secrets


def test_a_blocked_address_gets_nothing_whatever_it_brings() -> None:
    """The first of all checks; another address is not touched by it."""
    door = Door("optional")
    door.access.blocks.write([ipaddress.ip_network("192.0.2.0/28"), ipaddress.ip_network("2001:db8::/32")])
    assert {door.ask(KEY), door.ask(), door.ask(address="2001:db8::7")} == {"address_blocked"}
    assert door.told(KEY_ID) == 0
    assert door.ask(KEY, "192.0.2.16") == "ok"


# --- beside ---------------------------------------------------------------------------------------------------


def test_every_refusal_is_counted_under_its_code() -> None:
    """One for each; what is let in counts nothing."""
    door = Door()
    door.ask(KEY)
    door.ask()
    for _ in range(2):
        door.ask(b"guess")
    door.allow(KEY, state=KeyState.REVOKED)
    door.ask(KEY)
    counts = {code: door.refused(code) for code in ACCESS_REFUSALS}
    assert {code: n for code, n in counts.items() if n} == {"missing_key": 1, "invalid_key": 2, "key_revoked": 1}


@given(st.dates(datetime.date(1971, 1, 1), datetime.date(2261, 1, 1)), st.integers(0, 86_399))
def test_months_are_those_of_the_calendar(day: datetime.date, second: int) -> None:
    """UTC, leap years included, forwards and backwards; the end is the first instant of the next month."""
    door = Door()
    moment = datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC) + datetime.timedelta(seconds=second)
    wall_ns = int(moment.timestamp()) * NS_PER_SECOND
    turn_month(door.gate, wall_ns, NOW_NS)
    month, end_ns = int(door.gate.own["month"]), int(door.gate.own["month_end_ns"])
    assert divmod(month, 12) == (moment.year, moment.month - 1)
    following = datetime.datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=datetime.UTC)
    assert end_ns - NOW_NS == (following - moment) // datetime.timedelta(seconds=1) * NS_PER_SECOND


def test_no_key_is_left_where_another_caller_could_match_it() -> None:
    """A shorter key after a longer one is hashed without the rest of the longer one."""
    door = Door()
    numbers = count(1)
    for key in (b"a" * API_KEY_BYTES_MAX, b"a", b"aa" * 20, b"a" * 9):
        door.allow(key, next(numbers))
    for _ in range(2):
        for key_id, key in enumerate((b"a" * API_KEY_BYTES_MAX, b"a", b"aa" * 20, b"a" * 9), 1):
            assert door.ask(key) == "ok"
            assert door.told(KEY_ID) == key_id
