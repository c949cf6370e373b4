"""What a role is told of the configuration, where its own settings are of several sections.

Rules: no defaults and no decisions here; each field has one origin, and whoever is told knows no `Config`. A role whose
settings are a whole section gets the section (trinity/node/roles.py).
"""

from pathlib import Path

from feeds.audit.explain import explain_moment, explain_now
from feeds.audit.recorder import RecordSettings
from trinity.cache.address import cache_settings_of
from trinity.config import Config
from trinity.memory.node import NodeMemory
from trinity.net.egress import read_proxies
from trinity.process import ProcessContext
from trinity.store.database import database_url
from trinity.store.partitions import Retention
from workers.api.base.context import Explain, ReportSettings
from workers.health.heartbeat import HeartbeatSettings


def recording_of(config: Config) -> RecordSettings:
    """Where recordings go."""
    return RecordSettings(config.node.data_dir, config.recording.bytes_max)


def retention_of(config: Config) -> Retention:
    """How long the ledger is kept."""
    return Retention(config.ledger.detail_days, config.ledger.sums_months, config.push.delivery_days)


def heartbeat_of(config: Config) -> HeartbeatSettings | None:
    """Who is told that prices are fresh; it goes out as the feeds do."""
    url = config.stores.heartbeat_url
    return None if url is None else HeartbeatSettings(url, read_proxies(config.feeds).of(url))


def report_settings_of(config: Config) -> ReportSettings:
    """The reporter's part of the configuration."""
    return ReportSettings(
        bind_host=config.node.bind_host,
        tcp_port=config.ports.tcp_port_lrs,
        udp_port=config.ports.udp_port_lrs,
        data_dir=config.node.data_dir,
        auth=config.access.auth,
        admin_key=config.stores.admin_key,
        database_url=database_url(config),
        cache=cache_settings_of(config),
        udp_trusted_networks=config.request.udp_trusted_networks,
        anonymous_rate=config.access.anonymous_rate,
        free_rate=config.access.free_rate,
        rate_limit_headers=config.access.rate_limit_headers,
        trusted_proxies=config.access.trusted_proxies,
        request_port=config.ports.tcp_port_lpo,
        request_health_port=config.ports.health_port_lpo,
        health_port=config.ports.health_port_lrs,
        retention=retention_of(config),
        allowed_targets=config.push.allowed_targets,
        name_servers=config.push.resolvers,
    )


def explainer(context: ProcessContext, memory: NodeMemory, data_dir: Path) -> Explain:
    """How the reporter explains a price: it must not know the consensus's rules itself."""

    def explain(asset: str, at_ns: int | None) -> object:
        if at_ns is not None:
            return explain_moment(data_dir, asset, at_ns)
        return explain_now(
            memory.prices, memory.answers, context.catalog, context.catalog.asset_index(asset), context.clock
        )

    return explain
