"""A client over HTTP, UDP text (JSON) and UDP binary. It needs no other file of Trinity, so it may be copied out alone.

    prices = Client("127.0.0.1", api_key="...").prices("BTC", "ETH", via="binary", max_age_ms=2000)
    prices = await Client("127.0.0.1").prices_async("BTC", "ETH", min_sources=4)
    push = PushReceiver("whsec_...").accept(datagram)          a datagram of the push server; None: not to be believed

One dict an asset, in order; "price" (a Decimal) is there only where "status" is "fresh". A request refused as a whole
raises OracleError(code, message); no answer after all tries raises TimeoutError. Nothing stays open between calls.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import socket
import struct
from contextlib import closing, suppress
from datetime import UTC, datetime
from decimal import Decimal
from http.client import HTTPConnection, HTTPException
from typing import Any, Literal
from urllib.parse import urlencode

Via = Literal["http", "text", "binary"]
Prices = list[dict[str, Any]]
STATUSES = ["fresh", "stale_price", "too_few_sources", "sources_disagree", "unknown_market", "price_too_old"]
STATUSES += ["too_few_sources", "confidence_too_wide", "unknown_asset", "asset_resolving", "miss_budget_exceeded"]
REFUSALS = ["", "bad_request", "bad_version", "pad_request", "missing_key", "invalid_key", "key_revoked"]
REFUSALS += ["key_suspended", "address_blocked", "rate_limited", "quota_exceeded", "keys_unavailable"]
REASONS = ["interval", "deviation", "heartbeat", "recovery", "test", "replay"]
AGE_NONE, STRAYS_MAX, REPLY_BYTES_MAX, TAG_BYTES = 2**32 - 1, 64, 65535, 16


class OracleError(Exception):
    """The request was refused as a whole."""


def encode(via: Via, assets: tuple[str, ...], quality: dict[str, float], request_id: int, key: str = "") -> bytes:
    """A request datagram, as long as its usual reply, so that no node asks a stranger for padding."""
    if via == "text":
        text = json.dumps({"id": request_id, "assets": assets, "api_key": key, **quality}).encode()
        return text.ljust(min(360 * len(assets) + 40, 2048))
    limits = int(quality.get("max_age_ms", 0)), round(1000 * quality.get("max_conf_bps", 0))
    head = (b"\xd7TRQ", 1, 2 * bool(key), len(assets), int(quality.get("min_sources", 0)), request_id, *limits)
    names = b"".join(struct.pack("16s", name.encode()) for name in assets)
    key_field = struct.pack(f"{len(key) + 1}p", key.encode())  # its length, then itself
    return (struct.pack("<4sBBBBQII", *head) + names + key_field).ljust(24 + 22 * len(assets), b"\0")


def decode(via: Via, reply: bytes, assets: tuple[str, ...], request_id: int | None) -> Prices | None:
    """The prices; None for what does not answer this request."""
    with suppress(AttributeError, LookupError, ValueError, struct.error):
        found = _read_frame(reply, assets) if via == "binary" else json.loads(reply, parse_float=Decimal)
        if found.get("id") == request_id and "error" in found:
            raise OracleError(found["error"]["code"], found["error"].get("message", ""))
        return list(found["prices"]) if found.get("id") == request_id else None
    return None


def _read_frame(reply: bytes, assets: tuple[str, ...]) -> dict[str, Any]:
    magic, _, refusal, _, _, request_id, time_ms = struct.unpack_from("<4sBBBBQQ", reply)
    if magic != b"\xd7TRA" or refusal:
        return {"id": request_id, "error": {"code": REFUSALS[refusal]}} if magic == b"\xd7TRA" else {}
    prices: Prices = []
    for asset, record in zip(assets, struct.iter_unpack("<qIIbbBBBx", reply[24:]), strict=True):
        price, confidence, age_ms, exponent, places, status, sources, rejected = record
        prices.append({"asset": asset, "status": STATUSES[status], "sources": sources, "rejected": rejected})
        if age_ms != AGE_NONE:
            prices[-1] |= {"age_ms": age_ms, "timestamp": time_ms - age_ms}
        if status == 0:
            prices[-1] |= {"price": Decimal(price).scaleb(exponent), "confidence": Decimal(confidence).scaleb(places)}
    return {"id": request_id, "prices": prices}


class Client:
    def __init__(
        self,
        host: str,
        http_port: int = 8080,
        udp_port: int = 2679,
        timeout: float = 0.25,
        tries: int = 4,
        *,
        api_key: str = "",
    ):
        self.host, self.http_port, self.udp_port, self.timeout, self.tries = host, http_port, udp_port, timeout, tries
        self.api_key = api_key

    def prices(self, *assets: str, via: Via = "text", **quality: float) -> Prices:
        """`quality`: max_age_ms, min_sources, max_conf_bps; what is left out is not asked for."""
        ask = self._ask_http if via == "http" else self._ask_udp
        for _ in range(self.tries):
            with suppress(OSError, HTTPException):
                if (prices := ask(via, assets, quality)) is not None:
                    return prices
        raise TimeoutError(f"{self.host} gave no answer {self.tries} times")

    async def prices_async(self, *assets: str, via: Via = "text", **quality: float) -> Prices:
        """As `prices`, in a thread of the loop's executor: one code path, and the loop never waits."""
        return await asyncio.to_thread(self.prices, *assets, via=via, **quality)

    def _ask_http(self, via: Via, assets: tuple[str, ...], quality: dict[str, float]) -> Prices | None:
        with closing(HTTPConnection(self.host, self.http_port, timeout=self.timeout)) as connection:
            target = "/prices?" + urlencode({"assets": ",".join(assets)} | quality)
            connection.request("GET", target, headers={"X-API-Key": self.api_key})
            return decode(via, connection.getresponse().read(), assets, None)

    def _ask_udp(self, via: Via, assets: tuple[str, ...], quality: dict[str, float]) -> Prices | None:
        request_id = secrets.randbits(63)
        request = encode(via, assets, quality, request_id, self.api_key)
        for family, kind, _, _, address in socket.getaddrinfo(self.host, self.udp_port, type=socket.SOCK_DGRAM):
            # A name may stand for an IPv6 and an IPv4 address of which only one answers.
            with suppress(OSError), socket.socket(family, kind) as udp:
                udp.settimeout(self.timeout)
                udp.connect(address)
                udp.send(request)
                replies = (decode(via, udp.recv(REPLY_BYTES_MAX), assets, request_id) for _ in range(STRAYS_MAX))
                if (prices := next((prices for prices in replies if prices is not None), None)) is not None:
                    return prices
        return None


class PushReceiver:
    """Believes a datagram that one of the secrets signed, that is young enough, and newer than all of its subscription.

    Two secrets while one takes the other's place. `window` is in seconds, either way, for clocks that differ. Whoever
    keeps `last_sequences` over a restart takes no old datagram for a new one then.
    """

    def __init__(self, *secrets: str, window: float = 30.0):
        keys = [base64.b64decode(secret.removeprefix("whsec_"), validate=True) for secret in secrets]
        self.keys = {hashlib.sha256(key).digest()[:4]: key for key in keys}
        self.window_ns = round(window * 1e9)
        self.last_sequences: dict[int, int] = {}

    def accept(self, datagram: bytes, now_ns: int | None = None) -> dict[str, Any] | None:
        """What it says; None for what is forged, damaged, old, or was there before."""
        signed, tag, key = datagram[:-TAG_BYTES], datagram[-TAG_BYTES:], self.keys.get(datagram[8:12])
        if key is None or not hmac.compare_digest(hmac.digest(key, signed, "sha256")[:TAG_BYTES], tag):
            return None
        try:
            push = _read_push(signed)
        except (LookupError, ValueError, struct.error):
            return None
        now_ns = round(datetime.now(UTC).timestamp() * 1e9) if now_ns is None else now_ns
        last = self.last_sequences.get(push["subscription"], -1)
        if abs(now_ns - push["time_ns"]) > self.window_ns or push["sequence"] <= last:
            return None
        self.last_sequences[push["subscription"]] = push["sequence"]
        return push


def _read_push(signed: bytes) -> dict[str, Any]:
    magic, version, flags, reason, count, _, lifetime_ms, *numbers = struct.unpack_from("<4sBBBB4sIQQQ", signed)
    if magic != b"\xd7TRP" or version != 1:
        raise ValueError("no push of this version")
    prices, at, time_ms = [], 40, numbers[2] // 1_000_000
    for _ in range(count):
        name = signed[at + 1 : at + 1 + signed[at]].decode("ascii")
        at += 1 + signed[at]
        price, confidence, age_ms, exponent, places, status, sources = struct.unpack_from("<qIIbbBB", signed, at)
        at += 20
        prices.append({"asset": name, "status": STATUSES[status], "sources": sources})
        if age_ms != AGE_NONE:
            prices[-1] |= {"age_ms": age_ms, "timestamp": time_ms - age_ms}
        if status == 0:
            prices[-1] |= {"price": Decimal(price).scaleb(exponent), "confidence": Decimal(confidence).scaleb(places)}
    if at != len(signed):
        raise ValueError("more bytes than prices")
    header = dict(zip(("subscription", "sequence", "time_ns"), numbers, strict=True))
    return {**header, "expires_at_ms": time_ms + lifetime_ms, "reason": REASONS[reason], "simulated": flags & 1 == 1,
            "prices": prices}  # fmt: skip
