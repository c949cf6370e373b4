"""workers/api/dashboard/machine.py"""

import asyncio
import os
import shutil
import threading
from pathlib import Path

import pytest

from tests.support.clocks import ManualClock
from tests.workers.api.conftest import ADMIN_KEY, client_of, service, settings_of
from trinity.observe.readings import ProcessView
from workers.api.dashboard import machine
from workers.api.dashboard.machine import LATE_SECONDS, LOOK_SECONDS, MachineFigures, use_of


async def test_disk_and_database_are_told_to_the_operator(database_url: str, tmp_path: Path) -> None:
    """Room left on the data directory's disk, and the bytes of all tables; soon after the first question."""
    async with client_of(settings_of(tmp_path, database_url=database_url)) as client:
        client.headers["X-API-Key"] = ADMIN_KEY
        async with asyncio.timeout(30):
            while (inside := (await client.get("/node/inside")).json())["disk"] is None:
                await asyncio.sleep(0.02)
    size, _, free = shutil.disk_usage(tmp_path)
    assert inside["disk"]["size_bytes"] == size
    assert inside["disk"]["free_bytes"] == pytest.approx(free, rel=0.2)
    assert inside["database_bytes"] > 1_000_000


async def test_a_disk_that_hangs_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look waits for it; who asks meanwhile is answered at once, and with nothing when it is late."""
    hangs, asked = threading.Event(), []

    def read_disk_room(folder: Path) -> machine.DiskRoom:
        asked.append(folder)
        if len(asked) > 1:
            assert hangs.wait(30)
        return machine.DiskRoom(2, 1)

    monkeypatch.setattr(machine, "read_disk_room", read_disk_room)
    clock = ManualClock()
    async with service(settings_of(tmp_path)) as (parts, _), asyncio.timeout(30):
        figures = MachineFigures(clock, tmp_path, parts.pool)
        while figures.read()["disk"] is None:
            await asyncio.sleep(0.02)
        clock.advance(LOOK_SECONDS)
        assert figures.read()["disk"] == {"size_bytes": 2, "free_bytes": 1}, "of the look before"
        while len(asked) < 2:
            await asyncio.sleep(0.02)
        clock.advance(LATE_SECONDS)
        assert figures.read() == {"disk": None, "database_bytes": None}
        clock.advance(100 * LOOK_SECONDS)
        figures.read()
        assert len(asked) == 2, "no second look while one hangs"
        hangs.set()
        while figures.read()["disk"] is None:
            await asyncio.sleep(0.02)


def test_a_process_has_its_use_while_it_lives() -> None:
    """Processor time and memory by its number; nothing of one that is silent."""
    view = ProcessView("worker-0", "worker", os.getpid(), 0, True, 0, False, False)
    use = use_of(view)
    assert use["cpu_seconds"] > 0
    assert use["resident_bytes"] > 1_000_000
    assert use_of(view._replace(alive=False)) == {"cpu_seconds": None, "resident_bytes": None}
