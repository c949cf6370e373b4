"""What a delivery over HTTPS costs the sender: our pool beside aiohttp and beside one task a message over httpx2.

Rules: receivers on one core, the sender on the other; the senders take turns over the same receivers, and a ratio is
the median of the turns' own. The body has 25 assets; each attempt is signed; TLS is verified, and connections stand
before anything is counted: those that are made while it is are counted too.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.errors import PeerError
from benchmarks.progress import Progress
from benchmarks.servers.processes import cores, free_port, start, wait_for_port
from benchmarks.servers.webhook_senders import SENDERS

OURS = "ours"
_START_AND_END_SECONDS = 60


def measure_push_https(folder: Path, turns: int, seconds: float, progress: Progress) -> dict[str, Any]:
    """By sender: the processor time of a delivery, deliveries a second, new connections; and ours / theirs."""
    own_core, other_core = cores()
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "benchmarks.servers.webhook_receiver",
        "--port",
        str(port),
        "--folder",
        str(folder),
    ]
    receiver = start("webhook-receiver", command, folder, cpu=other_core)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in SENDERS}
    try:
        wait_for_port(receiver, port)
        for turn in range(turns):
            for name in rows:
                progress.step(f"turn {turn + 1}/{turns}: {name}")
                rows[name].append(_send(name, port, folder, seconds, own_core))
    finally:
        receiver.stop()
    return {
        "senders": {name: _medians(found) for name, found in rows.items()},
        "ratio_of_ours": {name: _ratio(rows[OURS], found) for name, found in rows.items() if name != OURS},
    }


def _send(name: str, port: int, folder: Path, seconds: float, core: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.servers.webhook_senders", name]
    options = ["--port", str(port), "--folder", str(folder), "--seconds", str(seconds), "--core", str(core)]
    done = subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + _START_AND_END_SECONDS,
    )
    if done.returncode:
        raise PeerError(name, " | ".join(done.stderr.strip().splitlines()[-2:]))
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(row[name] for row in rows), 1) for name in rows[0]}


def _ratio(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> float:
    ratios = (own["cpu_us"] / other["cpu_us"] for own, other in zip(ours, theirs, strict=True))
    return round(statistics.median(ratios), 3)
