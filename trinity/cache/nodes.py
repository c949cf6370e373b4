"""All nodes of the cluster, as each told of itself last: for `trinity cluster` and the dashboard.

Rules: two round trips, however many nodes there are; CacheUnavailableError when Valkey does not answer.
"""

from trinity.cache.client import CacheClient
from trinity.cache.stats import MEMBER_COMMANDS, NodeStats, read_ages, read_commands, read_stats


async def read_nodes(client: CacheClient) -> list[NodeStats]:
    """By their names."""
    ages_ms = read_ages(await client.run(MEMBER_COMMANDS))
    return read_stats(ages_ms, await client.run(read_commands(list(ages_ms))))
