"""The peers' fixed answer as a Python application: `rsgi` for granian, `asgi` for uvicorn.

Both read the body from the file that FIXED_ANSWER_FILE names, once, and send it for every request.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Protocol

_BODY = Path(os.environ.get("FIXED_ANSWER_FILE", os.devnull)).read_bytes()

Message = MutableMapping[str, Any]


class RsgiProtocol(Protocol):
    """The part of RSGI's HTTP protocol that is used here (RSGI 1.5, "HTTP protocol")."""

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


async def rsgi(_scope: Any, protocol: RsgiProtocol) -> None:
    """Answer one request."""
    protocol.response_bytes(200, [("content-type", "application/json")], _BODY)


async def asgi(
    scope: Message, _receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer one request; other scopes (lifespan) are not served."""
    if scope["type"] != "http":
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _BODY})
