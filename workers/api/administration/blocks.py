"""`/administration/blocks` and `/administration/audit`: whom no node answers, and who changed what."""

from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from trinity.access import audit, blocks, values
from trinity.access.audit import AuditEntry
from trinity.access.blocks import Block
from trinity.access.keys import Connection
from trinity.access.networks import parse_network, protected_networks
from trinity.limits import BLOCKS_MAX
from workers.api.administration.administrator import Administrator
from workers.api.administration.bodies import read_body, takes
from workers.api.base.context import Parts

AnyRequest = Request[Any, Any, Any]
LISTED_MAX = 1_000


class BlockBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An address or a network; without `for` it stays until it is unblocked."""

    address: str
    reason: str = ""
    duration: str | None = msgspec.field(default=None, name="for")


class AddressBody(msgspec.Struct, forbid_unknown_fields=True):
    """An address or a network."""

    address: str


class BlockList(msgspec.Struct):
    """All that have not ended."""

    blocks: list[Block]


class OneBlock(msgspec.Struct):
    """The block as it is now."""

    block: Block


class Unblocked(msgspec.Struct):
    """Whether there was one, and which wider blocks still hold the address."""

    network: str
    unblocked: bool
    still_blocked_by: list[str]


class AuditPage(msgspec.Struct):
    """The newest first; `next` is the `before` of the following page."""

    entries: list[AuditEntry]
    next: int | None


@get("/blocks", tags=["administration"])
async def list_blocks(administrator: NamedDependency[Administrator]) -> BlockList:
    """All blocks that have not ended."""
    return BlockList(await administrator.do("blocks", blocks.list_blocks))


@post(
    "/blocks",
    status_code=200,
    tags=["administration"],
    operation_class=takes(BlockBody, address="203.0.113.0/24", reason="scraping"),
)
async def block(
    request: AnyRequest, administrator: NamedDependency[Administrator], parts: NamedDependency[Parts]
) -> OneBlock:
    """Refuse an address or a network on all nodes."""
    body = await read_body(request, BlockBody)
    network = parse_network(body.address)
    reason = values.name("reason", body.reason) if body.reason else ""
    duration = None if body.duration is None else values.lifetime("for", body.duration)
    protected = protected_networks(parts.settings.trusted_proxies)

    def work(connection: Connection) -> OneBlock:
        return OneBlock(blocks.block(connection, network, reason, duration, protected, BLOCKS_MAX))

    return await administrator.do("block", work)


@post(
    "/blocks/remove",
    status_code=200,
    tags=["administration"],
    operation_class=takes(AddressBody, address="203.0.113.7"),
)
async def unblock(request: AnyRequest, administrator: NamedDependency[Administrator]) -> Unblocked:
    """Answer an address or a network again."""
    body = await read_body(request, AddressBody)
    network = parse_network(body.address)

    def work(connection: Connection) -> Unblocked:
        return Unblocked(str(network), *blocks.unblock(connection, network))

    return await administrator.do("unblock", work)


@get("/audit", tags=["administration"])
async def list_entries(
    administrator: NamedDependency[Administrator],
    actor: Annotated[str | None, QueryParameter(description="By this one alone.")] = None,
    kind: Annotated[str | None, QueryParameter(description="Of this kind: account, plan, price, key, block.")] = None,
    name: Annotated[str | None, QueryParameter(description="Of this name or number.")] = None,
    before: Annotated[int | None, QueryParameter(ge=1, le=2**62, description="`next` of the page before.")] = None,
    count: Annotated[int, QueryParameter(ge=1, le=LISTED_MAX, description="At most so many.")] = 50,
) -> AuditPage:
    """Who changed keys, plans, accounts and blocks, when, from where, and what."""
    wanted = audit.Wanted(actor, kind, name, before)
    found = await administrator.do("audit", lambda connection: audit.list_entries(connection, wanted, count))
    return AuditPage(found, found[-1].id if len(found) == count else None)


HANDLERS = (list_blocks, block, unblock, list_entries)
