"""The law of workers/cluster/limits/ratelimit.lua in Python, with the time as an argument: for virtual time alone.

tests/workers/cluster/limits/test_ratelimit_script.py holds the two against each other on a real server.
"""

import math
from dataclasses import dataclass, field

LEASE_US, LAG_US, AHEAD_US, NEW_US = 1_000_000, 20_000, 40_000, 60_000


@dataclass
class KeyState:
    """What stands in `ratelimit:<key>`."""

    tat_us: float = 0.0
    since_us: int = 0
    nodes: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)  # counted, reserved, demand, asked at

    def ends_at_us(self, asked_at_us: int) -> float:
        return max(self.tat_us, asked_at_us) + LEASE_US


def answer(found: KeyState | None, arguments: list[str | int], now_us: int) -> tuple[KeyState, list[int]]:
    """The state afterwards, and what the script returns."""
    node = str(arguments[0])
    counted, seen, held, demand, nodes, interval_ns, burst, credit, known_us = (int(word) for word in arguments[1:])
    interval_us = interval_ns / 1000
    tat, since, others = 0.0, now_us, {}
    if found is not None:
        tat, since = found.tat_us, found.since_us
        others = {name: row for name, row in found.nodes.items() if name != node and row[3] > now_us - LEASE_US}
        if node in found.nodes and found.nodes[node][0] <= counted:
            seen = max(seen, found.nodes[node][0])
    reserved_elsewhere, demand_elsewhere = (sum(row[i] for row in others.values()) for i in (1, 2))

    used, tat = max(counted - seen, 0), max(tat, known_us)
    if used > 0:
        tat = max(tat, now_us - LAG_US) + math.ceil(used * interval_us)
    tat = min(tat, now_us + math.ceil(burst * interval_us + nodes * credit * interval_us))

    ahead = max(tat - now_us, 0)
    reserved, fair, told = held, credit, 0
    if demand > 0:
        room = math.floor((burst * interval_us + AHEAD_US - ahead) / interval_us + 0.000001)
        if nodes == 1 or now_us - since >= NEW_US:
            share = math.ceil(max(room, 0) * demand / (demand + demand_elsewhere))
            fair = max(min(share, max(math.ceil(demand * 0.1), credit, room // 2)), 1)
        reserved = told = max(held, min(fair, room - reserved_elsewhere), 0)
    elif ahead * 2 <= burst * interval_us:
        reserved = max(held, credit)
    nodes_now = others | {node: (counted, told, demand, now_us)}
    return KeyState(tat, since, nodes_now), [reserved, fair, int(tat), now_us]
