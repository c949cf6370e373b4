"""trinity/cache/client.py: against a real Valkey that is paused, killed, emptied and filled."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from valkey.exceptions import DataError

from tests.support.patience import PATIENCE
from tests.support.valkey_server import ValkeyServer
from trinity.cache.address import cache_settings
from trinity.cache.client import CacheClient, CacheScript, SyncCacheClient
from trinity.clock import SystemClock
from trinity.errors import CacheReplyError, CacheUnavailableError

ADD = CacheScript("return redis.call('INCRBY', KEYS[1], ARGV[1])")


class Told:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.failures = 0

    def up(self) -> None:
        self.said.append("up")

    def down(self, reason: str) -> None:
        if self.said[-1:] != ["down"]:
            self.said.append("down")

    def failed(self) -> None:
        self.failures += 1

    def full(self, is_full: bool) -> None:
        self.said.append("full" if is_full else "room")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def client(valkey_server: ValkeyServer, told: Told) -> AsyncIterator[CacheClient]:
    made = CacheClient.open(valkey_server.settings, SystemClock(), told)
    yield made
    await made.close()


async def until(is_so: Callable[[], Any]) -> None:
    """Wait for a condition; the answer may be awaited for."""
    async with asyncio.timeout(PATIENCE * 5):
        while not (await found if asyncio.iscoroutine(found := is_so()) else found):
            await asyncio.sleep(0.01)


async def answers(client: CacheClient) -> bool:
    try:
        return await client.run([("PING",)]) == [b"PONG"]
    except CacheUnavailableError:
        return False


async def open_circuit(client: CacheClient) -> None:
    """Ask until the circuit is open."""
    while client.is_up:
        with pytest.raises(CacheUnavailableError):
            await client.run([("PING",)], timeout_seconds=0.05)


async def test_many_commands_are_one_round_trip_and_a_refusal_stands_in_its_place(client: CacheClient) -> None:
    """The others are done."""
    replies = await client.run([("SET", "a", 1), ("HGET", "a", "field"), ("INCRBY", b"a", 2), ("GET", "a")])
    assert replies[0] == b"OK"
    assert isinstance(replies[1], CacheReplyError)
    assert replies[1].code == "WRONGTYPE"
    assert replies[2:] == [3, b"3"]
    assert await client.run([]) == []


async def test_a_value_lives_as_long_as_it_is_told(client: CacheClient) -> None:
    """In seconds."""
    await client.set("a", b"\x00\xff", 100)
    assert await client.get("a") == b"\x00\xff"
    assert await client.get("b") is None
    assert 0 < (await client.run([("TTL", "a")]))[0] <= 100


async def test_a_script_is_known_again_after_the_server_was_started_anew(
    client: CacheClient, valkey_server: ValkeyServer
) -> None:
    """Each of its calls is done once."""
    assert await client.script(ADD, [("a", [1]), ("b", [2]), ("a", [3])]) == [1, 2, 4]
    valkey_server.restart(empty=True)
    await until(lambda: answers(client))
    assert await client.script(ADD, [("a", [1]), ("b", [2]), ("a", [3])]) == [1, 2, 4]
    with_tag = CacheScript("return {KEYS[1], KEYS[2], ARGV[1]}")
    assert await client.script(with_tag, [(("{t}:a", "{t}:b"), ["c"])]) == [[b"{t}:a", b"{t}:b", b"c"]]


async def test_a_paused_server_costs_a_bounded_wait_thrice_and_nothing_after_that(
    client: CacheClient, valkey_server: ValkeyServer, told: Told
) -> None:
    """The open circuit answers without touching the network; it heals by itself, once the server goes on."""
    assert await answers(client)
    valkey_server.pause()
    await open_circuit(client)
    assert told.said == ["up", "down"]
    with pytest.raises(CacheUnavailableError, match="no answer within"):
        await client.run([("PING",)])
    failures = told.failures
    for _ in range(1000):
        if client._breaker._backoff.due_ns <= SystemClock().monotonic_ns() + 5_000_000:
            break  # its time is over: the next one tries
        with pytest.raises(CacheUnavailableError):
            await client.run([("PING",)])
    assert told.failures == failures
    valkey_server.resume()
    await until(lambda: answers(client))
    assert told.said == ["up", "down", "up"]


async def test_a_reply_that_comes_too_late_is_never_the_answer_to_another_question(
    client: CacheClient, valkey_server: ValkeyServer
) -> None:
    """The connection of a question that was given up is not used again."""
    await client.run([("SET", f"name{i}", i) for i in range(20)])
    valkey_server.pause()
    asked = [client.run([("GET", f"name{i}")], timeout_seconds=0.05) for i in range(2)]
    assert all(isinstance(one, CacheUnavailableError) for one in await asyncio.gather(*asked, return_exceptions=True))
    task = asyncio.create_task(client.run([("GET", "name3")], timeout_seconds=30))
    await asyncio.sleep(0)
    task.cancel()
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], BaseException)
    valkey_server.resume()
    await until(lambda: answers(client))
    replies = await asyncio.gather(*(client.run([("GET", f"name{i}")]) for i in range(20)))
    assert replies == [[b"%d" % i] for i in range(20)]


async def test_a_killed_server_is_away_and_one_that_comes_back_is_found(
    client: CacheClient, valkey_server: ValkeyServer
) -> None:
    """Idle connections of the former life included."""
    assert await asyncio.gather(*(answers(client) for _ in range(5))) == [True] * 5
    valkey_server.kill()
    await open_circuit(client)
    valkey_server.start()
    await until(lambda: answers(client))
    assert await asyncio.gather(*(answers(client) for _ in range(5))) == [True] * 5


async def test_a_full_server_is_told_of_and_is_no_outage(
    client: CacheClient, valkey_server: ValkeyServer, told: Told
) -> None:
    """Reading goes on; a plain pipeline is refused in part; the first write that it takes says that it has room."""
    await client.set("a", "1", 100)
    valkey_server.fill()
    replies = await client.run([("GET", "a"), ("SET", "b", 2), ("GET", "a")])
    assert (replies[0], replies[1].is_full, replies[2]) == (b"1", True, b"1")
    with pytest.raises(CacheUnavailableError, match="OOM"):
        await client.set("b", "2", 100)
    assert client.is_up
    valkey_server.unfill()
    await client.get("a")
    assert told.said == ["up", "full"]
    await client.set("b", "2", 100)
    assert told.said == ["up", "full", "room"]


async def test_a_server_over_tls_is_asked_as_a_user_of_its_list(valkey_tls: ValkeyServer) -> None:
    """Who may write what the nodes write, and nothing else."""
    client = CacheClient.open(valkey_tls.settings, SystemClock())
    replies = await client.run([("SET", "price:DOGE", "1"), ("SET", "other", "1"), ("FLUSHALL",)])
    assert replies[0] == b"OK"
    assert [reply.code for reply in replies[1:]] == ["NOPERM", "NOPERM"]
    assert await client.script(ADD, [("ratelimit:a", [1])]) == [1]
    await client.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda address: address._replace(host="127.0.0.1"), "certificate"),
        (lambda address: address._replace(password="wrong"), "WRONGPASS|invalid username-password"),
        (lambda address: address._replace(is_tls=False), "no answer|closed|reset|Connection"),
    ],
)
async def test_a_wrong_host_name_a_wrong_password_and_no_tls_are_refused(
    valkey_tls: ValkeyServer, change: Callable[[Any], Any], reason: str
) -> None:
    """With the reason."""
    settings = valkey_tls.settings
    client = CacheClient.open(settings._replace(address=change(settings.address)), SystemClock())
    with pytest.raises(CacheUnavailableError, match=reason):
        await client.run([("PING",)])
    await client.close()


async def test_a_certificate_of_an_unknown_authority_is_refused(valkey_tls: ValkeyServer) -> None:
    """The system's authorities did not sign it."""
    client = CacheClient.open(valkey_tls.settings._replace(ca_file=""), SystemClock())
    with pytest.raises(CacheUnavailableError, match="certificate verify failed"):
        await client.run([("PING",)])


async def test_a_server_that_became_a_replica_is_away_and_is_looked_for_anew(
    client: CacheClient, valkey_server: ValkeyServer
) -> None:
    """What it reads it would still answer; its name may lead to its successor, so its connections are closed."""
    assert await answers(client)
    with valkey_server.admin() as admin:
        admin.replicaof("127.0.0.1", 1)
        with pytest.raises(CacheUnavailableError, match="read only"):
            await client.run([("SET", "a", 1)])
        assert client._route._server._idle == []  # type: ignore[attr-defined]
        admin.replicaof("NO", "ONE")
    await client.set("a", 1, 100)


async def test_a_wrong_value_is_the_caller_s_error(client: CacheClient) -> None:
    """And no outage."""
    with pytest.raises(DataError):
        await client.run([("SET", "a", None)])  # type: ignore[list-item]
    assert client.is_up
    assert await answers(client)


@pytest.mark.parametrize(
    "garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$abc\r\n", b"*1\r\n" * 5000, b"\xff\xfe\r\n", b""]
)
async def test_a_peer_that_is_no_valkey_is_an_outage(garbage: bytes) -> None:
    """Whatever it sends."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(garbage)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = CacheClient.open(cache_settings(f"valkey://127.0.0.1:{port}"), SystemClock())
        with pytest.raises(CacheUnavailableError):
            await client.run([("PING",)])
        await client.close()


def test_a_thread_asks_the_same_way(valkey_server: ValkeyServer) -> None:
    """Without an event loop of its own."""
    client = SyncCacheClient.open(valkey_server.settings)
    client.set("a", "1", 100)
    assert client.get("a") == b"1"
    assert client.run([("GET", "a"), ("GET", "b")]) == [b"1", None]
    assert client.script(ADD, [("a", [1])]) == [2]
    valkey_server.restart(empty=False)
    assert client.get("a") == b"2", "the first question after a restart is answered"
    valkey_server.kill()
    with pytest.raises(CacheUnavailableError):
        client.get("a", timeout_seconds=0.1)
    client.close()
