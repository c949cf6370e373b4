"""`trinity sync [--full]`: bring to Valkey what it misses of the ledger, the keys and the parameters; now.

Rules: beside a running node, on any machine that reaches both. It is the job that the operator runs daily at 01:00 in
New York (workers/operator/sync.py): one at a time, by PostgreSQL's lock. Progress goes to standard error.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from trinity.cache.address import cache_settings_of
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import Config
from trinity.errors import RefusedError
from trinity.store import migrate
from trinity.store.database import database_url
from trinity.sync.intervals import Interval
from trinity.sync.job import Progress, SyncResult
from trinity.sync.once import described, sync_once
from trinity.terminal import print_result

_PROGRESS_NS = NS_PER_SECOND


def add_arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Whether all of it."""
    parser.add_argument(
        "--full", action="store_true", help="take away what is there and bring the whole history, not what is missing"
    )


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it."""
    settings = cache_settings_of(config)
    if settings is None:
        raise RefusedError("sync", "CACHE_URL is not set: there is no Valkey to bring anything to")
    url, clock = database_url(config), SystemClock()
    migrate.check(url)
    began_ns = clock.monotonic_ns()
    result = sync_once(
        url, settings, config.ledger.detail_days, is_whole=parsed.full, on_progress=_teller(clock, parsed.as_json)
    )
    seconds = round((clock.monotonic_ns() - began_ns) / NS_PER_SECOND, 3)
    print_result({**described(result), "seconds": seconds}, list(_lines(result, seconds)), parsed.as_json)
    return 0


def _teller(clock: SystemClock, as_json: bool) -> Callable[[Progress], None]:
    """Says once a second how far it is."""
    told_ns = clock.monotonic_ns()

    def tell(progress: Progress) -> None:
        nonlocal told_ns
        if as_json or clock.monotonic_ns() - told_ns < _PROGRESS_NS:
            return
        told_ns = clock.monotonic_ns()
        print(f"trinity: {progress.entries:,} entries, down to {_shown(progress.second)}", file=sys.stderr, flush=True)

    return tell


def _lines(result: SyncResult, seconds: float) -> Iterator[str]:
    what = "the whole history" if result.is_whole else "what was missing"
    yield f"{what}: {result.usage_entries:,} usage entries and {result.report_calls:,} report calls in {seconds:.1f} s"
    yield f"{result.api_keys:,} API keys, {result.parameters:,} parameters"
    if result.removed:
        yield f"{result.removed:,} of the oldest entries made room for newer ones"
    for part in result.left_out:
        yield f"left out, Valkey has no room: {_span(part)}; give it more maxmemory and run it again"


def _span(part: Interval) -> str:
    return f"{_shown(part[0])} to {_shown(part[1])}"


def _shown(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}Z"
