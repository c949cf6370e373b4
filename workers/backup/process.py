"""The backup's process: a thread does the work (service.py), the loop beats and shows how much would be lost.

Rules: the gauges are made here, from moments and the clock, so that a thread which hangs in a dead network's disk shows
as well as one that fails. `backup_failing` is the one judgement, for /health and the alarm alike:

    the log      on the active node, what would be lost is older than LAG_SECONDS_MAX; or there has been no
                 database for as long
    a base       is overdue by BASE_LATE_SECONDS, or there is none
    a bundle     this node's own files were not brought away for LAG_SECONDS_MAX beyond their turn
"""

import gc
import os
import select
import signal
import threading
import uuid
from pathlib import Path
from types import FrameType

from trinity.backup.base import Origin
from trinity.backup.crypt import read_recipients
from trinity.backup.retention import BASE_LATE_SECONDS, LAG_SECONDS_MAX
from trinity.backup.target import open_target
from trinity.clock import NS_PER_SECOND
from trinity.config import BackupSection, Config
from trinity.memory.control import COMMAND, Command
from trinity.observe.metrics import BACKUP
from trinity.process import ProcessContext
from trinity.store.database import database_url, is_embedded
from workers.backup.service import BackupPlace, BackupService

_BEAT_MS = 200
_LAST_SECONDS = 1.0
_NICENESS = 10  # prices come first


def check_settings(backup: BackupSection) -> None:
    """What types cannot say of them; ConfigError. Nothing is asked of the target."""
    if backup.target:
        read_recipients(backup.recipients)
        open_target(backup.target, backup.s3_endpoint)


def run(context: ProcessContext, config: Config, node_uuid: uuid.UUID) -> None:
    """Back up until SIGTERM, SIGINT or the DRAIN command."""
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    os.nice(_NICENESS)
    poll = select.poll()
    poll.register(context.control_fd, select.POLLIN)
    service = BackupService(place_of(config, node_uuid), context.block, context.clock, context.log)
    view = BackupView(context, service, config.backup)
    service.start()
    gc.freeze()  # what the fork brought is never garbage
    while not stopping.is_set() and context.block.read(COMMAND) != Command.DRAIN:
        context.block.beat(context.clock.monotonic_ns())
        view.show()
        service.raise_failure()
        for fd, _ in poll.poll(_BEAT_MS):
            os.eventfd_read(fd)
    service.finish(_LAST_SECONDS)


def place_of(config: Config, node_uuid: uuid.UUID) -> BackupPlace:
    """What is backed up and where to, as it is configured."""
    backup = config.backup
    scratch = Path(backup.scratch) if backup.scratch else config.node.data_dir / "backup"
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    origin = Origin(database_url(config), is_embedded(config), scratch, read_recipients(backup.recipients))
    return BackupPlace(origin, open_target(backup.target, backup.s3_endpoint), backup.target, str(node_uuid), config)


class BackupView:
    """The gauges that age."""

    def __init__(self, context: ProcessContext, service: BackupService, settings: BackupSection) -> None:
        self._block, self._clock, self._service, self._settings = context.block, context.clock, service, settings
        self._began_ns = self._calm_at_ns = context.clock.monotonic_ns()
        self._began = self._now()

    def show(self) -> None:
        """As it is now."""
        service, now = self._service, self._now()
        if service.is_connected and not service.is_active:
            self._calm_at_ns = self._clock.monotonic_ns()  # another node does it
        lag = self._lag(now)
        base_age = now - service.base_moment if service.base_moment else -1
        bundle_age = now - service.bundle_moment if service.bundle_moment else -1
        gauges = {
            "backup_active": float(service.is_active),
            "backup_wal_lag_seconds": float(lag),
            "backup_last_base_age_seconds": float(base_age),
            "backup_last_bundle_age_seconds": float(bundle_age),
            "backup_failing": float(self._is_failing(lag, base_age, bundle_age)),
        }
        for name, value in gauges.items():
            self._block.set_gauge(BACKUP.index(name), value)

    def _lag(self, now: int) -> int:
        if self._service.is_connected and not self._service.is_active:
            return 0
        since_calm = (self._clock.monotonic_ns() - self._calm_at_ns) // NS_PER_SECOND
        # Of before this life, nothing is held against it.
        return min(max(now - self._service.log_moment, 0), since_calm)

    def _is_failing(self, lag: int, base_age: int, bundle_age: int) -> bool:
        alive = (self._clock.monotonic_ns() - self._began_ns) // NS_PER_SECOND
        oldest_base = self._settings.base_hours * 3600 + BASE_LATE_SECONDS
        oldest_bundle = self._settings.bundle_seconds + LAG_SECONDS_MAX
        of_base = base_age > oldest_base or (base_age < 0 and alive > BASE_LATE_SECONDS)
        return (
            lag > LAG_SECONDS_MAX
            or (self._service.is_active and (of_base or self._service.base_failed))
            or (bundle_age if bundle_age >= 0 else alive) > oldest_bundle
        )

    def _now(self) -> int:
        return self._clock.wall_ns() // NS_PER_SECOND
