"""What every handler of the reporting service works with; made once a process and injected by name (`parts`).

Rules: one of these a process, made after the fork inside its event loop. A handler takes `parts: Parts` and nothing
global; what another room offers (`explain`) comes in as a function, composed at the root. No feature is known here:
each brings a piece of its own (`Features` in app.py), injected by its own name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from psycopg_pool import AsyncConnectionPool

from trinity.cache.address import CacheSettings
from trinity.cache.client import CacheClient
from trinity.clock import NS_PER_SECOND
from trinity.config import AccessSection
from trinity.process import ProcessContext
from trinity.store.partitions import Retention
from workers.api.base.callers.admission import Admission
from workers.api.base.callers.forwarded import Callers
from workers.api.base.callers.keys import Keys
from workers.api.base.callers.logins import Logins
from workers.api.base.callers.throttle import LoginThrottle
from workers.api.base.calls import CallLog
from workers.api.base.prices import Prices
from workers.api.base.serving.cache import Cache


class ReportSettings(NamedTuple):
    """What of the configuration the reporter needs; secrets stay in here and are never printed."""

    bind_host: str
    tcp_port: int
    udp_port: int
    data_dir: Path
    auth: Literal["required", "optional"]
    admin_key: str | None
    database_url: str
    cache: CacheSettings | None
    udp_trusted_networks: tuple[str, ...] = ()
    anonymous_rate: int = 0
    free_rate: int = 0
    rate_limit_headers: bool = True
    trusted_proxies: tuple[str, ...] = ()
    request_port: int = 8080  # of the request workers, of their health, and of this service's: where others are sent
    request_health_port: int = 8081
    health_port: int = 9091
    retention: Retention = Retention(detail_days=93, sums_months=36)
    allowed_targets: tuple[str, ...] = ()  # private networks and names that prices may be delivered to all the same
    name_servers: tuple[str, ...] = ()  # which know the names of targets; none: the system's

    @property
    def access(self) -> AccessSection:
        """What of it the gate goes by."""
        return AccessSection(
            auth=self.auth,
            anonymous_rate=self.anonymous_rate,
            free_rate=self.free_rate,
            rate_limit_headers=self.rate_limit_headers,
        )

    def __repr__(self) -> str:
        return f"ReportSettings(bind_host={self.bind_host!r}, tcp_port={self.tcp_port}, udp_port={self.udp_port})"


# Explains an asset's consensus: (asset name, wall time in ns or None for now) -> JSON-ready values.
Explain = Callable[[str, int | None], Any]


@dataclass(frozen=True)
class Parts:
    """What every feature may need."""

    context: ProcessContext
    settings: ReportSettings
    pool: AsyncConnectionPool  # of read-only connections
    prices: Prices  # as they are now
    keys: Keys
    logins: Logins
    callers: Callers
    admission: Admission
    calls: CallLog
    cache: Cache
    valkey: CacheClient | None  # what nodes share; None without CACHE_URL
    login_throttle: LoginThrottle  # of wrong keys over TCP

    def now(self) -> datetime:
        """The time of the node's clock."""
        return datetime.fromtimestamp(self.context.clock.wall_ns() / NS_PER_SECOND, UTC)
