"""What the handlers of the reporting service work with; made once a process and injected by name (`parts`).

Rules: one of these a process, made after the fork inside its event loop. A handler takes `parts: Parts` and nothing
global; what another room offers (`explain`) comes in as a function, composed at the root.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from psycopg_pool import AsyncConnectionPool

from trinity.memory.node import NodeMemory
from trinity.memory.usage_ring import UsageRing
from trinity.process import ProcessContext
from workers.api.base.admission import Admission
from workers.api.base.cache import Cache
from workers.api.base.calls import CallLog
from workers.api.base.concurrency import Places
from workers.api.base.ended import EndedSessions
from workers.api.base.forwarded import Callers
from workers.api.base.keys import Keys
from workers.api.base.session import Sessions, Tries
from workers.api.history.averages import Averages
from workers.api.streams.board import Board


class ReportSettings(NamedTuple):
    """What of the configuration the reporter needs; secrets stay in here and are never printed."""

    bind_host: str
    tcp_port: int
    udp_port: int
    data_dir: Path
    auth: Literal["required", "optional"]
    admin_key: str | None
    database_url: str
    cache_url: str | None
    udp_trusted_networks: tuple[str, ...] = ()
    anonymous_rate: int = 0
    trusted_proxies: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"ReportSettings(bind_host={self.bind_host!r}, tcp_port={self.tcp_port}, udp_port={self.udp_port})"


# Explains an asset's consensus: (asset name, wall time in ns or None for now) -> JSON-ready values.
Explain = Callable[[str, int | None], Any]


@dataclass(frozen=True)
class Parts:
    """The process's parts."""

    context: ProcessContext
    settings: ReportSettings
    pool: AsyncConnectionPool  # of read-only connections
    keys: Keys
    callers: Callers
    admission: Admission
    calls: CallLog
    cache: Cache
    exports: Places  # of long answers
    memory: NodeMemory  # of the whole node, for what it says of itself
    rings: tuple[UsageRing, ...]  # the same
    sessions: Sessions
    ended: EndedSessions
    tries: Tries  # wrong keys over TCP
    udp_tries: Tries  # and over UDP, whose addresses can be forged: nobody is locked out of HTTP by them
    board: Board  # prices, live
    places: Places  # of its streams of events
    sockets: Places  # of its WebSockets
    averages: Averages
    draining: asyncio.Event  # set by SIGTERM: an endless answer ends now
    lives: frozenset[asyncio.Task[None]]  # the tasks behind all this; none of them ever ends by itself
    explain: Explain | None = None
    # One recorded moment at a time: it is some hundred milliseconds of one processor.
    explanations: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
