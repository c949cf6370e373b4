"""The process that speaks with the other nodes, through Valkey: one event loop, one task for each thing that is shared.

Rules: it exists where CACHE_URL is set, and the node answers without it. Every task turns whether Valkey answers or not
(context.py), so that an outage never makes it look stuck. A task that ends by an error ends the process: the supervisor
starts another.
"""

import asyncio
import signal
import uuid

from trinity.cache.address import cache_settings_of
from trinity.cache.client import CacheClient
from trinity.config import Config
from trinity.observe.cache_meter import CacheMeter
from trinity.observe.metrics import CLUSTER
from trinity.process import ClusterMemory, ProcessContext
from trinity.store.database import database_url
from workers.cluster.context import ClusterContext, ClusterTask, Turns
from workers.cluster.governor import GovernorExchange
from workers.cluster.key_records import KeyRecords
from workers.cluster.limits.exchange import LimitExchange
from workers.cluster.limits.ledger_months import LedgerMonths
from workers.cluster.limits.months import MonthExchange
from workers.cluster.members import Members, MembersBeat
from workers.cluster.stats import StatsPublisher


def run(context: ProcessContext, memory: ClusterMemory, config: Config, node_uuid: uuid.UUID) -> None:
    """Take part in the cluster until SIGTERM or SIGINT."""
    asyncio.run(_serve(context, memory, config, node_uuid))


async def _serve(context: ProcessContext, memory: ClusterMemory, config: Config, node_uuid: uuid.UUID) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    settings = cache_settings_of(config)
    assert settings is not None, "the role exists with CACHE_URL alone"
    meter = CacheMeter(context.block, CLUSTER, context.log, context.clock)
    cache = CacheClient.open(settings, context.clock, meter)
    turns = Turns(context.block, context.clock)
    cluster = ClusterContext(context, memory, cache, Members(context.node, context.block), node_uuid, turns)
    beat = MembersBeat(cluster.members, context.node, cache, context.clock, turns.of("members"))
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(task.run()) for task in (beat, *tasks_of(cluster, config))]
        await stop.wait()
        for task in running:
            task.cancel()
    await beat.leave()
    await cache.close()


def tasks_of(cluster: ClusterContext, config: Config) -> list[ClusterTask]:
    """Everything that runs beside the members' beat; each task takes `cluster.turns.of(<its name>)`."""
    months = MonthExchange(cluster)
    return [
        StatsPublisher(cluster),
        KeyRecords(cluster, database_url(config)),
        LimitExchange(cluster, months.moved),
        months,
        LedgerMonths(cluster, database_url(config)),
        GovernorExchange(
            cluster.process.node,
            cluster.memory.view.node.admission,
            cluster.cache,
            cluster.members,
            cluster.clock,
            config.request.cluster_connections_max,
            cluster.turns.of("governor"),
        ),
    ]
