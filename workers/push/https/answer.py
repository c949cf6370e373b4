"""What is kept of a receiver's answer, and how much of it is read at all.

Rules: an answer is whole when its body is, or when the body is longer than REPLY_BODY_BYTES_MAX: then the rest is never
read, and the connection (HTTP/1.1) or the stream (HTTP/2) ends. A redirect is an answer like any other: it is not
followed, for nobody has checked where it points. Of the headers only those count that a sender acts on.
"""

import asyncio
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from trinity.clock import NS_PER_SECOND
from trinity.errors import DeliveryError
from trinity.limits import REPLY_BODY_BYTES_MAX, REPLY_HEAD_BYTES_MAX, REPLY_KEPT_BYTES_MAX

KEPT_HEADERS = frozenset({b"content-type", b"retry-after", b"webhook-delivery"})
# RFC 9110 10.2.3: seconds, however many, or a date. Schedules have their caps, also for what is infinite to a float.
_SECONDS = re.compile(r"[0-9]+")


class PostReply(NamedTuple):
    """A receiver's answer; `body_start` is its first KiB."""

    status: int
    retry_after_s: float | None
    headers: Mapping[str, str]
    body_start: bytes
    is_new_connection: bool


class IncomingReply:
    """An answer that is being read; `done` is set when it is whole, or to a DeliveryError."""

    __slots__ = ("body_bytes", "done", "has_begun", "head_bytes", "headers", "kept", "status")

    def __init__(self, done: "asyncio.Future[None]") -> None:
        self.done = done
        self.status = 0
        self.headers: dict[str, str] = {}
        self.kept = b""
        self.head_bytes = 0
        self.body_bytes = 0
        self.has_begun = False  # a byte of it was there: the message has been read

    def add_header(self, name: bytes, value: bytes) -> None:
        """`name` in lower case."""
        if name in KEPT_HEADERS:
            self.headers[str(name, "ascii")] = str(value.strip(), "latin-1")

    def add_body(self, data: bytes) -> None:
        self.body_bytes += len(data)
        if len(self.kept) < REPLY_KEPT_BYTES_MAX:
            self.kept += data[: REPLY_KEPT_BYTES_MAX - len(self.kept)]

    @property
    def is_cut(self) -> bool:
        """The body is longer than anybody reads."""
        return self.body_bytes > REPLY_BODY_BYTES_MAX

    @property
    def is_head_too_long(self) -> bool:
        return self.head_bytes > REPLY_HEAD_BYTES_MAX

    def finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: DeliveryError) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def reply(self, is_new_connection: bool, wall_ns: int) -> PostReply:
        """The answer as the caller gets it."""
        retry_after = self.headers.get("retry-after")
        seconds = None if retry_after is None else read_retry_after(retry_after, wall_ns)
        return PostReply(self.status, seconds, self.headers, self.kept, is_new_connection)


def read_retry_after(text: str, wall_ns: int) -> float | None:
    """Seconds from now; None for what is neither a number nor a date."""
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall_ns / NS_PER_SECOND)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
