"""When the loader rests: what a transaction costs hardly depends on how many records it has, so that few and large ones
leave the processors to answers.

    a segment is full         load it: from here the lag would grow
    the last file took long   rest nine times as long, REST_NS_MAX at most; meanwhile the next one fills

With little to do a file takes 10 ms, and nothing rests beyond the ordinary gap. Under full load a segment fills within
seconds, so what waits is some seconds of load, whatever the load and however long it lasts.

Rules: pure. Records that wait are safe: they are in the spool.
"""

from trinity.clock import NS_PER_SECOND

# Of the time the loader has this part at most, as long as no segment is full: 1 of 10.
_RESTS_A_LOAD = 9
# An outage is no work and earns no rest of minutes; and within a minute after a load everything is in the database.
REST_NS_MAX = 10 * NS_PER_SECOND
# So often a rest looks whether it may end.
REST_TURN_SECONDS = 0.25


class Pace:
    """The rest after each file; times are of the monotonic clock."""

    def __init__(self) -> None:
        self._rest_until_ns = 0

    def loaded(self, took_ns: int, now_ns: int) -> None:
        """A file took so long."""
        self._rest_until_ns = now_ns + min(took_ns * _RESTS_A_LOAD, REST_NS_MAX)

    def rests(self, now_ns: int, has_full: bool) -> bool:
        """Whether the next file has to wait; not where one is full already."""
        return now_ns < self._rest_until_ns and not has_full
