"""workers/api/base/callers/throttle.py"""

from workers.api.base.callers.forwarded import address_of
from workers.api.base.callers.throttle import TRIES_AT_ONCE, TRY_AGAIN_SECONDS, LoginThrottle


def test_guessing_is_slowed_down_by_address() -> None:
    """After a few failures an address waits; another one does not, and patience is rewarded."""
    throttle, guesser = LoginThrottle(), address_of("192.0.2.1")
    for _ in range(TRIES_AT_ONCE):
        assert throttle.wait_seconds(guesser, 100.0) == 0
        throttle.fail(guesser, 100.0)
    wait = throttle.wait_seconds(guesser, 100.0)
    assert wait == TRY_AGAIN_SECONDS
    assert throttle.wait_seconds(address_of("192.0.2.2"), 100.0) == 0
    assert throttle.wait_seconds(guesser, 100.0 + wait) == 0


def test_a_network_of_ipv6_is_one_guesser() -> None:
    """Its 2**64 addresses cost their owner nothing."""
    throttle = LoginThrottle()
    for number in range(TRIES_AT_ONCE):
        throttle.fail(address_of(f"2001:db8::{number:x}"), 100.0)
    assert throttle.wait_seconds(address_of("2001:db8::ffff"), 100.0) > 0
    assert throttle.wait_seconds(address_of("2001:db8:0:1::"), 100.0) == 0


def test_the_memory_of_guessers_is_bounded() -> None:
    """A flood of addresses cannot make it grow."""
    throttle = LoginThrottle()
    for number in range(10_000):
        throttle.fail(address_of(f"10.0.{number // 256}.{number % 256}"), 0.0)
    assert len(throttle._free_at) <= 4096
