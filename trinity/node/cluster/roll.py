"""The rolling restart of a cluster behind a load balancer: node by node, the next when the last is asked again.

    before     every node is ready and in the load balancer's lists: who is rolled needs the others
    each node  told to restart; it says that it leaves (DRAIN_NOTICE_SECONDS), is left out, drains, ends, starts again;
               done when it is another run, ready, and in the lists
    trouble    a node that is not back in time ends the roll: the others are left as they are

Rules: what a restart is, and who is in the lists, the caller says; nothing here knows of processes or containers.
"""

import http.client
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trinity.clock import NS_PER_MS, NS_PER_SECOND, Clock
from trinity.errors import ClusterPartError, RefusedError

ASKING_SECONDS = 2.0
# A start is 3 to 10 s, with an upgrade's compilation minutes.
BACK_SECONDS_MAX = 400.0
_TURN_NS = 50 * NS_PER_MS


@dataclass(frozen=True)
class RolledPlace:
    """A node that is rolled, and the health ports that must say yes."""

    name: str
    host: str
    health_ports: tuple[int, ...]


@dataclass(frozen=True)
class Rolled:
    """A node that was restarted, and for how long it was not asked."""

    node: str
    seconds: float


# Restarts the node of this name; and whether the load balancer asks it.
Restart = Callable[[str], None]
IsAsked = Callable[[str], bool]


def roll(
    places: Sequence[RolledPlace], restart: Restart, is_asked: IsAsked, clock: Clock, say: Callable[[str], None]
) -> list[Rolled]:
    """Restart all, one after the other; RefusedError before anything, ClusterPartError where one is not back."""
    for place in places:
        if not is_ready(place) or not is_asked(place.name):
            raise RefusedError(place.name, "it is not ready, or not asked: a roll begins when all nodes are well")
    return [_roll_one(place, restart, is_asked, clock, say) for place in places]


def is_ready(place: RolledPlace) -> bool:
    """Whether all its health ports say so."""
    return all(_get(place.host, port, "/ready")[0] == http.HTTPStatus.OK for port in place.health_ports)


def _roll_one(
    place: RolledPlace, restart: Restart, is_asked: IsAsked, clock: Clock, say: Callable[[str], None]
) -> Rolled:
    before = _run_of(place)
    began_ns = clock.monotonic_ns()
    say(f"{place.name}: told to restart")
    restart(place.name)
    while not (_run_of(place) not in (0, before) and is_ready(place) and is_asked(place.name)):
        if clock.monotonic_ns() - began_ns > BACK_SECONDS_MAX * NS_PER_SECOND:
            raise ClusterPartError(
                place.name, f"not back {BACK_SECONDS_MAX:.0f} s after its restart; the roll ends here"
            )
        clock.sleep_ns(_TURN_NS)
    seconds = (clock.monotonic_ns() - began_ns) / NS_PER_SECOND
    say(f"{place.name}: back and asked again after {seconds:.1f} s")
    return Rolled(place.name, round(seconds, 1))


def _run_of(place: RolledPlace) -> int:
    """When this run of the node began; 0 while nobody says."""
    _, body = _get(place.host, place.health_ports[0], "/health")
    try:
        return int(json.loads(body)["started_at_ms"])
    except (ValueError, LookupError, TypeError):
        return 0


def _get(host: str, port: int, path: str) -> tuple[int, bytes]:
    """(status, body); (0, b"") without an answer."""
    connection = http.client.HTTPConnection(host, port, timeout=ASKING_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()
