"""Reports over UDP: one JSON object in, one out, of at most 1,200 bytes (docs/protocol.md, "UDP reports").

    {"report":"summary","api_key":"...","period":"24h","id":7}

Rules: a reply is no longer than its request unless the sender is on loopback or in a trusted network, so a forged
address gains nothing; who needs more room pads. What has a member `error` is a reply and is never answered. So many
datagrams are worked on at a time and no more: the others are dropped, and only counted. All that were read have a row
in report_usage_log, with the status of what was sent. Wrong keys are tries of their address as over HTTP, but counted
apart.
"""

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from trinity.clock import NS_PER_SECOND, NS_PER_US
from trinity.limits import UDP_ID_BYTES_MAX, UDP_REQUEST_BYTES_MAX
from trinity.metrics import REPORTER
from workers.reports.auth import Caller, identify, require_usage_reader
from workers.reports.calls import Call
from workers.reports.forwarded import Address, NetworkSet, address_of
from workers.reports.parameters import Span, read_period, read_zone
from workers.reports.parts import Parts
from workers.reports.problems import RefusedError, problem_of
from workers.reports.selection import Selection
from workers.reports.summary import summarize
from workers.reports.usage import Sums, now_of, span_of_period

# Fits every network path without a fragment (QUIC's minimum).
REPLY_BYTES_MAX = 1_200
# Each is a short question to the database, which has some connections.
IN_WORK_MAX = 64
# As HTTP's for the same refusal of a lookup.
_PAD_REQUEST_STATUS = 400
_PADDING = b" \t\r\n\0"

_RESULTS = {result: REPORTER.index("report_udp_datagrams_total", result) for result in ("answered", "error", "dropped")}


class ReportRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a datagram may say."""

    report: Literal["summary"]
    api_key: str | None = None
    period: str = "24h"
    id: int | str | None = None


class ReportDatagrams(asyncio.DatagramProtocol):
    """The datagram endpoint of one process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._trusted = NetworkSet(parts.settings.udp_trusted_networks)
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not 0 < len(data) <= UDP_REQUEST_BYTES_MAX or len(self._tasks) >= IN_WORK_MAX:
            self._parts.seat.block.count(_RESULTS["dropped"])
            return
        task = asyncio.get_running_loop().create_task(self._answer(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def is_trusted(self, address: Address) -> bool:
        """Whether a reply may be longer than the request."""
        return address.is_loopback or self._trusted.holds(address)

    async def _answer(self, data: bytes, sender: tuple[str, int]) -> None:
        parts = self._parts
        clock = parts.seat.clock
        started_ns, now = clock.monotonic_ns(), datetime.fromtimestamp(clock.wall_ns() / NS_PER_SECOND, UTC)
        address = address_of(sender[0])
        status, reply, caller = await reply_to(parts, data, address)
        if not self.is_trusted(address) and len(reply) > len(data):
            status, reply = _PAD_REQUEST_STATUS, within(reply, len(data))
        if reply and self._transport is not None:
            self._transport.sendto(reply, sender)
        result = "dropped" if not reply else "answered" if status < 400 else "error"
        parts.seat.block.count(_RESULTS[result])
        latency_us = (clock.monotonic_ns() - started_ns) // NS_PER_US
        account_id, key_id = (caller.account_id or None, caller.key_id or None) if caller else (None, None)
        parts.calls.add(
            Call(now, uuid.uuid4(), account_id, key_id, "udp:summary", status, latency_us, len(reply), address),
            is_known=caller is not None and caller.kind != "anonymous",
        )


async def reply_to(parts: Parts, data: bytes, address: Address) -> tuple[int, bytes, Caller | None]:
    """Status, reply and caller; an empty reply is not sent."""
    identity, caller = None, None
    try:
        fields = _fields_of(data)
        if "error" in fields:
            return 400, b"", None
        identity = fields.get("id")
        if parts.callers.is_blocked(address):
            raise RefusedError(403, "address_blocked", "this address is blocked")
        request = _request_of(fields)
        caller = await identify(parts, request.api_key, address, parts.udp_tries)
        require_usage_reader(caller)
        if not caller.is_admin:
            parts.admission.admit(caller.key_id, address)
        summary = await _summary(parts, caller, read_period(request.period, "period"))
        return 200, _fitted({**_identity(identity), "report": "summary", "period": request.period, **summary}), caller
    except Exception as error:
        problem = problem_of(error)
        if problem.status == 500:
            parts.seat.log.error("datagram failed", exc_info=error)
        return problem.status, _refusal(identity, problem), caller


def within(reply: bytes, room: int) -> bytes:
    """The reply if it is no longer than its request, else what fits of a request for padding, else nothing."""
    if len(reply) <= room:
        return reply
    message = "the reply is longer than the request"
    for error in ({"code": "pad_request", "message": message, "bytes": len(reply)}, {"code": "pad_request"}):
        short = msgspec.json.encode({"error": error})
        if len(short) <= room:
            return short
    return b""


def _fields_of(data: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(data.rstrip(_PADDING), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RefusedError(400, "bad_request", "one JSON object is expected") from None
    identity = fields.get("id")
    if len(msgspec.json.encode(identity)) > UDP_ID_BYTES_MAX:
        del fields["id"]
        raise RefusedError(400, "bad_parameter", f"at most {UDP_ID_BYTES_MAX} bytes", "id")
    return fields


def _request_of(fields: dict[str, Any]) -> ReportRequest:
    try:
        return msgspec.convert(fields, ReportRequest)
    except msgspec.ValidationError as error:
        detail, _, path = str(error).partition(" - at `$.")
        raise RefusedError(400, "bad_parameter", detail, path.rstrip("`") or None) from None


async def _summary(parts: Parts, caller: Caller, period: Any) -> dict[str, Any]:
    zone = read_zone("UTC")
    now = now_of(parts)
    span = span_of_period(period, now, Span(now - period, now, zone))
    selection = Selection(None if caller.is_admin else list(caller.key_ids))
    body = await summarize(parts, Sums(span, selection, None, "all").parameters(), span)
    summary: dict[str, Any] = msgspec.json.decode(body)
    return summary


def _fitted(reply: dict[str, Any]) -> bytes:
    """As many of the busiest assets as there is room for."""
    assets = list(reply["top_assets"].items())
    while True:
        encoded = msgspec.json.encode({**reply, "top_assets": dict(assets)})
        if len(encoded) <= REPLY_BYTES_MAX or not assets:
            return encoded
        assets.pop()


def _refusal(identity: Any, error: RefusedError) -> bytes:
    body = {"code": error.code, "message": error.detail, **({"parameter": error.field} if error.field else {})}
    return msgspec.json.encode({**_identity(identity), "error": body})


def _identity(identity: Any) -> dict[str, Any]:
    return {"id": identity} if isinstance(identity, int | str) else {}
