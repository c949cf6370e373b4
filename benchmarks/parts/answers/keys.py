"""How long a million API keys take from PostgreSQL into shared memory, and from the snapshot.

Rules: the embedded server, the access process's own code, a key table of its own; the event loop's longest silence is
measured beside it, because a process that does not beat is taken for stuck.
"""

import asyncio
import logging
import resource
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psycopg

from benchmarks.progress import Progress
from benchmarks.servers.database import database_in
from trinity.access.warm_up import warm_up
from trinity.clock import NS_PER_MS, NS_PER_SECOND, SystemClock
from trinity.config import AccessSection
from trinity.markets import load_catalog
from trinity.memory.access import AccessMemory
from trinity.memory.control import BLOCK_WORDS, ProcessBlock
from trinity.process import ProcessContext
from trinity.store.watch import Watch
from workers.access.database import connect
from workers.access.sync import AccessSync

_KEYS = """
INSERT INTO api_keys (account_id, plan_id, digest, prefix)
SELECT 1, 1 + n %% 4, sha256(('benchmark ' || n)::bytea), 'trk_' || n FROM generate_series(1, %s) AS n
"""


def measure_keys(keys: int, progress: Progress) -> dict[str, Any]:
    """Seconds of each way to load `keys` keys, and the longest time without a turn of the event loop."""
    warm_up()
    with TemporaryDirectory(prefix="trinity-access-") as folder, database_in(Path(folder)) as (url, _):
        progress.step(f"making {keys} keys")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("INSERT INTO accounts (name) VALUES ('benchmark')")
            connection.execute(_KEYS, [keys])
            connection.execute("VACUUM ANALYZE api_keys")
        return asyncio.run(_measure(keys, Path(folder), url))


async def _measure(keys: int, folder: Path, url: str) -> dict[str, Any]:
    clock, gaps = SystemClock(), [0]

    async def listen_for_silence() -> None:
        last_ns = clock.monotonic_ns()
        while True:
            await asyncio.sleep(0.001)
            now_ns = clock.monotonic_ns()
            gaps.append(now_ns - last_ns)
            last_ns = now_ns

    silence = asyncio.create_task(listen_for_silence())
    results: dict[str, Any] = {"keys": keys}
    context = _context()
    watch = Watch(url)
    watch.start()
    first, second = (
        AccessSync(context, AccessMemory.private(keys), AccessSection(keys_max=keys), folder) for _ in range(2)
    )
    async with await connect(url, watch) as connection:
        for name, work in (
            ("load_seconds", lambda: first.compare(connection)),
            ("comparison_seconds", lambda: first.compare(connection)),
            ("snapshot_written_seconds", first.save_snapshot_if_dirty),
            ("snapshot_loaded_seconds", second.load_snapshot),
        ):
            started_ns, used = clock.monotonic_ns(), _cpu_seconds()
            await work()
            results[name] = round((clock.monotonic_ns() - started_ns) / NS_PER_SECOND, 3)
            results[f"{name}_of_processor"] = round(_cpu_seconds() - used, 3)
    silence.cancel()
    return results | {"longest_silence_ms": round(max(gaps) / NS_PER_MS, 1)}


def _cpu_seconds() -> float:
    """Processor time of this process so far; the database's own is not in it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _context() -> ProcessContext:
    """Of a process without a node: all that is asked of it is its clock, its block and its log."""
    fields: dict[str, Any] = dict.fromkeys(ProcessContext.__dataclass_fields__)
    own = {"name": "access", "kind": "access", "catalog": load_catalog(), "clock": SystemClock()}
    block = ProcessBlock(np.zeros(BLOCK_WORDS, dtype=np.uint64))
    return ProcessContext(**fields | own | {"block": block, "log": logging.getLogger("benchmarks.parts.answers.keys")})
