"""`trinity health`: does the node on this machine live? For a container's HEALTHCHECK and other scripts.

    starting   exit 1   no answer yet, or no fresh price in the first READY_HINT_NS of its life
    ok         exit 0   as /health says it
    degraded   exit 0
    no prices  exit 0   only the exchanges are missing: a restart brings none of them nearer, and takes away the reports
    draining   exit 0   it ends by itself
    sick       exit 1   whoever should answer makes no progress, and the supervisor could not mend it
    silent     exit 1   nothing answers: it starts (the container's start period knows that), or it is dead

Rules: one question over loopback, two seconds at most, no file is written and no table read: it runs every 30 s. The
judgement is pure. Whether requests may be sent here is another question, which load balancers ask at /ready.
"""

import argparse
import contextlib
import http.client
import json
from typing import Any, NamedTuple

from trinity.clock import NS_PER_MS, SystemClock
from trinity.config import Config
from trinity.limits import READY_HINT_NS
from trinity.net.ports import health_listeners_of, local_host
from trinity.terminal import print_result

EXIT_SICK = 1
_ANSWER_SECONDS_MAX = 2.0
# The reasons of a node that is down while its exchanges may be well.
_ANSWERERS = {"no_request_worker", "no_reporter", "no_pusher"}
_DRAINING = "draining"


class HealthVerdict(NamedTuple):
    """The word of the table above, and what stands behind it."""

    state: str
    healthy: bool
    message: str


def add_arguments(_command: str, _parser: argparse.ArgumentParser) -> None:
    """Where the node is, its configuration says."""


def run(config: Config, parsed: argparse.Namespace) -> int:
    """Ask and judge."""
    host, port = local_host(config.node.bind_host), health_listeners_of(config)[0].port
    body = _ask(host, port)
    verdict = (
        judge(body, SystemClock().wall_ns() // NS_PER_MS)
        if body is not None
        else HealthVerdict("silent", False, f"nothing answers at port {port}: the node starts, or it is dead")
    )
    print_result(verdict._asdict(), [f"{verdict.state}: {verdict.message}".removesuffix(": ")], parsed.as_json)
    return 0 if verdict.healthy else EXIT_SICK


def judge(body: dict[str, Any], now_ms: int) -> HealthVerdict:
    """What /health says of the node, for whoever may restart it."""
    status, codes = body["status"], {reason["code"] for reason in body["reasons"]}
    message = "; ".join(reason["message"] for reason in body["reasons"])
    if status != "down":
        return HealthVerdict(status, True, message)
    if _DRAINING in codes:
        return HealthVerdict(_DRAINING, True, message)
    if 0 <= now_ms - body["started_at_ms"] < READY_HINT_NS // NS_PER_MS:
        return HealthVerdict("starting", False, message)
    if codes & _ANSWERERS:
        return HealthVerdict("sick", False, message)
    return HealthVerdict("no prices", True, message)


def _ask(host: str, port: int) -> dict[str, Any] | None:
    """The body of /health; None where nothing, or nothing of ours, answers."""
    connection = http.client.HTTPConnection(host, port, timeout=_ANSWER_SECONDS_MAX)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        connection.request("GET", "/health")
        body = json.loads(connection.getresponse().read())
        if isinstance(body, dict) and {"status", "reasons", "started_at_ms"} <= body.keys():
            return body
    return None
