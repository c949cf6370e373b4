"""What the handlers of this drop-in share: their tag, the types of their parameters, their JSON."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Response
from litestar.params import QueryParameter

from trinity.clock import NS_PER_SECOND
from workers.api.base.context import Parts

TAGS = ["coingecko"]

Flag = Annotated[bool, QueryParameter(description="as with CoinGecko")]
Precision = Annotated[str, QueryParameter(description="full, or 0 to 18 decimals")]
VsCurrency = Annotated[str, QueryParameter(description="usd, or an asset of the node by its symbol")]


def json_answer(value: Any) -> Response[bytes]:
    """The value as JSON that nobody keeps."""
    return Response(msgspec.json.encode(value), media_type="application/json", headers={"Cache-Control": "no-store"})


def now_of(parts: Parts) -> datetime:
    """The node's wall clock."""
    return datetime.fromtimestamp(parts.context.clock.wall_ns() / NS_PER_SECOND, UTC)
