"""Names come from a real server, every address of theirs is checked, and what is no clear answer is a refusal."""

import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.support.name_server import CUT, FAILS, NO_NAME, NameServer, name_server
from trinity.errors import DeliveryError
from trinity.push.addresses import AllowList
from trinity.push.resolve import Resolver, check_target
from trinity.push.targets import parse_target

HOOKS = parse_target("https://hooks.example/")


@contextlib.asynccontextmanager
async def asking(**answers: Sequence[Sequence[str]]) -> AsyncIterator[tuple[Resolver, NameServer]]:
    async with name_server(**answers) as server:
        resolver = Resolver([f"127.0.0.1:{server.port}"], 60)
        try:
            yield resolver, server
        finally:
            await resolver.close()


async def refusal(resolver: Resolver, allow: AllowList = AllowList(), text: str = "https://hooks.example/") -> str:  # noqa: B008
    with pytest.raises(DeliveryError) as caught:
        await check_target(parse_target(text), allow, resolver)
    return caught.value.kind


async def test_every_public_address_of_both_families_is_found() -> None:
    """Over the server that was named, with the name as it is and no search domain."""
    async with asking(hooks_example=[["8.8.8.8", "8.8.4.4", "2606:4700::1111"]]) as (resolver, server):
        found = await check_target(HOOKS, AllowList(), resolver)
        assert set(found) == {"8.8.8.8", "8.8.4.4", "2606:4700::1111"}
        assert set(server.asked) == {"hooks.example A", "hooks.example AAAA"}


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "fd00:ec2::254"],
)
async def test_one_address_that_must_not_be_delivered_to_refuses_the_name(address: str) -> None:
    """Beside any number of good ones; the operator may open it."""
    async with asking(hooks_example=[["8.8.8.8", address]]) as (resolver, _):
        assert await refusal(resolver) == "refused_address"
        for allow in (AllowList.parse(["hooks.example"]), AllowList.parse([address])):
            assert address in await check_target(HOOKS, allow, resolver)


async def test_a_server_that_changes_its_answer_is_checked_again() -> None:
    """Public at the creation, private at the dial: what counts is the answer that is connected to."""
    async with asking(hooks_example=[["8.8.8.8"], ["127.0.0.1"]]) as (resolver, _):
        assert await check_target(HOOKS, AllowList(), resolver) == ("8.8.8.8",)
        assert await refusal(resolver) == "refused_address"


@pytest.mark.parametrize("answer", [[], [NO_NAME], [FAILS], ["8.8.8.8", CUT]])
async def test_an_unknown_answer_is_a_refusal(answer: list[str]) -> None:
    """No address, no such name, a server that fails, an answer that is cut."""
    async with asking(hooks_example=[answer]) as (resolver, _):
        assert await refusal(resolver) == "resolve"


async def test_a_name_of_the_hosts_file_is_known_and_checked() -> None:
    """localhost never leaves the machine, and needs the operator's word."""
    async with asking() as (resolver, server):
        assert await refusal(resolver, text="https://localhost/") == "refused_address"
        allow = AllowList.parse(["localhost"])
        assert "127.0.0.1" in await check_target(parse_target("https://localhost/"), allow, resolver)
        assert server.asked == []


async def test_an_address_is_checked_without_asking_anybody() -> None:
    """Of a target that names no host."""
    async with asking() as (resolver, server):
        assert await refusal(resolver, text="https://[::1]/") == "refused_address"
        assert await refusal(resolver, text="udp://10.1.2.3:9") == "refused_address"
        assert await check_target(parse_target("udp://8.8.8.8:9"), AllowList(), resolver) == ("8.8.8.8",)
        assert server.asked == []
