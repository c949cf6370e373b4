"""`/v1` in front of a path."""

from typing import Any

import pytest

from workers.api.version import Versioned


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/v1/price", "/price"),
        ("/v1/keys/7", "/keys/7"),
        ("/price", "/price"),
        ("/v1/v1/price", "/v1/v1/price"),
        ("/v1/prices", "/v1/prices"),
        ("/v1/api/v3/ping", "/v1/api/v3/ping"),
        ("/v1price", "/v1price"),
        ("/v1", "/v1"),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_the_router_sees_the_path_without_its_version(kind: str, path: str, seen: str) -> None:
    """Of this service's own paths and what goes on behind them; all else stays as it was sent."""
    found: list[Any] = []

    async def router(scope: Any, _receive: Any, _send: Any) -> None:
        found.append((scope["path"], scope["raw_path"]))

    scope: Any = {"type": kind, "path": path, "raw_path": path.encode()}
    await Versioned(router, ("/price", "/keys"))(scope, None, None)  # type: ignore[arg-type]
    assert found == [(seen, seen.encode())]
