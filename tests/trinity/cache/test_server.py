"""trinity/cache/server.py"""

import asyncio
from contextlib import suppress

import pytest
from valkey.exceptions import ConnectionError as NotConnectedError
from valkey.exceptions import ResponseError

from tests.support.valkey_server import ValkeyServer
from trinity.cache.server import CONNECTIONS_MAX, ServerConnections
from trinity.cache.slots import CacheServer


@pytest.fixture
async def connections(valkey_server: ValkeyServer) -> ServerConnections:
    return ServerConnections(CacheServer("127.0.0.1", valkey_server.port), valkey_server.settings, None)


async def test_connections_are_used_again_and_bounded(
    connections: ServerConnections, valkey_server: ValkeyServer
) -> None:
    """However many round trips are under way."""
    for _ in range(3):
        await connections.exchange([("PING",)])
    assert len(connections._idle) == 1
    await asyncio.gather(*(connections.exchange([("PING",)]) for _ in range(50)))
    with valkey_server.admin() as admin:
        assert len([one for one in admin.client_list() if one["lib-name"] == "trinity"]) <= CONNECTIONS_MAX
    assert 1 <= len(connections._idle) <= CONNECTIONS_MAX
    await connections.close()
    assert connections._idle == []


async def test_a_round_trip_that_is_given_up_costs_its_connection_and_the_idle_ones(
    connections: ServerConnections, valkey_server: ValkeyServer
) -> None:
    """And leaves the room for the next."""
    await asyncio.gather(*(connections.exchange([("PING",)]) for _ in range(3)))
    valkey_server.pause()
    for _ in range(CONNECTIONS_MAX + 1):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                await connections.exchange([("PING",)])
        assert connections._idle == []
    valkey_server.resume()
    assert await connections.exchange([("PING",)]) == [b"PONG"]
    await connections.close()


async def test_an_idle_connection_that_the_server_closed_is_made_anew(
    connections: ServerConnections, valkey_server: ValkeyServer
) -> None:
    """Unless the server is gone."""
    await connections.exchange([("PING",)])
    valkey_server.restart()
    await asyncio.sleep(0)
    for _ in range(2):
        with suppress(NotConnectedError):
            assert await connections.exchange([("PING",)]) == [b"PONG"]
            break
    else:
        pytest.fail("the second try has a connection of its own")
    valkey_server.kill()
    for _ in range(2):
        with pytest.raises(NotConnectedError):
            await connections.exchange([("PING",)])


async def test_an_error_reply_is_a_value(connections: ServerConnections) -> None:
    """The round trip goes on, and its connection too."""
    replies = await connections.exchange([("NOSUCH",), ("PING",)])
    assert isinstance(replies[0], ResponseError)
    assert replies[1] == b"PONG"
    assert len(connections._idle) == 1
    await connections.close()
