"""The common case over UDP, by arrays: subscriptions whose address and secret are good now, and whose receiver is well.

    known        which of the messages of a turn may go at once; all others are datagrams.py's, one by one
    sent         what went when: told in batches, a first one at once and then at most each WELL_GAP_NS (state.py)

Rules: pure; times are arguments. A row is the schedule's (schedule.py, `row_of`), so a turn of thousands costs no
lookups. 30 us of Python for each datagram would be three times what the datagram itself costs.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.native.octets import Integers
from workers.push.entries import NEVER, Begun
from workers.push.state import WELL_GAP_NS

_ROOM_MIN = 256
_ABSENT = -1
_LANE_DTYPE = np.dtype(
    [
        ("slot", np.int64),  # of the sender
        ("id", np.int64),
        ("checked_until_ns", np.int64),  # monotonic: its address
        ("signed_until_ns", np.int64),  # wall: with this secret
        ("tell_at_ns", np.int64),  # NEVER: what was sent has been told
        ("tell_gap_ns", np.int64),  # 0 before the first message
        ("sent_at_ns", np.int64),  # wall
    ]
)


class Sent(NamedTuple):
    """The last message of a subscription, to be told."""

    id: int
    slot: int
    sent_at_ns: int  # wall


class DatagramLane:
    """Of one process."""

    def __init__(self) -> None:
        self._rows = _rows(_ROOM_MIN)

    def enter(self, row: int, number: int, slot: int, checked_until_ns: int, signed_until_ns: int) -> None:
        """Its messages may go at once until then."""
        if row >= len(self._rows):
            self._rows = np.concatenate([self._rows, _rows(max(row + 1, 2 * len(self._rows)) - len(self._rows))])
        one = self._rows[row]
        if one["slot"] != slot or one["id"] != number:
            one["tell_at_ns"], one["tell_gap_ns"] = NEVER, 0
        one["slot"], one["id"] = slot, number
        one["checked_until_ns"], one["signed_until_ns"] = checked_until_ns, signed_until_ns

    def leave(self, row: int) -> None:
        """It has no slot any more."""
        if row < len(self._rows):
            self._rows[row] = _rows(1)[0]

    def known(self, begun: Begun, now_ns: int, wall_ns: int) -> NDArray[np.bool_]:
        """Which of these go at once."""
        places = begun["row"]
        is_inside = places < len(self._rows)
        rows = self._rows[np.where(is_inside, places, 0)]
        is_good = (now_ns < rows["checked_until_ns"]) & (wall_ns < rows["signed_until_ns"])
        found: NDArray[np.bool_] = is_inside & (rows["slot"] != _ABSENT) & is_good & (begun["is_probe"] == 0)
        return found

    def slots(self, begun: Begun) -> Integers:
        """Where the sender has them."""
        found: Integers = self._rows["slot"][begun["row"]]
        return found

    def sent(self, begun: Begun, now_ns: int, wall_ns: int) -> None:
        """The kernel has taken these."""
        places = begun["row"]
        self._rows["sent_at_ns"][places] = wall_ns
        self._rows["tell_at_ns"][places] = np.minimum(
            self._rows["tell_at_ns"][places], now_ns + self._rows["tell_gap_ns"][places]
        )

    def take_sent(self, now_ns: int, most: int) -> list[Sent]:
        """What is to be told now, at most so much, the oldest first."""
        places = np.flatnonzero(self._rows["tell_at_ns"] <= now_ns)
        if len(places) > most:
            places = places[np.argsort(self._rows["tell_at_ns"][places], kind="stable")[:most]]
        self._rows["tell_at_ns"][places], self._rows["tell_gap_ns"][places] = NEVER, WELL_GAP_NS
        return [Sent(*one) for one in self._rows[["id", "slot", "sent_at_ns"]][places].tolist()]


def _rows(count: int) -> NDArray[np.void]:
    rows = np.zeros(count, dtype=_LANE_DTYPE)
    rows["slot"], rows["tell_at_ns"] = _ABSENT, NEVER
    return rows
