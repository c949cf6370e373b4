"""Each part of the benchmarks, from the command line, as short as it can be: in two test files, one a test process."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.__main__ import _PARTS

# What is measured then is little, but it has to be measured.
SHORT = {
    "turns": 1, "seconds": 0.2, "soak-seconds": 2, "soak-rate": 500, "wire-seconds": 3, "feed-seconds": 1,
    "stream-seconds": 1, "stream-clients": 50, "ledger-seconds": 1, "minutes": 0.1, "workers": 1, "rows": 20_000,
    "keys": 1_000, "calls": 20, "refusals": 20_000, "misses": 3, "miss-seconds": 3, "chaos-seconds": 45, "seed": 5,
    "restore-rows": 20_000, "restore-seconds": 3,
}  # fmt: skip
# Those that start many processes one after the other take as long as all the rest.
SLOW = ("feeds", "feed-peers", "reports", "cluster", "misses", "restore")
QUICK = tuple(part for part in _PARTS if part not in SLOW)


def measure_short(part: str, folder: Path) -> None:
    """Exit code 0, and in the JSON, the table and the plots all that the part measures."""
    short = [f"--{name}={value}" for name, value in SHORT.items()]
    command = [sys.executable, "-m", "benchmarks", part, *short, "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    document = json.loads((folder / "results.json").read_text())
    assert document["run"]["seed"] == 5
    assert list(document["measured"]) == list(_PARTS[part])
