"""`trinity record on | off | status` and `trinity replay`: recordings of what the node saw and decided.

`record` sets a word in the memory of the running node that every feed and the consensus look at some times a second.
`replay` recomputes the consensus from the recorded frames and compares it with what was published, bit for bit: exit
code 0 when all is equal, 1 with the first difference, or when nothing was recorded.
"""

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from trinity.cli.moments import parse_moment
from trinity.clock import NS_PER_SECOND
from trinity.config import Config
from trinity.errors import NodeAbsentError
from trinity.terminal import print_result

if TYPE_CHECKING:
    from feeds.audit.replay import ReplayOutcome

EXIT_FOUND_WRONG = 1


def add_arguments(command: str, parser: argparse.ArgumentParser) -> None:
    """What to do, or what to replay."""
    if command == "record":
        parser.add_argument("action", choices=("on", "off", "status"), help="switch recording, or show what there is")
        return
    parser.add_argument("--asset", metavar="ASSET", help="only this asset (and the coins that it is converted by)")
    parser.add_argument("--from", dest="start", metavar="TIME", help="2026-01-31T12:00:00Z, or seconds since 1970")
    parser.add_argument("--to", dest="end", metavar="TIME", help="as --from")


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Do it."""
    if parsed.command == "replay":
        return _replay(config, parsed)
    if parsed.action != "status":
        _switch(config, parsed.action == "on")
    content = _status(config)
    print_result(content, _lines_of(content), parsed.as_json)
    return 0


def _switch(config: Config, on: bool) -> None:
    from trinity.memory.control import NODE_RECORDING
    from trinity.memory.node import NodeMemory

    NodeMemory.attach(config.node.name).control.write_node_word(NODE_RECORDING, int(on))


def _status(config: Config) -> dict[str, Any]:
    """The switch of the running node (null without one), and what lies in the data directory."""
    from feeds.audit.segments import FOLDER, list_segments

    folder = config.node.data_dir / FOLDER
    segments = list_segments(folder)
    streams: dict[str, dict[str, Any]] = {}
    for info in segments:
        stream = streams.setdefault(info.stream, {"segments": 0, "bytes": 0, "since": _moment(info.start_ns)})
        stream["segments"] += 1
        stream["bytes"] += info.size
    is_on, failed = _switch_of(config)
    return {
        "on": is_on,
        "failed": failed,
        "folder": str(folder),
        "bytes": sum(info.size for info in segments),
        "bytes_max": config.recording.bytes_max,
        "streams": streams,
    }


def _switch_of(config: Config) -> tuple[bool | None, list[str]]:
    """Whether recording is on, and which processes gave it up after an error; (None, []) without a node."""
    from trinity.memory.control import NODE_RECORDING
    from trinity.memory.node import NodeMemory
    from trinity.observe.metrics import CONSENSUS, FEED

    gauges = {"feed": FEED.index("feed_recording"), "consensus": CONSENSUS.index("consensus_recording")}
    try:
        memory = NodeMemory.attach(config.node.name)
    except NodeAbsentError:
        return None, []
    failed = [
        entry.name
        for index, entry in enumerate(memory.card.processes)
        if entry.kind in gauges and memory.control.block(index).read_gauge(gauges[entry.kind]) < 0
    ]
    return memory.control.read_node_word(NODE_RECORDING) != 0, failed


def _lines_of(content: dict[str, Any]) -> list[str]:
    switch = {None: "no node runs here", True: "on", False: "off"}[content["on"]]
    used = f"{content['bytes'] / 1e6:.1f} MB of at most {content['bytes_max'] / 1e6:.0f} MB in {content['folder']}"
    lines = [f"recording {switch}", used]
    if content["failed"]:
        lines.append(f"given up after an error (see the log): {', '.join(content['failed'])}; switch it off and on")
    for name, stream in content["streams"].items():
        size = f"{stream['bytes'] / 1e6:>9.1f} MB"
        lines.append(f"  {name:<10} {stream['segments']:>4} segments {size} since {stream['since']}")
    return lines


def _replay(config: Config, parsed: argparse.Namespace) -> int:
    from feeds.audit.replay import replay

    asset = parsed.asset.upper() if parsed.asset else None
    start = parse_moment("--from", parsed.start) if parsed.start else None
    end = parse_moment("--to", parsed.end) if parsed.end else None
    outcome = replay(config.node.data_dir, asset, start, end)
    print_result(outcome, _lines_of_outcome(outcome), parsed.as_json)
    return EXIT_FOUND_WRONG if outcome.difference is not None or not outcome.turns else 0


def _lines_of_outcome(outcome: "ReplayOutcome") -> list[str]:
    if outcome.from_ns is None or outcome.to_ns is None:
        return ["nothing was recorded in this range: `trinity record status` shows what there is"]
    inputs = f"{outcome.quotes} quotes of {outcome.frames} frames"
    lines = [
        f"{_moment(outcome.from_ns)} to {_moment(outcome.to_ns)}",
        f"{outcome.decisions} decisions in {outcome.turns} turns, from {inputs}",
    ]
    if outcome.quotes_unrecorded:
        lines.append(f"{outcome.quotes_unrecorded} quotes came in frames that were not recorded, and are taken as read")
    difference = outcome.difference
    if difference is None:
        return [*lines, "all equal, bit for bit"]
    told = msgspec.json.encode([difference.recorded, difference.replayed])
    recorded, replayed = msgspec.json.decode(told)
    where = " ".join(part for part in (difference.asset, difference.exchange) if part)
    return [
        *lines,
        f"DIFFERENT at {_moment(difference.wall_ns)}: {difference.what} {where}".rstrip(),
        f"  recorded {recorded}",
        f"  replayed {replayed}",
    ]


def _moment(wall_ns: int) -> str:
    return datetime.fromtimestamp(wall_ns / NS_PER_SECOND, UTC).isoformat(timespec="milliseconds")
