"""Each receiver has an address, and answers as its path says."""

import ipaddress
import ssl
import sys
from pathlib import Path

import aiohttp
import pytest

from benchmarks.servers import webhook_receiver
from benchmarks.servers.processes import free_port, start, wait_for_port


def test_ten_thousand_receivers_have_as_many_addresses_of_loopback() -> None:
    """None is that of the DNS server beside them."""
    addresses = {webhook_receiver.address_of(number) for number in range(10_000)}
    assert len(addresses) == 10_000
    assert all(ipaddress.ip_address(address).is_loopback for address in addresses)
    assert "127.0.0.1" not in addresses


async def test_a_receiver_answers_as_its_path_says_under_its_own_name(tmp_path: Path) -> None:
    """By its own DNS server and its own authority."""
    port = free_port()
    command = ["-m", "benchmarks.servers.webhook_receiver", "--port", str(port), "--folder", str(tmp_path)]
    receiver = start("receiver", [sys.executable, *command, "--notes", str(tmp_path / "notes")], tmp_path)
    try:
        wait_for_port(receiver, port)
        tls = ssl.create_default_context(cafile=str(tmp_path / webhook_receiver.CA_FILE))
        names = aiohttp.AsyncResolver(nameservers=[f"127.0.0.1:{port}"])
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, resolver=names)) as session:
            for path, status in (("ok/1", 200), ("500/1", 500)):
                async with session.post(f"https://r9999.receivers.test:{port}/{path}", data=b"x" * 3_000) as reply:
                    assert reply.status == status
            async with session.post(f"https://r3.receivers.test:{port}/endless/", data=b"x") as reply:
                assert len(await reply.content.readexactly(1_000_000)) == 1_000_000
                reply.close()
            with pytest.raises(aiohttp.ClientError):
                await session.post(f"https://r4.receivers.test:{port}/reset/", data=b"x")
    finally:
        receiver.stop()
