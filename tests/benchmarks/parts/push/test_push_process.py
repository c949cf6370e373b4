"""The push server's process is measured over UDP with all that it does, and keeps up with a few subscriptions."""

from pathlib import Path

import pytest

from benchmarks.parts.push import push_process
from benchmarks.progress import Progress
from trinity.clock import SystemClock
from trinity.compiled import jit_enabled

pytestmark = pytest.mark.skipif(not jit_enabled(), reason="system calls exist only compiled")


def test_pushes_are_counted_and_paid_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each subscription is sent to; the processor time is the loop's."""
    monkeypatch.setattr(push_process, "SIZES", {"few": (60, True)})
    (row,) = push_process.measure_push_process(tmp_path, 3.5, Progress(SystemClock()))["sizes"].values()
    assert row["pushes"] + row["skipped"] > 0
    assert row["cpu_us"] > 0
    assert 0 < row["cpu_share"] < 2
