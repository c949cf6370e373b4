"""`python -m benchmarks`, `trinity bench`, `make bench`: measure this machine and say which figures are reached.

    python -m benchmarks all                the whole table, 5 to 8 minutes
    python -m benchmarks peers --turns 5    one part of it

Rules: everything runs on loopback and is bounded in time; progress goes to stderr, the tables to stdout; results go
to `--out` (default: a new folder under the data directory): results.json, results.txt and the plots.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.errors import PeerError
from benchmarks.progress import Progress
from benchmarks.report.measured import unmeasured
from benchmarks.servers.processes import cores, data_dir
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.compiled import prepare_cache
from trinity.errors import TrinityError
from trinity.extras import missing_extra

EXIT_FAILED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts that were asked for; 1 when one of them could not be measured or found something wrong."""
    wanted = _parser().parse_args(argv)
    prepare_cache(data_dir())
    # Behind prepare_cache: these import compiled code.
    from benchmarks.report.figures import judge
    from benchmarks.report.results import describe_run, write_results
    from benchmarks.servers.peers import versions

    clock = SystemClock()
    day = datetime.fromtimestamp(clock.wall_ns() / NS_PER_SECOND, UTC)
    folder = (wanted.out or data_dir() / "bench" / day.strftime("%Y-%m-%d-%H%M%S")).resolve()
    (folder / "servers").mkdir(parents=True, exist_ok=True)
    run = describe_run(clock, wanted.seed, versions())
    os.environ["SIMULATOR_SEED"] = str(wanted.seed)
    progress = Progress(clock)
    progress.step(f"results go to {folder}; the first run after an update compiles for a minute or two")
    results: dict[str, Any] = {}
    failed = []
    whole_machine, (_, client_core) = os.sched_getaffinity(0), cores()
    for part in _PARTS_OF_ALL if wanted.part == "all" else (wanted.part,):
        for name, measure in _PARTS[part].items():
            progress.step(f"--- {name}")
            os.sched_setaffinity(0, {client_core} if part in _ON_ONE_CORE else whole_machine)
            try:
                found = measure(folder / "servers", wanted, progress)
                if (empty := unmeasured(name, found)) is not None:
                    raise PeerError(name, empty)
                results[name] = found
                if found.get("wrong"):
                    failed.append(name)
                    progress.step(f"{name}: {found['wrong']} wrong, see {folder}")
            except Exception as error:  # noqa: BLE001 - whatever ends one part, the others are measured, and it is said
                failed.append(name)
                cause = missing_extra(error) if isinstance(error, ModuleNotFoundError) else error
                progress.step(
                    f"{name} could not be measured: {cause if isinstance(cause, TrinityError) else repr(cause)}"
                )
            finally:
                os.sched_setaffinity(0, whole_machine)
    print(write_results(folder, run, results))
    _draw(folder, results, progress)
    missed = [reached.name for reached in judge(results) if not reached.reached]
    print(f"results: {folder}" + (f"\nnot reached: {'; '.join(missed)}" if missed else ""))
    if failed:
        progress.step(f"failed: {', '.join(failed)}")
    return EXIT_FAILED if failed else 0


def _draw(folder: Path, results: Mapping[str, Any], progress: Progress) -> None:
    """The plots, where their library is installed; the tables need none."""
    try:
        from benchmarks.report.plots import draw_all
    except ModuleNotFoundError as error:
        progress.step(f"no plots: {missing_extra(error)}")
    else:
        draw_all(folder, results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trinity bench", description="Measure this machine.")
    parser.add_argument("part", nargs="?", default="all", choices=("all", *_PARTS), help="default: all")
    parser.add_argument("--turns", type=int, default=5, help="turns of which the median counts (default 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one run (default 1)")
    parser.add_argument("--soak-seconds", type=float, default=40.0, help="length of the soak (default 40)")
    parser.add_argument("--soak-rate", type=int, default=4_000, help="requests/s of the soak (default 4000)")
    parser.add_argument("--soak-quotes", type=int, default=1_000, help="quotes/s of the soak (default 1000)")
    parser.add_argument("--wire-seconds", type=float, default=20.0, help="length of `wire` (default 20)")
    parser.add_argument("--feed-seconds", type=float, default=5.0, help="length of a rate of `feeds` (default 5)")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has ccxt and cryptofeed")
    parser.add_argument("--stream-seconds", type=float, default=20.0, help="length of `streams` (default 20)")
    parser.add_argument("--stream-clients", type=int, default=4_000, help="clients of `streams` (default 4,000)")
    parser.add_argument("--calls", type=int, default=500, help="calls of each question of `markets` (default 500)")
    parser.add_argument("--ledger-seconds", type=float, default=60.0, help="length of the ledger's load (default 60)")
    parser.add_argument("--minutes", type=float, default=20.0, help="length of `campaign` (default 20)")
    parser.add_argument("--workers", type=int, default=2, help="request workers of a whole node (default 2)")
    parser.add_argument("--rows", type=int, default=2_000_000, help="usage rows of `reports` (default 2,000,000)")
    parser.add_argument(
        "--restore-rows", type=int, default=50_000_000, help="usage rows of `restore` (default 50,000,000)"
    )
    parser.add_argument("--restore-seconds", type=float, default=20.0, help="commits before the fire (default 20)")
    parser.add_argument("--sync-rows", type=int, default=1_000_000, help="usage rows of `sync` (default 1,000,000)")
    parser.add_argument("--keys", type=int, default=1_000_000, help="API keys of `keys`, `access` (default 1,000,000)")
    parser.add_argument("--refusals", type=int, default=10_000_000, help="refusals of `refusals` (default 10,000,000)")
    parser.add_argument("--subscriptions", type=int, default=10_000, help="subscriptions of `push` (default 10,000)")
    parser.add_argument("--push-seconds", type=float, default=60.0, help="length of a window of `push` (default 60)")
    parser.add_argument("--misses", type=int, default=40, help="assets of `misses`, one after the other (default 40)")
    parser.add_argument("--miss-seconds", type=float, default=30.0, help="length of a load of `misses` (default 30)")
    parser.add_argument("--chaos-seconds", type=float, default=300.0, help="length of `cluster` (default 300)")
    parser.add_argument("--front-seconds", type=float, default=20.0, help="length of a soak of `front` (default 20)")
    parser.add_argument("--roll-requests", type=int, default=1_000_000, help="questions of `roll` (default 1,000,000)")
    parser.add_argument("--limit-seconds", type=float, default=40.0, help="length of a load of `limits` (default 40)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the markets and faults (default 1)")
    parser.add_argument("--out", type=Path, help="folder for the results")
    return parser


Measure = Callable[[Path, argparse.Namespace, Progress], dict[str, Any]]


def _http(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.answers.side_by_side import compare_http

    return compare_http(folder, wanted.turns, wanted.seconds, progress)


def _udp(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.answers.side_by_side import compare_udp

    return compare_udp(folder, wanted.turns, wanted.seconds, progress)


def _levels(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.answers.levels import measure_levels

    return measure_levels(folder, wanted.seconds, progress)


def _pipelining(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.answers.rates import measure_pipelining

    return measure_pipelining(folder, wanted.turns, wanted.seconds, progress)


def _half_peak(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.answers.rates import measure_half_peak

    return measure_half_peak(folder, wanted.turns, wanted.seconds, progress)


def _user(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.answers.user_mode import measure_user_mode

    return measure_user_mode(folder, wanted.turns, wanted.seconds, progress)


def _access(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.answers.access import measure_access

    return measure_access(folder, wanted.turns, wanted.keys, progress)


def _wire(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.feeds.wire import measure_wire

    return measure_wire(folder, wanted.wire_seconds, SystemClock(), progress)


def _memory(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.answers.soak import measure_memory

    return measure_memory(folder, wanted.workers, progress)


def _soak(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.answers.soak import measure_soak

    return measure_soak(folder, wanted.soak_seconds, wanted.soak_rate, wanted.soak_quotes, wanted.workers, progress)


def _campaign(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.feeds.campaign import measure_campaign

    return measure_campaign(folder, wanted.minutes, wanted.seed, SystemClock(), progress)


def _sync(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.service.sync import measure_sync

    return measure_sync(folder, wanted.sync_rows, wanted.turns, progress)


def _reports(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.service.reports import measure_reports

    return measure_reports(folder, wanted.rows, wanted.seconds, SystemClock(), progress)


def _restore(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.service.restore import measure_restore

    return measure_restore(folder, wanted.restore_rows, wanted.restore_seconds, SystemClock(), progress)


def _markets(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.service.markets import measure_markets

    return measure_markets(folder, wanted.calls, progress)


def _streams(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.service.streams import measure_streams

    return measure_streams(folder, wanted.stream_clients, wanted.stream_seconds, progress)


def _keys(_folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.answers.keys import measure_keys

    return measure_keys(wanted.keys, progress)


def _ledger(_folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.service.ledger import measure_ledger

    return measure_ledger(wanted.ledger_seconds, progress)


def _delivery_log(_folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.service.ledger import measure_delivery_log

    return measure_delivery_log(wanted.ledger_seconds, progress)


def _misses(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.cluster.misses import measure_misses

    return measure_misses(folder, wanted.misses, wanted.miss_seconds, progress)


def _refusals(_folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.service.refusals import measure_refusals

    return measure_refusals(wanted.refusals, progress)


def _ledger_beside(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.service.ledger_beside import measure_ledger_beside

    return measure_ledger_beside(folder, wanted.turns, progress)


def _udp_flood(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.answers.udp_flood import measure_udp_flood

    return measure_udp_flood(folder, wanted.seconds, progress)


def _governor(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.answers.governor import measure_governor

    return measure_governor(folder, wanted.turns, progress)


def _consensus(_folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.feeds.consensus import measure_consensus

    return measure_consensus(wanted.turns, progress)


def _feeds(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.feeds.feeds import measure_feeds

    return measure_feeds(folder, wanted.feed_seconds, progress)


def _feed_peers(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.feeds.feeds import compare_feeds

    return compare_feeds(folder, wanted.feed_seconds, wanted.peer_python, progress)


def _push_https(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.push.push_https import measure_push_https

    return measure_push_https(folder, wanted.turns, wanted.seconds, progress)


def _push_schedule(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.push.push_schedule import measure_push_schedule

    return measure_push_schedule(folder, wanted.subscriptions, wanted.push_seconds, progress)


def _push_udp(_folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.push.push_udp import measure_push_udp

    return measure_push_udp(wanted.turns, wanted.seconds, progress)


def _push_process(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.push.push_process import measure_push_process

    return measure_push_process(folder, wanted.seconds, progress)


def _chaos(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.cluster.chaos import measure_chaos

    return measure_chaos(folder, wanted.chaos_seconds, SystemClock(), progress)


def _restart(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.service.restart import measure_restart

    return measure_restart(folder, wanted.turns, SystemClock(), progress)


def _roll(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.cluster.roll import measure_roll

    return measure_roll(folder, wanted.roll_requests, SystemClock(), progress)


def _front(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.answers.front import measure_front

    return measure_front(folder, wanted.turns, wanted.seconds, wanted.front_seconds, SystemClock(), progress)


def _limits(folder: Path, wanted: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from benchmarks.parts.cluster.limits import measure_limits

    return measure_limits(folder, wanted.limit_seconds, SystemClock(), progress)


# Part of the command line -> what it measures, by the name in the results.
_PARTS: Mapping[str, Mapping[str, Measure]] = {
    "levels": {"levels": _levels},
    "peers": {"http": _http, "udp": _udp},
    "pipeline": {"pipelining": _pipelining},
    "open": {"half_peak": _half_peak},
    "user": {"user_mode": _user},
    "access": {"access": _access},
    "wire": {"wire": _wire},
    "feeds": {"feeds": _feeds},
    "consensus": {"consensus": _consensus},
    "feed-peers": {"feed_peers": _feed_peers},
    "memory": {"memory": _memory},
    "soak": {"soak": _soak},
    "reports": {"reports": _reports},
    "sync": {"sync": _sync},
    "restore": {"restore": _restore},
    "streams": {"streams": _streams},
    "markets": {"markets": _markets},
    "keys": {"keys": _keys},
    "campaign": {"campaign": _campaign},
    "cluster": {"chaos": _chaos},
    "roll": {"roll": _roll},
    "restart": {"restart": _restart},
    "front": {"front": _front},
    "limits": {"limits": _limits},
    "misses": {"misses": _misses},
    "refusals": {"refusals": _refusals},
    "udp-flood": {"udp_flood": _udp_flood},
    "governor": {"governor": _governor},
    "ledger": {"ledger": _ledger, "ledger_beside": _ledger_beside},
    "push": {
        "push_https": _push_https,
        "push_udp": _push_udp,
        "push_process": _push_process,
        "delivery_log": _delivery_log,
        "push_schedule": _push_schedule,
    },
}
_PARTS_OF_ALL = (
    "peers",
    "levels",
    "pipeline",
    "open",
    "user",
    "access",
    "feeds",
    "consensus",
    "wire",
    "memory",
    "soak",
    "streams",
    "ledger",
)
# The generator on one core, the server on the other; a whole node has all cores, as it would in service.
_ON_ONE_CORE = ("levels", "peers", "pipeline", "open", "user", "access", "reports", "udp-flood", "governor", "front")


if __name__ == "__main__":
    sys.exit(main())
