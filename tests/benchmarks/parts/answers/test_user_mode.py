"""Time outside of the kernel."""

from pathlib import Path

import pytest

from benchmarks.parts.answers import user_mode
from benchmarks.progress import Progress
from trinity.clock import SystemClock

REPORT = """
# Samples: 864  of event 'cpu-clock'
#
    80.00%  [kernel.kallsyms]
    15.00%  [JIT] tid 24126
     5.00%  libc.so.6
"""


@pytest.mark.parametrize(("report", "share"), [(REPORT, 0.8), ("", 1.0), ("# nothing was sampled", 1.0)])
def test_the_kernels_share_is_read_out_of_perfs_report(report: str, share: float) -> None:
    """Everything that is not the kernel is user mode; no samples at all claim nothing for us."""
    assert user_mode.kernel_share_of(report) == pytest.approx(share)


def test_each_protocol_has_its_time_without_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request was understood (a time above zero), and 64 lookups share a binary frame's time."""
    monkeypatch.setattr(user_mode.shutil, "which", lambda _: None)
    found = user_mode.measure_user_mode(tmp_path, 1, 0.1, Progress(SystemClock(), quiet=True))
    assert set(found) == {"pure"}
    pure = found["pure"]
    assert all(us > 0 for us in pure.values())
    assert pure["udp_binary_lookup_us"] * 64 == pytest.approx(pure["udp_binary_us"], rel=0.01)
