"""A cluster while its parts are killed: who notices, is every answer in the ledger, do limits hold, is a price wrong?

Three nodes, a push server, their stores and a load balancer as `make cluster` starts them. Every KILL_SECONDS one of
the three nodes is killed (SIGKILL for its supervisor; the launcher starts it again), in turn. At an eighth of the time
Valkey is killed and comes back empty, at half of it PostgreSQL is killed, at six eighths Valkey is killed again and
comes back with what it had. Meanwhile clients ask over HTTP and UDP, through the load balancer and directly, with one
retry (clients.py), and of a key with a limit more is asked than it may have.

    failures    questions that had no price after both tries
    ledger      after all of it: one row for each answer, and beyond them no more than what was asked and not answered
    limit       the most that was admitted in 10 s, against what the plan has for 10 s
    wrong       prices further than 50 bps outside of what the simulated market was (feeds/campaign.py)

Rules: loopback only, bounded in time; a cluster that ends is a PeerError.
"""

import re
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import PeerError
from benchmarks.parts.cluster.clients import Account, Client, HttpWay, UdpWay
from benchmarks.parts.feeds.campaign import OFF_BPS_MAX, Look, Truth, ranges_of
from benchmarks.progress import Progress
from benchmarks.servers.local_cluster import MeasuredCluster
from trinity.clock import NS_PER_SECOND, Clock
from trinity.markets import load_catalog

KILL_SECONDS = 20.0
LOOK_SECONDS = 0.5
# Of the limited key, and what is asked of it.
LIMIT_RATE, LIMIT_BURST = 50, 50
LIMIT_WINDOW_SECONDS = 10.0
_LIMIT_CLIENTS, _LIMIT_PAUSE_SECONDS = 6, 0.04
# Of each kind; together some 250 questions a second, which leaves most of two cores to the cluster.
_CLIENTS, _PAUSE_SECONDS = 3, 0.05
# After the last kill, until the node is back; and until every record is in the database.
_SETTLE_SECONDS, _LEDGER_SECONDS = 20.0, 120.0
_FAILURES_SHOWN = 20
# What nginx had sent to a node that never answered it, and asked another one for.
_RESENT = re.compile(r"while reading response header from upstream")


def measure_chaos(folder: Path, seconds: float, clock: Clock, progress: Progress) -> dict[str, Any]:
    """Run it; `wrong` counts failures, missing or surplus rows, and wrong prices together."""
    progress.step("starting a cluster")
    cluster = MeasuredCluster(folder)
    try:
        cluster.wait_ready()
        return _Chaos(cluster, clock, progress).run(seconds)
    finally:
        cluster.stop()


class _Chaos:
    def __init__(self, cluster: MeasuredCluster, clock: Clock, progress: Progress) -> None:
        self._cluster, self._clock, self._progress = cluster, clock, progress
        self._truth = Truth()
        self._checked, self._wrong_prices, self._worst_bps = 0, 0, 0.0
        self._events: list[dict[str, Any]] = []
        self._assets = [asset.name for asset in load_catalog().assets]
        nodes = [node.host for node in cluster.layout.answering]
        front = [cluster.layout.proxy]
        self._kinds: dict[str, Callable[[int], HttpWay | UdpWay]] = {
            "http-front": lambda _: HttpWay(front),
            "udp-front": lambda _: UdpWay(front),
            "http-node": lambda number: HttpWay(nodes[number % 3 :] + nodes[: number % 3]),
            "udp-node": lambda number: UdpWay(nodes[number % 3 :] + nodes[: number % 3]),
        }
        self._accounts = {kind: Account() for kind in self._kinds}
        self._key_of: dict[str, int] = {}
        self._limit_account = Account()
        self._admitted: list[float] = []

    def run(self, seconds: float) -> dict[str, Any]:
        clients = self._start_clients()
        self._progress.step(f"{len(clients)} clients ask; parts are killed for {seconds:.0f} s")
        try:
            self._last(seconds)
        finally:
            for client in clients:
                client.tell_to_stop()
            for client in clients:
                client.join(20)
        self._check_prices()
        return self._found(seconds, self._judge_ledger())

    def _start_clients(self) -> list[Client]:
        clients: list[Client] = []
        for kind, way in self._kinds.items():
            self._key_of[kind], key = self._cluster.make_key()
            self._cluster.wait_known(key)
            for number in range(_CLIENTS):
                seed = len(clients)
                account = self._accounts[kind]
                clients.append(Client(way(number), key, self._assets, account, self._clock, _PAUSE_SECONDS, seed))
        _, limited = self._cluster.make_key(rate_requests=LIMIT_RATE, burst=LIMIT_BURST)
        self._cluster.wait_known(limited)
        for number in range(_LIMIT_CLIENTS):
            ways = self._kinds["http-front" if number % 2 else "http-node"]
            account = self._limit_account
            clients.append(
                Client(ways(number), limited, self._assets, account, self._clock, _LIMIT_PAUSE_SECONDS, number)
            )
        self._look()
        for client in clients:
            client.start()
        return clients

    def _last(self, seconds: float) -> None:
        """Kill what is due, look at the market, hold prices against it."""
        began = self._now()
        due = deque(schedule(seconds, [node.name for node in self._cluster.layout.answering]))
        while (at := self._now() - began) < seconds + _SETTLE_SECONDS:
            while due and due[0][0] <= at:
                _, part, how = due.popleft()
                self._kill(part, how, at)
            self._look()
            self._check_prices()
            if self._cluster.has_ended():
                raise PeerError("cluster", "it ended")
            self._clock.sleep_ns(int(LOOK_SECONDS * NS_PER_SECOND))

    def _kill(self, part: str, how: str, at: float) -> None:
        if how == "with what it had":
            self._cluster.save_cache()
        elif part == "valkey":
            self._cluster.add_cache_keeper()
        self._cluster.kill(part)
        failed = sum(len(account.failures) for account in self._accounts.values())
        self._events.append({"second": round(at, 1), "killed": part, "how": how, "failures_before": failed})
        self._progress.step(
            f"{at:5.0f} s: {part} killed{f', comes back {how}' if how else ''}; {failed} failures so far"
        )

    def _look(self) -> None:
        layout = self._cluster.layout
        status, said = self._cluster.get(layout.simulator, 8090, "/market")
        if status == 200:
            self._truth.add(Look(self._now(), ranges_of(said["markets"])))

    def _check_prices(self) -> None:
        for account in (*self._accounts.values(), self._limit_account):
            taken = account.take_prices()
            if account is self._limit_account:
                self._admitted += [at for at, _, _ in taken]
            for _, asset, price in taken:
                off_bps = self._truth.off_bps(asset, price)
                self._checked += 1
                self._wrong_prices += off_bps > OFF_BPS_MAX
                self._worst_bps = max(self._worst_bps, off_bps)

    def _judge_ledger(self) -> dict[str, Any]:
        """Wait until the nodes have loaded everything; then rows of each kind's key against its account."""
        end = self._now() + _LEDGER_SECONDS
        while not self._is_loaded():
            if self._now() > end:
                raise PeerError("cluster", f"its ledgers were not loaded after {_LEDGER_SECONDS:.0f} s")
            self._clock.sleep_ns(NS_PER_SECOND // 2)
        error_log = self._cluster.layout.data_dir("nginx") / "error.log"
        resent = len(_RESENT.findall(error_log.read_text(errors="replace")))
        kinds = {}
        for kind, account in self._accounts.items():
            found = self._cluster.rows(
                "SELECT request_id, count(*), count(DISTINCT node_id) FROM usage_log WHERE key_id = %s GROUP BY 1",
                self._key_of[kind],
            )
            kinds[kind] = judge_rows(account, found, resent if kind == "http-front" else 0)
        return kinds

    def _is_loaded(self) -> bool:
        before = -1
        for node in self._cluster.layout.answering:
            status, said = self._cluster.get(node.host, 8081, "/health")
            ledger = (said or {}).get("ledger") if status else None
            if not ledger or ledger["lag_records"] or ledger["spool_bytes"] or not ledger["database_up"]:
                return False
            before = ledger["rows_loaded"]
        return before >= 0

    def _found(self, seconds: float, ledger: dict[str, Any]) -> dict[str, Any]:
        failures = [failure for account in self._accounts.values() for failure in account.failures]
        inexact = sum(row["missing"] + row["surplus"] + row["twice"] for row in ledger.values())
        most = most_in(self._admitted, LIMIT_WINDOW_SECONDS)
        planned = LIMIT_RATE * LIMIT_WINDOW_SECONDS + LIMIT_BURST
        return {
            "seconds": seconds,
            "events": self._events,
            "kinds": {
                kind: {
                    "questions": account.served + len(account.failures),
                    "failures": len(account.failures),
                    "retried": account.retried,
                    "refusals": dict(account.refusals),
                    **ledger[kind],
                }
                for kind, account in self._accounts.items()
            },
            "failures": len(failures),
            "examples": failures[:_FAILURES_SHOWN],
            "limit": {
                "admitted": len(self._admitted),
                "most_in_10_s": most,
                "planned_in_10_s": planned,
                "over": round(most / planned - 1, 4),
                "rate": round(len(self._admitted) / (seconds + _SETTLE_SECONDS), 1),
                "refusals": dict(self._limit_account.refusals),
            },
            "prices": {
                "checked": self._checked,
                "wrong": self._wrong_prices,
                "worst_bps": round(self._worst_bps, 1),
            },
            "wrong": len(failures) + inexact + self._wrong_prices,
        }

    def _now(self) -> float:
        return self._clock.monotonic_ns() / NS_PER_SECOND


def schedule(seconds: float, nodes: Sequence[str]) -> list[tuple[float, str, str]]:
    """(second, part, how it comes back), in order."""
    kills = [
        (number * KILL_SECONDS, nodes[number % len(nodes)], "") for number in range(1, int(seconds / KILL_SECONDS))
    ]
    stores = [
        (seconds / 8, "valkey", "empty"),
        (seconds / 2 + KILL_SECONDS / 4, "postgresql", ""),
        (seconds * 6 / 8, "valkey", "with what it had"),
    ]
    return sorted(kills + stores)


def judge_rows(account: Account, found: Sequence[tuple[Any, ...]], resent: int) -> dict[str, int]:
    """Rows (request id, how many, of how many nodes) against an account.

    Ids are unique on their node alone: an id of two nodes has two rows. `missing`: answers without a row; `twice`: rows
    beyond one a node; `surplus`: rows beyond all answers and everything that was asked and not answered.
    """
    rows = sum(count for _, count, _ in found)
    of_id = Counter({request_id: count for request_id, count, _ in found})
    missing = sum(max(0, answers - of_id[request_id]) for request_id, answers in account.ids.items())
    missing = max(missing, account.answers - rows)
    return {
        "answers": account.answers,
        "unanswered": account.unanswered,
        "resent": resent,
        "rows": rows,
        "missing": missing,
        "twice": sum(count - nodes for _, count, nodes in found),
        "surplus": max(0, rows - account.answers - account.unanswered - resent),
    }


def most_in(moments: Sequence[float], seconds: float) -> int:
    """The most of these moments within any window."""
    window: deque[float] = deque()
    most = 0
    for moment in sorted(moments):
        window.append(moment)
        while moment - window[0] >= seconds:
            window.popleft()
        most = max(most, len(window))
    return most
