"""Whoever guesses keys is slowed down by address, an IPv6 /64 as one: a few tries at once, then one in a while.

Pure; the time is an argument. The memory of guessers is bounded, and nothing here is ever logged.
"""

from collections import OrderedDict

from workers.api.base.callers.forwarded import Address, network_of

TRIES_AT_ONCE = 5
TRY_AGAIN_SECONDS = 30
ADDRESSES_MAX = 4096  # remembered guessers; the longest quiet one is forgotten first


class LoginThrottle:
    """Wrong keys by address: a bucket of TRIES_AT_ONCE that gets one back each TRY_AGAIN_SECONDS."""

    def __init__(self) -> None:
        self._free_at: OrderedDict[str, float] = OrderedDict()  # when the bucket is full again

    def wait_seconds(self, address: Address, now_seconds: float) -> int:
        """Seconds until this address may try again, 0 when it may now."""
        debt = self._free_at.get(network_of(address), 0.0) - now_seconds
        return max(0, -int(-(debt - (TRIES_AT_ONCE - 1) * TRY_AGAIN_SECONDS) // 1))

    def fail(self, address: Address, now_seconds: float) -> None:
        """Take one try away."""
        name = network_of(address)
        self._free_at[name] = max(now_seconds, self._free_at.get(name, 0.0)) + TRY_AGAIN_SECONDS
        self._free_at.move_to_end(name)
        while len(self._free_at) > ADDRESSES_MAX:
            self._free_at.popitem(last=False)
