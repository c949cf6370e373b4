"""Error replies as values: the code that Valkey said first, which its client library takes off, and the rest.

Rules: pure. The library makes classes of some codes and takes ERR off; the other codes stay in front of its text.
"""

from typing import Any

from valkey.exceptions import (
    AskError,
    ExecAbortError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ResponseError,
    TryAgainError,
)

from trinity.errors import CacheReplyError

_CODES: dict[type[ResponseError], str] = {
    OutOfMemoryError: "OOM",
    NoScriptError: "NOSCRIPT",
    NoPermissionError: "NOPERM",
    ExecAbortError: "EXECABORT",
    MovedError: "MOVED",
    AskError: "ASK",
    TryAgainError: "TRYAGAIN",
}
# Codes without a class of the library, as they stand in Valkey's sources; its other texts began with ERR.
_OTHER_CODES = frozenset(
    {"WRONGTYPE", "BUSY", "MISCONF", "NOREPLICAS", "NOGOODSLAVE", "UNKILLABLE", "IOERR", "CROSSSLOT"}
)


def error_of(reply: ResponseError) -> CacheReplyError:
    """The value of an error reply."""
    text = " ".join(str(reply).split())
    code = _CODES.get(type(reply))
    if code is None:
        first, _, rest = text.partition(" ")
        code, text = (first, rest) if first in _OTHER_CODES else ("ERR", text)
    return CacheReplyError(code, text)


def is_full(reply: Any) -> bool:
    """Whether the server refused for want of memory; a script says so in other words."""
    return isinstance(reply, OutOfMemoryError) or (isinstance(reply, ResponseError) and str(reply).startswith("OOM"))
