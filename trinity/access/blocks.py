"""Blocked networks in PostgreSQL.

Rules: what is protected (loopback, this machine, trusted proxies) is refused here, and once more by every node for its
own addresses, which this machine cannot know. An ended block counts as none. Removing what is not there is no error.
"""

import datetime
import ipaddress
from collections.abc import Iterable
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row

from trinity.access.networks import MAPPED_BITS, Network, Protected, find_protected
from trinity.errors import RefusedError
from trinity.limits import IPV6_PREFIX_BITS_MAX
from trinity.store.queries import load

Connection = psycopg.Connection[Any]


class Block(msgspec.Struct, frozen=True):
    """One blocked network; without an end it stays until it is removed."""

    network: str
    reason: str
    created_at: datetime.datetime
    expires_at: datetime.datetime | None


def list_blocks(connection: Connection) -> list[Block]:
    """All blocks that have not ended."""
    with connection.cursor(row_factory=class_row(Block)) as cursor:
        return cursor.execute(load("keys.blocks")).fetchall()


def block(
    connection: Connection,
    network: Network,
    reason: str,
    duration: datetime.timedelta | None,
    protected: Iterable[Protected],
    blocks_max: int,
) -> Block:
    """Block a network; one that is blocked already gets the new reason and end."""
    safe = find_protected(network, protected)
    if safe is not None:
        raise RefusedError(f"block of {network}", f"{safe.network} is {safe.reason}, which is never blocked")
    with connection.transaction():
        connection.execute(load("keys.lock_blocks"))
        connection.execute(load("keys.remove_ended_blocks"))
        connection.execute(load("keys.upsert_block"), {"network": str(network), "reason": reason, "duration": duration})
        blocks = list_blocks(connection)
        if len(blocks) > blocks_max:
            reason = f"there are {blocks_max} blocks already, which is the limit: remove some, or block wider networks"
            raise RefusedError(f"block of {network}", reason)
    return next(entry for entry in blocks if entry.network == str(network))


def unblock(connection: Connection, network: Network) -> tuple[bool, list[str]]:
    """Remove a block: whether there was one, and which wider blocks still hold the network."""
    with connection.transaction():
        removed = connection.execute(load("keys.remove_block"), _written_as(network)).rowcount > 0
        covering = connection.execute(load("keys.covering_blocks"), {"network": str(network)}).fetchall()
    return removed, [row[0] for row in covering]


def _written_as(network: Network) -> dict[str, Any]:
    """What stands in the table for this network: IPv4 also as IPv4-mapped IPv6, and a /64 as any part of it."""
    networks, whole = [str(network)], None
    if isinstance(network, ipaddress.IPv4Network):
        networks.append(f"::ffff:{network.network_address}/{MAPPED_BITS + network.prefixlen}")
    elif network.prefixlen == IPV6_PREFIX_BITS_MAX:
        whole = str(network)
    return {"networks": networks, "whole": whole}
