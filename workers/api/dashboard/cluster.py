"""All nodes of the cluster, for the operator: what each told of itself last, out of Valkey.

Rules: a node that is alone, or whose Valkey is away, says so; it is no error. Nothing is asked of the other nodes.
"""

from typing import Any

import msgspec
from litestar import get
from litestar.di import NamedDependency

from trinity.cache.nodes import read_nodes
from trinity.clock import NS_PER_MS
from trinity.errors import CacheUnavailableError
from workers.api.base.callers.auth import ApiCaller, require_operator
from workers.api.base.context import Parts


@get("/cluster", tags=["node"])
async def show_cluster(caller: NamedDependency[ApiCaller], parts: NamedDependency[Parts]) -> dict[str, Any]:
    """Every node that lives, with its version, who leads, its load, lags and 24 counters; for the operator."""
    require_operator(caller)
    told: dict[str, Any] = {"time_ms": parts.context.clock.wall_ns() // NS_PER_MS, "reason": "", "nodes": []}
    if parts.valkey is None:
        return {**told, "cache": "off", "reason": "CACHE_URL is not set: this node is alone"}
    try:
        nodes = await read_nodes(parts.valkey)
    except CacheUnavailableError as error:
        return {**told, "cache": "down", "reason": error.reason}
    return {**told, "cache": "up", "nodes": msgspec.to_builtins(nodes)}
