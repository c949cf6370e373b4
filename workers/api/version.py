"""`/v1` in front of this service's own paths: the same calls, by a name that keeps its shape when there is a next one.

Rules: the version is taken off before the router sees the path, so reports and logs know one name of each call. What
has the shape of another service has that service's versions in its path, and no other.
"""

from collections.abc import Iterable

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from trinity.native.nearest import VERSION


class Versioned:
    """The ASGI application around the router."""

    def __init__(self, app: ASGIApp, paths: Iterable[str]) -> None:
        """`paths` are those with a version, and all that goes on behind them."""
        self._app = app
        self._paths = tuple(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in (ScopeType.HTTP, ScopeType.WEBSOCKET) and scope["path"].startswith(f"{VERSION}/"):
            path = scope["path"].removeprefix(VERSION)
            if path in self._paths or path.startswith(tuple(f"{known}/" for known in self._paths)):
                scope["path"], scope["raw_path"] = path, scope["raw_path"].removeprefix(VERSION.encode())
        await self._app(scope, receive, send)
