"""Side by side in one run, in turns: processor time a request of our worker, of the floor and of the peers.

Rules: all servers run on one core, the generator on the other; in each turn each server is loaded for the same time,
so that a noisy moment hits all alike; the figure is the median of the turns. A server that is not being loaded idles.
Ratios are taken turn by turn and then their median, so that what a turn's noise does to both cancels out.
"""

import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.errors import PeerError
from benchmarks.generators.http import HttpGenerator
from benchmarks.generators.load import Load, Outcome
from benchmarks.generators.udp import ECHO, TEXT, UdpGenerator, UdpTarget
from benchmarks.progress import Progress
from benchmarks.servers.one_worker import CONNECTIONS, WARM_SECONDS, run_with_cpu, start_one_worker
from benchmarks.servers.peers import ASSET, PEERS, Place, start_peer, start_udp_floor
from benchmarks.servers.processes import cores, family_of

DATAGRAMS_IN_FLIGHT = 256
OURS = "trinity"


@dataclass
class Contestant:
    """A server under load; `us` are its processor microseconds a request, turn by turn."""

    name: str
    what: str
    pids: Sequence[int]
    generator: HttpGenerator | UdpGenerator
    us: list[float] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Medians over the turns, and the turns."""
        faults: dict[str, int] = {}
        for outcome in self.outcomes:
            for fault, count in outcome.faults.items():
                faults[fault] = faults.get(fault, 0) + count
        return {
            "name": self.name,
            "what": self.what,
            "cpu_us": round(statistics.median(self.us), 3),
            "cpu_us_turns": [round(us, 3) for us in self.us],
            "per_second": round(statistics.median(outcome.per_second for outcome in self.outcomes), 1),
            "lookups_per_second": round(statistics.median(outcome.lookups_per_second for outcome in self.outcomes), 1),
            "p50_us": round(
                statistics.median(outcome.latencies.percentile_ns(50) for outcome in self.outcomes) / 1e3, 1
            ),
            "p99_us": round(
                statistics.median(outcome.latencies.percentile_ns(99) for outcome in self.outcomes) / 1e3, 1
            ),
            "answered": sum(outcome.answered for outcome in self.outcomes),
            "faults": faults,
        }


def contest(contestants: Sequence[Contestant], turns: int, seconds: float, progress: Progress) -> None:
    """Load each contestant once a turn and note its processor time; the generators are closed at the end."""
    with contextlib.ExitStack() as closing:
        for contestant in contestants:
            closing.callback(contestant.generator.close)
        for turn in range(turns):
            for contestant in contestants:
                progress.step(f"turn {turn + 1}/{turns}: {contestant.name}")
                contestant.generator.run(Load(WARM_SECONDS))
                outcome, us = run_with_cpu(contestant.generator, contestant.pids, Load(seconds))
                if outcome.answered == 0:
                    raise PeerError(contestant.name, f"gave no right answer: {outcome.faults}")
                contestant.us.append(us)
                contestant.outcomes.append(outcome)


def ratio(first: Contestant, second: Contestant) -> float:
    """Median over the turns of first / second."""
    return statistics.median(ours / theirs for ours, theirs in zip(first.us, second.us, strict=True))


def compare_http(folder: Path, turns: int, seconds: float, progress: Progress) -> dict[str, Any]:
    """Our worker, the floor and every peer that is installed: `GET /price` over 64 kept-alive connections."""
    skipped: list[str] = []
    with contextlib.ExitStack() as stopping:
        node = start_one_worker(folder, stopping, progress)
        head, body = node.answer(ASSET)
        place = Place(folder, cores()[0], head, body)
        ours = Contestant(OURS, "one request worker", node.worker_pids, HttpGenerator(node.http_target(), CONNECTIONS))
        contestants = [ours]
        for peer in PEERS:
            progress.step(f"starting {peer.name}")
            started = start_peer(peer, place)
            if started is None:
                progress.step(f"{peer.name} is not installed: skipped")
                skipped.append(peer.name)
                continue
            server, target = started
            stopping.callback(server.stop)
            generator = HttpGenerator(target, CONNECTIONS)
            contestants.append(Contestant(peer.name, peer.what, family_of(server.pid), generator))
        contest(contestants, turns, seconds, progress)
    found = _result(contestants, skipped)
    found["answer_bytes"] = {"head": len(head), "body": len(body)}
    return found


def compare_udp(folder: Path, turns: int, seconds: float, progress: Progress) -> dict[str, Any]:
    """Our worker in text and binary beside two compiled loops that only receive and send."""
    with contextlib.ExitStack() as stopping:
        node = start_one_worker(folder, stopping, progress)
        head, body = node.answer(ASSET)
        place = Place(folder, cores()[0], head, body)
        contestants = [
            _udp_contestant(OURS, "one request worker, text", node.worker_pids, node.udp_target()),
            _udp_contestant(f"{OURS} binary", "64 assets a datagram", node.worker_pids, node.udp_target(binary=True)),
        ]
        for name, what, echo in (
            ("echo", "recvmmsg, sendmmsg of the request", True),
            ("floor", "recvmmsg, sendmmsg of an answer as long as ours", False),
        ):
            server, port = start_udp_floor(place, echo)
            stopping.callback(server.stop)
            target = UdpTarget("127.0.0.1", port, [ASSET], protocol=ECHO if echo else TEXT)
            contestants.append(_udp_contestant(name, what, [server.pid], target))
        contest(contestants, turns, seconds, progress)
    return _result(contestants, [])


def _udp_contestant(name: str, what: str, pids: Sequence[int], target: UdpTarget) -> Contestant:
    return Contestant(name, what, pids, UdpGenerator(target, DATAGRAMS_IN_FLIGHT))


def _result(contestants: list[Contestant], skipped: list[str]) -> dict[str, Any]:
    ours = contestants[0]
    return {
        "contestants": [contestant.as_dict() for contestant in contestants],
        "ratio_of_ours": {other.name: round(ratio(ours, other), 3) for other in contestants[1:]},
        "skipped": skipped,
    }
