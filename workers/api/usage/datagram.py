"""Reports over UDP: one JSON object in, one out, of at most 1,200 bytes (docs/protocol.md, "UDP reports").

    {"report":"summary","api_key":"...","period":"24h","id":7}

Rules: a reply is no longer than its request unless the sender is on loopback or in a trusted network, so a forged
address gains nothing; who needs more room pads. What has a member `error` is a reply and is never answered. A reply
leaves from the address that was asked: a socket of all addresses is told which with each datagram, and that word goes
back (trinity/net/ports.py). So many datagrams are worked on at a time and no more: the others are dropped, and only
counted. All that were read have a row in report_usage_log, with the status of what was sent. Wrong keys are tries of
their address as over HTTP, but counted apart.
"""

import asyncio
import contextlib
import socket
import uuid
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from trinity.clock import NS_PER_SECOND, NS_PER_US
from trinity.limits import UDP_ID_BYTES_MAX, UDP_REQUEST_BYTES_MAX
from trinity.linux import IP_PKTINFO
from trinity.observe.metrics import REPORTER
from trinity.vocabulary import problem_for
from workers.api.base.allowed import explain_decoding
from workers.api.base.callers.auth import ApiCaller, identify, require_usage_reader
from workers.api.base.callers.forwarded import Address, NetworkSet, address_of
from workers.api.base.callers.throttle import LoginThrottle
from workers.api.base.calls import Call
from workers.api.base.context import Parts
from workers.api.base.parameters import read_period, read_zone
from workers.api.base.problems import ProblemError, problem_of, refusal_of
from workers.api.usage.selection import Selection
from workers.api.usage.summary import summarize
from workers.api.usage.usage import UsageSums, detail_from_of, span_of_period

# Fits every network path without a fragment (QUIC's minimum).
REPLY_BYTES_MAX = 1_200
# Each is a short question to the database, which has some connections.
IN_WORK_MAX = 64
# As HTTP's for the same refusal of a lookup.
_PAD_REQUEST_STATUS = 400
_INTERFACE_BYTES = 4
_CONTROL_BYTES = socket.CMSG_SPACE(20)  # in6_pktinfo, the longer of the two
_PADDING = b" \t\r\n\0"

_RESULTS = {result: REPORTER.index("report_udp_datagrams_total", result) for result in ("answered", "error", "dropped")}


Control = list[tuple[int, int, bytes]]


class ReportRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a datagram may say."""

    report: Literal["summary"]
    api_key: str | None = None
    period: str = "24h"
    id: int | str | None = None


_ALLOWED = {"report": ("summary",)}


class ReportDatagrams:
    """The datagrams of a bound socket, read by the running loop until `close`."""

    def __init__(self, parts: Parts, bound: socket.socket) -> None:
        self._parts = parts
        # Addresses of datagrams can be forged: nobody is locked out of HTTP by them.
        self._throttle = LoginThrottle()
        self._bound = bound
        self._trusted = NetworkSet(parts.settings.udp_trusted_networks)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(bound.fileno(), self._receive)

    def pause(self) -> None:
        """Read no more, and answer what is in work: another process reads on from the same socket."""
        self._loop.remove_reader(self._bound.fileno())

    def close(self) -> None:
        """Read no more; what is in work has nobody left to be sent to."""
        if self._bound.fileno() >= 0:
            self._loop.remove_reader(self._bound.fileno())
            self._bound.close()

    def _receive(self) -> None:
        """Take what waits, up to a bound: other events of the loop have their turn."""
        for _ in range(IN_WORK_MAX):
            try:
                data, control, _, sender = self._bound.recvmsg(UDP_REQUEST_BYTES_MAX + 1, _CONTROL_BYTES)
            except OSError:  # nothing waits, or a peer's ICMP message, which is of no consequence here
                return
            if not 0 < len(data) <= UDP_REQUEST_BYTES_MAX or len(self._tasks) >= IN_WORK_MAX:
                self._parts.context.block.count(_RESULTS["dropped"])
                continue
            task = self._loop.create_task(self._answer(data, sender, _without_interface(control)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _send(self, reply: bytes, sender: Any, control: Control) -> None:
        """Send, or drop as the network would."""
        with contextlib.suppress(OSError):
            self._bound.sendmsg([reply], control, socket.MSG_DONTWAIT, sender)

    def is_trusted(self, address: Address) -> bool:
        """Whether a reply may be longer than the request."""
        return address.is_loopback or self._trusted.holds(address)

    async def _answer(self, data: bytes, sender: Any, control: Control) -> None:
        parts = self._parts
        clock = parts.context.clock
        started_ns, now = clock.monotonic_ns(), datetime.fromtimestamp(clock.wall_ns() / NS_PER_SECOND, UTC)
        address = address_of(sender[0].partition("%")[0])
        status, reply, caller = await reply_to(parts, self._throttle, data, address)
        if not self.is_trusted(address) and len(reply) > len(data):
            status, reply = _PAD_REQUEST_STATUS, within(reply, len(data))
        if reply:
            self._send(reply, sender, control)
        result = "dropped" if not reply else "answered" if status < 400 else "error"
        parts.context.block.count(_RESULTS[result])
        latency_us = (clock.monotonic_ns() - started_ns) // NS_PER_US
        account_id, key_id = (caller.account_id or None, caller.key_id or None) if caller else (None, None)
        parts.calls.add(
            Call(now, uuid.uuid4(), account_id, key_id, "udp:summary", status, latency_us, len(reply), address),
            is_known=caller is not None and caller.kind != "anonymous",
        )


def _without_interface(control: Control) -> Control:
    """The address that was asked, of in_pktinfo or in6_pktinfo (ip(7), ipv6(7)); by where to reply, routing knows."""
    kept = []
    for level, kind, data in control:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            kept.append((level, kind, bytes(_INTERFACE_BYTES) + data[_INTERFACE_BYTES:]))
        elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            kept.append((level, kind, data[:-_INTERFACE_BYTES] + bytes(_INTERFACE_BYTES)))
    return kept


async def reply_to(
    parts: Parts, throttle: LoginThrottle, data: bytes, address: Address
) -> tuple[int, bytes, ApiCaller | None]:
    """Status, reply and caller; an empty reply is not sent."""
    identity, caller = None, None
    try:
        fields = _fields_of(data)
        if "error" in fields:
            return 400, b"", None
        identity = fields.get("id")
        if parts.callers.is_blocked(address):
            raise refusal_of("address_blocked")
        request = _request_of(fields)
        caller = await identify(parts, request.api_key or None, address, throttle)
        require_usage_reader(caller)
        if not caller.sees_all_usage:
            parts.admission.admit(caller.key_id, address, is_free=True)
        summary = await _summary(parts, caller, read_period(request.period, "period"))
        return 200, _fitted({**_identity(identity), "report": "summary", "period": request.period, **summary}), caller
    except Exception as error:
        problem = problem_of(error)
        if problem.status == 500:
            parts.context.log.error("datagram failed", exc_info=error)
        return problem.status, _refusal(identity, problem), caller


def within(reply: bytes, room: int) -> bytes:
    """The reply if it is no longer than its request, else what fits of a request for padding, else nothing."""
    if len(reply) <= room:
        return reply
    _, code, message, _ = problem_for("pad_request")
    for error in ({"code": code, "message": message, "bytes": len(reply)}, {"code": code}):
        short = msgspec.json.encode({"error": error})
        if len(short) <= room:
            return short
    return b""


def _fields_of(data: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(data.rstrip(_PADDING), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProblemError(400, "bad_request", "one JSON object is expected") from None
    identity = fields.get("id")
    if len(msgspec.json.encode(identity)) > UDP_ID_BYTES_MAX:
        del fields["id"]
        raise ProblemError(400, "bad_parameter", f"at most {UDP_ID_BYTES_MAX} bytes", "id")
    return fields


def _request_of(fields: dict[str, Any]) -> ReportRequest:
    try:
        return msgspec.convert(fields, ReportRequest)
    except msgspec.ValidationError as error:
        raise ProblemError(400, "bad_parameter", *explain_decoding(error, _ALLOWED)) from None


async def _summary(parts: Parts, caller: ApiCaller, period: Any) -> dict[str, Any]:
    zone = read_zone("UTC")
    span = span_of_period(period, parts.now(), zone, detail_from_of(parts))
    selection = Selection(None if caller.sees_all_usage else list(caller.key_ids))
    body = await summarize(parts, UsageSums(span, selection, None, "all", detail_from_of(parts)).parameters(), span)
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


def _refusal(identity: Any, error: ProblemError) -> bytes:
    body = {"code": error.code, "message": error.detail, **({"field": error.field} if error.field else {})}
    return msgspec.json.encode({**_identity(identity), "error": body})


def _identity(identity: Any) -> dict[str, Any]:
    return {"id": identity} if isinstance(identity, int | str) else {}
