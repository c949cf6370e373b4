"""A dial resolves anew, checks, and connects to an address that was checked."""

import asyncio
import errno

import pytest
import trustme

from tests.support.name_server import name_server
from tests.support.receivers import BODY, HEADERS, LOOPBACK, good, pool_for, receiver
from trinity.clock import SystemClock
from trinity.errors import DeliveryError
from trinity.push.addresses import AllowList
from trinity.push.resolve import Resolver, check_target
from workers.push.https.dial import Dialler
from workers.push.https.pace import Lane
from workers.push.https.pool import ConnectionPool
from workers.push.https.tls import make_tls

LONG = 30.0


async def test_a_server_that_changes_its_answer_between_check_and_dial_gains_nothing(authority: trustme.CA) -> None:
    """With a real DNS server: allowed when it is checked, another address of this machine when it is dialled."""
    allow = AllowList.parse(["127.0.0.2"])
    async with (
        receiver(good, authority, "hooks.example") as here,
        name_server(hooks_example=[["127.0.0.2"], ["127.0.0.1"]]) as server,
    ):
        resolver = Resolver([f"127.0.0.1:{server.port}"], 60)
        target = here.target(host="hooks.example")
        assert await check_target(target, allow, resolver) == ("127.0.0.2",)
        async with pool_for(authority, allow=allow) as pool:
            pool._dialler._resolver = resolver
            with pytest.raises(DeliveryError) as caught:
                await pool.post(target, HEADERS, BODY, LONG)
        await resolver.close()
    assert caught.value.kind == "refused_address"
    assert here.connections == 0


async def test_the_next_address_is_tried_beside_one_that_refuses(authority: trustme.CA) -> None:
    """Nobody listens on the first of two."""
    async with (
        receiver(good, authority, "hooks.example") as here,
        name_server(hooks_example=[["127.0.0.9", "127.0.0.1"]]) as server,
    ):
        resolver, tls, clock = Resolver([f"127.0.0.1:{server.port}"], 60), make_tls(), SystemClock()
        authority.configure_trust(tls)
        dialler, lane = Dialler(resolver, LOOPBACK, tls, clock), Lane(1, 0.0, clock)
        talk = await dialler.dial(here.target(host="hooks.example"), lane, dialler._loop.time() + LONG)
        assert talk.is_open
        talk.close()
        await resolver.close()


async def test_who_gets_no_slot_in_time_is_told_busy(authority: trustme.CA) -> None:
    """And no name was asked for."""
    async with receiver(good, authority) as here, pool_for(authority) as pool:
        assert isinstance(pool, ConnectionPool)
        lane = Lane(1, 0.0, SystemClock())
        async with lane.slot():
            with pytest.raises(DeliveryError) as caught:
                await pool._dialler.dial(here.target(), lane, pool._loop.time())
    assert caught.value.kind == "busy"


async def test_a_machine_without_descriptors_says_nothing_of_the_receiver(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is busy, and a refused connection is not."""

    async def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async with receiver(good, authority) as here, pool_for(authority) as pool:
        with monkeypatch.context() as patched:
            patched.setattr("workers.push.https.dial.aiohappyeyeballs.start_connection", fail)
            with pytest.raises(DeliveryError) as caught:
                await pool.post(here.target(), HEADERS, BODY, LONG)
        assert caught.value.kind == "busy"
        assert (await pool.post(here.target(), HEADERS, BODY, LONG)).status == 200


async def test_a_dial_that_is_called_off_leaves_nothing_behind(authority: trustme.CA) -> None:
    """Whatever it was waiting for."""
    async with receiver(good, authority) as here, pool_for(authority) as pool:
        for turns in range(12):
            task = asyncio.create_task(pool.post(here.target(), HEADERS, BODY, LONG))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert pool.counters().open == pool.counters().idle
        assert (await pool.post(here.target(), HEADERS, BODY, LONG)).status == 200
