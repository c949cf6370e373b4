"""Connections whose request waits for an asset beyond the catalog. Compiled.

Rules: nothing is read from such a connection, so what is pipelined behind the request waits in its order. Answers of
before go out first; a client that does not take them (STALLED) waits for its asset meanwhile. One that has said that it
sends no more is still answered; one that is gone is not, and nothing is charged or recorded. Answered, a request has
one usage record, of when it came, and whatever stands behind it is served in the next turn.
"""

from trinity.compiled import compiled
from trinity.limits import HEAD_BYTES_MAX, HEAD_MAX_NS, IDLE_MAX_NS, STALL_MAX_NS
from trinity.native.octets import append_slice
from workers.request.beyond import ARRIVED_NS, NO_PLACE, SLOT, note_deadline, release_place, take_place
from workers.request.forwarded import ADDRESS
from workers.request.http.context import RequestContext
from workers.request.http.parse import KEEP_ALIVE
from workers.request.http.price_routes import BYTES, keep_request
from workers.request.http.slots import (
    CLOSES,
    DEADLINE_NS,
    DRAINING,
    ENDING,
    HEAD,
    IDLE,
    KEPT,
    LINGERS,
    PARKED,
    PHASE,
    STAYS,
    Connections,
)


@compiled
def park(at: Connections, context: RequestContext, slot: int, began: int, now_ns: int) -> None:
    """Give the request that was just found undecided a place; its bytes in the inbox begin at `began`."""
    address = context.caller.words[ADDRESS : ADDRESS + 2]
    place = take_place(context.beyond, context.gate, address, slot, now_ns)
    if place == NO_PLACE:
        raise IndexError("a request that may wait has a place")
    keep_request(context, place, began)
    at.parks[slot] = place + 1


@compiled
def wait_parked(at: Connections, slot: int, now_ns: int) -> bool:
    """The connection's answers of before are sent: whether it now waits with its request."""
    if at.parks[slot] == 0:
        return False
    row = at.table[slot]
    row[PHASE], row[DEADLINE_NS] = PARKED, now_ns + STALL_MAX_NS  # its place ends it long before
    return True


@compiled
def is_waiting(at: Connections, context: RequestContext, place: int) -> bool:
    """Whether the connection of this place can be answered now; a place whose client is gone is given back."""
    slot = context.beyond.parked[place, SLOT]
    if at.parks[slot] != place + 1:
        release_place(context.beyond, place)
        return False
    if at.table[slot, PHASE] == PARKED:
        return True
    note_deadline(context.beyond, place)  # it takes its answers of before first
    return False


@compiled
def end_request(at: Connections, context: RequestContext, place: int, now_ns: int) -> int:
    """The request of this place is answered: the connection goes on behind it; when it came."""
    place_row = context.beyond.parked[place]
    slot = place_row[SLOT]
    row, base, size = at.table[slot], slot * HEAD_BYTES_MAX, place_row[BYTES]
    left = row[KEPT] - size
    append_slice(at.inputs, base + size, left, at.inputs, base)
    row[KEPT], row[ENDING] = left, STAYS
    if context.head[KEEP_ALIVE] == 0 or at.state[DRAINING] == 1:
        row[ENDING] = CLOSES if left == 0 and context.head[KEEP_ALIVE] == 0 else LINGERS
    row[PHASE], row[DEADLINE_NS] = (IDLE, now_ns + IDLE_MAX_NS) if left == 0 else (HEAD, now_ns + HEAD_MAX_NS)
    at.parks[slot] = 0
    arrived_ns: int = place_row[ARRIVED_NS]
    return arrived_ns
